//! Several actions together or not at all.

use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::{Account, PASSWORD, World};

async fn commit(world: &World, account: &Account, node: usize, body: Value) -> Reply {
    account.send(world, node, "POST", "/transactions", body).await
}

fn number(tag: &str) -> u64 {
    tag.trim_matches('"').parse().unwrap()
}

#[tokio::test]
async fn all_actions_happen_at_one_revision() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    let body = json!({
        "preconditions": [{"resource": "roles/ops", "revision": 0}],
        "actions": [
            {"action": "create_role", "name": "ops", "permissions": ["deploy:*"]},
            {"action": "create_user", "name": "bob", "password": PASSWORD, "roles": ["ops"]},
            {"action": "assign_role", "principal": "users/ann", "role": "ops"},
            {"action": "update_user", "user": "ann", "changes": {"first_name": "Ann"}},
        ],
    });
    let done = commit(&world, &account, 0, body.clone()).await.is(200);
    assert_eq!(done.json["revision"], json!(done.revision()));
    let results = done.json["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]), (4, &json!({})));
    for node in 0..3 {
        let bob = account.ask(&world, node, "GET", "/users/bob").await.is(200);
        assert_eq!((&bob.json["id"], number(&bob.tag())), (&results[1]["id"], done.revision()));
        let shown = account.ask(&world, node, "GET", "/users/ann").await.is(200);
        assert_eq!((&shown.json["first_name"], number(&shown.tag())), (&json!("Ann"), done.revision()));
        let can = world.get(node, account.at("/check?permission=deploy:x")).by(&ann.token).await.is(200);
        assert_eq!(can.json, json!({"allowed": true}));
        // Right before, nothing of it was there.
        let before = format!("as-of={}", done.revision() - 1);
        let past = account.ask(&world, node, "GET", "/users/bob").header("conclave-consistency", &before);
        past.await.is(404);
    }
    commit(&world, &account, 1, body).await.says(412, "precondition_failed");
}

#[tokio::test]
async fn one_that_is_refused_leaves_nothing_of_the_others() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    let role = account.role(&world, "ops", &[]).await;
    let make = json!({"action": "create_role", "name": "new"});
    let before = world.digest(&account.id).await;
    let with = |action: Value| json!({"actions": [make, action]});
    let stale = |resource: &str, revision: u64| json!({"actions": [make], "preconditions": [{"resource": resource, "revision": revision}]});
    let tag = number(&role.tag());
    let mut table = vec![
        (409, with(json!({"action": "create_user", "name": "ann", "password": PASSWORD}))),
        (409, with(make.clone())),
        (404, with(json!({"action": "delete_role", "role": "nothing"}))),
        (404, with(json!({"action": "delete_user", "user": "nobody"}))),
        (404, with(json!({"action": "assign_role", "principal": "users/ann", "role": "nothing"}))),
        (404, with(json!({"action": "assign_role", "principal": "nonsense", "role": "ops"}))),
        (400, with(json!({"action": "create_user", "name": "a b", "password": PASSWORD}))),
        (400, with(json!({"action": "create_user", "name": "b", "password": ""}))),
        (400, with(json!({"action": "create_user", "name": "b", "password": PASSWORD, "is_root": true}))),
        (400, with(json!({"action": "open_session"}))),
        (400, with(json!({"action": "transaction", "actions": []}))),
        (400, with(json!({}))),
        (400, json!({"actions": []})),
        (400, json!({})),
        (400, json!({"actions": vec![json!({"action": "end_sessions", "principal": "users/ann"}); 101]})),
        (412, stale("roles/ops", 0)),
        (412, stale("roles/ops", tag - 1)),
        (412, stale("roles/nothing", 1)),
        (412, stale("users/ann", tag)),
        (412, stale("passwords/ann", tag)),
        (412, stale("account", 0)),
        (400, stale("sessions/x", 0)),
        (400, stale("roles", 0)),
        (404, stale("users/nobody", 0)),
    ];
    for (node, (status, body)) in table.drain(..).enumerate() {
        let reply = commit(&world, &account, node, body.clone()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.json);
    }
    assert_eq!(world.digest(&account.id).await, before, "nothing was left behind");
    // Who may do one of two does neither.
    account.role(&world, "maker", &["iam:roles:write"]).await;
    let digest = world.digest(&account.id).await;
    assert_ne!(digest, before, "the digest sees a change");
    account.ask(&world, 0, "PUT", "/users/ann/roles/maker").await.is(200);
    let before = world.digest(&account.id).await;
    let body = with(json!({"action": "create_user", "name": "bob", "password": PASSWORD}));
    let refused = world.post(1, account.at("/transactions")).by(&ann.token).json(&body).await;
    refused.says(403, "forbidden");
    assert_eq!(world.digest(&account.id).await, before);
    account.ask(&world, 2, "GET", "/roles/new").await.is(404);
    let body = json!({"actions": [make], "preconditions": [{"resource": "roles/ops", "revision": tag}]});
    world.post(1, account.at("/transactions")).by(&ann.token).json(&body).await.is(200);
}

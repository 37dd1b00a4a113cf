//! The client key: what is one, what it owns, and what it opens (contract part 3.1).

use conclave::app::Request;
use conclave::auth::client_key::ClientKey;
use conclave::domain::{AccountId, Action, Actor, Command, Origin, holder};
use serde_json::json;
use tokio::time::Instant;

use super::{Key, code, data, new_key, no, yes};
use crate::harness::{Own, PATIENCE, World};

#[tokio::test]
async fn without_a_well_formed_key_nothing_is_told_not_even_what_there_is() {
    let world = World::new();
    let key = new_key();
    let account = world.account().await;
    let places = [
        ("GET", "/api/roles"),
        ("POST", "/api/role/admin"),
        ("GET", "/api/nowhere"),
        ("PUT", "/api/roles"),
        ("GET", "/api"),
        ("GET", "/api/role/a/"),
        ("GET", "/api/role/a%2fb"),
        ("GET", "/api/keys/recover/x"),
    ];
    for (node, (method, path)) in places.into_iter().enumerate() {
        let reply = world.ask(node, method, path).await.is(401);
        assert_eq!((code(&reply), reply.header("www-authenticate")), ("no_key", Some("Bearer")));
        for header in [
            "".to_owned(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            key.clone(),
            format!("Basic {key}"),
            format!("Token {key}"),
            format!("Bearer {key} x"),
        ] {
            let reply = world.ask(node, method, path).header("authorization", &header).await;
            assert_eq!((reply.status, code(&reply)), (401, "no_key"), "{method} {path} {header}");
        }
        for bad in [
            "x",
            &key.replace('-', ""),
            &format!("{{{key}}}"),
            &format!("urn:uuid:{key}"),
            "67e55044-10b1-126f-9247-bb680e5fe0c8",
            "00000000-0000-0000-0000-000000000000",
            // A token of another family is no key, however good it is there.
            &account.token,
        ] {
            let reply = world.ask(node, method, path).by(bad).await;
            assert_eq!((reply.status, code(&reply)), (400, "invalid_key"), "{method} {path} {bad}");
        }
        assert_eq!(world.ask(node, method, path).by(&key).by(&key).await.status, 400);
    }
    for node in 0..3 {
        assert_eq!(code(&world.get(node, "/api/nowhere").by(&key).await.is(404)), "route_not_found");
        let reply = world.put(node, "/api/roles").by(&key).await.is(405);
        assert_eq!((code(&reply), reply.header("allow")), ("method_not_allowed", Some("GET")));
        for scheme in ["bearer", "BEARER", "Bearer "] {
            world.get(node, "/api/roles").header("authorization", &format!("{scheme} {key}")).await.is(200);
        }
        // And a key is nothing elsewhere.
        world.get(node, account.at("")).by(&key).await.is(401);
        world.get(node, "/iam/v1/users/x").by(&key).await.is(401);
    }
}

#[tokio::test]
async fn case_does_not_count_in_a_key() {
    let world = World::new();
    let key = Key::new(&world);
    let upper = Key::with(&world, &key.text.to_uppercase());
    yes(&upper.post(0, "/role/admin").await);
    for node in 0..3 {
        let roles = json!({"result": [{"role": "admin", "description": null}]});
        assert_eq!(key.get(node, "/roles").await.json, roles);
        assert_eq!(upper.get(node, "/roles").await.json, roles);
    }
}

#[tokio::test]
async fn a_key_that_owns_nothing_reads_as_an_empty_account_and_makes_none() {
    let world = World::new();
    let key = Key::new(&world);
    for node in 0..3 {
        for list in ["/roles", "/user_roles/u", "/members/r", "/which_roles_can/p", "/which_users_can/p"] {
            assert_eq!(key.get(node, list).await.json, json!({"result": []}), "{list}");
        }
        no(&key.get(node, "/permission/r/p").await);
        let verdict = json!({"has_permission": false});
        for check in ["/membership/u/r", "/has_permission/u/p", "/workflow/user/u/can_run/p"] {
            assert_eq!(data(&key.get(node, check).await), verdict, "{check}");
        }
        assert_eq!(data(&key.get(node, "/role_permissions/r").await), json!([]));
        assert_eq!(data(&key.get(node, "/user_permissions/u").await), json!({"count": 0, "permissions": []}));
        assert_eq!(data(&key.get(node, "/workflow/users/p").await), json!({"count": 0, "members": []}));
        assert_eq!(data(&key.get(node, "/settings").await), json!({"strict_users": false}));
        assert_eq!(data(&key.get(node, "/apikeys/user/u").await), json!({"count": 0, "keys": []}));
        let trail = json!({"total": 0, "limit": 50, "offset": 0, "entries": []});
        assert_eq!(data(&key.get(node, "/audit").await), trail);
        let steps = json!({"steps": ["a", "b"]});
        let run = key.send(node, "POST", "/workflows/user/u", steps.clone()).await.is(200);
        assert_eq!(data(&run), json!({"can_run": false, "stopped_by": "a"}));
        let users = key.send(node, "POST", "/workflows/users", steps).await.is(200);
        assert_eq!(data(&users), json!({"count": 0, "members": [], "truncated": false}));
        let body = json!({"api_key": format!("rak_{}", "0".repeat(43))});
        let known = key.send(node, "POST", "/apikeys/validate", body).await.is(200);
        assert_eq!(data(&known), json!({"valid": false, "reason": "unknown_key"}));
        // Writes that would find nothing to write.
        assert_eq!(data(&key.delete(node, "/role/r").await), json!({"result": false}));
        no(&key.post(node, "/permission/r/p").await);
        yes(&key.delete(node, "/permission/r/p").await);
        no(&key.post(node, "/membership/u/r").await);
        yes(&key.delete(node, "/membership/u/r").await);
        let lax = key.send(node, "PUT", "/settings", json!({"strict_users": false})).await.is(200);
        assert_eq!(data(&lax), json!({"strict_users": false}));
        let id = "/apikeys/user/u/00000000-0000-4000-8000-000000000000";
        key.ask(node, "DELETE", id).await.is(404);
        key.send(node, "PATCH", id, json!({"expires_at": super::in_days(1)})).await.is(404);
        let rotated = data(&key.post(node, "/keys/rotate").await);
        assert_ne!(rotated["new_key"], key.text);
        let nothing = json!({"roles": 0, "memberships": 0, "permissions": 0, "api_keys": 0, "settings": 0});
        assert_eq!(rotated["migrated"], nothing);
    }
    assert!(!owns_something(&key.text).await, "something opened an account");
}

#[tokio::test]
async fn the_first_write_that_has_something_to_write_opens_the_account() {
    let world = World::new();
    for (node, (method, path, body)) in [
        ("POST", "/role/r", None),
        ("PUT", "/settings", Some(json!({"strict_users": true}))),
        ("POST", "/apikeys/user/u", None),
        ("POST", "/keys/get_rotate_key", None),
    ]
    .into_iter()
    .enumerate()
    {
        let key = Key::new(&world);
        let ask = key.ask(node, method, path);
        match &body {
            Some(body) => ask.json(body).await.is(200),
            None => ask.await.is(200),
        };
        assert!(owns_something(&key.text).await, "{path}");
    }
}

#[tokio::test]
async fn keys_do_not_see_each_other() {
    let world = World::new();
    let (mine, yours) = (Key::new(&world), Key::new(&world));
    mine.role("admin", &["deploy"], &["john"]).await;
    let (id, secret) = mine.user_key("john").await;
    yours.role("admin", &[], &[]).await;
    for node in 0..3 {
        assert_eq!(yours.get(node, "/members/admin").await.json, json!({"result": []}));
        assert_eq!(data(&yours.get(node, "/has_permission/john/deploy").await)["has_permission"], false);
        assert_eq!(data(&yours.get(node, "/apikeys/user/john").await)["count"], 0);
        yours.ask(node, "DELETE", &format!("/apikeys/user/john/{id}")).await.is(404);
        let body = json!({"api_key": secret});
        let told = yours.send(node, "POST", "/apikeys/validate", body).await.is(200);
        assert_eq!(data(&told), json!({"valid": false, "reason": "unknown_key"}));
    }
    yours.delete(0, "/role/admin").await;
    for node in 0..3 {
        assert_eq!(data(&mine.get(node, "/has_permission/john/deploy").await)["has_permission"], true);
    }
}

#[tokio::test]
async fn a_retry_under_one_idempotency_key_is_given_the_first_answer() {
    let world = World::new();
    let key = Key::new(&world);
    // The first one also opens the account, the second one finds it.
    let make = |node| key.ask(node, "POST", "/apikeys/user/ann").key("k-1");
    let first = make(0).await.is(200);
    for node in 0..3 {
        assert_eq!(data(&make(node).await.is(200)), data(&first));
    }
    assert_eq!(data(&key.get(1, "/apikeys/user/ann").await)["count"], 1);
    assert_eq!(
        code(&key.ask(2, "POST", "/apikeys/user/bob").key("k-1").await.is(422)),
        "idempotency_key_reused"
    );
    // Also where it took the key away that it came with.
    let rotate = |node| key.ask(node, "POST", "/keys/rotate").key("k-2");
    let rotated = data(&rotate(1).await.is(200));
    for node in 0..3 {
        assert_eq!(data(&rotate(node).await.is(200)), rotated);
    }
    let next = Key::with(&world, rotated["new_key"].as_str().unwrap());
    assert_eq!(data(&next.get(2, "/apikeys/user/ann").await)["count"], 1);
    // But an older answer is not for a key that is no longer the account's.
    for node in 0..3 {
        assert_eq!(code(&make(node).await.is(401)), "key_replaced");
    }
}

#[tokio::test]
async fn where_no_accounts_are_opened_for_keys_those_that_are_there_go_on() {
    let node = Own::start(1, "key_accounts = 'off'\n").await;
    let key = Key::new(&node);
    assert_eq!(key.get(0, "/roles").await.json, json!({"result": []}));
    for (method, path) in [("POST", "/role/r"), ("POST", "/apikeys/user/u"), ("POST", "/keys/get_rotate_key")]
    {
        assert_eq!(code(&key.ask(0, method, path).await.is(403)), "key_accounts_off", "{path}");
    }
    let reply = key.send(0, "PUT", "/settings", json!({"strict_users": true})).await.is(403);
    assert_eq!(code(&reply), "key_accounts_off");
    // What has nothing to write is answered as ever.
    no(&key.post(0, "/permission/r/p").await);
    data(&key.post(0, "/keys/rotate").await);
    let hash = ClientKey::parse(&key.text).unwrap().hash();
    assert_eq!(holder::account_of(&node.nodes[0].cluster().view(), &hash).unwrap(), None);
    // An account that was opened before, as it is when the setting is changed.
    let open = Action::OpenKeyAccount { key: hash };
    let account = AccountId::parse("123456789012").unwrap();
    let request = Request::once(Instant::now() + PATIENCE, Origin::default());
    let command = Command {
        account,
        by: Actor::Anonymous,
        origin: Origin::default(),
        expect: Vec::new(),
        action: open,
    };
    node.nodes[0].app().execute(&command, &request).await.unwrap();
    yes(&key.post(0, "/role/r").await);
}

async fn owns_something(key: &str) -> bool {
    let hash = ClientKey::parse(key).unwrap().hash();
    holder::account_of(&World::view(0).await, &hash).unwrap().is_some()
}

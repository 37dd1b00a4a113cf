//! Nobody gets more than somebody who had it gave: a manager of everything is not the root user.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, World};

#[tokio::test]
async fn whoever_manages_all_gives_only_what_they_hold_and_never_touches_the_root() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "manager", &["iam:*"]).await;
    account.role(&world, "money", &["money:*"]).await;
    let manager = account.user(&world, "manager", &["manager"]).await;
    account.user(&world, "rich", &["money"]).await;
    account.service(&world, "rich-robot", &["money"]).await;
    account.user(&world, "poor", &[]).await;
    let root = &account.root;
    let user = |more: Value| {
        let mut body = json!({"name": "new", "password": PASSWORD});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let table: Vec<(&str, String, Value)> = vec![
        ("POST", "/roles".into(), json!({"name": "new", "permissions": ["money:read"]})),
        ("POST", "/roles".into(), json!({"name": "new", "permissions": ["*"]})),
        ("PATCH", "/roles/manager".into(), json!({"add_permissions": ["*"]})),
        ("PATCH", "/roles/money".into(), json!({"add_permissions": ["iam:*", "x"]})),
        ("PUT", "/users/me/roles/money".into(), Value::Null),
        ("PUT", "/users/poor/roles/money".into(), Value::Null),
        ("PUT", "/service-accounts/rich-robot/roles/money".into(), Value::Null),
        ("POST", "/users".into(), user(json!({"roles": ["money"]}))),
        ("POST", "/service-accounts".into(), json!({"name": "new", "roles": ["money"]})),
        // Whose key or password one sets, one becomes.
        ("POST", "/service-accounts/rich-robot/keys".into(), Value::Null),
        ("POST", "/service-accounts/rich-robot/enable".into(), Value::Null),
        ("PUT", "/users/rich/password".into(), json!({"new_password": "x"})),
        ("PATCH", "/users/rich".into(), json!({"email": "mine@x.test"})),
        ("POST", "/users/rich/enable".into(), Value::Null),
        ("PUT", format!("/users/{root}/password"), json!({"new_password": "x"})),
        ("PATCH", format!("/users/{root}"), json!({"email": "mine@x.test"})),
        ("POST", format!("/users/{root}/disable"), Value::Null),
        ("DELETE", format!("/users/{root}"), Value::Null),
        ("DELETE", format!("/users/{root}/sessions"), Value::Null),
        (
            "POST",
            "/transactions".into(),
            json!({"actions": [
                {"action": "create_role", "name": "new"},
                {"action": "assign_role", "principal": "users/me", "role": "new"},
                {"action": "update_role", "role": "new", "changes": {"add_permissions": ["money:read"]}},
            ]}),
        ),
    ];
    let before = world.digest(&account.id).await;
    for (node, (method, path, body)) in table.iter().enumerate() {
        let ask = world.ask(node, method, account.at(path)).by(&manager.token);
        let reply = if body.is_null() { ask.await } else { ask.json(body).await };
        assert_eq!(reply.status, 403, "{method} {path} {body}: {}", reply.json);
    }
    // A role that does not exist yet could become anything.
    let unborn = user(json!({"roles": ["unborn"]}));
    world.post(0, account.at("/users")).by(&manager.token).json(&unborn).await.is(404);
    assert_eq!(world.digest(&account.id).await, before);
    let held = world.get(1, account.at("/users/me/permissions")).by(&manager.token).await.is(200);
    assert_eq!(held.json["items"], json!(["iam:*"]));
    // What is held may be given on.
    let role = json!({"name": "reader", "permissions": ["iam:users:read"]});
    world.post(2, account.at("/roles")).by(&manager.token).json(&role).await.is(201);
    world.put(0, account.at("/users/poor/roles/reader")).by(&manager.token).await.is(200);
    // Root alone is spared by nobody's leave: it may do all of the above to others.
    account.ask(&world, 1, "PUT", "/users/poor/roles/money").await.is(200);
}

//! `/admin/clients` (contract part 4.2).

use serde_json::{Value, json};

use super::{AT, Program, Service, claims, details, has_members, refused};
use crate::harness::{World, unique};

const MEMBERS: [&str; 10] = [
    "id",
    "clientId",
    "name",
    "enabled",
    "scopes",
    "audiences",
    "roles",
    "tokenLifetime",
    "createdAt",
    "updatedAt",
];

#[tokio::test]
async fn a_client_is_made_shown_changed_and_deleted() {
    let world = World::new();
    let service = Service::new(&world).await;
    let name = format!("new-service-{}", unique());
    let body = json!({
        "clientId": name, "name": "New Service", "scopes": ["read:data", "write:data"],
        "audiences": ["data-api"], "enabled": true, "tokenLifetime": 600, "roles": ["service"],
    });
    let made = service.send(0, "POST", "/admin/clients", body).await.is(201);
    has_members(&made.json, &[&MEMBERS[..], &["clientSecret"]].concat());
    assert_eq!((&made.json["clientId"], &made.json["name"]), (&json!(name), &json!("New Service")));
    assert_eq!(made.json["scopes"], json!(["read:data", "write:data"]));
    assert_eq!((&made.json["roles"], &made.json["tokenLifetime"]), (&json!(["service"]), &json!(600)));
    let program = Program::new(&made);
    let path = format!("/admin/clients/{}", program.id);
    let mut shown = made.json.clone();
    shown.as_object_mut().unwrap().remove("clientSecret");
    for node in 0..3 {
        assert_eq!(service.ask(node, "GET", &path).await.is(200).json, shown);
        let list = service.ask(node, "GET", "/admin/clients").await.is(200);
        assert!(!list.json.to_string().contains("ecret"), "no secret is listed");
        let content = list.json["content"].as_array().unwrap();
        assert!(content.contains(&shown), "{content:?}");
        // Its own scopes and those of its other roles.
        let given = service.token_of(node, &program, &json!({})).await.is(200);
        assert_eq!(given.text("scope"), "read:data service:api write:data");
    }
    let old = service.token_of(0, &program, &json!({})).await.is(200).text("access_token");
    let body = json!({"name": "Data", "scopes": ["read:data", "read:more"], "audiences": [], "roles": []});
    let changed = service.send(1, "PUT", &path, body).await.is(200);
    assert_eq!((&changed.json["name"], &changed.json["audiences"]), (&json!("Data"), &json!([])));
    assert_eq!(changed.json["scopes"], json!(["read:data", "read:more"]));
    for node in 0..3 {
        let given = service.token_of(node, &program, &json!({})).await.is(200);
        assert_eq!(given.text("scope"), "read:data read:more");
        // A scope that was taken away is gone from tokens that were given before.
        let ask = world.post(node, format!("{AT}/auth/introspect")).by(&old).json(&json!({"token": old}));
        assert_eq!(ask.await.is(200).json["scope"], "read:data");
    }
    // What is not said stays.
    let same = service.send(2, "PUT", &path, json!({"enabled": true})).await.is(200);
    assert_eq!((&same.json["scopes"], &same.json["tokenLifetime"]), (&changed.json["scopes"], &json!(600)));
    service.ask(0, "DELETE", &path).await.is(204);
    for node in 0..3 {
        for method in ["GET", "PUT", "DELETE"] {
            refused(service.send(node, method, &path, json!({"name": "X"})).await, 404, "not_found");
        }
        refused(service.ask(node, "POST", &format!("{path}/rotate-secret")).await, 404, "not_found");
        refused(service.token_of(node, &program, &json!({})).await, 401, "invalid_client");
        let ask = world.post(node, format!("{AT}/auth/introspect")).by(&old).json(&json!({"token": old}));
        refused(ask.await, 401, "token_revoked");
    }
    // Made again, it has nothing of the one before.
    let body = json!({"clientId": name});
    let again = service.send(1, "POST", "/admin/clients", body).await.is(201);
    assert_eq!((&again.json["scopes"], &again.json["name"]), (&json!([]), &json!(name)));
    refused(service.token_of(2, &program, &json!({})).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_secret_is_rotated_with_the_one_before_good_for_a_while() {
    let world = World::new();
    let service = Service::new(&world).await;
    let first = service.program(&["read:data"], &[]).await;
    let path = format!("/admin/clients/{}/rotate-secret", first.id);
    let token = service.token_of(0, &first, &json!({})).await.is(200).text("access_token");
    let second = Program::new(&service.ask(0, "POST", &path).await.is(200));
    assert_ne!(second.secret, first.secret);
    for node in 0..3 {
        service.token_of(node, &first, &json!({})).await.is(200);
        service.token_of(node, &second, &json!({})).await.is(200);
    }
    let seen = world.post(1, format!("{AT}/auth/introspect")).by(&token).json(&json!({"token": token}));
    assert_eq!(seen.await.is(200).json["active"], true, "nothing has ended yet");
    let third = Program::new(&service.send(1, "POST", &path, json!({})).await.is(200));
    for node in 0..3 {
        refused(service.token_of(node, &first, &json!({})).await, 401, "invalid_client");
        service.token_of(node, &second, &json!({})).await.is(200);
        service.token_of(node, &third, &json!({})).await.is(200);
        let ask = world.post(node, format!("{AT}/auth/introspect")).by(&token).json(&json!({"token": token}));
        refused(ask.await, 401, "token_revoked");
    }
    let fourth = Program::new(&service.send(2, "POST", &path, json!({"revokeOld": true})).await.is(200));
    for node in 0..3 {
        for old in [&first, &second, &third] {
            refused(service.token_of(node, old, &json!({})).await, 401, "invalid_client");
        }
        service.token_of(node, &fourth, &json!({})).await.is(200);
    }
    refused(service.send(0, "POST", &path, json!({"revokeOld": "yes"})).await, 400, "invalid_request");
    let natively = world.get(0, format!("/v1/accounts/default/service-accounts/{}/keys", first.id));
    natively.by(&service.admin).await.is(401);
}

#[tokio::test]
async fn a_client_id_is_unique_and_every_fault_is_told() {
    let world = World::new();
    let service = Service::new(&world).await;
    let program = service.program(&[], &[]).await;
    let create = async |node: usize, body: Value| service.send(node, "POST", "/admin/clients", body).await;
    for (node, name) in [program.client_id.clone(), program.client_id.to_uppercase()].into_iter().enumerate()
    {
        refused(create(node, json!({"clientId": name})).await, 409, "conflict");
    }
    let longest = format!("c{}", "x".repeat(56));
    for (id, is_good) in [
        ("ab", false),
        ("a b", false),
        ("a@b.c", false),
        ("a:b", false),
        (&*format!("x{longest}"), false),
        ("2c9a3f8e-6d0b-4f5e-9a51-0d7c6f1f8b11", false),
        (&*format!("{}{}", &longest[..40], unique()), true),
    ] {
        let reply = create(1, json!({"client_id": id})).await;
        assert_eq!(reply.status, if is_good { 201 } else { 400 }, "{id}: {}", reply.json);
    }
    let bad = json!({
        "clientId": "a b", "name": "a\nb", "scopes": ["a b", "*", "iam:users:read"], "audiences": ["\u{0}"],
        "roles": ["a b"], "tokenLifetime": 5,
    });
    let reply = refused(create(2, bad).await, 400, "validation_failed");
    assert_eq!(details(&reply).len(), 8, "{}", reply.json);
    let many: Vec<String> = (0..101).map(|n| format!("s{n}")).collect();
    refused(create(0, json!({"clientId": "many", "scopes": many})).await, 400, "validation_failed");
    refused(create(0, json!({"clientId": "gone", "roles": ["no-such"]})).await, 400, "validation_failed");
    refused(create(0, json!({})).await, 400, "invalid_request");
    let path = format!("/admin/clients/{}", program.id);
    for bad in [json!({"scopes": ["*"]}), json!({"tokenLifetime": 86_401}), json!({"roles": ["no-such"]})] {
        refused(service.send(1, "PUT", &path, bad).await, 400, "validation_failed");
    }
    // Other service accounts are no clients, and users do not come here.
    let user = service.user(&["user"]).await;
    for (method, path) in [("GET", "/admin/clients"), ("POST", "/admin/clients"), ("GET", &*path)] {
        let ask = world.ask(2, method, format!("{AT}{path}")).by(&user.access);
        refused(ask.json(&json!({"clientId": "abc"})).await, 403, "insufficient_scope");
    }
    for id in ["x", "00000000-0000-4000-8000-000000000000", &user.id] {
        refused(service.ask(0, "GET", &format!("/admin/clients/{id}")).await, 404, "not_found");
    }
}

#[tokio::test]
async fn a_retry_under_the_same_key_gets_the_same_secret() {
    let world = World::new();
    let service = Service::new(&world).await;
    let body = json!({"clientId": format!("keyed-{}", unique())});
    let key = format!("client-{}", unique());
    let mut made = Vec::new();
    for node in 0..3 {
        made.push(service.ask(node, "POST", "/admin/clients").key(&key).json(&body).await.is(201).json);
    }
    assert_eq!((&made[0], &made[1]), (&made[1], &made[2]));
    let path = format!("/admin/clients/{}", made[0]["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate-secret");
    let mut secrets = Vec::new();
    for node in 0..3 {
        secrets.push(service.ask(node, "POST", &rotate).key(&key).await.is(200).text("clientSecret"));
    }
    secrets.dedup();
    assert_eq!(secrets.len(), 1);
    for node in 0..3 {
        service.ask(node, "DELETE", &path).key(&key).await.is(204);
    }
    assert!(claims(&service.admin)["scopes"].as_array().unwrap().contains(&json!("admin:clients")));
}

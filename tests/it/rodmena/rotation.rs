//! Replacing the client key, and recovering one that is lost (contract part 3.4).

use serde_json::{Value, json};

use super::{Key, code, data, new_key};
use crate::client::Client;
use crate::harness::World;

async fn recover(world: &Client, node: usize, body: Value) -> crate::client::Reply {
    world.post(node, "/api/keys/recover").json(&body).await
}

#[tokio::test]
async fn a_new_key_owns_all_and_the_old_one_nothing_at_once() {
    let world = World::new();
    let mut key = Key::new(&world);
    key.role("admin", &["deploy", "build"], &["john", "ann"]).await;
    key.role("ops", &["deploy"], &["ann"]).await;
    let (_, secret) = key.user_key("ann").await;
    for node in 0..3 {
        let rotated = data(&key.post(node, "/keys/rotate").await);
        let migrated = json!({"roles": 2, "memberships": 2, "permissions": 2, "api_keys": 1, "settings": 0});
        assert_eq!(rotated["migrated"], migrated);
        let next = Key::with(&world, rotated["new_key"].as_str().unwrap());
        for other in 0..3 {
            assert_eq!(key.get(other, "/roles").await.json, json!({"result": []}));
            assert_eq!(data(&key.get(other, "/has_permission/ann/deploy").await)["has_permission"], false);
            assert_eq!(next.get(other, "/roles").await.json["result"].as_array().unwrap().len(), 2);
            assert_eq!(data(&next.get(other, "/has_permission/ann/deploy").await)["has_permission"], true);
            let body = json!({"api_key": secret});
            let told = data(&next.send(other, "POST", "/apikeys/validate", body).await.is(200));
            assert_eq!(told["user"], "ann", "keys of users stay good");
        }
        key = next;
    }
    key.send(0, "PUT", "/settings", json!({"strict_users": true})).await.is(200);
    assert_eq!(data(&key.post(1, "/keys/rotate").await)["migrated"]["settings"], 1);
}

#[tokio::test]
async fn what_replaces_a_lost_key_is_given_out_once_and_good_once() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["deploy"], &["john"]).await;
    let first = data(&key.post(0, "/keys/get_rotate_key").await)["rotate_key"].clone();
    let text = first.as_str().unwrap();
    assert!(text.starts_with("rrk_") && text.len() == 47, "{text}");
    for node in 0..3 {
        let reply = key.ask(node, "POST", "/keys/get_rotate_key").await.is(409);
        assert_eq!(reply.json["result"], false);
        assert_eq!(reply.json["reason"], "rotate_key_already_issued");
        assert!(reply.json["hint"].is_string());
    }
    let mut secret = first;
    let mut old = key.text.clone();
    for node in 0..3 {
        let recovered = data(&recover(&world, node, json!({"rotate_key": secret})).await.is(200));
        assert_eq!(recovered.as_object().unwrap().len(), 2);
        let new = recovered["client_key"].as_str().unwrap();
        for other in 0..3 {
            assert_eq!(
                code(&recover(&world, other, json!({"rotate_key": secret})).await.is(401)),
                "bad_rotate_key"
            );
            assert_eq!(Key::with(&world, &old).get(other, "/roles").await.json, json!({"result": []}));
            let verdict = Key::with(&world, new).get(other, "/has_permission/john/deploy").await;
            assert_eq!(data(&verdict)["has_permission"], true);
        }
        // It was given out, whatever has become of it.
        Key::with(&world, new).ask(node, "POST", "/keys/get_rotate_key").await.is(409);
        assert_ne!(recovered["rotate_key"], secret);
        secret = recovered["rotate_key"].clone();
        new.clone_into(&mut old);
    }
    // An ordinary replacement leaves it good.
    let rotated = data(&Key::with(&world, &old).post(0, "/keys/rotate").await);
    let wanted = new_key();
    let body = json!({"rotate_key": secret, "new_client_key": wanted.to_uppercase()});
    let recovered = data(&recover(&world, 1, body).await.is(200));
    assert_eq!(recovered["client_key"], wanted);
    let owner = Key::with(&world, &wanted);
    assert_eq!(data(&owner.get(2, "/has_permission/john/deploy").await)["has_permission"], true);
    let replaced = Key::with(&world, rotated["new_key"].as_str().unwrap());
    assert_eq!(replaced.get(2, "/roles").await.json, json!({"result": []}));
}

#[tokio::test]
async fn a_recovery_whose_answer_was_lost_is_asked_for_again_under_its_idempotency_key() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &[], &[]).await;
    let secret = data(&key.post(0, "/keys/get_rotate_key").await)["rotate_key"].clone();
    let body = json!({"rotate_key": secret});
    let again = |node, name: &str| world.post(node, "/api/keys/recover").key(name).json(&body).into_future();
    let name = new_key();
    let first = data(&again(0, &name).await.is(200));
    for node in 0..3 {
        assert_eq!(data(&again(node, &name).await.is(200)), first);
        // Under another name it is another request, and the secret has been used.
        again(node, &new_key()).await.is(401);
    }
    let owner = Key::with(&world, first["client_key"].as_str().unwrap());
    assert_eq!(owner.get(1, "/roles").await.json["result"][0]["role"], "admin");
}

#[tokio::test]
async fn bad_recoveries_change_nothing() {
    let world = World::new();
    let (key, other) = (Key::new(&world), Key::new(&world));
    key.role("admin", &[], &[]).await;
    other.role("theirs", &[], &[]).await;
    let secret = data(&key.post(0, "/keys/get_rotate_key").await)["rotate_key"].clone();
    for node in 0..3 {
        for unknown in [json!("x"), json!(""), json!(format!("rrk_{}", "0".repeat(43))), json!(key.text)] {
            let reply = recover(&world, node, json!({"rotate_key": unknown})).await.is(401);
            assert_eq!((code(&reply), reply.header("www-authenticate")), ("bad_rotate_key", Some("Bearer")));
        }
        for bad in [json!({}), json!({"rotate_key": 5}), json!([]), json!({"rotate_key": secret, "x": 1})] {
            recover(&world, node, bad).await.is(400);
        }
        world.post(node, "/api/keys/recover").await.is(400);
        for wanted in ["x", &new_key().replace('-', "")] {
            let body = json!({"rotate_key": secret, "new_client_key": wanted});
            assert_eq!(code(&recover(&world, node, body).await.is(400)), "invalid_value");
        }
        let taken = json!({"rotate_key": secret, "new_client_key": other.text});
        assert_eq!(code(&recover(&world, node, taken).await.is(400)), "key_taken");
        // Whoever comes with a key has not lost it, but that is no matter.
        let with_key = key.send(node, "POST", "/keys/recover", json!({"rotate_key": "x"})).await;
        assert_eq!(with_key.status, 401);
    }
    assert_eq!(key.get(1, "/roles").await.json["result"][0]["role"], "admin");
    assert_eq!(other.get(2, "/roles").await.json["result"][0]["role"], "theirs");
    data(&recover(&world, 0, json!({"rotate_key": secret})).await.is(200));
}

//! Keys of users (contract part 3.4).

use conclave::auth::client_key::is_subject_key;
use serde_json::{Value, json};

use super::{Key, code, data, in_days, is_naive, yes};
use crate::harness::{World, eventually};

async fn validate(key: &Key<'_>, node: usize, secret: &str) -> Value {
    data(&key.send(node, "POST", "/apikeys/validate", json!({"api_key": secret})).await.is(200))
}

#[tokio::test]
async fn a_key_is_shown_once_and_says_whose_it_is() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["deploy"], &["ann"]).await;
    for node in 0..3 {
        let user = format!("ann-{node}");
        yes(&key.post(node, &format!("/membership/{user}/admin")).await);
        let end = in_days(30);
        let body = json!({"label": "My laptop_1.x", "expires_at": end});
        let made = data(&key.send(node, "POST", &format!("/apikeys/user/{user}"), body).await.is(200));
        let secret = made["api_key"].as_str().unwrap();
        assert!(is_subject_key(secret), "{secret}");
        assert_eq!(made["key_prefix"], secret[..12]);
        assert_eq!((&made["user"], &made["label"]), (&json!(user), &json!("My laptop_1.x")));
        is_naive(made["created"].as_str().unwrap());
        assert_eq!(made["expires_at"], format!("{end}000"));
        assert_eq!(made.as_object().unwrap().len(), 7);
        let id = &made["key_id"];
        for other in 0..3 {
            let listed = key.get(other, &format!("/apikeys/user/{user}")).await;
            assert!(!String::from_utf8_lossy(&listed.body).contains(secret));
            let mut listed = data(&listed);
            // When it was last asked about is written down some time later.
            listed["keys"][0].as_object_mut().unwrap().remove("last_used_at").unwrap();
            let row = json!({
                "key_id": id, "key_prefix": made["key_prefix"], "label": made["label"], "is_active": true,
                "created": made["created"], "revoked_at": null, "expires_at": made["expires_at"],
            });
            assert_eq!(listed, json!({"count": 1, "keys": [row]}));
            let good = json!({
                "valid": true, "user": user, "key_id": id, "label": made["label"], "expires_at": made["expires_at"],
            });
            assert_eq!(validate(&key, other, secret).await, good);
            for (permission, has) in [("deploy", true), ("other", false)] {
                let body = json!({"api_key": secret, "permission": permission});
                let told = data(&key.send(other, "POST", "/apikeys/check_permission", body).await.is(200));
                assert_eq!(told, json!({"valid": true, "user": user, "key_id": id, "has_permission": has}));
            }
        }
    }
    // No body, and one without a label.
    let plain = data(&key.post(0, "/apikeys/user/bob").await);
    assert_eq!((&plain["label"], &plain["expires_at"]), (&Value::Null, &Value::Null));
    let body = json!({"label": null, "expires_at": null});
    key.send(1, "POST", "/apikeys/user/bob", body).await.is(200);
    let listed = data(&key.get(2, "/apikeys/user/bob").await);
    assert_eq!(
        (&listed["count"], &listed["keys"][0]["key_id"]),
        (&json!(2), &plain["key_id"]),
        "oldest first"
    );
}

#[tokio::test]
async fn a_key_is_revoked_once_and_refused_everywhere() {
    let world = World::new();
    let key = Key::new(&world);
    for node in 0..3 {
        let (id, secret) = key.user_key("ann").await;
        let path = format!("/apikeys/user/ann/{id}");
        let first = data(&key.delete(node, &path).await);
        assert_eq!(first, json!({"revoked": true, "already_revoked": false}));
        for other in 0..3 {
            assert_eq!(validate(&key, other, &secret).await, json!({"valid": false, "reason": "revoked"}));
            let body = json!({"api_key": secret, "permission": "x"});
            let told = data(&key.send(other, "POST", "/apikeys/check_permission", body).await.is(200));
            assert_eq!(told, json!({"valid": false, "reason": "revoked"}));
            let again = data(&key.delete(other, &path).await);
            assert_eq!(again, json!({"revoked": true, "already_revoked": true}));
            let upper = data(&key.delete(other, &format!("/apikeys/user/ann/{}", id.to_uppercase())).await);
            assert_eq!(upper["already_revoked"], true);
        }
        // Of another user, or of nobody, it is none.
        for path in
            [format!("/apikeys/user/bob/{id}"), path.replace(&id, "00000000-0000-4000-8000-000000000000")]
        {
            key.ask(node, "DELETE", &path).await.is(404);
            key.send(node, "PATCH", &path, json!({"expires_at": in_days(1)})).await.is(404);
        }
        let late = key.send(node, "PATCH", &path, json!({"expires_at": in_days(1)})).await.is(400);
        assert_eq!(code(&late), "invalid_value", "a revoked key has ended");
    }
    let keys = data(&key.get(0, "/apikeys/user/ann").await)["keys"].clone();
    for row in keys.as_array().unwrap() {
        assert_eq!(row["is_active"], false);
        is_naive(row["revoked_at"].as_str().unwrap());
    }
}

#[tokio::test]
async fn the_end_of_a_key_only_moves_closer() {
    let world = World::new();
    let key = Key::new(&world);
    let (id, _) = key.user_key("ann").await;
    let path = format!("/apikeys/user/ann/{id}");
    for (node, days) in [300, 30, 3].into_iter().enumerate() {
        let end = in_days(days);
        let moved = data(&key.send(node, "PATCH", &path, json!({"expires_at": end})).await.is(200));
        assert_eq!((&moved["key_id"], &moved["expires_at"]), (&json!(id), &json!(format!("{end}000"))));
        for later in
            [json!(end), json!(in_days(days + 1)), json!(in_days(366)), json!("2020-01-01"), json!("soon")]
        {
            let reply = key.send(node + 1, "PATCH", &path, json!({"expires_at": later})).await.is(400);
            assert_eq!(code(&reply), "invalid_value", "{later}");
        }
    }
    for bad in [
        json!({}),
        json!({"expires_at": null}),
        json!({"expires_at": 5}),
        json!({"expires_at": in_days(1), "x": 1}),
    ] {
        key.send(0, "PATCH", &path, bad).await.is(400);
    }
    // A zone is heeded, and what has ended is told so.
    let (id, secret) = key.user_key("bob").await;
    let soon = conclave::clock::LogTime(conclave::clock::Clock::now(&conclave::clock::SystemClock).0 + 1_500);
    let end = json!({"expires_at": conclave::clock::rfc3339(soon).replace('Z', "+00:00")});
    let reply = key.send(1, "PATCH", &format!("/apikeys/user/bob/{id}"), end).await;
    // On a machine that is very busy the moment may be over before the cluster sees it.
    if reply.status == 200 {
        for node in 0..3 {
            eventually("it has ended", async || {
                let told = validate(&key, node, &secret).await;
                (told == json!({"valid": false, "reason": "expired"})).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_user_has_25_live_keys_at_most() {
    let world = World::new();
    let key = Key::new(&world);
    let mut ids = Vec::new();
    for _ in 0..25 {
        ids.push(key.user_key("ann").await.0);
    }
    for node in 0..3 {
        let reply = key.ask(node, "POST", "/apikeys/user/ann").await.is(400);
        assert_eq!(code(&reply), "limit_reached");
    }
    key.user_key("bob").await;
    key.delete(0, &format!("/apikeys/user/ann/{}", ids[0])).await;
    key.user_key("ann").await;
    key.ask(1, "POST", "/apikeys/user/ann").await.is(400);
    assert_eq!(data(&key.get(2, "/apikeys/user/ann").await)["count"], 26);
}

#[tokio::test]
async fn bad_requests_about_keys() {
    let world = World::new();
    let key = Key::new(&world);
    let secret = format!("rak_{}", "0".repeat(43));
    for (node, body) in [
        json!({"label": ""}),
        json!({"label": "x".repeat(65)}),
        json!({"label": "a<b"}),
        json!({"label": 5}),
        json!({"name": "x"}),
        json!({"expires_at": "2020-01-01T00:00:00"}),
        json!({"expires_at": in_days(366)}),
        json!({"expires_at": "soon"}),
        json!({"expires_at": 5}),
        json!([]),
        json!("x"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = key.send(node, "POST", "/apikeys/user/ann", body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.json);
    }
    assert_eq!(data(&key.get(0, "/apikeys/user/ann").await)["count"], 0);
    for (node, bad) in ["", "x", &secret[..46], &format!("{secret}0"), &secret.replace("rak_", "rrk_")]
        .into_iter()
        .enumerate()
    {
        let reply = key.send(node, "POST", "/apikeys/validate", json!({"api_key": bad})).await.is(400);
        assert_eq!(code(&reply), "invalid_value");
        assert!(bad.is_empty() || bad == "x" || !reply.json.to_string().contains(bad), "it quotes the key");
        let body = json!({"api_key": bad, "permission": "p"});
        key.send(node, "POST", "/apikeys/check_permission", body).await.is(400);
    }
    for path in ["/apikeys/validate", "/apikeys/check_permission"] {
        key.ask(0, "POST", path).await.is(400);
        key.send(1, "POST", path, json!({})).await.is(400);
    }
    key.send(2, "POST", "/apikeys/check_permission", json!({"api_key": secret})).await.is(400);
    let body = json!({"api_key": secret, "permission": "a b"});
    key.send(2, "POST", "/apikeys/check_permission", body).await.is(400);
}

#[tokio::test]
async fn when_a_key_was_last_asked_about_is_written_down() {
    let world = World::new();
    let key = Key::new(&world);
    let (_, secret) = key.user_key("ann").await;
    let last =
        async |node| data(&key.get(node, "/apikeys/user/ann").await)["keys"][0]["last_used_at"].clone();
    assert_eq!(last(0).await, Value::Null);
    assert_eq!(validate(&key, 1, &secret).await["valid"], true);
    for node in 0..3 {
        let at = eventually("the use is written down", async || last(node).await.as_str().map(str::to_owned))
            .await;
        is_naive(&at);
    }
}

//! The shapes of answers, and what is refused before anything is looked at (contract parts 3.1 and 7).

use conclave::api::Api;
use serde_json::{Value, json};

use super::{Holder, Key, code, data, is_naive, yes};
use crate::harness::{World, eventually};
use crate::processes::Processes;
use crate::requests::of_client_key;

#[tokio::test]
async fn probes_take_no_key() {
    let world = World::new();
    for node in 0..3 {
        assert_eq!(world.get(node, "/ping").await.is(200).json, json!({"message": "PONG"}));
        let health = world.get(node, "/health").await.is(200);
        assert_eq!(
            (health.text("status"), health.text("service")),
            ("healthy".to_owned(), "conclave".to_owned())
        );
        assert!(health.json["version"].is_string() && health.json["environment"].is_string());
        let ready = world.get(node, "/readyz").await.is(200);
        assert_eq!(ready.json["status"], "ready");
        assert!(ready.json["pool"]["size"].as_u64().unwrap() > 0, "{}", ready.json);
    }
}

#[tokio::test]
async fn a_body_is_not_looked_at_where_the_path_says_all() {
    let world = World::new();
    let key = Key::new(&world);
    for (node, body) in ["", "null", "{\"surprise\": 1}", "no JSON", "[[[["].into_iter().enumerate() {
        for path in ["/role/admin", "/permission/admin/deploy", "/membership/john/admin"] {
            let ask = key.ask(node, "POST", path).header("content-type", "application/json");
            yes(&ask.body(body).await.is(200));
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            yes(&key.ask(node, "POST", "/role/admin").header("content-type", kind).body(body).await.is(200));
        }
    }
    let rotated =
        key.ask(0, "POST", "/keys/rotate").header("content-type", "application/json").body("no JSON").await;
    data(&rotated.is(200));
}

#[tokio::test]
async fn bad_names_are_bad_requests_in_every_place_of_every_path() {
    let world = World::new();
    let holder = Holder::make(&world).await;
    let mut tried = 0;
    for (node, route) in Api::routes().iter().filter(|route| of_client_key(route)).enumerate() {
        let good = holder.sample(route);
        for part in route.pattern.split('/').filter(|part| part.starts_with('{')) {
            let (too_long, bad): (usize, &[&str]) = match part {
                "{role}" => (65, &["a%20b", "a%3Ab", "a.b", "a%40b", "*", "%C3%A9", "a%2Bb"]),
                "{user}" => (65, &["a%20b", "a*b", "%C3%A9", "a%2Cb", "a%22b"]),
                // A workflow that somebody is to run is named no longer than a role.
                "{workflow}" if route.pattern.contains("can_run") => (65, &["a%20b", "a%3Ab", "*"]),
                "{permission}" | "{workflow}" => (129, &["a%20b", "a%3Ab", "a.b", "*", "%C3%A9"]),
                "{key}" => (65, &["x", "67e5504410b1426f9247bb680e5fe0c8"]),
                other => panic!("{other}"),
            };
            let (too_long, longest) = ("x".repeat(too_long), "x".repeat(too_long - 1));
            let with = |name: &str| {
                let mut sample = good.clone();
                sample.path = route.pattern.replace(part, name);
                for (parameter, value) in [
                    ("{role}", "admin"),
                    ("{permission}", "deploy"),
                    ("{user}", "john"),
                    ("{workflow}", "deploy"),
                ] {
                    sample.path = sample.path.replace(parameter, value);
                }
                sample.path = sample.path.replace("{key}", "00000000-0000-4000-8000-000000000000");
                sample
            };
            for name in bad.iter().copied().chain([too_long.as_str()]) {
                let sample = with(name);
                let reply = sample.ask(&world, node).by(sample.proof("")).await;
                assert_eq!((reply.status, code(&reply)), (400, "invalid_value"), "{} {name}", route.name);
                tried += 1;
            }
            if part != "{key}" {
                let sample = with(&longest);
                let reply = sample.ask(&world, node).by(sample.proof("")).await;
                assert!(matches!(reply.status, 200 | 404), "{} {longest}: {}", route.name, reply.json);
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[tokio::test]
async fn names_come_percent_encoded() {
    let world = World::new();
    let key = Key::new(&world);
    yes(&key.post(0, "/role/admin").await);
    for (name, path) in [
        ("alice@example.com", "alice@example.com"),
        ("alice@example.com", "alice%40example.com"),
        ("auth0|123:x+y", "auth0%7C123%3Ax%2By"),
        ("plain", "%70lain"),
    ] {
        yes(&key.post(1, &format!("/membership/{path}/admin")).await);
        for node in 0..3 {
            let roles = json!({"result": [{"user": name, "role": "admin"}]});
            assert_eq!(key.get(node, &format!("/user_roles/{path}")).await.json, roles);
        }
    }
}

#[tokio::test]
async fn answers_hold_at_a_revision_and_can_be_asked_for_the_past() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["deploy"], &["john"]).await;
    let before = key.get(0, "/has_permission/john/deploy").await.revision();
    let removed = key.delete(1, "/membership/john/admin").await;
    assert!(removed.revision() > before);
    for node in 0..3 {
        let ask = |how: &str| {
            key.ask(node, "GET", "/has_permission/john/deploy").header("conclave-consistency", how)
        };
        let has = |reply: &crate::client::Reply| data(reply)["has_permission"].clone();
        assert_eq!(has(&ask("linearizable").await.is(200)), false);
        assert_eq!(has(&ask(&format!("at-least={}", removed.revision())).await.is(200)), false);
        let past = ask(&format!("as-of={before}")).await.is(200);
        assert_eq!((has(&past), past.revision()), (json!(true), before));
        assert_eq!(ask("sometime").await.is(400).json["details"]["code"], "invalid_consistency");
        assert_eq!(code(&ask("as-of=999999999").await.is(400)), "revision_ahead");
    }
}

#[tokio::test]
async fn without_a_leader_nothing_is_answered_but_not_now() {
    let mut processes = Processes::start("").await;
    let client = processes.client();
    let key = Key::new(&client);
    key.role("admin", &["deploy"], &["john"]).await;
    processes.kill(0);
    processes.kill(1);
    for (method, path) in [
        ("GET", "/has_permission/john/deploy"),
        ("GET", "/roles"),
        ("POST", "/role/other"),
        ("DELETE", "/role/admin"),
        ("POST", "/keys/rotate"),
    ] {
        let reply = eventually("it knows that it is alone", async || {
            let reply = key.ask(2, method, path).send().await.ok()?;
            assert!(matches!(reply.status, 200 | 503), "{method} {path}: {}", reply.json);
            (reply.status == 503).then_some(reply)
        })
        .await;
        assert!(reply.header("retry-after").is_some(), "{method} {path}");
        assert!(reply.header("location").is_none());
        assert_eq!((&reply.json["success"], &reply.json["code"]), (&Value::Bool(false), &json!(503)));
        is_naive(reply.json["timestamp"].as_str().unwrap());
    }
    client.get(2, "/ping").await.is(200);
    client.get(2, "/readyz").await.is(503);
    for node in 0..2 {
        processes.spawn(node);
    }
    for node in 0..3 {
        processes.ready(node).await;
        assert_eq!(data(&key.get(node, "/has_permission/john/deploy").await)["has_permission"], true);
    }
}

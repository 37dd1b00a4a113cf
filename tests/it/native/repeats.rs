//! A request sent twice under one `Idempotency-Key` acts once, whichever nodes it reaches.

use serde_json::{Value, json};

use crate::harness::{NEW_PASSWORD, PASSWORD, World, unique};

#[tokio::test]
async fn a_retry_gets_the_first_answer_on_any_node() {
    let world = World::new();
    let account = world.account().await;
    let robot = account.service(&world, "robot", &[]).await;
    account.role(&world, "r", &[]).await;
    account.user(&world, "ann", &[]).await;
    let table: Vec<(&str, String, Value)> = vec![
        ("POST", "/users".to_owned(), json!({"name": "bob", "password": PASSWORD})),
        ("POST", "/service-accounts".to_owned(), json!({"name": "other"})),
        ("POST", "/service-accounts".to_owned(), json!({"name": "third", "key_form": "uuid"})),
        ("POST", format!("/service-accounts/{}/keys", robot.id), json!({"label": "l"})),
        ("POST", "/roles".to_owned(), json!({"name": "s"})),
        ("POST", "/roles".to_owned(), json!({"name": "r"})),
        ("PATCH", "/roles/r".to_owned(), json!({"add_permissions": ["x"]})),
        ("PUT", "/users/ann/roles/r".to_owned(), Value::Null),
        ("DELETE", "/users/ann/roles/r".to_owned(), Value::Null),
        ("POST", "/users/ann/disable".to_owned(), Value::Null),
        (
            "POST",
            "/transactions".to_owned(),
            json!({"actions": [
                {"action": "create_user", "name": "carl", "password": PASSWORD},
            ]}),
        ),
        ("POST", "/sign-in".to_owned(), json!({"login": account.email, "password": PASSWORD})),
        ("POST", "/service-accounts/sign-in".to_owned(), json!({"api_key": robot.key.clone().unwrap().1})),
        ("POST", "/signing-keys".to_owned(), Value::Null),
        ("DELETE", "/roles/r".to_owned(), Value::Null),
    ];
    for (index, (method, path, body)) in table.iter().enumerate() {
        let key = format!("retry-{index}");
        let ask = |node| {
            let request = account.ask(&world, node, method, path).key(&key);
            if body.is_null() { request } else { request.json(body) }
        };
        let first = ask(index).await;
        let digest = world.digest(&account.id).await;
        for node in [index + 1, index + 2, index] {
            let again = ask(node).await;
            assert_eq!(again.status, first.status, "{method} {path}");
            assert_eq!(again.body_but_request_id(), first.body_but_request_id(), "{method} {path}");
            if first.status < 300 {
                assert_eq!(again.revision(), first.revision(), "{method} {path}");
                assert_eq!(again.header("etag"), first.header("etag"));
            }
        }
        assert_eq!(world.digest(&account.id).await, digest, "{method} {path} acted again");
        assert!(first.status < 300 || first.json["code"] == "role_exists", "{method} {path}: {}", first.json);
    }
}

#[tokio::test]
async fn an_answer_stands_even_when_its_thing_has_changed_or_gone() {
    let world = World::new();
    let account = world.account().await;
    let body = json!({"name": "bob", "password": PASSWORD});
    let make = |node| account.ask(&world, node, "POST", "/users").key("make").json(&body);
    let first = make(0).await.is(201);
    account.send(&world, 1, "PATCH", "/users/bob", json!({"first_name": "Bob"})).await.is(200);
    assert_eq!(make(1).await.is(201).json, first.json);
    account.ask(&world, 2, "DELETE", "/users/bob").await.is(204);
    assert_eq!(make(2).await.is(201).json, first.json);
    account.ask(&world, 0, "GET", "/users/bob").await.is(404);
}

#[tokio::test]
async fn names_mean_in_a_retry_what_they_meant_at_first() {
    let world = World::new();
    let account = world.account().await;
    account.user(&world, "ann", &[]).await;
    account.service(&world, "robot", &[]).await;
    let rename =
        |node| account.ask(&world, node, "PATCH", "/users/ann").key("r").json(&json!({"name": "anna"}));
    let first = rename(0).await.is(200);
    let retries = |method: &'static str, path: &'static str, key: &'static str, body: Value| {
        let (account, world) = (&account, &world);
        async move {
            for node in 0..3 {
                let ask = account.ask(world, node, method, path).key(key);
                let reply = if body.is_null() { ask.await } else { ask.json(&body).await };
                assert_eq!(reply.status, if method == "POST" { 200 } else { 204 }, "{path}: {}", reply.json);
            }
        }
    };
    // Another who is called so by now is not meant, either.
    account.user(&world, "ann", &[]).await;
    for node in 0..3 {
        assert_eq!(rename(node).await.is(200).json, first.json);
    }
    retries("DELETE", "/users/anna", "d", Value::Null).await;
    retries("DELETE", "/service-accounts/robot", "d", Value::Null).await;
    let body = json!({"actions": [{"action": "delete_user", "user": "ann"}]});
    retries("POST", "/transactions", "t", body).await;
    account.ask(&world, 0, "DELETE", "/users/nobody").key("n").await.is(404);
}

#[tokio::test]
async fn one_key_is_one_request_and_another_under_it_is_refused() {
    let world = World::new();
    let account = world.account().await;
    let post = async |node, path: &str, body: Value| {
        account.ask(&world, node, "POST", path).key("k").json(&body).await
    };
    post(0, "/roles", json!({"name": "a"})).await.is(201);
    for node in 0..3 {
        post(node, "/roles", json!({"name": "b"})).await.says(422, "idempotency_key_reused");
    }
    // Under another route it is another request: clients number them by kind.
    post(1, "/users", json!({"name": "a", "password": PASSWORD})).await.is(201);
    // What the path names is part of the request.
    for name in ["one", "two"] {
        account.user(&world, name, &[]).await;
    }
    let delete = |node, name| account.ask(&world, node, "DELETE", &format!("/users/{name}")).key("d");
    delete(0, "one").await.is(204);
    for node in 0..3 {
        delete(node, "two").await.says(422, "idempotency_key_reused");
    }
    account.ask(&world, 0, "GET", "/users/two").await.is(200);
    // Two callers never share a key.
    account.role(&world, "maker", &["iam:roles:write"]).await;
    let (ann, bob) =
        (account.user(&world, "ann", &["maker"]).await, account.user(&world, "bob", &["maker"]).await);
    for (name, user) in [("by-ann", &ann), ("by-bob", &bob)] {
        let made = world.post(0, account.at("/roles")).by(&user.token).key("k").json(&json!({"name": name}));
        assert_eq!(made.await.is(201).json["name"], json!(name));
    }
    for bad in ["", "a b", &"x".repeat(256)] {
        let refused = account.ask(&world, 0, "POST", "/roles").key(bad).json(&json!({"name": "z"}));
        refused.await.says(400, "invalid_idempotency_key");
    }
    let twice = account.ask(&world, 0, "POST", "/roles").key("a").key("a").json(&json!({"name": "z"}));
    twice.await.says(400, "duplicate_header");
}

#[tokio::test]
async fn a_sign_up_is_repeated_by_nobody_else() {
    let world = World::new();
    let body = json!({"email": format!("retry-{}@stories.test", unique()), "password": PASSWORD});
    let key = format!("sign-up-{}", unique());
    let sign_up = |node, body: &Value| world.post(node, "/v1/accounts").key(&key).json(body);
    let first = sign_up(0, &body).await.is(201);
    for node in 0..3 {
        assert_eq!(sign_up(node, &body).await.is(201).json, first.json);
        let mut other = body.clone();
        other["password"] = json!(NEW_PASSWORD);
        sign_up(node, &other).await.says(422, "idempotency_key_reused");
    }
    world.post(1, "/v1/accounts").json(&body).await.says(409, "email_taken");
}

#[tokio::test]
async fn every_guess_is_counted_also_when_all_have_one_key() {
    let world = World::new();
    let account = world.account().await;
    account.user(&world, "ann", &[]).await;
    let guess = |node, password: String| {
        let body = json!({"login": "ann", "password": password});
        world.post(node, account.at("/sign-in")).key("one-for-all").json(&body)
    };
    for node in 0..5 {
        let wrong = format!("wrong {node}");
        let first = guess(node, wrong.clone()).await.says(401, "bad_credentials");
        let again = guess(node + 1, wrong).await;
        assert_eq!(again.body_but_request_id(), first.body_but_request_id());
    }
    guess(0, PASSWORD.to_owned()).await.says(401, "bad_credentials");
}

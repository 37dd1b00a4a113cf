//! Users: made, found, changed, signed in, given roles.

use serde_json::json;

use crate::harness::{PASSWORD, World, unique};

#[tokio::test]
async fn a_katamari_user_lives_on_three_nodes() {
    let world = World::new();
    let account = world.account().await;
    // Roles need not exist yet when the root user gives them.
    let body = json!({"name": "alice", "password": "super_secure_password", "roles": ["admin", "dev"]});
    let made = account.send(&world, 0, "POST", "/users", body.clone()).await.is(201);
    assert_eq!(made.header("location"), Some(account.at(&format!("/users/{}", made.text("id"))).as_str()));
    assert!(made.json.get("password").is_none() && made.json.get("roles").is_none());
    account.send(&world, 1, "POST", "/users", body).await.says(409, "name_taken");
    for bad in [
        json!({"name": "", "password": PASSWORD}),
        json!({"name": "bob", "password": ""}),
        json!({"password": PASSWORD}),
        json!({"name": "bob"}),
        json!({"name": "bob", "password": PASSWORD, "roles": ["a b"]}),
        json!({"name": "bob", "password": PASSWORD, "is_root": true}),
        json!({"name": "bob", "password": PASSWORD, "status": "active"}),
    ] {
        account.send(&world, 2, "POST", "/users", bad).await.is(400);
    }
    for (login, password) in [("alice", "wrong"), ("nobody", "super_secure_password"), ("", "x")] {
        account.sign_in(&world, 0, login, password).await.says(401, "bad_credentials");
    }
    let one = account.sign_in(&world, 1, "ALICE", "super_secure_password").await.is(200);
    let two = account.sign_in(&world, 2, "alice", "super_secure_password").await.is(200);
    assert_ne!(one.text("access_token"), two.text("access_token"), "two of one second differ");
    assert_eq!((&one.json["token_type"], &one.json["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let opened = humantime::parse_rfc3339(made.json["created_at"].as_str().unwrap()).unwrap();
    let ends = humantime::parse_rfc3339(&one.text("session_expires_at")).unwrap();
    assert_eq!(ends.duration_since(opened).unwrap().as_secs() / 3600, 7 * 24);
}

#[tokio::test]
async fn a_user_is_found_by_id_name_address_and_me() {
    let world = World::new();
    let account = world.account().await;
    let body = json!({"name": "ann", "email": "Ann@Example.com", "password": PASSWORD, "first_name": "Ann"});
    let made = account.send(&world, 0, "POST", "/users", body).await.is(201);
    let id = made.text("id");
    for (node, name) in [id.as_str(), "ann", "ANN", "ann@example.com", "ann%40example.com"].iter().enumerate()
    {
        let found = account.ask(&world, node, "GET", &format!("/users/{name}")).await.is(200);
        assert_eq!((&found.json, found.tag()), (&made.json, made.tag()));
    }
    let token = account.sign_in(&world, 1, "ann@example.com", PASSWORD).await.is(200).text("access_token");
    let own = world.get(2, account.at("/users/me")).by(&token).await.is(200);
    assert_eq!(own.json, made.json);
    let root = account.ask(&world, 0, "GET", "/users/me").await.is(200);
    assert_eq!((&root.json["is_root"], &root.json["email"]), (&json!(true), &json!(account.email)));
    for missing in ["nobody", "00000000-0000-4000-8000-000000000000", "x%00y"] {
        account.ask(&world, 0, "GET", &format!("/users/{missing}")).await.is(404);
    }
    // A name may be that of a service account too; they are other things.
    let robot = json!({"name": "ann"});
    account.send(&world, 1, "POST", "/service-accounts", robot).await.is(201);
}

#[tokio::test]
async fn changes_are_seen_on_every_node_and_guarded_by_tags() {
    let world = World::new();
    let account = world.account().await;
    account.user(&world, "ann", &[]).await;
    let before = account.ask(&world, 2, "GET", "/users/ann").await.is(200);
    let patch =
        |body, tag: &str| account.ask(&world, 1, "PATCH", "/users/ann").header("if-match", tag).json(&body);
    let after = patch(json!({"first_name": "Ann", "email": "ann@x.test"}), &before.tag()).await.is(200);
    assert_ne!(after.tag(), before.tag());
    for node in 0..3 {
        let seen = account.ask(&world, node, "GET", "/users/ann").await.is(200);
        assert_eq!((&seen.json, seen.tag()), (&after.json, after.tag()));
    }
    let late = patch(json!({"first_name": "Eve"}), &before.tag()).await.says(412, "precondition_failed");
    assert_eq!(format!("\"{}\"", late.json["revision"]), after.tag(), "it says what it is now");
    patch(json!({"first_name": ""}), "*").await.is(200);
    let bare = account.ask(&world, 0, "GET", "/users/ann").await.is(200);
    assert!(bare.json.get("first_name").is_none());
    for tag in ["1", "\"x\"", "W/\"1\"", "\"1\", \"2\"", ""] {
        patch(json!({"first_name": "x"}), tag).await.says(400, "invalid_if_match");
    }
    // What has no tag takes none.
    account.role(&world, "r", &[]).await;
    let assign = account.ask(&world, 0, "PUT", "/users/ann/roles/r").header("if-match", "\"1\"");
    assign.await.says(400, "invalid_if_match");
    for (method, path) in [("DELETE", "/users/ann"), ("POST", "/users/ann/disable")] {
        let old = account.ask(&world, 0, method, path).header("if-match", &before.tag());
        old.await.says(412, "precondition_failed");
    }
    account.ask(&world, 1, "DELETE", "/users/ann").header("if-match", &bare.tag()).await.is(204);
    account.ask(&world, 2, "GET", "/users/ann").await.is(404);
}

#[tokio::test]
async fn roles_are_given_once_and_taken_once() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    account.role(&world, "reader", &["docs:read"]).await;
    account.send(&world, 0, "POST", "/roles", json!({"name": "reader"})).await.says(409, "role_exists");
    let put = async |node, user: &str, role: &str| {
        account.ask(&world, node, "PUT", &format!("/users/{user}/roles/{role}")).await
    };
    assert_eq!(put(0, "ann", "reader").await.is(200).json, json!({"changed": true}));
    assert_eq!(put(1, "ann", "reader").await.is(200).json, json!({"changed": false}));
    put(2, "nobody", "reader").await.is(404);
    put(2, "ann", "nothing").await.is(404);
    for node in 0..3 {
        let own = world.get(node, account.at("/users/me/roles")).by(&ann.token).await.is(200);
        assert_eq!(own.json["items"], json!(["reader"]));
        let held = account.ask(&world, node, "GET", "/users/ann/permissions").await.is(200);
        assert_eq!(held.json["items"], json!(["docs:read"]));
        let members = account.ask(&world, node, "GET", "/roles/reader/members").await.is(200);
        assert_eq!(members.json["items"], json!([{"kind": "user", "id": ann.id}]));
    }
    // A fresh token tells the roles of its time.
    let refreshed = json!({"refresh_token": ann.refresh});
    let refreshed = world.post(0, account.at("/tokens/refresh")).json(&refreshed).await.is(200);
    let look = json!({"token": refreshed.text("access_token")});
    let look = account.send(&world, 1, "POST", "/tokens/introspect", look).await.is(200);
    assert_eq!(look.json["roles"], json!(["reader"]));
    let taken = account.ask(&world, 2, "DELETE", "/users/ann/roles/reader").await.is(200);
    assert_eq!(taken.json, json!({"changed": true}));
    let again = account.ask(&world, 0, "DELETE", "/users/ann/roles/reader").await.is(200);
    assert_eq!(again.json, json!({"changed": false}));
}

#[tokio::test]
async fn role_records_change_by_what_is_added_and_removed() {
    let world = World::new();
    let account = world.account().await;
    let made = account.role(&world, "ops", &["b:1", "a:*"]).await;
    assert_eq!(made.json["permissions"], json!(["a:*", "b:1"]));
    let body = json!({"description": "Runs things", "add_permissions": ["c"], "remove_permissions": ["b:1"]});
    let changed = account.send(&world, 1, "PATCH", "/roles/ops", body).await.is(200);
    assert_eq!(changed.json["permissions"], json!(["a:*", "c"]));
    for node in 0..3 {
        let seen = account.ask(&world, node, "GET", "/roles/ops").await.is(200);
        assert_eq!((&seen.json, seen.tag()), (&changed.json, changed.tag()));
    }
    for bad in [json!({"add_permissions": ["a b"]}), json!({"permissions": []}), json!({"name": "x"})] {
        account.send(&world, 2, "PATCH", "/roles/ops", bad).await.is(400);
    }
    account.ask(&world, 0, "DELETE", "/roles/ops").await.is(204);
    account.ask(&world, 1, "DELETE", "/roles/ops").await.is(404);
    account.send(&world, 2, "PATCH", "/roles/ops", json!({})).await.is(404);
}

#[tokio::test]
async fn an_account_is_opened_with_its_root_and_shows_itself_to_its_members_only() {
    let world = World::new();
    let email = format!("open-{}@stories.test", unique());
    let body = json!({"email": email, "password": PASSWORD, "name": "boss", "first_name": "B"});
    let made = world.post(0, "/v1/accounts").json(&body).await.is(201);
    let id = made.json["account"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), Some(format!("/v1/accounts/{id}").as_str()));
    assert_eq!((id.len(), &made.json["account"]["state"]), (12, &json!("open")));
    assert_eq!(made.json["root"]["is_root"], json!(true));
    assert_eq!(made.json["account"]["root"], made.json["root"]["id"]);
    // The root user signs in by address alone, or in its account by either name.
    let by_address = json!({"email": email.to_uppercase(), "password": PASSWORD});
    let token = world.post(1, "/v1/sign-in").json(&by_address).await.is(200).text("access_token");
    for login in ["boss", email.as_str()] {
        let body = json!({"login": login, "password": PASSWORD});
        world.post(2, format!("/v1/accounts/acc-{id}/sign-in")).json(&body).await.is(200);
    }
    let shown = world.get(1, format!("/v1/accounts/{id}")).by(&token).await.is(200);
    assert_eq!(shown.json, made.json["account"]);
    let other = world.account().await;
    world.get(1, format!("/v1/accounts/{id}")).by(&other.token).await.is(404);
    world.get(1, format!("/v1/accounts/{id}")).await.is(401);
}

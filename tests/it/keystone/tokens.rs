//! `/auth/token` and `/auth/refresh` (contract part 4.1).

use serde_json::{Value, json};

use super::{AT, OTHER_SECRET, SECRET, Service, claims, details, has_members, mail, refused, sign_in};
use crate::harness::{World, unique};

#[tokio::test]
async fn a_user_signs_in_by_name_or_address_in_json_or_a_form_on_every_node() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user", "trader"]).await;
    for node in 0..3 {
        for username in [user.name.clone(), mail(&user.name), user.name.to_uppercase()] {
            let signed = sign_in(&world, node, &username, SECRET).await.is(200);
            has_members(
                &signed.json,
                &["access_token", "refresh_token", "token_type", "expires_in", "scope", "jti"],
            );
            assert_eq!(
                (&signed.json["token_type"], &signed.json["expires_in"]),
                (&json!("Bearer"), &json!(900))
            );
            assert_eq!(signed.text("scope"), "read:profile read:trades write:profile write:trades");
            assert_eq!(signed.header("cache-control"), Some("no-store"));
            assert_eq!(signed.header("pragma"), Some("no-cache"));
            let form = format!(
                "grant_type=password&username={}&password=SecurePassword123%21&client_id=web-client",
                username.replace('@', "%40")
            );
            let kind = "application/x-www-form-urlencoded";
            let ask = world.post(node, format!("{AT}/auth/token")).header("content-type", kind).body(form);
            let signed = ask.await.is(200);
            assert_eq!(claims(&signed.text("access_token"))["client_id"], "web-client");
            let profile = world.get(node + 1, format!("{AT}/users/profile"));
            let profile = profile.by(&signed.text("access_token")).await.is(200);
            assert_eq!(profile.text("username"), user.name);
        }
    }
}

#[tokio::test]
async fn what_is_granted_is_what_is_asked_for_and_held() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    for (asked, granted) in [
        (json!("read:profile"), "read:profile"),
        (json!("write:profile  read:profile"), "write:profile read:profile"),
        (json!("read:profile admin:users"), "read:profile"),
        (json!("admin:users"), ""),
        (json!(""), "read:profile write:profile"),
        (Value::Null, "read:profile write:profile"),
    ] {
        let body = json!({
            "grant_type": "password", "username": user.name, "password": SECRET, "scope": asked,
        });
        let signed = world.post(2, format!("{AT}/auth/token")).json(&body).await.is(200);
        assert_eq!(signed.text("scope"), granted, "{asked}");
        let scopes: Vec<Value> = granted.split(' ').filter(|s| !s.is_empty()).map(Value::from).collect();
        assert_eq!(claims(&signed.text("access_token"))["scopes"], json!(scopes));
    }
    // A scope that was not asked for is not used, though its owner has it.
    let body =
        json!({"grant_type": "password", "username": user.name, "password": SECRET, "scope": "read:profile"});
    let narrow = world.post(0, format!("{AT}/auth/token")).json(&body).await.is(200).text("access_token");
    for node in 0..3 {
        let profile = format!("{AT}/users/profile");
        world.get(node, &profile).by(&narrow).await.is(200);
        let change = world.put(node, &profile).by(&narrow).json(&json!({"firstName": "X"})).await;
        refused(change, 403, "insufficient_scope");
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_alike_and_bad_requests_say_why() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&[]).await;
    let mut seen = Vec::new();
    for (node, (username, password)) in [
        (&*user.name, "wrong"),
        ("nobody", SECRET),
        ("", SECRET),
        (&*mail("nobody"), "x"),
        ("no name\u{0}", "x"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = refused(sign_in(&world, node, username, password).await, 401, "invalid_grant");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        seen.push(reply.body_but_request_id());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let token = |body: Value| world.post(1, format!("{AT}/auth/token")).json(&body).into_future();
    for (body, error) in [
        (json!({"username": user.name, "password": SECRET}), "invalid_request"),
        (json!({"grant_type": "password", "password": SECRET}), "invalid_request"),
        (json!({"grant_type": "password", "username": user.name}), "invalid_request"),
        (json!({"grant_type": "client_credentials"}), "unsupported_grant_type"),
        (json!({"grant_type": "PASSWORD", "username": "x", "password": "y"}), "unsupported_grant_type"),
        (
            json!({"grant_type": "password", "username": "x", "password": "y", "scope": "a\tb"}),
            "invalid_scope",
        ),
        (json!({"grant_type": "password", "username": "x", "password": ""}), "validation_failed"),
        (json!({"grant_type": "password", "username": 5, "password": "y"}), "invalid_request"),
    ] {
        let reply = refused(token(body.clone()).await, 400, error);
        assert!(!reply.json.to_string().contains(SECRET), "{body}");
    }
    let twice = "grant_type=password&username=a&username=b&password=x";
    let kind = "application/x-www-form-urlencoded";
    let ask = world.post(0, format!("{AT}/auth/token")).header("content-type", kind).body(twice);
    refused(ask.await, 400, "invalid_request");
    // Members that are not known are passed over.
    let body = json!({"grant_type": "password", "username": user.name, "password": SECRET, "remember": true});
    token(body).await.is(200);
    let missing = refused(token(json!({"grant_type": "password"})).await, 400, "invalid_request");
    assert_eq!(details(&missing), ["`username` is missing."]);
}

#[tokio::test]
async fn a_refresh_rotates_never_widens_and_its_reuse_ends_all() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let refresh = |node: usize, body: Value| world.post(node, format!("{AT}/auth/refresh")).json(&body);
    let first = refresh(0, json!({"refresh_token": user.refresh})).await.is(200);
    has_members(&first.json, &["access_token", "refresh_token", "token_type", "expires_in", "scope", "jti"]);
    assert_ne!(first.text("refresh_token"), user.refresh);
    assert_eq!(first.text("scope"), "read:profile write:profile");
    // The other spelling, with a grant type.
    let body = json!({"refreshToken": first.text("refresh_token"), "grant_type": "refresh_token"});
    let second = refresh(1, body).await.is(200);
    // Less may be asked for, and is not lost for the next; more is not given.
    let narrow = json!({"refresh_token": second.text("refresh_token"), "scope": "read:profile admin:users"});
    let third = refresh(2, narrow).await.is(200);
    assert_eq!(third.text("scope"), "read:profile");
    let fourth = refresh(0, json!({"refresh_token": third.text("refresh_token")})).await.is(200);
    assert_eq!(fourth.text("scope"), "read:profile write:profile");
    // A role that is taken away takes its scopes along.
    let path = format!("/admin/users/{}", user.id);
    service.send(1, "PUT", &path, json!({"roles": []})).await.is(200);
    let fifth = refresh(2, json!({"refresh_token": fourth.text("refresh_token")})).await.is(200);
    assert_eq!(fifth.text("scope"), "");
    for node in 0..3 {
        refused(
            world.get(node, format!("{AT}/users/profile")).by(&fourth.text("access_token")).await,
            403,
            "insufficient_scope",
        );
    }
    // The first one again is a theft: nothing of the family is good any more, anywhere.
    refused(refresh(1, json!({"refresh_token": user.refresh})).await, 401, "invalid_grant");
    for node in 0..3 {
        let last = json!({"refresh_token": fifth.text("refresh_token")});
        refused(refresh(node, last).await, 401, "invalid_grant");
        let ask = world.get(node, format!("{AT}/users/profile")).by(&fifth.text("access_token"));
        refused(ask.await, 401, "token_revoked");
    }
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_alike() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let refresh = |node: usize, body: Value| world.post(node, format!("{AT}/auth/refresh")).json(&body);
    let inner = claims(&user.refresh)["secret"].as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for (node, bad) in [user.access.as_str(), "junk", "", "a.b.c", &"x".repeat(9_000)].into_iter().enumerate()
    {
        let reply = refused(refresh(node, json!({"refresh_token": bad})).await, 401, "invalid_grant");
        seen.push(reply.body_but_request_id());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    refused(refresh(0, json!({})).await, 400, "invalid_request");
    let other = json!({"refresh_token": user.refresh, "grant_type": "password"});
    refused(refresh(0, other).await, 400, "unsupported_grant_type");
    // Only in its dress, and its name is no secret.
    for bad in [&inner, claims(&user.refresh)["jti"].as_str().unwrap()] {
        refused(refresh(1, json!({"refresh_token": bad})).await, 401, "invalid_grant");
    }
    refresh(2, json!({"refresh_token": user.refresh})).await.is(200);
}

#[tokio::test]
async fn a_refresh_token_is_for_the_client_that_it_was_given_to() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let body = json!({
        "grant_type": "password", "username": user.name, "password": SECRET, "client_id": "web-client",
    });
    let signed = world.post(0, format!("{AT}/auth/token")).json(&body).await.is(200);
    assert_eq!(claims(&signed.text("refresh_token"))["client_id"], "web-client");
    let refresh = |node: usize, client: &str| {
        let body = json!({"refresh_token": signed.text("refresh_token"), "client_id": client});
        world.post(node, format!("{AT}/auth/refresh")).json(&body)
    };
    refused(refresh(1, "other-client").await, 401, "invalid_grant");
    let next = refresh(2, "web-client").await.is(200);
    assert_eq!(claims(&next.text("access_token"))["client_id"], "web-client");
}

#[tokio::test]
async fn a_disabled_user_is_told_so_with_the_right_password_only_and_its_tokens_die() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let path = format!("/admin/users/{}", user.id);
    service.send(0, "PUT", &path, json!({"enabled": false})).await.is(200);
    for node in 0..3 {
        refused(sign_in(&world, node, &user.name, SECRET).await, 403, "account_disabled");
        refused(sign_in(&world, node, &user.name, OTHER_SECRET).await, 401, "invalid_grant");
        let ask = world.get(node, format!("{AT}/users/profile")).by(&user.access);
        refused(ask.await, 401, "token_revoked");
        let body = json!({"refresh_token": user.refresh});
        refused(world.post(node, format!("{AT}/auth/refresh")).json(&body).await, 401, "invalid_grant");
    }
    service.send(1, "PUT", &path, json!({"enabled": true})).await.is(200);
    sign_in(&world, 2, &user.name, SECRET).await.is(200);
    // Nothing comes back to life with its user.
    refused(world.get(0, format!("{AT}/users/profile")).by(&user.access).await, 401, "token_revoked");
}

#[tokio::test]
async fn the_account_is_the_default_one_or_that_of_the_header() {
    let world = World::new();
    let account = world.account().await;
    let name = format!("mover-{}", unique());
    account.user(&world, &name, &[]).await;
    let ask = |node: usize, header: &str| {
        let body = json!({"grant_type": "password", "username": name, "password": crate::harness::PASSWORD});
        world.post(node, format!("{AT}/auth/token")).header("x-account-id", header).json(&body)
    };
    let signed = ask(0, &account.id).await.is(200);
    assert_eq!(claims(&signed.text("access_token"))["acct"], account.id);
    for (node, header) in ["default", "000000000001", "000000000000", "100000000001", "x"].iter().enumerate()
    {
        refused(ask(node, header).await, 401, "invalid_grant");
    }
    // With a token the header must name the token's account.
    let access = signed.text("access_token");
    let profile = |node: usize| world.get(node, format!("{AT}/users/profile"));
    for (node, (header, status)) in
        [(&*account.id, 403), (&*format!("acc-{}", account.id), 403), ("default", 404), ("x", 404)]
            .into_iter()
            .enumerate()
    {
        profile(node).by(&access).header("x-account-id", header).await.is(status);
    }
    let refresh = json!({"refresh_token": signed.text("refresh_token")});
    let refresh = |header: &str| {
        world.post(1, format!("{AT}/auth/refresh")).header("x-account-id", header).json(&refresh)
    };
    refused(refresh("default").await, 401, "invalid_grant");
    refresh(&account.id).await.is(200);
}

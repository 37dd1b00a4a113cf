//! `/auth/revoke`, `/auth/introspect` and `/auth/logout` (contract part 4.1).

use serde_json::{Value, json};

use super::{AT, Login, SECRET, Service, claims, has_members, refused, sign_in};
use crate::client::Reply;
use crate::harness::World;

async fn introspect(world: &World, node: usize, by: &str, token: &str) -> Reply {
    world.post(node, format!("{AT}/auth/introspect")).by(by).json(&json!({"token": token})).await
}

async fn revoke(world: &World, node: usize, by: &str, token: &str, hint: &str) -> Reply {
    let body = json!({"token": token, "token_type_hint": hint});
    world.post(node, format!("{AT}/auth/revoke")).by(by).json(&body).await
}

/// Another session of the same user.
async fn again(world: &World, user: &Login) -> Login {
    let signed = sign_in(world, 0, &user.name, SECRET).await.is(200);
    Login { access: signed.text("access_token"), refresh: signed.text("refresh_token"), ..user.clone() }
}

#[tokio::test]
async fn a_token_taken_back_on_one_node_is_nothing_on_all() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    for (node, hint) in ["access_token", "refresh_token", "nonsense"].into_iter().enumerate() {
        let session = again(&world, &user).await;
        // The hint is a hint.
        let token = if node == 1 { &session.refresh } else { &session.access };
        let reply = revoke(&world, node, &session.access, token, hint).await.is(200);
        assert_eq!(reply.json, json!({"message": "Token revoked successfully"}));
        for other in 0..3 {
            refused(
                world.get(other, format!("{AT}/users/profile")).by(&session.access).await,
                401,
                "token_revoked",
            );
            let body = json!({"refresh_token": session.refresh});
            refused(world.post(other, format!("{AT}/auth/refresh")).json(&body).await, 401, "invalid_grant");
            let seen = introspect(&world, other, &user.access, &session.access).await.is(200);
            assert_eq!(seen.json, json!({"active": false}));
        }
    }
    // The session that was not named goes on.
    world.get(1, format!("{AT}/users/profile")).by(&user.access).await.is(200);
}

#[tokio::test]
async fn junk_and_the_tokens_of_others_are_answered_alike_and_nothing_happens() {
    let world = World::new();
    let service = Service::new(&world).await;
    let (user, other) = (service.user(&["user"]).await, service.user(&["user"]).await);
    let account = world.account().await;
    let mut seen = Vec::new();
    for (node, token) in
        ["junk", "", &other.access, &other.refresh, &account.token, &service.admin].into_iter().enumerate()
    {
        seen.push(revoke(&world, node, &user.access, token, "access_token").await.is(200).json);
    }
    seen.dedup();
    assert_eq!(seen, [json!({"message": "Token revoked successfully"})]);
    for node in 0..3 {
        world.get(node, format!("{AT}/users/profile")).by(&other.access).await.is(200);
        service.ask(node, "GET", "/admin/users").await.is(200);
    }
    let body = json!({"refresh_token": other.refresh});
    world.post(0, format!("{AT}/auth/refresh")).json(&body).await.is(200);
    let path = format!("{AT}/auth/revoke");
    refused(world.post(0, &path).json(&json!({"token": user.access})).await, 401, "invalid_token");
    refused(world.post(0, &path).by(&user.access).json(&json!({})).await, 400, "invalid_request");
}

#[tokio::test]
async fn a_client_takes_its_own_token_back() {
    let world = World::new();
    let service = Service::new(&world).await;
    let program = service.program(&["read:trades"], &[]).await;
    let mut tokens = Vec::new();
    for node in 0..2 {
        tokens.push(service.token_of(node, &program, &json!({})).await.is(200).text("access_token"));
    }
    revoke(&world, 2, &tokens[0], &tokens[0], "access_token").await.is(200);
    for node in 0..3 {
        refused(introspect(&world, node, &tokens[0], &tokens[1]).await, 401, "token_revoked");
        assert_eq!(introspect(&world, node, &tokens[1], &tokens[1]).await.is(200).json["active"], true);
    }
}

#[tokio::test]
async fn introspection_tells_what_a_token_is_good_for_to_those_who_may_know() {
    let world = World::new();
    let service = Service::new(&world).await;
    let (user, other) = (service.user(&["user"]).await, service.user(&["user"]).await);
    let program = service.program(&["service:api"], &["trading-api"]).await;
    let by_client = service.token_of(0, &program, &json!({})).await.is(200).text("access_token");
    let said = claims(&user.access);
    for node in 0..3 {
        // A program, the owner, and whoever administers the system.
        for by in [&by_client, &user.access, &service.admin] {
            let seen = introspect(&world, node, by, &user.access).await.is(200).json;
            has_members(
                &seen,
                &[
                    "active",
                    "sub",
                    "username",
                    "scope",
                    "exp",
                    "iat",
                    "nbf",
                    "aud",
                    "iss",
                    "jti",
                    "token_type",
                ],
            );
            assert_eq!((&seen["active"], &seen["token_type"]), (&json!(true), &json!("Bearer")));
            assert_eq!((&seen["sub"], &seen["username"]), (&json!(user.id), &json!(user.name)));
            assert_eq!(seen["scope"], "read:profile write:profile");
            for claim in ["exp", "iat", "nbf", "aud", "iss", "jti"] {
                assert_eq!(seen[claim], said[claim]);
            }
        }
        let seen = introspect(&world, node, &by_client, &by_client).await.is(200).json;
        assert_eq!(
            (&seen["sub"], &seen["client_id"]),
            (&json!(program.client_id), &json!(program.client_id))
        );
        assert_eq!((&seen["aud"], &seen["scope"]), (&json!(["trading-api"]), &json!("service:api")));
        assert!(seen.get("username").is_none(), "{seen}");
    }
    // All else is inactive and nothing more: another's, a refresh token, junk, a token of another family.
    let account = world.account().await;
    for (node, token) in [&other.access, &user.refresh, "junk", "", &account.token].into_iter().enumerate() {
        let seen = introspect(&world, node, &user.access, token).await.is(200);
        assert_eq!(seen.json, json!({"active": false}), "{token}");
    }
    let seen = introspect(&world, 0, &by_client, &user.refresh).await.is(200);
    assert_eq!(seen.json, json!({"active": false}), "a refresh token is no access token to anybody");
    let path = format!("{AT}/auth/introspect");
    refused(world.post(0, &path).json(&json!({"token": user.access})).await, 401, "invalid_token");
    // What a role no longer gives is no longer told.
    let body = json!({"roles": []});
    service.send(1, "PUT", &format!("/admin/users/{}", user.id), body).await.is(200);
    let seen = introspect(&world, 2, &by_client, &user.access).await.is(200);
    assert_eq!((&seen.json["active"], &seen.json["scope"]), (&json!(true), &json!("")));
}

#[tokio::test]
async fn logging_out_ends_all_sessions_of_a_user_and_counts_them() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let second = again(&world, &user).await;
    let path = format!("{AT}/auth/logout");
    let reply = world.post(1, &path).by(&second.access).await.is(200);
    has_members(&reply.json, &["message", "sessions_terminated"]);
    assert_eq!(reply.json["sessions_terminated"], 2);
    for node in 0..3 {
        for session in [&user, &second] {
            refused(
                world.get(node, format!("{AT}/users/profile")).by(&session.access).await,
                401,
                "token_revoked",
            );
            let body: Value = json!({"refresh_token": session.refresh});
            refused(world.post(node, format!("{AT}/auth/refresh")).json(&body).await, 401, "invalid_grant");
        }
    }
    refused(world.post(0, &path).by(&user.access).await, 401, "token_revoked");
    refused(world.post(0, &path).await, 401, "invalid_token");
    sign_in(&world, 0, &user.name, SECRET).await.is(200);
}

//! What one node has acknowledged as ended, the very next request to any node is refused.

use serde_json::json;

use crate::harness::{Account, Member, NEW_PASSWORD, PASSWORD, World};

/// A way to take something away from a user, and what the user may no longer do afterwards.
struct Way {
    name: &'static str,
    method: &'static str,
    /// Below the account; `{user}`, `{session}` and `{role}` are filled in.
    path: &'static str,
    body: Option<serde_json::Value>,
    takes: Takes,
}

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// Its tokens, and with them everything.
    Session,
    /// One permission.
    Permission,
}

fn ways() -> Vec<Way> {
    use Takes::{Permission, Session};
    let way = |name, method, path, body, takes| Way { name, method, path, body, takes };
    vec![
        way("session ended", "DELETE", "/sessions/{session}", None, Session),
        way("all sessions ended", "DELETE", "/users/{user}/sessions", None, Session),
        way("disabled", "POST", "/users/{user}/disable", None, Session),
        way("deleted", "DELETE", "/users/{user}", None, Session),
        way(
            "new password",
            "PUT",
            "/users/{user}/password",
            Some(json!({"new_password": NEW_PASSWORD})),
            Session,
        ),
        way("token revoked", "POST", "/tokens/revoke", None, Session),
        way("role taken away", "DELETE", "/users/{user}/roles/{role}", None, Permission),
        way("role deleted", "DELETE", "/roles/{role}", None, Permission),
        way(
            "permission removed",
            "PATCH",
            "/roles/{role}",
            Some(json!({"remove_permissions": ["iam:roles:read"]})),
            Permission,
        ),
        way(
            "in a transaction",
            "POST",
            "/transactions",
            Some(json!({"actions": [{"action": "end_sessions", "principal": "users/{user}"}]})),
            Session,
        ),
    ]
}

/// Takes it away on one node and asks the others at once: the reads that grant, and a write.
async fn take(world: &World, account: &Account, way: &Way, node: usize, asked: [usize; 2]) {
    let role = format!("reader-{node}");
    account.role(world, &role, &["iam:roles:read"]).await;
    let user = account.user(world, &format!("user-{node}"), &[&role]).await;
    let reads = async |node| world.get(node, account.at("/roles")).by(&user.token).await;
    for node in asked {
        reads(node).await.is(200);
    }
    let fill = |text: &str| {
        text.replace("{user}", &user.id).replace("{session}", &user.session).replace("{role}", &role)
    };
    let request = account.ask(world, node, way.method, &fill(way.path));
    let request = match (&way.body, way.name) {
        (_, "token revoked") => world.post(node, account.at(way.path)).json(&json!({"token": user.refresh})),
        (Some(body), _) => request.json(&serde_json::from_str(&fill(&body.to_string())).unwrap()),
        (None, _) => request,
    };
    let ended = request.await;
    assert!(matches!(ended.status, 200 | 204), "{}: {} {}", way.name, ended.status, ended.json);
    let status = if way.takes == Takes::Session { 401 } else { 403 };
    for other in asked {
        let refused = reads(other).await;
        assert_eq!(refused.status, status, "{} on {node}, asked {other}: {}", way.name, refused.json);
    }
    if way.takes == Takes::Permission {
        return;
    }
    for other in asked {
        let patch = world.patch(other, account.at("/users/me")).by(&user.token);
        patch.json(&json!({"first_name": "Eve"})).await.is(401);
        let refresh = json!({"refresh_token": user.refresh});
        world.post(other, account.at("/tokens/refresh")).json(&refresh).await.says(401, "bad_refresh_token");
        let valid = world.post(other, account.at("/tokens/validate")).json(&json!({"token": user.token}));
        assert_eq!(valid.await.is(200).json, json!({"valid": false}));
        let look = account.send(world, other, "POST", "/tokens/introspect", json!({"token": user.token}));
        assert_eq!(look.await.is(200).json, json!({"active": false}));
    }
}

#[tokio::test]
async fn every_way_on_every_node_is_seen_by_the_next_request_to_any_other() {
    let world = World::new();
    for way in ways() {
        let account = world.account().await;
        for node in 0..3 {
            take(&world, &account, &way, node, [(node + 1) % 3, (node + 2) % 3]).await;
        }
    }
}

#[tokio::test]
async fn disabling_takes_the_sign_in_and_enabling_gives_it_back_but_no_old_session() {
    let world = World::new();
    let account = world.account().await;
    let user = account.user(&world, "ann", &[]).await;
    let off = account.ask(&world, 0, "POST", "/users/ann/disable").await.is(200);
    assert_eq!(off.json["status"], "disabled");
    for node in 0..3 {
        account.sign_in(&world, node, "ann", PASSWORD).await.says(401, "bad_credentials");
    }
    account.ask(&world, 1, "POST", "/users/ann/enable").await.is(200);
    account.sign_in(&world, 2, "ann", PASSWORD).await.is(200);
    world.get(0, account.at("/users/me")).by(&user.token).await.is(401);
}

/// What a service account loses when its key or itself goes.
async fn service_is_out(world: &World, account: &Account, service: &Member) {
    let key = &service.key.as_ref().unwrap().1;
    for node in 0..3 {
        world.get(node, account.at("/service-accounts/me")).by(&service.token).await.is(401);
        let body = json!({"name": service.name, "api_key": key});
        let sign_in = world.post(node, account.at("/service-accounts/sign-in")).json(&body).await;
        sign_in.says(401, "bad_credentials");
    }
}

#[tokio::test]
async fn a_service_account_is_out_on_every_node_at_once() {
    let world = World::new();
    let account = world.account().await;
    for (node, name) in ["key-revoked", "disabled", "deleted"].into_iter().enumerate() {
        let service = account.service(&world, name, &[]).await;
        world.get(node, account.at("/service-accounts/me")).by(&service.token).await.is(200);
        let (method, path) = match name {
            "key-revoked" => ("DELETE", format!("/keys/{}", service.key.as_ref().unwrap().0)),
            "disabled" => ("POST", "/disable".to_owned()),
            _ => ("DELETE", String::new()),
        };
        let path = format!("/service-accounts/{name}{path}");
        let ended = account.ask(&world, node, method, &path).await;
        assert!(matches!(ended.status, 200 | 204), "{name}: {}", ended.json);
        service_is_out(&world, &account, &service).await;
    }
    // All sessions ended: the token is out, the key still opens another.
    let service = account.service(&world, "ended", &[]).await;
    account.ask(&world, 0, "DELETE", "/service-accounts/ended/sessions").await.is(204);
    world.get(1, account.at("/service-accounts/me")).by(&service.token).await.is(401);
    let body = json!({"api_key": service.key.as_ref().unwrap().1});
    world.post(2, account.at("/service-accounts/sign-in")).json(&body).await.is(200);
}

#[tokio::test]
async fn changing_ones_own_password_keeps_this_session_and_ends_the_others() {
    let world = World::new();
    let account = world.account().await;
    let user = account.user(&world, "ann", &[]).await;
    let other = account.sign_in(&world, 2, "ann", PASSWORD).await.is(200).text("access_token");
    let change = |current: &str| json!({"current_password": current, "new_password": NEW_PASSWORD});
    let path = account.at("/users/me/password");
    world.put(0, &path).by(&user.token).json(&change("wrong")).await.says(401, "bad_credentials");
    world.put(0, &path).by(&user.token).json(&json!({"new_password": NEW_PASSWORD})).await.is(401);
    world.put(0, &path).by(&user.token).json(&change(PASSWORD)).await.is(204);
    for node in 0..3 {
        world.get(node, account.at("/users/me")).by(&user.token).await.is(200);
        world.get(node, account.at("/users/me")).by(&other).await.is(401);
        account.sign_in(&world, node, "ann", PASSWORD).await.is(401);
        account.sign_in(&world, node, "ann", NEW_PASSWORD).await.is(200);
    }
}

#[tokio::test]
async fn no_other_session_of_the_account_is_touched() {
    let world = World::new();
    let account = world.account().await;
    let (ann, bob) = (account.user(&world, "ann", &[]).await, account.user(&world, "bob", &[]).await);
    account.ask(&world, 0, "DELETE", "/users/ann/sessions").await.is(204);
    for node in 0..3 {
        world.get(node, account.at("/users/me")).by(&ann.token).await.is(401);
        world.get(node, account.at("/users/me")).by(&bob.token).await.is(200);
        world.get(node, account.at("/users/me")).by(&account.token).await.is(200);
    }
}

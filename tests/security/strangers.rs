//! Strangers who say that they come from inside.

use serde_json::json;

use crate::client::Ask;
use crate::harness::World;

/// What proxies, gateways and nodes of other programs say of a request, and what ours might.
fn claims(account: &str, user: &str) -> Vec<(&'static str, String)> {
    vec![
        ("x-forwarded-for", "127.0.0.1".to_owned()),
        ("x-real-ip", "127.0.0.1".to_owned()),
        ("forwarded", "for=127.0.0.1;host=localhost;proto=https".to_owned()),
        ("x-forwarded-host", "evil.test".to_owned()),
        ("x-original-url", "/v1/cluster/members".to_owned()),
        ("x-rewrite-url", "/v1/cluster/members".to_owned()),
        ("x-http-method-override", "DELETE".to_owned()),
        ("x-forwarded-user", user.to_owned()),
        ("x-remote-user", user.to_owned()),
        ("x-user-id", user.to_owned()),
        ("x-auth-request-user", user.to_owned()),
        ("x-account-id", account.to_owned()),
        ("conclave-forwarded", "1".to_owned()),
        ("conclave-node", "1".to_owned()),
        ("conclave-principal", format!("user/{user}")),
        ("conclave-actor", "system".to_owned()),
        ("x-ssl-client-verify", "SUCCESS".to_owned()),
        ("x-client-cert", "MIIB".to_owned()),
    ]
}

#[tokio::test]
async fn k2_headers_that_claim_to_come_from_a_peer_change_nothing() {
    let world = World::new();
    let account = world.account().await;
    let plain = account.user(&world, "plain", &[]).await;
    let root = account.root.clone();
    let before = world.digest(&account.id).await;
    let targets = [
        ("GET", "/v1/cluster/members".to_owned(), None),
        ("GET", "/v1/cluster/audit".to_owned(), None),
        ("POST", "/v1/cluster/join-tokens".to_owned(), Some(json!({}))),
        ("GET", account.at("/users"), None),
        ("POST", account.at("/roles"), Some(json!({"name": "mine", "permissions": ["*"]}))),
        ("DELETE", account.at(&format!("/users/{root}/sessions")), None),
    ];
    let mut tried = 0;
    for (node, (method, path, body)) in targets.iter().enumerate() {
        let cluster = path.starts_with("/v1/cluster/");
        for token in [None, Some(&plain.token)] {
            let ask = || {
                let ask = world.ask(node, method, path);
                let ask = body.iter().fold(ask, Ask::json);
                token.iter().fold(ask, |ask, token| ask.by(token))
            };
            let usual = if token.is_none() || cluster { 401 } else { 403 };
            let claims = claims(&account.id, &root);
            for (name, value) in &claims {
                let reply = ask().header(name, value).await;
                assert_eq!(reply.status, usual, "{method} {path} with {name}: {}", reply.json);
                tried += 1;
            }
            // All of them at once.
            let reply = claims.iter().fold(ask(), |ask, (name, value)| ask.header(name, value)).await;
            assert_eq!(reply.status, usual, "{method} {path}: {}", reply.json);
        }
    }
    assert!(tried >= 200, "{tried}");
    assert_eq!(world.digest(&account.id).await, before);
    // A method is what the request line says.
    let ask = account.ask(&world, 0, "GET", "/users/plain").header("x-http-method-override", "DELETE");
    ask.await.is(200);
    account.ask(&world, 1, "GET", "/users/plain").await.is(200);
}

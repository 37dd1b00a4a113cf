//! `/auth/service-token` (contract part 4.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{AT, Service, claims, has_members, refused};
use crate::client::Ask;
use crate::harness::World;

const PATH: &str = "/api/v1/auth/service-token";

#[tokio::test]
async fn a_client_gets_a_token_by_json_form_or_basic_on_every_node() {
    let world = World::new();
    let service = Service::new(&world).await;
    let program = service.program(&["read:trades", "write:trades"], &[]).await;
    let (id, secret) = (&program.client_id, &program.secret);
    let form = "application/x-www-form-urlencoded";
    for node in 0..3 {
        let pair = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let grant = json!({"grant_type": "client_credentials", "scope": "write:trades"});
        let asks: [Ask; 4] = [
            // A token that goes with every request is of another use.
            world.post(node, PATH).by("old").json(&program.asks(&json!({"scope": "read:trades other"}))),
            world.post(node, PATH).header("content-type", form).body(format!("{pair}&scope=write%3Atrades")),
            world.post(node, PATH).header("authorization", &basic).json(&grant),
            world
                .post(node, PATH)
                .header("authorization", &basic)
                .header("content-type", form)
                .body(format!("grant_type=client_credentials&client_id={id}")),
        ];
        let mut scopes = Vec::new();
        for ask in asks {
            let given = ask.await.is(200);
            has_members(&given.json, &["access_token", "token_type", "expires_in", "scope", "jti"]);
            assert_eq!(
                (&given.json["token_type"], &given.json["expires_in"]),
                (&json!("Bearer"), &json!(900))
            );
            assert_eq!(given.header("pragma"), Some("no-cache"));
            scopes.push(given.text("scope"));
        }
        assert_eq!(scopes, ["read:trades", "write:trades", "write:trades", "read:trades write:trades"]);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_client_is_told_as_oauth_tells_it() {
    let world = World::new();
    let service = Service::new(&world).await;
    let program = service.program(&["read:trades"], &["trading-api"]).await;
    let ask = |node: usize, body: Value| world.post(node, PATH).json(&body);
    let mut seen = Vec::new();
    for (node, (id, secret)) in [
        (&*program.client_id, "wrong"),
        ("nobody", &program.secret),
        ("", ""),
        (&program.id, &program.secret),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
        let reply = refused(ask(node, body).await, 401, "invalid_client");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        seen.push(reply.body_but_request_id());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let grant = json!({"grant_type": "client_credentials"});
    for bad in ["Basic !!!", "Basic", &format!("Basic {}", STANDARD.encode("x:y"))] {
        let reply = world.post(1, PATH).header("authorization", bad).json(&grant).await;
        let reply = refused(reply, 401, "invalid_client");
        assert!(reply.header("www-authenticate").unwrap().starts_with("Basic realm="), "{bad}");
    }
    let both = world.post(1, PATH).header("authorization", &format!("Basic {}", STANDARD.encode("x:y")));
    refused(both.json(&program.asks(&json!({}))).await, 400, "invalid_request");
    for (more, error) in [
        (json!({"scope": "admin:users"}), "invalid_scope"),
        (json!({"scope": "read:trades\n"}), "invalid_scope"),
        (json!({"audience": ["other-api"]}), "invalid_scope"),
        (json!({"grant_type": "password"}), "unsupported_grant_type"),
        (json!({"client_secret": null}), "invalid_request"),
        (json!({"audience": 5}), "invalid_request"),
        (json!({"audience": ["a\u{0}"]}), "invalid_request"),
    ] {
        refused(ask(2, program.asks(&more)).await, 400, error);
    }
    // Told apart only with the right secret.
    let path = format!("/admin/clients/{}", program.id);
    service.send(0, "PUT", &path, json!({"enabled": false})).await.is(200);
    for node in 0..3 {
        refused(ask(node, program.asks(&json!({}))).await, 403, "client_disabled");
        refused(ask(node, program.asks(&json!({"client_secret": "wrong"}))).await, 401, "invalid_client");
    }
    service.send(1, "PUT", &path, json!({"enabled": true})).await.is(200);
    ask(2, program.asks(&json!({}))).await.is(200);
}

#[tokio::test]
async fn audiences_and_lifetimes_are_those_of_the_client() {
    let world = World::new();
    let service = Service::new(&world).await;
    let program = service.program(&[], &["mt5-api", "trading-api"]).await;
    for (audience, given) in [
        (Value::Null, json!(["mt5-api", "trading-api"])),
        (json!([]), json!(["mt5-api", "trading-api"])),
        (json!(["trading-api", "other"]), json!(["trading-api"])),
        (json!("mt5-api"), json!(["mt5-api"])),
        (json!("trading-api mt5-api"), json!(["trading-api", "mt5-api"])),
    ] {
        let reply = service.token_of(1, &program, &json!({"audience": audience})).await.is(200);
        assert_eq!(claims(&reply.text("access_token"))["aud"], given, "{audience}");
        assert_eq!(reply.text("scope"), "");
    }
    let path = format!("/admin/clients/{}", program.id);
    for (lifetime, seconds) in [(json!(120), 120), (Value::Null, 900)] {
        service.send(0, "PUT", &path, json!({"tokenLifetime": lifetime})).await.is(200);
        for node in 0..3 {
            let reply = service.token_of(node, &program, &json!({})).await.is(200);
            assert_eq!(reply.json["expires_in"], seconds);
            let said = claims(&reply.text("access_token"));
            assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), seconds);
        }
    }
}

#[tokio::test]
async fn the_token_of_a_client_is_nothing_where_users_go() {
    let world = World::new();
    let service = Service::new(&world).await;
    let program = service.program(&["admin:users", "read:profile", "write:profile"], &[]).await;
    let token = service.token_of(0, &program, &json!({})).await.is(200).text("access_token");
    for node in 0..3 {
        for (method, path) in [
            ("GET", "/users/profile"),
            ("PUT", "/users/profile"),
            ("POST", "/users/change-password"),
            ("GET", "/admin/users"),
            ("GET", "/admin/clients"),
            ("POST", "/auth/logout"),
        ] {
            let words = json!({"currentPassword": "x", "newPassword": "y", "confirmPassword": "y"});
            let ask = world.ask(node, method, format!("{AT}{path}")).by(&token).json(&words);
            refused(ask.await, 401, "invalid_token");
        }
        let own = world.post(node, format!("{AT}/auth/introspect")).by(&token).json(&json!({"token": token}));
        assert_eq!(own.await.is(200).json["active"], true);
    }
}

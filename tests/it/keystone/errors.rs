//! The shape of errors (contract part 4.2), also of those that no handler gives.

use serde_json::json;

use super::{AT, Service, refused};
use crate::harness::World;

#[tokio::test]
async fn what_no_handler_answers_is_refused_in_the_same_shape() {
    let world = World::new();
    let service = Service::new(&world).await;
    for (node, (method, path, status, error)) in [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/auth/token/", 404, "not_found"),
        ("GET", "", 404, "not_found"),
        ("GET", "/auth/token", 405, "method_not_allowed"),
        ("PATCH", "/users/profile", 405, "method_not_allowed"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = refused(world.ask(node, method, format!("{AT}{path}")).await, status, error);
        assert_eq!(reply.json["path"], format!("{AT}{path}"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.header("x-request-id").is_some());
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert_eq!(reply.header("x-xss-protection"), Some("1; mode=block"));
    }
    let reply = service.ask(0, "PUT", "/users/profile?token=secret").json(&json!({"email": "x"})).await;
    let reply = refused(reply, 400, "validation_failed");
    assert_eq!(reply.json["path"], format!("{AT}/users/profile"), "a query may hold a secret");
    let huge = format!("{{\"token\":\"{}\"}}", "x".repeat(70_000));
    refused(service.ask(1, "POST", "/auth/revoke").body(huge).await, 413, "body_too_large");
    let text = service.ask(2, "POST", "/auth/revoke").header("content-type", "text/plain").body("x");
    refused(text.await, 415, "unsupported_media_type");
    refused(service.ask(0, "POST", "/auth/revoke").body("{").await, 400, "invalid_request");
    let key = service.ask(0, "POST", "/admin/clients").key("a b").json(&json!({"clientId": "abc"}));
    refused(key.await, 400, "invalid_idempotency_key");
    // Without a token this surface says 401, whatever the other one below `/api` makes of keys.
    for token in ["", "nonsense", "2c9a3f8e-6d0b-4f5e-9a51-0d7c6f1f8b11"] {
        let reply =
            world.get(1, format!("{AT}/users/profile")).header("authorization", &format!("Bearer {token}"));
        let reply = refused(reply.await, 401, "invalid_token");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
}

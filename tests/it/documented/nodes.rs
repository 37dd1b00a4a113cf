//! The members of a cluster of one, and its first administrator, against the document.

use serde_json::{Value, json};

use super::{Asker, as_operator};

/// What operators do about nodes, where there is one: it votes, leads, and cannot go.
pub(super) async fn ask_all(asker: &mut Asker<'_>) {
    let one = &[("node", "1")];
    asker.ask("GET /v1/cluster/certificates", &[], None, 200).await;
    asker.ask("POST /v1/cluster/members/{node}/promote", one, None, 200).await;
    asker.ask("POST /v1/cluster/members/{node}/demote", one, None, 409).await;
    asker.ask("POST /v1/cluster/members/{node}/demote", &[("node", "0")], None, 400).await;
    asker.example_of("POST /v1/cluster/members/{node}/replace", one, 409).await;
    asker.ask("DELETE /v1/cluster/members/{node}", one, None, 409).await;
    asker.example_of("POST /v1/cluster/step-down", &[], 409).await;
    asker.ask("POST /v1/cluster/members/{node}/certificates/rotate", one, None, 200).await;
    let kept = asker.ask("POST /v1/cluster/members/{node}/certificates/revoke", one, None, 200).await;
    let all = asker.ask("GET /v1/cluster/certificates", &[], None, 200).await;
    let all = all["certificates"].as_array().unwrap();
    let good: Vec<&Value> = all.iter().filter(|each| each["revoked_at"].is_null()).collect();
    assert_eq!((good.len(), &good[0]["serial"]), (1, &kept["kept"]), "{all:?}");
    asker.ask("POST /v1/cluster/members/{node}/certificates/revoke", &[("node", "9")], None, 404).await;

    let token = asker.example_of("POST /v1/cluster/join-tokens", &[], 201).await;
    asker.ask("POST /v1/cluster/join-tokens", &[], Some(json!({"expires_in_s": 0})), 400).await;
    asker.ask("GET /v1/cluster/join-tokens", &[], None, 200).await;
    let named = &[("token", token["id"].as_str().unwrap())];
    asker.ask("DELETE /v1/cluster/join-tokens/{token}", named, None, 204).await;
    asker.ask("DELETE /v1/cluster/join-tokens/{token}", named, None, 404).await;
}

/// The first administrator comes by a link; nobody comes by it again.
pub(super) async fn setup(asker: &mut Asker<'_>) {
    as_operator(asker);
    let offer = asker.ask("POST /v1/cluster/setup", &[], None, 201).await;
    let (_, secret) = offer["url"].as_str().unwrap().split_once('#').unwrap();
    let mut body = asker.example("POST /v1/setup").unwrap();
    asker.ask("POST /v1/setup", &[], Some(body.clone()), 401).await;
    body["secret"] = json!(secret);
    body["username"] = json!("first");
    body["email"] = Value::Null;
    asker.ask("POST /v1/setup", &[], Some(body.clone()), 201).await;
    asker.ask("POST /v1/setup", &[], Some(body), 401).await;
    asker.ask("POST /v1/cluster/setup", &[], None, 409).await;
}

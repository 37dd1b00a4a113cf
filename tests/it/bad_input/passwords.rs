//! A password is looked at before it costs anything.

use std::sync::Arc;

use conclave::api::Api;
use conclave::domain::node;
use conclave::node::Node;
use conclave::telemetry::Metrics;
use serde_json::json;

use super::is_refused;
use crate::client::Client;
use crate::harness::{Account, Prepared, eventually};
use crate::requests::Things;

#[tokio::test]
async fn a_huge_password_is_refused_before_any_hashing() {
    let folder = tempfile::tempdir().unwrap();
    // A node of its own: on the shared one others hash too.
    let prepared = Prepared::new(folder.path(), 1, "");
    let running = Node::start(&prepared.config(0), Arc::new(Metrics::new())).await.unwrap();
    let client = Client::new(prepared.http.clone());
    eventually("a node that serves", async || running.app().is_open().then_some(())).await;
    // What it does by itself when it is new is done: then all that is proposed is proposed by this test.
    eventually("a node that is written down", async || {
        let rows = node::list(&running.cluster().view()).unwrap();
        rows.iter().any(|(_, row)| !row.certificates.is_empty()).then_some(())
    })
    .await;
    let account = Account::open(&client).await;
    let things = Things::make(&client, &account).await;
    let revision = running.cluster().view().revision();
    let before = running.app().hasher.stats();
    let mut tried = 0;
    for route in &Api::routes() {
        let sample = things.sample(route);
        let Some(body) = &sample.body else { continue };
        for member in ["password", "new_password", "current_password", "newPassword", "currentPassword"] {
            if body.get(member).is_none()
                && !(member == "current_password" && route.pattern.ends_with("/password"))
            {
                continue;
            }
            // More characters than a password may have, more bytes, more than a body may have, and none.
            for (password, status) in [
                ("x".repeat(129), 400),
                ("\u{1f511}".repeat(129), 400),
                ("x".repeat(60_000), 400),
                ("x".repeat(1 << 20), 413),
                (String::new(), 400),
            ] {
                let mut body = body.clone();
                body[member] = json!(password);
                let ask = client.ask(0, sample.method, &sample.path).by(sample.proof(&account.token));
                let reply = ask.json(&body).await;
                is_refused(sample.name, &reply);
                assert_eq!(reply.status, status, "{} {member}", sample.name);
                tried += 1;
            }
        }
    }
    for action in ["create_user"] {
        let steps = json!({"actions": [{"action": action, "name": "n", "password": "x".repeat(129)}]});
        account.send(&client, 0, "POST", "/transactions", steps).await.says(400, "invalid_password");
    }
    assert!(tried >= 50, "{tried}");
    let after = running.app().hasher.stats();
    assert_eq!(format!("{after:?}"), format!("{before:?}"), "something was hashed");
    assert_eq!(running.cluster().view().revision(), revision, "something was proposed");
    running.stop().await;
}

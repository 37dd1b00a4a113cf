//! What ends by itself: tokens, sessions and locks (contract part 4.1 and 4.2).

use std::sync::Arc;
use std::time::Duration;

use conclave::clock::Clock;
use conclave::node::Node;
use conclave::telemetry::Metrics;
use serde_json::json;

use super::{AT, SECRET, Service, refused, sign_in};
use crate::client::Client;
use crate::clock::Forward;
use crate::harness::{PASSWORD, Prepared, eventually};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn tokens_sessions_and_locks_end_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("bootstrap_admin_username = 'grace'\nbootstrap_admin_password = '{PASSWORD}'\n");
    let prepared = Prepared::new(folder.path(), 1, &settings);
    let clock = Arc::new(Forward::default());
    let by = Arc::clone(&clock) as Arc<dyn Clock>;
    let node = Node::start_by(&prepared.config(0), Arc::new(Metrics::new()), by).await.unwrap();
    let client = Client::new(prepared.http.clone());
    let boss = async || {
        let signed = sign_in(&client, 0, "grace", PASSWORD).await;
        (signed.status == 200).then(|| Service { client: &client, admin: signed.text("access_token") })
    };
    let service = eventually("an administrator", boss).await;
    let user = service.user(&["user"]).await;
    let program = service.program(&["read:data"], &[]).await;
    service
        .send(0, "PUT", &format!("/admin/clients/{}", program.id), json!({"tokenLifetime": 60}))
        .await
        .is(200);
    let short = service.token_of(0, &program, &json!({})).await.is(200).text("access_token");
    let profile = |token: &str| client.get(0, format!("{AT}/users/profile")).by(token);
    let refresh =
        |token: &str| client.post(0, format!("{AT}/auth/refresh")).json(&json!({"refresh_token": token}));

    clock.pass(MINUTE);
    let introspect = client.post(0, format!("{AT}/auth/introspect")).by(&short);
    refused(introspect.json(&json!({"token": short})).await, 401, "token_expired");
    clock.pass(MINUTE * 13);
    profile(&user.access).await.is(200);
    clock.pass(MINUTE);
    refused(profile(&user.access).await, 401, "token_expired");
    // Expired is told of one's own token only; one that was never good is not.
    let mut forged = user.access.clone();
    forged.truncate(forged.len() - 4);
    refused(profile(&format!("{forged}AAAA")).await, 401, "invalid_token");
    let seen = client.post(0, format!("{AT}/auth/introspect"));
    let second = refresh(&user.refresh).await.is(200);
    let seen = seen.by(&second.text("access_token")).json(&json!({"token": user.access})).await.is(200);
    assert_eq!(seen.json, json!({"active": false}));

    // A session lasts thirty days from the sign-in, however often it is refreshed.
    clock.pass(MINUTE * 60 * 24 * 29);
    let third = refresh(&second.text("refresh_token")).await.is(200);
    clock.pass(MINUTE * 60 * 24);
    refused(refresh(&third.text("refresh_token")).await, 401, "invalid_grant");

    for _ in 0..5 {
        refused(sign_in(&client, 0, &user.name, "wrong").await, 401, "invalid_grant");
    }
    refused(sign_in(&client, 0, &user.name, SECRET).await, 423, "account_locked");
    clock.pass(MINUTE * 15);
    sign_in(&client, 0, &user.name, SECRET).await.is(200);
    // A client's secret does not end.
    clock.pass(MINUTE * 60 * 24 * 3_650);
    service.token_of(0, &program, &json!({})).await.is(200);
    node.stop().await;
}

//! The token service against the document.

use conclave::auth::kek::Kek;
use serde_json::{Value, json};

use super::Asker;

/// In the default account, by an administrator that an operator made.
pub(super) async fn ask_all(asker: &mut Asker<'_>) {
    asker.token.clone_from(Kek::read_file(&asker.node.key_file).unwrap().operator_token().expose());
    let admin = asker.example("POST /v1/cluster/admins").unwrap();
    asker.example_of("POST /v1/cluster/admins", &[], 201).await;
    asker.token.clear();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let at = |route: &str| route.replace("..", "/api/v1");
    let credentials =
        json!({"grant_type": "password", "username": admin["username"], "password": admin["password"]});
    let signed = asker.ask(&at("POST ../auth/token"), &[], Some(credentials), 200).await;
    asker.token = text(&signed["access_token"]);
    let registered = asker.example_of(&at("POST ../users/register"), &[], 201).await;
    let user = &[("user_id", &*text(&registered["id"]))];
    asker.example_of(&at("POST ../users/register"), &[], 409).await;
    asker.example_of(&at("POST ../admin/users"), &[], 201).await;
    let listed = asker.ask(&at("GET ../admin/users?search=jane&size=1"), &[], None, 200).await;
    assert_eq!(listed["pageable"]["totalElements"], 1);
    asker.ask(&at("GET ../admin/users?sort=nothing"), &[], None, 400).await;
    for (route, status) in [
        ("GET ../admin/users/{user_id}", 200),
        ("PUT ../admin/users/{user_id}", 200),
        ("POST ../admin/users/{user_id}/unlock", 200),
        ("DELETE ../admin/users/{user_id}", 204),
        ("GET ../admin/users/{user_id}", 404),
        ("GET ../users/profile", 200),
        ("PUT ../users/profile", 200),
    ] {
        asker.example_of(&at(route), user, status).await;
    }
    let made = asker.example_of(&at("POST ../admin/clients"), &[], 201).await;
    let client = &[("client_id", &*text(&made["id"]))];
    let body = json!({"grant_type": "client_credentials", "client_id": made["clientId"],
        "client_secret": made["clientSecret"]});
    asker.ask(&at("POST ../auth/service-token"), &[], Some(body), 200).await;
    asker.example_of(&at("POST ../auth/service-token"), &[], 401).await;
    for (route, status) in [
        ("GET ../admin/clients", 200),
        ("GET ../admin/clients/{client_id}", 200),
        ("PUT ../admin/clients/{client_id}", 200),
        ("POST ../admin/clients/{client_id}/rotate-secret", 200),
        ("DELETE ../admin/clients/{client_id}", 204),
    ] {
        asker.example_of(&at(route), client, status).await;
    }
    tokens(asker, &signed, &admin).await;
}

async fn tokens(asker: &mut Asker<'_>, signed: &Value, admin: &Value) {
    let at = |route: &str| route.replace("..", "/api/v1");
    for (token, active) in [(signed["access_token"].clone(), true), (json!("none"), false)] {
        let seen = asker.ask(&at("POST ../auth/introspect"), &[], Some(json!({"token": token})), 200).await;
        assert_eq!(seen["active"], active);
    }
    let body = json!({"refresh_token": signed["refresh_token"]});
    let next = asker.ask(&at("POST ../auth/refresh"), &[], Some(body.clone()), 200).await;
    asker.ask(&at("POST ../auth/refresh"), &[], Some(body), 401).await;
    let new = "another unusual sentence, Number 2";
    let words = json!({"currentPassword": admin["password"], "newPassword": new, "confirmPassword": new});
    asker.ask(&at("POST ../users/change-password"), &[], Some(words.clone()), 200).await;
    asker.ask(&at("POST ../users/change-password"), &[], Some(words), 400).await;
    let body = json!({"token": next["access_token"]});
    asker.ask(&at("POST ../auth/revoke"), &[], Some(body), 200).await;
    asker.ask(&at("GET ../users/profile"), &[], None, 401).await;
    asker.token.clear();
    let credentials = json!({"grant_type": "password", "username": admin["username"], "password": new});
    let signed = asker.ask(&at("POST ../auth/token"), &[], Some(credentials), 200).await;
    signed["access_token"].as_str().unwrap().clone_into(&mut asker.token);
    asker.ask(&at("POST ../auth/logout"), &[], None, 200).await;
    asker.ask(&at("POST ../auth/logout"), &[], None, 401).await;
    for _ in 0..5 {
        let wrong = json!({"grant_type": "password", "username": admin["username"], "password": "wrong"});
        asker.ask(&at("POST ../auth/token"), &[], Some(wrong), 401).await;
    }
    let right = json!({"grant_type": "password", "username": admin["username"], "password": new});
    asker.ask(&at("POST ../auth/token"), &[], Some(right), 423).await;
}

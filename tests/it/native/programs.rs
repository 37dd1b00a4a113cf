//! Service accounts and their API keys, in both forms.

use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::{Account, World};

async fn sign_in(world: &World, account: &Account, node: usize, body: Value) -> Reply {
    world.post(node, account.at("/service-accounts/sign-in")).json(&body).await
}

#[tokio::test]
async fn a_service_account_signs_in_with_either_form_of_key() {
    let world = World::new();
    let account = world.account().await;
    for (node, form) in ["uuid", "prefixed"].into_iter().enumerate() {
        let name = format!("robot-{form}");
        let body = json!({"name": name, "roles": ["worker"], "key_form": form});
        let made = account.send(&world, node, "POST", "/service-accounts", body.clone()).await.is(201);
        account.send(&world, node + 1, "POST", "/service-accounts", body).await.says(409, "name_taken");
        let key = made.text("api_key");
        match form {
            "uuid" => assert_eq!(key.parse::<uuid::Uuid>().unwrap().get_version_num(), 4),
            _ => assert!(key.starts_with("cak_"), "no prefix"),
        }
        for node in 0..3 {
            let named = json!({"name": name, "api_key": key});
            let signed = sign_in(&world, &account, node, named).await.is(200);
            assert!(signed.json.get("refresh_token").is_none(), "no refresh token");
            let own =
                world.get(node + 1, account.at("/service-accounts/me")).by(&signed.text("access_token"));
            assert_eq!(own.await.is(200).json["name"], json!(name));
            sign_in(&world, &account, node, json!({"api_key": key})).await.is(200);
        }
        for wrong in [
            json!({"name": "nobody", "api_key": key}),
            json!({"name": name, "api_key": format!("{key}x")}),
            json!({"name": name, "api_key": ""}),
        ] {
            sign_in(&world, &account, 0, wrong).await.says(401, "bad_credentials");
        }
        // The key of another account opens nothing here.
        let other = world.account().await;
        sign_in(&world, &other, 0, json!({"api_key": key})).await.says(401, "bad_credentials");
    }
    let bad = json!({"name": "x", "key_form": "hex"});
    account.send(&world, 0, "POST", "/service-accounts", bad).await.is(400);
}

#[tokio::test]
async fn keys_are_shown_once_live_thirty_days_and_end_one_by_one() {
    let world = World::new();
    let account = world.account().await;
    let robot = account.service(&world, "robot", &[]).await;
    let (first_id, first) = robot.key.clone().unwrap();
    let body = json!({"label": "second", "expires_in": 60});
    let second = account.send(&world, 1, "POST", "/service-accounts/robot/keys", body).await.is(201);
    // Without a body, and for longer than is allowed: as long as is allowed.
    let third = account.ask(&world, 2, "POST", "/service-accounts/robot/keys").await.is(201);
    let typed = account.ask(&world, 2, "POST", "/service-accounts/robot/enable");
    typed.header("content-type", "application/json").await.is(200);
    let body = json!({"expires_in": u64::MAX});
    account.send(&world, 2, "POST", "/service-accounts/robot/keys", body).await.is(201);
    let body = json!({"expires_in": 0});
    account.send(&world, 2, "POST", "/service-accounts/robot/keys", body).await.is(400);
    let listed = account.ask(&world, 0, "GET", "/service-accounts/robot/keys").await.is(200);
    assert_eq!(listed.items().len(), 4);
    assert!(!listed.json.to_string().contains(&first[4..]), "a key is not shown again");
    for key in listed.items() {
        let time = |member: &str| humantime::parse_rfc3339(key[member].as_str().unwrap()).unwrap();
        let life = time("expires_at").duration_since(time("created_at")).unwrap().as_secs();
        let expected = if key["id"] == second.json["key_id"] { 60 } else { 30 * 24 * 3600 };
        assert_eq!((life, &key["status"]), (expected, &json!("active")));
    }
    let path = format!("/service-accounts/robot/keys/{first_id}");
    account.ask(&world, 1, "DELETE", &path).await.is(204);
    account.ask(&world, 2, "DELETE", &path).await.is(204);
    account.ask(&world, 2, "DELETE", "/service-accounts/robot/keys/x").await.is(404);
    for node in 0..3 {
        sign_in(&world, &account, node, json!({"api_key": first})).await.is(401);
        sign_in(&world, &account, node, json!({"api_key": third.text("api_key")})).await.is(200);
    }
    let listed = account.ask(&world, 2, "GET", "/service-accounts/robot/keys").await.is(200);
    let revoked = listed.items().iter().find(|key| key["id"] == json!(first_id)).unwrap();
    assert_eq!(revoked["status"], "revoked");
}

#[tokio::test]
async fn roles_of_a_service_account_count_as_a_users_do() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "reader", &["iam:users:read"]).await;
    let robot = account.service(&world, "robot", &[]).await;
    let users = account.at("/users");
    world.get(0, &users).by(&robot.token).await.says(403, "forbidden");
    account.ask(&world, 1, "PUT", "/service-accounts/robot/roles/reader").await.is(200);
    for node in 0..3 {
        world.get(node, &users).by(&robot.token).await.is(200);
    }
    let roles = world.get(0, account.at("/service-accounts/me/roles")).by(&robot.token).await.is(200);
    assert_eq!(roles.json["items"], json!(["reader"]));
    let held = account.ask(&world, 2, "GET", "/service-accounts/robot/permissions").await.is(200);
    assert_eq!(held.json["items"], json!(["iam:users:read"]));
    account.ask(&world, 2, "DELETE", "/service-accounts/robot/roles/reader").await.is(200);
    for node in 0..3 {
        world.get(node, &users).by(&robot.token).await.is(403);
    }
    // Not a user, whatever its id is called.
    let as_user = format!("/users/{}", robot.id);
    account.ask(&world, 0, "GET", &as_user).await.is(404);
    account.ask(&world, 0, "DELETE", &as_user).await.is(404);
    world.get(0, account.at("/users/me")).by(&robot.token).await.is(404);
}

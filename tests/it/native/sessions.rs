//! Sessions: seen, ended one by one or all at once.

use serde_json::json;

use crate::harness::{PASSWORD, World};

#[tokio::test]
async fn a_user_sees_its_sessions_and_ends_them() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    let body = json!({"login": "ann", "password": PASSWORD, "refresh": "fixed"});
    let other = world.post(2, account.at("/sign-in")).json(&body).await.is(200);
    let own = account.at("/users/me/sessions");
    for node in 0..3 {
        let listed = world.get(node, &own).by(&ann.token).await.is(200);
        let mut seen: Vec<_> = listed
            .items()
            .iter()
            .map(|item| (item["id"].clone(), item["refresh"].clone(), item["is_current"].clone()))
            .collect();
        seen.sort_by_key(|(_, refresh, _)| refresh.to_string());
        let expected = [
            (other.json["session"].clone(), json!("fixed"), json!(false)),
            (json!(ann.session), json!("rotating"), json!(true)),
        ];
        assert_eq!(seen, expected);
        assert!(listed.items().iter().all(|item| item["method"] == "password"));
    }
    let path = |session: &str| account.at(&format!("/sessions/{session}"));
    // Another's session is as missing as none, to who may not end others'.
    let bob = account.user(&world, "bob", &[]).await;
    world.delete(0, path(&ann.session)).by(&bob.token).await.says(403, "forbidden");
    world.delete(0, path("00000000-0000-4000-8000-000000000000")).by(&bob.token).await.is(404);
    world.delete(0, path("nonsense")).by(&bob.token).await.is(404);
    world.delete(1, path(&other.text("session"))).by(&ann.token).await.is(204);
    let listed = world.get(2, &own).by(&ann.token).await.is(200);
    assert_eq!(listed.items().len(), 1);
    world.delete(0, path("me")).by(&ann.token).await.is(204);
    world.get(1, &own).by(&ann.token).await.says(401, "invalid_token");
}

#[tokio::test]
async fn all_sessions_end_at_once_and_new_ones_open() {
    let world = World::new();
    let account = world.account().await;
    let mut tokens = Vec::new();
    account.user(&world, "ann", &[]).await;
    for node in 0..3 {
        tokens.push(account.sign_in(&world, node, "ann", PASSWORD).await.is(200).text("access_token"));
    }
    world.delete(0, account.at("/users/me/sessions")).by(&tokens[0]).await.is(204);
    for (node, token) in tokens.iter().enumerate() {
        world.get(node, account.at("/users/me")).by(token).await.is(401);
    }
    let fresh = account.sign_in(&world, 1, "ann", PASSWORD).await.is(200).text("access_token");
    let listed = world.get(2, account.at("/users/me/sessions")).by(&fresh).await.is(200);
    assert_eq!(listed.items().len(), 1);
}

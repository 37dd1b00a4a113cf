//! Lockout (contract part 4.2): five failures in a row, whichever nodes are asked.

use serde_json::json;

use super::{SECRET, Service, refused, sign_in};
use crate::harness::World;

#[tokio::test]
async fn five_failures_on_any_nodes_lock_and_only_the_right_password_learns_it() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let path = format!("/admin/users/{}", user.id);
    // A success in between begins anew.
    for node in 0..4 {
        refused(sign_in(&world, node, &user.name, "wrong").await, 401, "invalid_grant");
    }
    sign_in(&world, 0, &user.name, SECRET).await.is(200);
    for node in 0..5 {
        refused(sign_in(&world, node, &user.name, "wrong").await, 401, "invalid_grant");
    }
    let locked = refused(sign_in(&world, 1, &user.name, SECRET).await, 423, "account_locked");
    let seconds: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&seconds), "{seconds}");
    assert!(locked.text("locked_until").ends_with('Z'));
    refused(sign_in(&world, 2, &user.name, "wrong").await, 401, "invalid_grant");
    // Who is signed in stays so, and an administrator sees it and ends it.
    for node in 0..3 {
        world.get(node, "/api/v1/users/profile").by(&user.access).await.is(200);
        assert!(service.ask(node, "GET", &path).await.is(200).json["lockedUntil"].is_string());
    }
    let seen = service.ask(0, "POST", &format!("{path}/unlock")).await.is(200);
    assert!(seen.json["lockedUntil"].is_null(), "{}", seen.json);
    for node in 0..3 {
        sign_in(&world, node, &user.name, SECRET).await.is(200);
    }
    service.ask(1, "POST", &format!("{path}/unlock")).await.is(200);
}

#[tokio::test]
async fn guesses_at_the_current_password_count_too() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let change = |node: usize, current: &str| {
        let body = json!({
            "currentPassword": current, "newPassword": "Fourth-Secret1!", "confirmPassword": "Fourth-Secret1!",
        });
        world.post(node, "/api/v1/users/change-password").by(&user.access).json(&body)
    };
    for node in 0..5 {
        refused(change(node, "wrong").await, 400, "invalid_grant");
    }
    refused(change(0, SECRET).await, 423, "account_locked");
    refused(sign_in(&world, 1, &user.name, SECRET).await, 423, "account_locked");
}

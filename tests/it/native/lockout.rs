//! Who guessed too many passwords, and ending that.

use serde_json::json;

use crate::harness::{PASSWORD, World};

#[tokio::test]
async fn a_lock_shows_on_every_node_and_ends_when_somebody_who_may_ends_it() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "helpdesk", &["iam:users:read", "iam:users:write"]).await;
    let ann = account.user(&world, "ann", &[]).await;
    let help = account.user(&world, "help", &["helpdesk"]).await;
    let lockout = json!({"failures": 2, "lock_for_s": 86_400});
    account.send(&world, 0, "PATCH", "/settings", json!({"lockout": lockout})).await.is(200);
    let path = account.at("/users/ann/lockout");
    let shown = world.get(0, &path).by(&ann.token).await.is(200).json;
    assert_eq!((&shown["locked"], &shown["strangers"]), (&json!(false), &json!({"failures": 0})));
    // She signed in from here, so that what follows is known.
    assert_eq!(shown["known"], json!([{"failures": 0}]));
    assert!(shown["last_sign_in_at"].is_string());

    for node in 0..2 {
        account.sign_in(&world, node, "ann", "wrong").await.is(401);
    }
    account.sign_in(&world, 2, "ann", PASSWORD).await.is(401);
    for node in 0..3 {
        let shown = world.get(node, &path).by(&help.token).await.is(200).json;
        assert_eq!((&shown["locked"], &shown["known"][0]["failures"]), (&json!(true), &json!(2)));
        assert!(shown["known"][0]["locked_until"].is_string(), "{shown}");
    }
    // Her own session sees it, and does not end it; a stranger to her does neither.
    world.get(0, &path).by(&ann.token).await.is(200);
    world.delete(1, &path).by(&ann.token).await.says(403, "forbidden");
    let bob = account.user(&world, "bob", &[]).await;
    world.get(1, &path).by(&bob.token).await.says(403, "forbidden");
    world.delete(2, &path).by(&help.token).await.is(204);
    world.delete(0, &path).by(&help.token).await.is(204);
    account.sign_in(&world, 1, "ann", PASSWORD).await.is(200);
    let records = account.ask(&world, 0, "GET", "/audit?action=user.unlock").await.is(200);
    assert_eq!(records.items().len(), 1, "the second one changed nothing");
    assert_eq!(records.items()[0]["by"], format!("user/{}", help.id));

    for missing in ["/users/nobody/lockout", "/users/00000000-0000-4000-8000-000000000000/lockout"] {
        account.ask(&world, 0, "GET", missing).await.is(404);
        account.ask(&world, 1, "DELETE", missing).await.is(404);
    }
}

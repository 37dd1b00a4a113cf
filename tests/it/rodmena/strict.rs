//! Strict accounts: only users with a live key of their own count (contract part 3.4).

use serde_json::json;

use super::{Key, code, data, yes};
use crate::harness::World;

#[tokio::test]
async fn settings_are_lax_until_they_are_changed() {
    let world = World::new();
    let key = Key::new(&world);
    for node in 0..3 {
        assert_eq!(data(&key.get(node, "/settings").await), json!({"strict_users": false}));
    }
    for (node, strict) in [true, true, false].into_iter().enumerate() {
        let view = json!({"strict_users": strict});
        assert_eq!(data(&key.send(node, "PUT", "/settings", view.clone()).await.is(200)), view);
        for other in 0..3 {
            assert_eq!(data(&key.get(other, "/settings").await), view);
        }
    }
    for bad in [json!({}), json!({"strict_users": "yes"}), json!({"strict_users": true, "x": 1}), json!(true)]
    {
        let reply = key.send(0, "PUT", "/settings", bad).await.is(400);
        assert!(code(&reply).starts_with("invalid_"));
    }
    key.ask(1, "PUT", "/settings").await.is(400);
}

#[tokio::test]
async fn in_a_strict_account_only_users_with_a_live_key_count() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["deploy"], &["john", "ann"]).await;
    let (id, _) = key.user_key("ann").await;
    key.send(0, "PUT", "/settings", json!({"strict_users": true})).await.is(200);
    let barred = json!({"has_permission": false, "reason": "user_not_key_backed"});
    let checks = ["/has_permission/{}/deploy", "/membership/{}/admin", "/workflow/user/{}/can_run/deploy"];
    for node in 0..3 {
        for check in checks {
            assert_eq!(data(&key.get(node, &check.replace("{}", "john")).await), barred, "{check}");
            let ann = data(&key.get(node, &check.replace("{}", "ann")).await);
            assert_eq!(ann, json!({"has_permission": true}), "{check}");
        }
        // A no of a user with a key is a plain one.
        assert_eq!(data(&key.get(node, "/has_permission/ann/x").await), json!({"has_permission": false}));
        let held = data(&key.get(node, "/user_permissions/john").await);
        assert_eq!(held, json!({"count": 0, "permissions": [], "reason": "user_not_key_backed"}));
        assert_eq!(data(&key.get(node, "/user_permissions/ann").await)["count"], 1);
        for role in ["admin", "nobody"] {
            let reply = key.ask(node, "POST", &format!("/membership/bob/{role}")).await.is(409);
            assert_eq!(
                (&reply.json["result"], &reply.json["reason"]),
                (&json!(false), &json!("user_not_key_backed"))
            );
            assert!(reply.json["hint"].as_str().unwrap().contains("/api/apikeys/user/bob"));
        }
        let steps = json!({"steps": ["deploy"]});
        let run = key.send(node, "POST", "/workflows/user/john", steps.clone()).await.is(200);
        assert_eq!(
            data(&run),
            json!({"can_run": false, "stopped_by": "deploy", "reason": "user_not_key_backed"})
        );
        let who = key.send(node, "POST", "/workflows/users", steps).await.is(200);
        assert_eq!(data(&who)["members"], json!([{"user": "ann"}]));
        // Lists are as they are.
        assert_eq!(key.get(node, "/members/admin").await.json["result"].as_array().unwrap().len(), 2);
        assert_eq!(
            key.get(node, "/which_users_can/deploy").await.json["result"].as_array().unwrap().len(),
            2
        );
    }
    // What takes something away is never in the way.
    yes(&key.delete(1, "/membership/john/admin").await);
    assert_eq!(key.get(2, "/members/admin").await.json["result"].as_array().unwrap().len(), 1);
    key.delete(0, &format!("/apikeys/user/ann/{id}")).await;
    for node in 0..3 {
        assert_eq!(data(&key.get(node, "/has_permission/ann/deploy").await), barred, "its key was revoked");
    }
    key.send(0, "PUT", "/settings", json!({"strict_users": false})).await.is(200);
    for node in 0..3 {
        let verdict = data(&key.get(node, "/has_permission/ann/deploy").await);
        assert_eq!(verdict, json!({"has_permission": true}));
    }
}

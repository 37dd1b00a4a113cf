//! The same question about workflows through the native API.

use serde_json::json;

use crate::harness::World;

#[tokio::test]
async fn workflows_are_asked_about_natively_too() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "maker", &["orders:read", "orders:draft"]).await;
    account.role(&world, "chief", &["orders:*"]).await;
    let ann = account.user(&world, "ann", &["maker"]).await;
    let robot = account.service(&world, "robot", &["chief"]).await;
    let steps = json!(["orders:read", "orders:draft", "orders:approve"]);
    for node in 0..3 {
        let check = async |about: serde_json::Value| {
            let mut body = about;
            body["steps"] = steps.clone();
            account.send(&world, node, "POST", "/workflows/check", body).await.is(200).json
        };
        let stopped = json!({"can_run": false, "stopped_by": "orders:approve"});
        assert_eq!(check(json!({"user": "ann"})).await, stopped);
        assert_eq!(
            check(json!({"user": "nobody"})).await,
            json!({"can_run": false, "stopped_by": "orders:read"})
        );
        let runs = json!({"can_run": true, "stopped_by": null});
        assert_eq!(check(json!({"service_account": "robot"})).await, runs);
        assert_eq!(check(json!({})).await, runs, "the root user does everything");
        // About oneself anybody may ask, about others who may check.
        let own = world.post(node, account.at("/workflows/check")).by(&ann.token);
        assert_eq!(own.json(&json!({"steps": steps})).await.is(200).json, stopped);
        let other = world.post(node, account.at("/workflows/check")).by(&ann.token);
        other.json(&json!({"steps": steps, "service_account": "robot"})).await.says(403, "forbidden");
        let who = world.post(node, account.at("/workflows/who")).by(&ann.token);
        who.json(&json!({"steps": steps})).await.says(403, "forbidden");
        let who = account.send(&world, node, "POST", "/workflows/who", json!({"steps": steps})).await.is(200);
        let items = json!([{"kind": "service_account", "id": robot.id}]);
        assert_eq!(who.json, json!({"items": items, "truncated": false}));
        let both =
            account.send(&world, node, "POST", "/workflows/who", json!({"steps": ["orders:read"]})).await;
        assert_eq!(both.is(200).items().len(), 2);
        for bad in [json!([]), json!(vec!["x"; 51]), json!(["a b"])] {
            for path in ["/workflows/who", "/workflows/check"] {
                let body = json!({"steps": bad});
                account.send(&world, node, "POST", path, body).await.says(400, "invalid_value");
            }
        }
        let body = json!({"steps": steps, "user": "ann", "service_account": "robot"});
        account.send(&world, node, "POST", "/workflows/check", body).await.says(400, "invalid_value");
    }
    account.ask(&world, 0, "POST", "/users/ann/disable").await.is(200);
    let body = json!({"steps": ["orders:read"], "user": "ann"});
    let run = account.send(&world, 1, "POST", "/workflows/check", body).await.is(200).json;
    assert_eq!(run["can_run"], false, "who is disabled does nothing");
}

//! Workflows: of one step as in contract part 3.2, and of several.

use serde_json::json;

use super::{Key, code, data};
use crate::harness::World;

#[tokio::test]
async fn a_workflow_is_the_permission_of_its_name() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["nightly_report"], &["john"]).await;
    key.role("ops", &["nightly_report"], &["john"]).await;
    for node in 0..3 {
        let members = json!([{"user": "john", "role": "admin"}, {"user": "john", "role": "ops"}]);
        let users = data(&key.get(node, "/workflow/users/nightly_report").await);
        assert_eq!(users, json!({"count": 2, "members": members}));
        let can = async |user: &str, workflow: &str| {
            data(&key.get(node, &format!("/workflow/user/{user}/can_run/{workflow}")).await)
        };
        assert_eq!(can("john", "nightly_report").await, json!({"has_permission": true}));
        assert_eq!(can("john", "other").await, json!({"has_permission": false}));
        assert_eq!(can("stranger", "nightly_report").await, json!({"has_permission": false}));
    }
}

#[tokio::test]
async fn of_several_steps_each_must_be_allowed() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("maker", &["draft", "build"], &["ann", "bob"]).await;
    key.role("shipper", &["build", "ship"], &["ann", "cid"]).await;
    for node in 0..3 {
        let run = async |user: &str, steps: &[&str]| {
            let path = format!("/workflows/user/{user}");
            data(&key.send(node, "POST", &path, json!({"steps": steps})).await.is(200))
        };
        assert_eq!(
            run("ann", &["draft", "build", "ship"]).await,
            json!({"can_run": true, "stopped_by": null})
        );
        assert_eq!(
            run("bob", &["draft", "build", "ship"]).await,
            json!({"can_run": false, "stopped_by": "ship"})
        );
        assert_eq!(
            run("cid", &["build", "draft", "ship"]).await,
            json!({"can_run": false, "stopped_by": "draft"})
        );
        assert_eq!(run("stranger", &["draft"]).await, json!({"can_run": false, "stopped_by": "draft"}));
        let who = async |steps: &[&str]| {
            data(&key.send(node, "POST", "/workflows/users", json!({"steps": steps})).await.is(200))
        };
        let only_ann = json!({"count": 1, "members": [{"user": "ann"}], "truncated": false});
        assert_eq!(who(&["draft", "build", "ship"]).await, only_ann);
        let all = json!([{"user": "ann"}, {"user": "bob"}, {"user": "cid"}]);
        assert_eq!(who(&["build"]).await["members"], all);
        assert_eq!(who(&["build", "nothing"]).await["members"], json!([]));
    }
}

#[tokio::test]
async fn steps_are_1_to_50_names() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["x"], &["john"]).await;
    for (node, path) in ["/workflows/users", "/workflows/user/john"].into_iter().enumerate() {
        for bad in [json!([]), json!(vec!["x"; 51]), json!(["a b"]), json!(["*"]), json!([""])] {
            let reply = key.send(node, "POST", path, json!({"steps": bad})).await.is(400);
            assert_eq!(code(&reply), "invalid_value", "{bad}");
        }
        key.send(node, "POST", path, json!({"steps": vec!["x"; 50]})).await.is(200);
        key.send(node, "POST", path, json!({"steps": [5]})).await.is(400);
        key.send(node, "POST", path, json!({"step": ["x"]})).await.is(400);
        key.ask(node, "POST", path).await.is(400);
    }
}

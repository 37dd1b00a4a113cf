//! Checks (contract part 3.2).

use serde_json::{Value, json};

use super::{Key, data};
use crate::harness::World;

fn sorted(mut rows: Value) -> Value {
    rows.as_array_mut().unwrap().sort_by_key(Value::to_string);
    rows
}

#[tokio::test]
async fn users_may_what_their_roles_may() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["manage_users", "deploy"], &["john_doe", "ann"]).await;
    key.role("ops", &["deploy"], &["ann"]).await;
    for node in 0..3 {
        let may = async |user: &str, name: &str| {
            data(&key.get(node, &format!("/has_permission/{user}/{name}")).await)["has_permission"].clone()
        };
        assert_eq!(may("john_doe", "manage_users").await, true);
        assert_eq!(may("john_doe", "deploy").await, true);
        assert_eq!(may("john_doe", "other").await, false);
        assert_eq!(may("stranger", "deploy").await, false);
        let held = json!({"count": 2, "permissions": [{"name": "deploy"}, {"name": "manage_users"}]});
        assert_eq!(data(&key.get(node, "/user_permissions/ann").await), held, "once each");
        let nothing = json!({"count": 0, "permissions": []});
        assert_eq!(data(&key.get(node, "/user_permissions/stranger").await), nothing);
        let roles = json!({"result": [{"role": "admin"}, {"role": "ops"}]});
        assert_eq!(key.get(node, "/which_roles_can/deploy").await.json, roles);
        assert_eq!(key.get(node, "/which_roles_can/other").await.json, json!({"result": []}));
        let users = json!([
            {"user": "ann", "role": "admin"},
            {"user": "ann", "role": "ops"},
            {"user": "john_doe", "role": "admin"},
        ]);
        let listed = key.get(node, "/which_users_can/deploy").await.json["result"].clone();
        assert_eq!(sorted(listed), sorted(users), "a row for each role");
        assert_eq!(key.get(node, "/which_users_can/other").await.json, json!({"result": []}));
    }
}

#[tokio::test]
async fn what_is_taken_is_refused_by_every_node_at_once() {
    let world = World::new();
    let key = Key::new(&world);
    for (round, taking) in
        ["/membership/john/admin", "/permission/admin/deploy", "/role/admin"].into_iter().enumerate()
    {
        key.role("admin", &["deploy"], &["john"]).await;
        for node in 0..3 {
            assert_eq!(data(&key.get(node, "/has_permission/john/deploy").await)["has_permission"], true);
        }
        key.delete(round, taking).await;
        for node in 0..3 {
            let verdict = data(&key.get(node, "/has_permission/john/deploy").await);
            assert_eq!(verdict, json!({"has_permission": false}), "{taking}");
        }
    }
}

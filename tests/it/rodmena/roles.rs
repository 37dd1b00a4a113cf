//! Roles (contract part 3.2).

use serde_json::json;

use super::{Key, data, yes};
use crate::harness::World;

#[tokio::test]
async fn a_role_is_made_once_and_deleted_once() {
    let world = World::new();
    let key = Key::new(&world);
    for node in 0..3 {
        let path = format!("/role/role-{node}");
        for other in 0..3 {
            yes(&key.post(node + other, &path).await);
        }
        let made = json!({"result": [{"role": format!("role-{node}"), "description": null}]});
        for other in 0..3 {
            assert_eq!(key.get(other, "/roles").await.json, made);
        }
        assert_eq!(data(&key.delete(node + 1, &path).await), json!({"result": true}));
        for other in 0..3 {
            assert_eq!(data(&key.delete(other, &path).await), json!({"result": false}));
            assert_eq!(key.get(other, "/roles").await.json, json!({"result": []}));
        }
    }
}

#[tokio::test]
async fn a_role_that_is_made_again_is_empty() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &["deploy"], &["john"]).await;
    // Made again while it is there, it stays as it is.
    yes(&key.post(1, "/role/admin").await);
    assert_eq!(data(&key.get(2, "/has_permission/john/deploy").await)["has_permission"], true);
    key.delete(0, "/role/admin").await;
    yes(&key.post(1, "/role/admin").await);
    for node in 0..3 {
        assert_eq!(key.get(node, "/members/admin").await.json, json!({"result": []}));
        assert_eq!(data(&key.get(node, "/role_permissions/admin").await), json!([]));
        assert_eq!(key.get(node, "/user_roles/john").await.json, json!({"result": []}));
        assert_eq!(data(&key.get(node, "/has_permission/john/deploy").await)["has_permission"], false);
    }
}

#[tokio::test]
async fn case_counts_in_the_names_of_roles() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("Admin", &[], &[]).await;
    key.role("admin", &[], &[]).await;
    assert_eq!(key.get(2, "/roles").await.json["result"].as_array().unwrap().len(), 2);
}

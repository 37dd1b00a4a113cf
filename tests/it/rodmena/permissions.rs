//! Permissions of roles (contract part 3.2).

use serde_json::json;

use super::{Key, data, no, yes};
use crate::harness::World;

#[tokio::test]
async fn a_role_is_given_a_permission_and_loses_it() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &[], &[]).await;
    for node in 0..3 {
        no(&key.get(node, "/permission/admin/deploy").await);
        for _ in 0..2 {
            yes(&key.post(node, "/permission/admin/deploy").await);
        }
        for other in 0..3 {
            yes(&key.get(other, "/permission/admin/deploy").await);
            no(&key.get(other, "/permission/admin/Deploy").await);
            assert_eq!(data(&key.get(other, "/role_permissions/admin").await), json!([{"name": "deploy"}]));
            let roles = json!({"result": [{"role": "admin"}]});
            assert_eq!(key.get(other, "/which_roles_can/deploy").await.json, roles);
        }
        for other in 0..3 {
            yes(&key.delete(node + other, "/permission/admin/deploy").await);
        }
        assert_eq!(key.get(node, "/which_roles_can/deploy").await.json, json!({"result": []}));
    }
}

#[tokio::test]
async fn a_role_that_is_not_there_is_no_error() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &[], &[]).await;
    for node in 0..3 {
        no(&key.post(node, "/permission/nobody/deploy").await);
        no(&key.get(node, "/permission/nobody/deploy").await);
        yes(&key.delete(node, "/permission/nobody/deploy").await);
        assert_eq!(data(&key.get(node, "/role_permissions/nobody").await), json!([]));
    }
}

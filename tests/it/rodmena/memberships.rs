//! Memberships (contract part 3.2).

use serde_json::json;

use super::{Key, data, no, yes};
use crate::harness::World;

#[tokio::test]
async fn a_user_is_given_a_role_and_loses_it() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &[], &[]).await;
    for node in 0..3 {
        let has = async |node| data(&key.get(node, "/membership/john_doe/admin").await);
        assert_eq!(has(node).await, json!({"has_permission": false}));
        for _ in 0..2 {
            yes(&key.post(node, "/membership/john_doe/admin").await);
        }
        let row = json!({"result": [{"user": "john_doe", "role": "admin"}]});
        for other in 0..3 {
            assert_eq!(has(other).await, json!({"has_permission": true}));
            assert_eq!(key.get(other, "/user_roles/john_doe").await.json, row);
            assert_eq!(key.get(other, "/members/admin").await.json, row);
            assert_eq!(key.get(other, "/user_roles/John_doe").await.json, json!({"result": []}));
        }
        for other in 0..3 {
            yes(&key.delete(node + other, "/membership/john_doe/admin").await);
        }
        for other in 0..3 {
            assert_eq!(has(other).await, json!({"has_permission": false}));
            assert_eq!(key.get(other, "/members/admin").await.json, json!({"result": []}));
        }
    }
}

#[tokio::test]
async fn a_role_or_user_that_is_not_there_is_no_error() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &[], &[]).await;
    for node in 0..3 {
        no(&key.post(node, "/membership/john/nobody").await);
        yes(&key.delete(node, "/membership/john/nobody").await);
        yes(&key.delete(node, "/membership/nobody/admin").await);
        assert_eq!(data(&key.get(node, "/membership/nobody/admin").await), json!({"has_permission": false}));
        assert_eq!(key.get(node, "/user_roles/nobody").await.json, json!({"result": []}));
        assert_eq!(key.get(node, "/members/nobody").await.json, json!({"result": []}));
    }
}

//! The audit trail by the names of the original (contract parts 3.3 and 3.4).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Key, data, is_naive};
use crate::harness::{World, eventually};

async fn entries(key: &Key<'_>, node: usize, query: &str) -> Vec<Value> {
    data(&key.get(node, &format!("/audit?limit=500{query}")).await)["entries"].as_array().unwrap().clone()
}

/// What was left behind by an account in which everything was done.
struct Story {
    key: String,
    user_key_id: String,
    /// What must not be told of.
    secrets: Vec<String>,
}

/// Does everything that can be done, once at least.
async fn everything(world: &World) -> Story {
    let key = Key::new(world);
    key.role("admin", &["deploy"], &["john@example.com"]).await;
    let (id, secret) = key.user_key("john@example.com").await;
    let recovery = data(&key.post(0, "/keys/get_rotate_key").await)["rotate_key"].clone();
    for path in [
        "/roles",
        "/permission/admin/deploy",
        "/role_permissions/admin",
        "/membership/john@example.com/admin",
        "/user_roles/john@example.com",
        "/members/admin",
        "/has_permission/john@example.com/deploy",
        "/user_permissions/john@example.com",
        "/which_roles_can/deploy",
        "/which_users_can/deploy",
        "/workflow/users/deploy",
        "/workflow/user/john@example.com/can_run/deploy",
        "/settings",
        "/apikeys/user/john@example.com",
        "/audit",
    ] {
        key.get(1, path).await;
    }
    let body = json!({"api_key": secret, "permission": "deploy"});
    key.send(2, "POST", "/apikeys/check_permission", body).await.is(200);
    key.send(2, "POST", "/apikeys/validate", json!({"api_key": secret})).await.is(200);
    let path = format!("/apikeys/user/john@example.com/{id}");
    key.send(0, "PATCH", &path, json!({"expires_at": super::in_days(3)})).await.is(200);
    key.delete(1, &path).await;
    key.send(2, "PUT", "/settings", json!({"strict_users": true})).await.is(200);
    key.delete(0, "/membership/john@example.com/admin").await;
    key.delete(1, "/permission/admin/deploy").await;
    key.delete(2, "/role/admin").await;
    let rotated = data(&key.post(0, "/keys/rotate").await);
    let key = Key::with(world, rotated["new_key"].as_str().unwrap());
    let recovered = world.post(1, "/api/keys/recover").json(&json!({"rotate_key": recovery})).await.is(200);
    let key_text = data(&recovered)["client_key"].as_str().unwrap().to_owned();
    let secrets = vec![secret, key_text.clone(), key.text, recovery.as_str().unwrap().to_owned()];
    Story { key: key_text, user_key_id: id, secrets }
}

#[tokio::test]
async fn every_call_is_told_of_by_the_name_of_the_original_and_no_secret_is() {
    let world = World::new();
    let Story { key, user_key_id, secrets } = everything(&world).await;
    let last = Key::with(&world, &key);
    let told: BTreeSet<&str> = [
        "CREATE_ROLE",
        "DELETE_ROLE",
        "ADD_PERMISSION",
        "REMOVE_PERMISSION",
        "ADD_MEMBERSHIP",
        "REMOVE_MEMBERSHIP",
        "CHECK_PERMISSION",
        "CHECK_MEMBERSHIP",
        "LIST_ROLES",
        "LIST_PERMISSIONS",
        "LIST_MEMBERSHIPS",
        "USER_PERMISSIONS",
        "ROTATE_KEY",
        "CREATE_API_KEY",
        "LIST_API_KEYS",
        "REVOKE_API_KEY",
        "UPDATE_API_KEY",
        "VALIDATE_API_KEY",
        "CHECK_API_KEY_PERMISSION",
        "GET_SETTINGS",
        "UPDATE_SETTINGS",
        "GET_AUDIT",
        "GET_ROTATE_KEY",
        "RECOVER_KEY",
        "ACCOUNT_CREATE",
    ]
    .into();
    for node in 0..3 {
        let all = eventually("all is written down", async || {
            let all = entries(&last, node, "").await;
            let names: BTreeSet<&str> = all.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
            (names == told).then_some(all.clone())
        })
        .await;
        let text = Value::Array(all.clone()).to_string();
        let hidden = ["john", "example.com", "rak_", "rrk_"];
        for hidden in secrets.iter().map(String::as_str).chain(hidden) {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
        let mut ids = BTreeSet::new();
        let mut times = Vec::new();
        for entry in &all {
            let members = [
                "action",
                "details",
                "id",
                "ip_address",
                "resource",
                "success",
                "timestamp",
                "user",
                "user_agent",
            ];
            assert_eq!(entry.as_object().unwrap().keys().collect::<Vec<_>>(), members);
            is_naive(entry["timestamp"].as_str().unwrap());
            assert!(ids.insert(entry["id"].as_u64().unwrap()));
            assert_eq!(
                (&entry["ip_address"], &entry["success"]),
                (&json!("127.0.0.1"), &json!(true)),
                "{entry}"
            );
            times.push(entry["timestamp"].as_str().unwrap());
        }
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        let of = |action: &str| all.iter().find(|entry| entry["action"] == action).unwrap();
        let user = of("ADD_MEMBERSHIP")["user"].as_str().unwrap();
        assert!(user.starts_with("fpr_") && user.len() == 36, "{user}");
        assert_eq!(of("ADD_MEMBERSHIP")["resource"], format!("{user}:admin"));
        assert_eq!(of("CHECK_MEMBERSHIP")["resource"], format!("{user}:admin"));
        assert_eq!(of("ADD_PERMISSION")["resource"], "admin:deploy");
        assert_eq!(of("CREATE_ROLE")["resource"], "admin");
        assert_eq!(of("LIST_ROLES")["user"], Value::Null);
        assert_eq!(of("REVOKE_API_KEY")["resource"], format!("{user}:{user_key_id}"));
        assert_eq!(of("USER_PERMISSIONS")["user"], user, "the same on every node");
        assert_eq!(of("CHECK_MEMBERSHIP")["details"]["has_permission"], true);
        assert_eq!(of("GET_ROTATE_KEY")["resource"], "self");
    }
}

#[tokio::test]
async fn what_was_tried_in_vain_is_told_of_as_such() {
    let world = World::new();
    let key = Key::new(&world);
    key.role("admin", &[], &[]).await;
    key.post(0, "/permission/nobody/x").await;
    key.post(1, "/membership/john/nobody").await;
    key.delete(2, "/role/nobody").await;
    key.get(0, "/permission/admin/x").await;
    key.get(1, "/has_permission/john/x").await;
    let body = json!({"api_key": format!("rak_{}", "0".repeat(43))});
    key.send(2, "POST", "/apikeys/validate", body).await.is(200);
    for node in 0..3 {
        for (action, success) in [
            ("ADD_PERMISSION", false),
            ("ADD_MEMBERSHIP", false),
            ("DELETE_ROLE", false),
            ("VALIDATE_API_KEY", false),
        ] {
            let entry =
                eventually(action, async || entries(&key, node, &format!("&action={action}")).await.pop())
                    .await;
            assert_eq!(entry["success"], success, "{entry}");
        }
        let checks = eventually("both checks", async || {
            let checks = entries(&key, node, "&action=check_permission").await;
            (checks.len() == 2).then_some(checks)
        })
        .await;
        // That a user may not is an answer; that a role has not is a no, as its result is.
        for check in checks {
            let is_about_user = check["user"].is_string();
            assert_eq!(check["success"], is_about_user, "{check}");
            assert_eq!(check["details"].get("has_permission"), is_about_user.then_some(&json!(false)));
        }
    }
}

#[tokio::test]
async fn pages_and_filters() {
    let world = World::new();
    let key = Key::new(&world);
    for number in 0..12 {
        key.post(number, &format!("/role/role-{number}")).await;
    }
    for node in 0..3 {
        let page =
            async |query: &str| data(&key.get(node, &format!("/audit?action=create_role{query}")).await);
        let names = |page: &Value| -> Vec<String> {
            let entries = page["entries"].as_array().unwrap();
            entries.iter().map(|entry| entry["resource"].as_str().unwrap().to_owned()).collect()
        };
        let all = page("").await;
        assert_eq!((&all["total"], &all["limit"], &all["offset"]), (&json!(12), &json!(50), &json!(0)));
        let newest_first: Vec<String> = (0..12).rev().map(|number| format!("role-{number}")).collect();
        assert_eq!(names(&all), newest_first);
        let part = page("&limit=5&offset=4").await;
        assert_eq!((&part["total"], names(&part)), (&json!(12), newest_first[4..9].to_vec()));
        assert_eq!(names(&page("&limit=5&offset=10").await), newest_first[10..]);
        assert_eq!(names(&page("&offset=12").await), Vec::<String>::new());
        for bad in [
            "limit=0",
            "limit=501",
            "limit=x",
            "offset=-1",
            "offset=x",
            "offset=20001",
            "cursor=x",
            "limit=1&limit=1",
        ] {
            key.ask(node, "GET", &format!("/audit?{bad}")).await.is(400);
        }
        assert_eq!(data(&key.get(node, "/audit?action=NOTHING").await)["total"], 0);
    }
    // Of its own account alone.
    let other = Key::new(&world);
    other.role("theirs", &[], &[]).await;
    let text = Value::Array(entries(&other, 1, "").await).to_string();
    assert!(text.contains("theirs") && !text.contains("role-1"), "{text}");
}

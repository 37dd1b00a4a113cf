//! The verbs of the client library against real nodes.

use conclave::client::Client;
use conclave::client::rodmena::{AuthClient, NewApiKey};

use super::{in_days, new_key};
use crate::harness::World;

fn urls() -> [String; 3] {
    [0, 1, 2].map(|node| format!("http://{}", World::node(node).http_address()))
}

#[tokio::test]
async fn every_verb_of_the_library_is_answered() {
    for first in 0..3 {
        let mut urls = urls();
        urls.rotate_left(first);
        let client = AuthClient::new(new_key(), urls.clone()).unwrap();
        assert_eq!(client.ping().await.unwrap(), "PONG");
        assert!(client.create_role("admin").await.unwrap());
        assert!(client.add_permission("admin", "manage_users").await.unwrap());
        assert!(client.add_membership("john@example.com", "admin").await.unwrap());
        assert!(!client.add_membership("john@example.com", "nobody").await.unwrap());
        assert!(client.user_has_permission("john@example.com", "manage_users").await.unwrap());
        assert!(client.has_permission("admin", "manage_users").await.unwrap());
        assert!(client.has_membership("john@example.com", "admin").await.unwrap());
        assert!(client.check_user_workflow_permission("john@example.com", "manage_users").await.unwrap());
        assert_eq!(client.get_user_permissions("john@example.com").await.unwrap(), ["manage_users"]);
        assert_eq!(client.get_role_permissions("admin").await.unwrap(), ["manage_users"]);
        assert_eq!(client.which_roles_can("manage_users").await.unwrap(), ["admin"]);
        assert_eq!(client.list_roles().await.unwrap()[0].role, "admin");
        for rows in [
            client.get_user_roles("john@example.com").await.unwrap(),
            client.get_role_members("admin").await.unwrap(),
            client.which_users_can("manage_users").await.unwrap(),
            client.get_users_for_workflow("manage_users").await.unwrap(),
        ] {
            assert_eq!((rows[0].user.as_str(), rows[0].role.as_str()), ("john@example.com", "admin"));
        }
        let steps = ["manage_users", "other"];
        let run = client.check_user_steps("john@example.com", &steps).await.unwrap();
        assert_eq!((run.can_run, run.stopped_by.as_deref()), (false, Some("other")));
        let runners = client.get_users_for_steps(&steps[..1]).await.unwrap();
        assert_eq!((runners.members[0].user.as_str(), runners.truncated), ("john@example.com", false));

        assert!(client.set_strict_users(true).await.unwrap().strict_users);
        let strict = client.add_membership("ann", "admin").await.unwrap_err();
        assert_eq!((strict.status(), strict.code()), (Some(409), Some("user_not_key_backed")));
        let new = NewApiKey { label: Some("ci".to_owned()), expires_at: Some(in_days(30)) };
        let made = client.create_api_key("ann", &new).await.unwrap();
        assert!(client.add_membership("ann", "admin").await.unwrap());
        assert_eq!(client.list_api_keys("ann").await.unwrap().keys.len(), 1);
        let told = client.check_api_key_permission(made.api_key.clone(), "manage_users").await.unwrap();
        assert_eq!((told.valid, told.has_permission), (true, Some(true)));
        assert!(client.set_api_key_expiry("ann", made.key_id, &in_days(3)).await.unwrap().is_active);
        assert!(client.revoke_api_key("ann", made.key_id).await.unwrap().revoked);
        let told = client.validate_api_key(made.api_key.clone()).await.unwrap();
        assert_eq!((told.valid, told.reason.as_deref()), (false, Some("revoked")));
        assert!(!client.set_strict_users(false).await.unwrap().strict_users);

        let recovery = client.get_rotate_key().await.unwrap();
        let rotated = client.rotate_key().await.unwrap();
        assert_eq!((rotated.migrated["roles"], rotated.migrated["api_keys"]), (1, 1));
        assert!(client.list_roles().await.unwrap().is_empty(), "the old key owns nothing");
        let cluster = Client::new(urls.clone()).unwrap();
        let recovered = AuthClient::recover(&cluster, recovery, None).await.unwrap();
        let client = AuthClient::with(cluster, recovered.client_key);
        assert_eq!(client.list_roles().await.unwrap().len(), 1);
        let trail = client.audit(50, 0, Some("ADD_MEMBERSHIP")).await.unwrap();
        assert!(trail.total >= 2 && trail.entries.iter().any(|entry| entry.success), "{trail:?}");
        assert!(client.remove_permission("admin", "manage_users").await.unwrap());
        assert!(client.remove_membership("john@example.com", "admin").await.unwrap());
        assert!(client.delete_role("admin").await.unwrap());
        assert!(!client.delete_role("admin").await.unwrap());
    }
}

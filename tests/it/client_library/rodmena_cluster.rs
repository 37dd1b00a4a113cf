//! RODMENA's verbs against the three nodes: what the library writes through one node it reads through the others.

use conclave::auth::mint::Mint;
use conclave::client::rodmena::{AuthClient, NewApiKey};
use conclave::client::{Client, Consistency};

use super::urls;

/// A client key that nobody has.
fn client_key() -> String {
    Mint::random().uuid().unwrap().to_string()
}

#[tokio::test]
async fn every_verb_works_whichever_node_is_asked() {
    let urls = urls();
    let key = client_key();
    let [one, two, three] = [0, 1, 2].map(|node| AuthClient::new(key.clone(), [urls[node].clone()]).unwrap());
    assert_eq!(one.ping().await.unwrap(), "PONG");
    assert!(two.list_roles().await.unwrap().is_empty(), "reading makes no account");
    assert!(one.create_role("admin").await.unwrap() && two.create_role("admin").await.unwrap());
    assert!(three.add_permission("admin", "manage_users").await.unwrap());
    assert!(!one.add_permission("nobody", "manage_users").await.unwrap());
    assert!(two.add_membership("john_doe", "admin").await.unwrap());
    for client in [&one, &two, &three] {
        assert!(client.user_has_permission("john_doe", "manage_users").await.unwrap());
        assert!(client.has_permission("admin", "manage_users").await.unwrap());
        assert!(client.has_membership("john_doe", "admin").await.unwrap());
        assert!(client.check_user_workflow_permission("john_doe", "manage_users").await.unwrap());
        assert_eq!(client.get_user_permissions("john_doe").await.unwrap(), ["manage_users"]);
        assert_eq!(client.get_role_permissions("admin").await.unwrap(), ["manage_users"]);
        assert_eq!(client.which_roles_can("manage_users").await.unwrap(), ["admin"]);
        let members = client.get_role_members("admin").await.unwrap();
        assert_eq!(client.which_users_can("manage_users").await.unwrap(), members);
        assert_eq!(client.get_users_for_workflow("manage_users").await.unwrap(), members);
        assert_eq!(client.get_user_roles("john_doe").await.unwrap(), members);
        let run = client.check_user_steps("john_doe", &["manage_users", "other"]).await.unwrap();
        assert_eq!((run.can_run, run.stopped_by.as_deref()), (false, Some("other")));
        let runners = client.get_users_for_steps(&["manage_users"]).await.unwrap();
        assert_eq!(runners.members[0].user, "john_doe");
    }
    assert!(three.remove_membership("john_doe", "admin").await.unwrap());
    assert!(!one.user_has_permission("john_doe", "manage_users").await.unwrap());
    assert!(two.remove_permission("admin", "manage_users").await.unwrap());
    assert!(three.delete_role("admin").await.unwrap() && !one.delete_role("admin").await.unwrap());
}

#[tokio::test]
async fn keys_are_made_ended_replaced_and_recovered() {
    let client = AuthClient::new(client_key(), urls()).unwrap();
    client.create_role("admin").await.unwrap();
    assert!(client.set_strict_users(true).await.unwrap().strict_users);
    let strict = client.add_membership("ann", "admin").await.unwrap_err();
    assert_eq!(strict.status(), Some(409));
    let new = NewApiKey { label: Some("ci".to_owned()), ..NewApiKey::default() };
    let made = client.create_api_key("ann", &new).await.unwrap();
    assert!(client.add_membership("ann", "admin").await.unwrap());
    let good = client.validate_api_key(made.api_key.clone()).await.unwrap();
    assert_eq!((good.valid, good.user.as_deref()), (true, Some("ann")));
    let told = client.check_api_key_permission(made.api_key.clone(), "deploy").await.unwrap();
    assert_eq!(told.has_permission, Some(false));
    assert!(client.revoke_api_key("ann", made.key_id).await.unwrap().revoked);
    let ended = client.validate_api_key(made.api_key).consistency(Consistency::Linearizable).await.unwrap();
    assert_eq!((ended.valid, ended.reason.as_deref()), (false, Some("revoked")));
    assert_eq!(client.list_api_keys("ann").await.unwrap().count, 1);

    let rotate_key = client.get_rotate_key().await.unwrap();
    let rotated = client.rotate_key().await.unwrap();
    assert_eq!(rotated.migrated["memberships"], 1);
    assert!(client.list_roles().await.unwrap().is_empty(), "the old key owns nothing");
    let cluster = Client::new(urls()).unwrap();
    let recovered = AuthClient::recover(&cluster, rotate_key.clone(), None).await.unwrap();
    assert!(AuthClient::recover(&cluster, rotate_key, None).await.is_err(), "it is good once");
    let again = AuthClient::with(cluster, recovered.client_key);
    assert_eq!(again.list_roles().await.unwrap().len(), 1);
    let trail = again.audit(50, 0, Some("ADD_MEMBERSHIP")).await.unwrap();
    assert!(trail.entries.iter().any(|entry| entry.success), "{trail:?}");
}

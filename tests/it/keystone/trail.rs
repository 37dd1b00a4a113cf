//! What the token service leaves in the audit trail.

use conclave::api::Api;
use conclave::domain::audit::{self, AuditRecord, Trail};
use conclave::domain::{AccountId, Actor};
use serde_json::json;

use super::{Desk, refused};
use crate::harness::{World, eventually};
use crate::requests::{Things, of_keystone};

async fn records(node: usize, account: &str, after: u64) -> Vec<AuditRecord> {
    let view = World::view(node).await;
    audit::list(&view, AccountId::parse(account).unwrap(), Trail::Acts, after, usize::MAX).unwrap()
}

/// What each route does when an administrator sends its sample, in order. Introspecting is a question; others that
/// leave nothing have nothing to change: another's token, a user who is not locked, an account that is closed to
/// strangers.
const ACTS: [(&str, &[&str]); 17] = [
    ("POST /api/v1/admin/clients", &["role.create", "service-account.create"]),
    ("PUT /api/v1/admin/clients/{client_id}", &["role.grant"]),
    ("DELETE /api/v1/admin/clients/{client_id}", &["service-account.delete", "role.delete"]),
    ("POST /api/v1/admin/clients/{client_id}/rotate-secret", &["api-key.create"]),
    ("POST /api/v1/admin/users", &["user.create"]),
    ("PUT /api/v1/admin/users/{user_id}", &["user.update"]),
    ("DELETE /api/v1/admin/users/{user_id}", &["user.delete"]),
    ("POST /api/v1/admin/users/{user_id}/unlock", &[]),
    ("POST /api/v1/auth/introspect", &[]),
    ("POST /api/v1/auth/logout", &["session.end-all"]),
    ("POST /api/v1/auth/refresh", &["session.refresh"]),
    ("POST /api/v1/auth/revoke", &[]),
    ("POST /api/v1/auth/service-token", &["session.open"]),
    ("POST /api/v1/auth/token", &["session.open"]),
    ("POST /api/v1/users/change-password", &["user.prove-password", "user.set-password"]),
    ("PUT /api/v1/users/profile", &["user.update"]),
    ("POST /api/v1/users/register", &[]),
];

#[tokio::test]
async fn every_act_is_written_down_once_with_who_did_it() {
    let world = World::new();
    let account = world.account().await;
    let mut things = Things::make(&world, &account).await;
    let changing = Api::routes().into_iter().filter(of_keystone).filter(|route| route.method != "GET");
    for (index, route) in changing.enumerate() {
        things.renew(&world, &route).await;
        let before = records(0, &account.id, 0).await.last().unwrap().sequence;
        let sample = things.sample(&route);
        let reply = sample.ask(&world, index).by(sample.proof("")).header("user-agent", "walker/1").await;
        let expected = ACTS.iter().find(|(name, _)| *name == route.name).unwrap().1;
        let new = records(index % 3, &account.id, before).await;
        let actions: Vec<&str> = new.iter().map(|record| record.action.as_str()).collect();
        assert_eq!(actions, expected, "{}: {}", route.name, reply.json);
        for record in &new {
            assert!(record.success, "{record:?}");
            assert_eq!(record.origin.agent.as_deref(), Some("walker/1"), "{record:?}");
            if expected == ["session.open"] || expected == ["session.refresh"] {
                assert_eq!(record.by, Actor::Anonymous, "whoever proves it becomes known by that");
            } else {
                let admin = &things.keystone.admin.id;
                assert!(matches!(&record.by, Actor::SignedIn { principal, .. } if principal.id() == *admin));
            }
        }
    }
}

#[tokio::test]
async fn denials_and_failed_sign_ins_are_written_down() {
    let world = World::new();
    let account = world.account().await;
    let desk = Desk::make(&world, &account).await;
    let before = records(0, &account.id, 0).await.last().unwrap().sequence;
    refused(world.get(1, "/api/v1/admin/users").by(&desk.user.access).await, 403, "insufficient_scope");
    let body = json!({"grant_type": "password", "username": desk.user.name, "password": "wrong"});
    let ask = world.post(2, "/api/v1/auth/token").header("x-account-id", &account.id);
    refused(ask.json(&body).await, 401, "invalid_grant");
    let found = eventually("two records", async || {
        let new = records(0, &account.id, before).await;
        (new.len() >= 2).then_some(new)
    })
    .await;
    let mut said: Vec<(&str, &str)> =
        found.iter().map(|record| (record.action.as_str(), record.target.as_str())).collect();
    said.sort_unstable();
    let user = format!("user/{}", desk.user.id);
    assert_eq!(said, [("denied", "GET /api/v1/admin/users admin:users"), ("session.refuse", &*user)]);
    assert!(found.iter().all(|record| !record.success));
}

//! The few values that histories are made of. Ids are shared by all accounts on purpose: an id of one
//! account must be nothing in another.

use proptest::prelude::*;
use uuid::Uuid;

use super::super::{
    AccountId, ApiKeyId, Email, PasswordHash, Permission, Principal, RoleName, SecretHash, ServiceId,
    SessionId, UserId, UserName, authority::permission,
};

pub(super) const ACCOUNTS: u8 = 3;
pub(super) const USERS: u8 = 6;
pub(super) const SERVICES: u8 = 2;
pub(super) const SESSIONS: u8 = 16;
pub(super) const TOKENS: u8 = 24;

pub(super) const ROLES: [&str; 5] = ["admin", "manager", "reader", "later", "Reader"];
pub(super) const PERMISSIONS: [&str; 16] = [
    "*",
    "iam:*",
    "iam:users:*",
    permission::WRITE_USERS,
    permission::WRITE_SERVICES,
    permission::WRITE_ROLES,
    permission::ASSIGN_ROLES,
    permission::END_SESSIONS,
    permission::WRITE_KEYS,
    "doc:*",
    "doc:read",
    "doc:erase",
    "doc",
    "a/b.c",
    "a/*",
    "a/b.*",
];
/// Some look like addresses, because a name may.
const NAMES: [&str; 6] = ["alice", "ALICE", "bob", "a@x", "Bob", "carol"];
const EMAILS: [&str; 6] = ["a@x", "A@X", "b@x", "root0@x", "ROOT1@x", "c@x"];

pub(super) fn account(n: u8) -> AccountId {
    AccountId::parse(&format!("10000000000{n}")).unwrap()
}

fn uuid(kind: u8, n: u8) -> Uuid {
    Uuid::from_bytes([kind, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, n])
}

pub(super) fn user(n: u8) -> UserId {
    UserId::new(uuid(1, n))
}

pub(super) fn service(n: u8) -> ServiceId {
    ServiceId::new(uuid(2, n))
}

pub(super) fn api_key(n: u8) -> ApiKeyId {
    ApiKeyId::new(uuid(3, n))
}

pub(super) fn session(n: u8) -> SessionId {
    SessionId::new(uuid(4, n))
}

pub(super) fn secret(n: u8) -> SecretHash {
    SecretHash::new([n; 32])
}

pub(super) fn role(n: usize) -> RoleName {
    RoleName::parse(ROLES[n % ROLES.len()]).unwrap()
}

pub(super) fn permission(n: usize) -> Permission {
    Permission::parse(PERMISSIONS[n % PERMISSIONS.len()]).unwrap()
}

pub(super) fn any_user() -> impl Strategy<Value = UserId> {
    (0..USERS).prop_map(user)
}

pub(super) fn any_service() -> impl Strategy<Value = ServiceId> {
    (0..SERVICES).prop_map(service)
}

pub(super) fn any_principal() -> impl Strategy<Value = Principal> {
    prop_oneof![
        3 => any_user().prop_map(Principal::User),
        1 => any_service().prop_map(Principal::Service),
    ]
}

pub(super) fn every_principal() -> Vec<Principal> {
    let users = (0..USERS).map(|n| Principal::User(user(n)));
    users.chain((0..SERVICES).map(|n| Principal::Service(service(n)))).collect()
}

pub(super) fn any_session() -> impl Strategy<Value = SessionId> {
    (0..SESSIONS).prop_map(session)
}

pub(super) fn any_token() -> impl Strategy<Value = SecretHash> {
    (0..TOKENS).prop_map(secret)
}

pub(super) fn any_role() -> impl Strategy<Value = RoleName> {
    (0..ROLES.len()).prop_map(role)
}

pub(super) fn any_permission() -> impl Strategy<Value = Permission> {
    (0..PERMISSIONS.len()).prop_map(permission)
}

pub(super) fn any_name() -> impl Strategy<Value = UserName> {
    (0..NAMES.len()).prop_map(|n| UserName::parse(NAMES[n]).unwrap())
}

pub(super) fn any_email() -> impl Strategy<Value = Email> {
    (0..EMAILS.len()).prop_map(|n| Email::parse(EMAILS[n]).unwrap())
}

pub(super) fn any_password() -> impl Strategy<Value = PasswordHash> {
    (0..3_u8).prop_map(|n| PasswordHash::new(format!("hash-{n}")))
}

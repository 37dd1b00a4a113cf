//! Random commands. What depends on the rows of the moment (who has that session, which revision a
//! password has) is left open here and filled in by [`super::world`].

use std::collections::BTreeSet;

use proptest::option::weighted;
use proptest::prelude::*;

use super::super::account::NewAccount;
use super::super::cluster::ClusterSecrets;
use super::super::key::{KeyAlgorithm, NewSigningKey};
use super::super::lockout::{Lockout, RefusedSignIn, Why};
use super::super::reseal::{Resealed, SealedSecret};
use super::super::role::{NewRole, RoleChanges};
use super::super::service::{NewApiKey, NewServiceAccount};
use super::super::session::{Grant, NewRefresh, NewSession, Proof, Rotation};
use super::super::settings::SettingsChanges;
use super::super::user::{NewUser, UserChanges, UserStatus};
use super::super::{Action, Label, Lifetime, Permission, Principal, Resource, RoleName, Sealed, SessionId};
use super::pools::{
    ACCOUNTS, any_email, any_name, any_password, any_permission, any_principal, any_role, any_service,
    any_session, any_token, any_user, api_key, service, user,
};

/// One command, with gaps.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) account: u8,
    pub(super) by: By,
    pub(super) wait_ms: u64,
    pub(super) action: Action,
    /// What is expected, and whether its revision is the right one.
    pub(super) expect: Option<(Resource, bool)>,
}

/// Who gives it.
#[derive(Clone, Debug)]
pub(super) enum By {
    System,
    Anonymous,
    /// Whoever has that session.
    Session(SessionId),
    /// Somebody who says so.
    Claimed(Principal, SessionId),
}

/// Stands for "the password's revision as it is", in a proof. Other proofs and tokens are replaced by ones
/// that exist, mostly: see [`super::world`].
pub(super) const AS_IT_IS: u64 = u64::MAX;

pub(super) fn step() -> impl Strategy<Value = Step> {
    let by = prop_oneof![
        8 => Just(By::System),
        1 => Just(By::Anonymous),
        9 => any_session().prop_map(By::Session),
        1 => (any_principal(), any_session()).prop_map(|(principal, session)| By::Claimed(principal, session)),
    ];
    let wait = prop_oneof![
        12 => Just(0_u64),
        4 => Just(1_000),
        2 => Just(6_000),
        2 => Just(3_600_000),
        1 => Just(20_000_000),
    ];
    let action = prop_oneof![
        12 => action(),
        1 => prop::collection::vec(action(), 0..4).prop_map(Action::Transaction),
    ];
    let account = prop_oneof![6 => Just(0), 3 => Just(1), 1 => 2..ACCOUNTS];
    (account, by, wait, action, weighted(0.15, (resource(), prop::bool::weighted(0.7))))
        .prop_map(|(account, by, wait_ms, action, expect)| Step { account, by, wait_ms, action, expect })
}

/// Commands of one account and few principals that open, end and revive.
pub(super) fn lives() -> impl Strategy<Value = Step> {
    let user = || (1..3_u8).prop_map(user);
    let service = || Just(service(0));
    let status = prop_oneof![Just(UserStatus::Active), Just(UserStatus::Disabled)];
    let everyone = prop_oneof![user().prop_map(Principal::User), service().prop_map(Principal::Service)];
    let action = prop_oneof![
        8 => session_action(),
        2 => (user(), status).prop_map(|(user, status)| Action::SetUserStatus { user, status }),
        1 => (user(), any_password()).prop_map(|(user, password)| Action::SetPassword { user, password, history: 2 }),
        1 => (service(), any::<bool>())
            .prop_map(|(service, active)| Action::SetServiceStatus { service, active }),
        1 => service().prop_map(|service| Action::DeleteServiceAccount { service }),
        2 => (service(), any_name(), new_key()).prop_map(|(id, name, key)| {
            Action::CreateServiceAccount(NewServiceAccount { id, name, roles: Vec::new(), key, client: None })
        }),
        1 => (service(), new_key()).prop_map(|(service, key)| Action::AddApiKey { service, key }),
        1 => (service(), (0..4_u8).prop_map(api_key))
            .prop_map(|(service, key)| Action::RevokeApiKey { service, key }),
        1 => (everyone, weighted(0.6, any_session()))
            .prop_map(|(principal, except)| Action::EndSessions { principal, except }),
    ];
    let wait = prop_oneof![20 => Just(0_u64), 4 => Just(2_000), 2 => Just(6_000), 1 => Just(3_600_000)];
    (wait, action).prop_map(|(wait_ms, action)| Step {
        account: 0,
        by: By::System,
        wait_ms,
        action,
        expect: None,
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        1 => Just(Resource::Account),
        2 => any_user().prop_map(Resource::User),
        2 => any_user().prop_map(Resource::Password),
        1 => any_service().prop_map(Resource::ServiceAccount),
        1 => any_role().prop_map(Resource::Role),
    ]
}

/// One action of any kind but a transaction.
fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        9 => user_action(),
        6 => service_action(),
        9 => role_action(),
        18 => session_action(),
        3 => rare_action(),
    ]
}

fn rare_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        any_token().prop_map(|hash| {
            let sealed = Sealed::new(hash.as_bytes().to_vec());
            Action::InstallSecrets(ClusterSecrets { mint_key: sealed })
        }),
        (any_token(), any_token()).prop_map(|(was, now)| {
            let [was, now] = [was, now].map(|hash| Sealed::new(hash.as_bytes().to_vec()));
            Action::Reseal(Resealed { secret: SealedSecret::MintKey, was, now })
        }),
        (signing_key(), any_token()).prop_map(|(key, now)| {
            let now = Sealed::new(now.as_bytes().to_vec());
            Action::Reseal(Resealed { secret: SealedSecret::SigningKey(key.id), was: key.private, now })
        }),
        (new_user(), signing_key()).prop_map(|(root, key)| Action::CreateAccount(NewAccount { root, key })),
        (signing_key(), lifetime())
            .prop_map(|(key, retire_after)| Action::RotateSigningKey { key, retire_after }),
        (any::<bool>(), 0..3_u32).prop_map(|(strict, failures)| {
            let lockout = Lockout { failures, lock_for: Lifetime(900_000) };
            let (lockout, strict_users) = (Some(lockout), Some(strict));
            Action::ChangeSettings(SettingsChanges { lockout, strict_users, ..SettingsChanges::default() })
        }),
        any_user().prop_map(|user| Action::Unlock { user }),
    ]
}

pub(super) fn user_action() -> impl Strategy<Value = Action> {
    let status = prop_oneof![
        3 => Just(UserStatus::Active),
        3 => Just(UserStatus::Disabled),
        1 => Just(UserStatus::Deleted),
    ];
    prop_oneof![
        4 => new_user().prop_map(Action::CreateUser),
        4 => (any_user(), weighted(0.4, any_name()), weighted(0.4, any_email()), weighted(0.3, label()))
            .prop_map(|(user, name, email, first_name)| {
                let changes = UserChanges { name, email, first_name, last_name: None };
                Action::UpdateUser { user, changes }
            }),
        2 => (any_user(), status).prop_map(|(user, status)| Action::SetUserStatus { user, status }),
        2 => (any_user(), any_password()).prop_map(|(user, password)| Action::SetPassword { user, password, history: 2 }),
        1 => (any_user(), any_password())
            .prop_map(|(user, password)| Action::RehashPassword { user, password }),
        1 => any_user().prop_map(|user| Action::DeleteUser { user }),
        4 => any_user().prop_map(|user| {
            Action::RefuseSignIn(RefusedSignIn::new(Some(user), "login", Why::WrongPassword))
        }),
    ]
}

pub(super) fn service_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (any_service(), any_name(), roles(), new_key()).prop_map(|(id, name, roles, key)| {
            Action::CreateServiceAccount(NewServiceAccount { id, name, roles, key, client: None })
        }),
        2 => any_service().prop_map(|service| Action::DeleteServiceAccount { service }),
        1 => (any_service(), any::<bool>())
            .prop_map(|(service, active)| Action::SetServiceStatus { service, active }),
        2 => (any_service(), new_key()).prop_map(|(service, key)| Action::AddApiKey { service, key }),
        1 => (any_service(), (0..4_u8).prop_map(api_key))
            .prop_map(|(service, key)| Action::RevokeApiKey { service, key }),
    ]
}

pub(super) fn role_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (any_role(), weighted(0.3, label()), permissions()).prop_map(|(name, description, permissions)| {
            Action::CreateRole(NewRole { name, description, permissions })
        }),
        3 => (any_role(), weighted(0.3, label()), permissions(), permissions()).prop_map(
            |(role, description, add, remove)| {
                Action::UpdateRole { role, changes: RoleChanges { description, add, remove } }
            }
        ),
        1 => any_role().prop_map(|role| Action::DeleteRole { role }),
        4 => (any_principal(), any_role())
            .prop_map(|(principal, role)| Action::AssignRole { principal, role }),
        2 => (any_principal(), any_role())
            .prop_map(|(principal, role)| Action::UnassignRole { principal, role }),
        2 => (any_principal(), roles())
            .prop_map(|(principal, roles)| Action::SetRoles { principal, roles }),
    ]
}

fn session_action() -> impl Strategy<Value = Action> {
    let proof = prop_oneof![
        6 => (0..4_u8).prop_map(|n| Proof::Password { user: user(n), revision: AS_IT_IS }),
        1 => any_user().prop_map(|user| Proof::Password { user, revision: AS_IT_IS }),
        1 => any_user().prop_map(|user| Proof::Password { user, revision: 7 }),
        4 => any_token().prop_map(|hash| Proof::ApiKey { hash }),
    ];
    let refresh = prop_oneof![
        1 => Just(NewRefresh::None),
        1 => any_token().prop_map(NewRefresh::Fixed),
        3 => any_token().prop_map(NewRefresh::Rotating),
    ];
    prop_oneof![
        6 => (any_session(), proof, refresh, lifetime()).prop_map(|(id, proof, refresh, lifetime)| {
            let grant = Grant::native(Lifetime(900_000));
            Action::OpenSession(NewSession { id, proof, refresh, lifetime, grant })
        }),
        6 => (any_token(), any_token())
            .prop_map(|(presented, next)| Action::RefreshSession(Rotation { presented, next })),
        1 => any_session().prop_map(|session| Action::EndSession { session }),
        1 => (any_principal(), weighted(0.6, any_session()))
            .prop_map(|(principal, except)| Action::EndSessions { principal, except }),
    ]
}

fn new_user() -> impl Strategy<Value = NewUser> {
    (any_user(), weighted(0.8, any_name()), weighted(0.6, any_email()), any_password(), roles()).prop_map(
        |(id, name, email, password, roles)| NewUser {
            id,
            name,
            email,
            first_name: None,
            last_name: None,
            password,
            roles,
        },
    )
}

fn new_key() -> impl Strategy<Value = NewApiKey> {
    (0..4_u8, any_token(), lifetime()).prop_map(|(id, hash, lifetime)| NewApiKey {
        id: api_key(id),
        hash,
        label: None,
        lifetime,
    })
}

fn signing_key() -> impl Strategy<Value = NewSigningKey> {
    (0..4_u8).prop_map(|n| NewSigningKey {
        id: format!("key-{n}"),
        algorithm: KeyAlgorithm::EdDsa,
        public: vec![n; 32],
        private: Sealed::new(service(n).uuid().as_bytes().to_vec()),
    })
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![
        1 => Just(Lifetime(0)),
        1 => Just(Lifetime(5_000)),
        3 => Just(Lifetime(3_600_000)),
        6 => Just(Lifetime(90_000_000)),
        1 => Just(Lifetime(u64::MAX)),
    ]
}

fn roles() -> impl Strategy<Value = Vec<RoleName>> {
    prop::collection::vec(any_role(), 0..3)
}

fn permissions() -> impl Strategy<Value = BTreeSet<Permission>> {
    prop::collection::btree_set(any_permission(), 0..4)
}

fn label() -> impl Strategy<Value = Label> {
    (0..3_usize).prop_map(|n| Label::parse(["", "one", "two"][n]).unwrap())
}

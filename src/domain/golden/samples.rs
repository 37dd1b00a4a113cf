//! One value of each kind, each variant in its place.

use uuid::Uuid;

use super::super::account::{Account, AccountState, NewAccount};
use super::super::audit::{AuditHead, AuditRecord};
use super::super::cluster::ClusterSecrets;
use super::super::key::{KeyAlgorithm, KeyState, NewSigningKey, SigningKey};
use super::super::reseal::{Resealed, SealedSecret};
use super::super::role::{NewRole, Role, RoleChanges};
use super::super::service::{ApiKey, NewApiKey, NewServiceAccount, ServiceAccount};
use super::super::session::{
    Method, NewRefresh, NewSession, Proof, Refresh, RefreshPointer, Rotation, Session,
};
use super::super::user::{NewUser, User, UserChanges, UserStatus};
use super::super::{
    AccountId, Action, Actor, ApiKeyId, Command, Email, Expectation, Label, Lifetime, Noun, Origin,
    PasswordHash, Permission, Principal, Rejection, Reply, Resource, RoleName, Sealed, SecretHash, ServiceId,
    SessionId, Timestamp, UserId, UserName,
};

pub(super) fn account() -> AccountId {
    AccountId::parse("123456789012").unwrap()
}

pub(super) fn at() -> Timestamp {
    Timestamp(1_790_000_000_123)
}

fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes([n, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15])
}

pub(super) fn user() -> UserId {
    UserId::new(uuid(0xa0))
}

pub(super) fn service() -> ServiceId {
    ServiceId::new(uuid(0xb0))
}

pub(super) fn api_key() -> ApiKeyId {
    ApiKeyId::new(uuid(0xc0))
}

fn session() -> SessionId {
    SessionId::new(uuid(0xd0))
}

pub(super) fn secret() -> SecretHash {
    SecretHash::new([0xee; 32])
}

pub(super) fn password() -> PasswordHash {
    PasswordHash::new("$argon2id$x".to_owned())
}

fn sealed() -> Sealed {
    Sealed::new(vec![1, 2, 3])
}

fn name() -> UserName {
    UserName::parse("Alice").unwrap()
}

fn email() -> Email {
    Email::parse("Alice@x").unwrap()
}

fn label() -> Label {
    Label::parse("text").unwrap()
}

fn role() -> RoleName {
    RoleName::parse("admin").unwrap()
}

fn permission(text: &str) -> Permission {
    Permission::parse(text).unwrap()
}

fn new_user() -> NewUser {
    NewUser {
        id: user(),
        name: Some(name()),
        email: Some(email()),
        first_name: Some(label()),
        last_name: None,
        password: password(),
        roles: vec![role()],
    }
}

fn new_key() -> NewApiKey {
    NewApiKey { id: api_key(), hash: secret(), label: Some(label()), lifetime: Lifetime(300) }
}

fn new_signing_key() -> NewSigningKey {
    NewSigningKey {
        id: "kid".to_owned(),
        algorithm: KeyAlgorithm::EdDsa,
        public: vec![7, 8],
        private: sealed(),
    }
}

fn origin() -> Origin {
    Origin { address: Some("::1".to_owned()), agent: None }
}

pub(super) fn cluster_secrets() -> ClusterSecrets {
    ClusterSecrets { mint_key: sealed() }
}

pub(super) fn actions() -> Vec<Action> {
    let (user, service, role, password) = (user(), service(), role(), password());
    let principal = Principal::User(user);
    let changes =
        UserChanges { name: Some(name()), email: Some(email()), first_name: None, last_name: Some(label()) };
    let role_changes = RoleChanges {
        description: Some(label()),
        add: [permission("a:b"), permission("a:*")].into(),
        remove: [permission("c")].into(),
    };
    let (proof, refresh) = (Proof::ApiKey { hash: secret() }, NewRefresh::Rotating(secret()));
    vec![
        Action::InstallSecrets(cluster_secrets()),
        Action::CreateAccount(NewAccount { root: new_user(), key: new_signing_key() }),
        Action::CreateUser(new_user()),
        Action::UpdateUser { user, changes },
        Action::SetUserStatus { user, status: UserStatus::Disabled },
        Action::SetPassword { user, password: password.clone() },
        Action::RehashPassword { user, password },
        Action::DeleteUser { user },
        Action::CreateServiceAccount(NewServiceAccount {
            id: service,
            name: name(),
            roles: vec![role.clone()],
            key: new_key(),
        }),
        Action::DeleteServiceAccount { service },
        Action::AddApiKey { service, key: new_key() },
        Action::RevokeApiKey { service, key: api_key() },
        Action::CreateRole(NewRole {
            name: role.clone(),
            description: None,
            permissions: [permission("a:b"), permission("*")].into(),
        }),
        Action::UpdateRole { role: role.clone(), changes: role_changes },
        Action::DeleteRole { role: role.clone() },
        Action::AssignRole { principal, role: role.clone() },
        Action::UnassignRole { principal: Principal::Service(service), role },
        Action::OpenSession(NewSession { id: session(), proof, refresh, lifetime: Lifetime(300) }),
        Action::RefreshSession(Rotation { presented: secret(), next: SecretHash::new([0xef; 32]) }),
        Action::EndSession { session: session() },
        Action::EndSessions { principal, except: Some(session()) },
        Action::RotateSigningKey { key: new_signing_key(), retire_after: Lifetime(300) },
        Action::Transaction(vec![Action::DeleteUser { user }]),
        Action::SetServiceStatus { service, active: true },
        Action::Reseal(Resealed { secret: SealedSecret::MintKey, was: sealed(), now: sealed() }),
    ]
}

pub(super) fn sealed_secrets() -> Vec<SealedSecret> {
    vec![SealedSecret::MintKey, SealedSecret::SigningKey("kid".to_owned())]
}

pub(super) fn actors() -> Vec<Actor> {
    vec![
        Actor::Anonymous,
        Actor::SignedIn { principal: Principal::User(user()), session: session() },
        Actor::System,
    ]
}

pub(super) fn replies() -> Vec<Reply> {
    let (session, principal) = (session(), Principal::Service(service()));
    vec![
        Reply::Done,
        Reply::Changed(true),
        Reply::SessionOpened { session, principal, expires_at: at() },
        Reply::ReuseEndedSession { session },
    ]
}

pub(super) fn rejections() -> Vec<Rejection> {
    vec![
        Rejection::Invalid { field: "f".to_owned(), rule: "r".to_owned() },
        Rejection::Unauthenticated,
        Rejection::BadCredentials,
        Rejection::BadRefreshToken,
        Rejection::Forbidden("p".to_owned()),
        Rejection::NotFound(Noun::Role),
        Rejection::AccountIdTaken,
        Rejection::EmailTaken,
        Rejection::NameTaken,
        Rejection::RoleExists,
        Rejection::IdTaken,
        Rejection::PreconditionFailed { resource: "user/x".to_owned(), expected: 300, actual: 1 },
        Rejection::LimitReached { what: "w".to_owned(), limit: 300 },
        Rejection::Misplaced("m".to_owned()),
        Rejection::Damaged,
        Rejection::UnknownCommand,
    ]
}

pub(super) fn nouns() -> Vec<Noun> {
    vec![
        Noun::Account,
        Noun::User,
        Noun::ServiceAccount,
        Noun::ApiKey,
        Noun::Role,
        Noun::Session,
        Noun::SigningKey,
    ]
}

pub(super) fn resources() -> Vec<Resource> {
    vec![
        Resource::Account,
        Resource::User(user()),
        Resource::Password(user()),
        Resource::ServiceAccount(service()),
        Resource::Role(role()),
    ]
}

pub(super) fn principals() -> Vec<Principal> {
    vec![Principal::User(user()), Principal::Service(service())]
}

pub(super) fn proofs() -> Vec<Proof> {
    vec![Proof::Password { user: user(), revision: 300 }, Proof::ApiKey { hash: secret() }]
}

pub(super) fn new_refreshes() -> Vec<NewRefresh> {
    vec![NewRefresh::None, NewRefresh::Fixed(secret()), NewRefresh::Rotating(secret())]
}

pub(super) fn refreshes() -> Vec<Refresh> {
    vec![Refresh::None, Refresh::Fixed, Refresh::Rotating { generation: 300 }]
}

pub(super) fn methods() -> Vec<Method> {
    vec![Method::Password, Method::ApiKey(api_key())]
}

pub(super) fn statuses() -> Vec<UserStatus> {
    vec![UserStatus::Active, UserStatus::Disabled, UserStatus::Deleted]
}

pub(super) fn account_states() -> Vec<AccountState> {
    vec![AccountState::Open, AccountState::Closed { at: at() }]
}

pub(super) fn algorithms() -> Vec<KeyAlgorithm> {
    vec![KeyAlgorithm::EdDsa]
}

pub(super) fn key_states() -> Vec<KeyState> {
    vec![KeyState::Signing, KeyState::Retiring { until: at() }]
}

pub(super) fn command() -> Command {
    Command {
        account: account(),
        by: Actor::System,
        origin: origin(),
        expect: vec![Expectation { resource: Resource::User(user()), revision: 300 }],
        action: Action::DeleteUser { user: user() },
    }
}

pub(super) fn stored_account(state: AccountState) -> Account {
    Account { id: account(), root: user(), created_at: at(), state }
}

pub(super) fn stored_user() -> User {
    User {
        id: user(),
        is_root: true,
        name: Some(name()),
        email: None,
        first_name: Some(label()),
        last_name: None,
        status: UserStatus::Active,
        epoch: 300,
        created_at: at(),
        updated_at: at(),
    }
}

pub(super) fn stored_service() -> ServiceAccount {
    ServiceAccount {
        id: service(),
        name: name(),
        is_active: true,
        epoch: 300,
        created_at: at(),
        updated_at: at(),
    }
}

pub(super) fn stored_api_key() -> ApiKey {
    ApiKey {
        id: api_key(),
        hash: secret(),
        label: Some(label()),
        created_at: at(),
        expires_at: at(),
        revoked_at: Some(at()),
    }
}

pub(super) fn stored_role() -> Role {
    Role {
        name: role(),
        description: Some(label()),
        permissions: [permission("a:b"), permission("a:*")].into(),
        created_at: at(),
        updated_at: at(),
    }
}

pub(super) fn stored_session() -> Session {
    Session {
        id: session(),
        principal: Principal::User(user()),
        opened_at: at(),
        expires_at: at(),
        epoch: 300,
        method: Method::Password,
        refresh: Refresh::Rotating { generation: 2 },
        ended_at: None,
        used_at: at(),
    }
}

pub(super) fn pointer() -> RefreshPointer {
    RefreshPointer { session: session(), generation: 300 }
}

pub(super) fn stored_key(state: KeyState) -> SigningKey {
    SigningKey {
        id: "kid".to_owned(),
        algorithm: KeyAlgorithm::EdDsa,
        public: vec![7, 8],
        private: sealed(),
        created_at: at(),
        state,
    }
}

pub(super) fn audit_head() -> AuditHead {
    AuditHead { sequence: 300, hash: [0xaa; 32] }
}

pub(super) fn audit_record() -> AuditRecord {
    AuditRecord {
        sequence: 300,
        at: at(),
        revision: 301,
        by: Actor::System,
        origin: origin(),
        action: "user.delete".to_owned(),
        target: "user/x".to_owned(),
        previous: [0xbb; 32],
        hash: [0xcc; 32],
    }
}

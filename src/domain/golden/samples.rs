//! One value of each kind, each variant in its place.

use uuid::Uuid;

use super::super::account::{AccountState, DefaultAccount, NewAccount, Owner};
use super::super::audit::{Observation, Trail};
use super::super::cluster::ClusterSecrets;
use super::super::holder::Recovery;
use super::super::key::{KeyAlgorithm, KeyState, NewSigningKey};
use super::super::lockout::{Lockout, RefusedSignIn, Why};
use super::super::node::{
    Admission, JoinTokenId, NodeAuthority, NodeNumber, NodeOrder, NodeState, Part, TokenFault,
};
use super::super::policy::PasswordPolicy;
use super::super::reseal::{Resealed, SealedSecret};
use super::super::restore::{NewPart, RestoredRow, WholeRestore};
use super::super::role::{NewRole, RoleChanges};
use super::super::service::{Client, NewApiKey, NewServiceAccount};
use super::super::session::{Family, Grant, Method, NewRefresh, NewSession, Proof, Refresh, Rotation};
use super::super::settings::{PasswordRule, Registration, Retention, SettingsChanges};
use super::super::subject_key::NewSubjectKey;
use super::super::user::{NewUser, UserChanges, UserStatus};
use super::super::{
    AccountId, Action, Actor, ApiKeyId, Command, Email, Expectation, Label, Lifetime, Noun, Origin,
    PasswordHash, Permission, Principal, Rejection, Reply, Resource, RestoreId, RoleName, Sealed, SecretHash,
    ServiceId, SessionId, SubjectId, Timestamp, UserId, UserName,
};

pub(super) fn account() -> AccountId {
    AccountId::parse("123456789012").unwrap()
}

pub(super) fn at() -> Timestamp {
    Timestamp(1_790_000_000_123)
}

pub(super) fn uuid(n: u8) -> Uuid {
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

pub(super) fn session() -> SessionId {
    SessionId::new(uuid(0xd0))
}

pub(super) fn secret() -> SecretHash {
    SecretHash::new([0xee; 32])
}

pub(super) fn password() -> PasswordHash {
    PasswordHash::new("$argon2id$x".to_owned())
}

pub(super) fn sealed() -> Sealed {
    Sealed::new(vec![1, 2, 3])
}

pub(super) fn name() -> UserName {
    UserName::parse("Alice").unwrap()
}

pub(super) fn email() -> Email {
    Email::parse("Alice@x").unwrap()
}

pub(super) fn label() -> Label {
    Label::parse("text").unwrap()
}

pub(super) fn role() -> RoleName {
    RoleName::parse("admin").unwrap()
}

pub(super) fn permission(text: &str) -> Permission {
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

pub(super) fn origin() -> Origin {
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
        Action::SetPassword { user, password: password.clone(), history: 5 },
        Action::RehashPassword { user, password },
        Action::DeleteUser { user },
        Action::CreateServiceAccount(NewServiceAccount {
            id: service,
            name: name(),
            roles: vec![role.clone()],
            key: new_key(),
            client: Some(client()),
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
        Action::OpenSession(NewSession {
            id: session(),
            proof,
            refresh,
            lifetime: Lifetime(300),
            grant: grant(),
        }),
        Action::RefreshSession(Rotation { presented: secret(), next: SecretHash::new([0xef; 32]) }),
        Action::EndSession { session: session() },
        Action::EndSessions { principal, except: Some(session()) },
        Action::RotateSigningKey { key: new_signing_key(), retire_after: Lifetime(300) },
        Action::Transaction(vec![Action::DeleteUser { user }]),
        Action::SetServiceStatus { service, active: true },
    ]
    .into_iter()
    .chain(later_actions())
    .collect()
}

fn later_actions() -> Vec<Action> {
    let (user, next) = (name(), SecretHash::new([0xef; 32]));
    let refused = RefusedSignIn { user: Some(self::user()), login: [1; 8], why: Why::Disabled };
    vec![
        Action::OpenDefaultAccount(DefaultAccount {
            key: new_signing_key(),
            roles: vec![NewRole { name: role(), description: None, permissions: [permission("*")].into() }],
            registered: vec![role()],
        }),
        Action::CreateFirstAdmin(new_user()),
        Action::Register(new_user()),
        Action::OpenKeyAccount { key: secret() },
        Action::RotateHolder { next },
        Action::SetRecovery { secret: secret() },
        Action::Recover(Recovery { presented: secret(), key: next, next: secret() }),
        Action::ChangeSettings(SettingsChanges {
            passwords: Some(PasswordRule::Own(PasswordPolicy::KEYSTONE)),
            lockout: Some(Lockout::default()),
            strict_users: Some(true),
            registration: Some(Registration::Open { roles: vec![role()] }),
            retention: Some(Retention::default()),
        }),
        Action::AddMember { user: user.clone(), role: role() },
        Action::RemoveMember { user: user.clone(), role: role() },
        Action::AddSubjectKey { user: user.clone(), key: new_subject_key() },
        Action::RevokeSubjectKey { user: user.clone(), key: api_key() },
        Action::ShortenSubjectKey { user, key: api_key(), end: at() },
        Action::RefuseSignIn(refused),
        Action::Unlock { user: self::user() },
        Action::SetClient { service: service(), client: client() },
        Action::Observe(vec![observation()]),
        Action::ProvePassword { user: self::user(), revision: 300 },
        Action::Reseal(Resealed { secret: SealedSecret::MintKey, was: sealed(), now: sealed() }),
        Action::SetRoles { principal: Principal::User(self::user()), roles: vec![role()] },
        Action::OrderNodes(NodeOrder::Remove { node: NodeNumber(300) }),
        Action::OfferSetup { secret: secret(), good_for: Lifetime(300) },
        Action::BeginRestore { id: restore() },
        Action::RestoreRows(NewPart { id: restore(), number: 300, rows: vec![restored_row()] }),
        Action::FinishRestore(WholeRestore { id: restore(), parts: 300, rows: 301, backup: 302 }),
        Action::AbandonRestore { id: restore() },
        Action::RaiseLevel { to: 300 },
    ]
}

pub(super) fn node_orders() -> Vec<NodeOrder> {
    let (node, part) = (NodeNumber(300), Part::Learner);
    vec![
        NodeOrder::InstallAuthority(node_authority()),
        NodeOrder::CreateToken {
            token: join_token(),
            secret: secret(),
            good_for: Lifetime(300),
            part,
            replaces: Some(node),
        },
        NodeOrder::RevokeToken { token: join_token() },
        NodeOrder::Admit { by: admissions().remove(0), key: [0xab; 32] },
        NodeOrder::Register { node, part },
        NodeOrder::SetPart { node, part },
        NodeOrder::Remove { node },
        NodeOrder::IssueCertificate { node, serial: "0a".to_owned(), good_for: Lifetime(300) },
        NodeOrder::RevokeCertificates { node, except: Some("0a".to_owned()) },
    ]
}

pub(super) fn admissions() -> Vec<Admission> {
    vec![
        Admission::Token { token: join_token(), secret: secret() },
        Admission::Authority { part: Part::Voter },
    ]
}

pub(super) fn parts() -> Vec<Part> {
    vec![Part::Voter, Part::Learner]
}

pub(super) fn node_states() -> Vec<NodeState> {
    vec![NodeState::Admitted, NodeState::Removed { at: at() }]
}

pub(super) fn token_faults() -> Vec<TokenFault> {
    vec![TokenFault::Unknown, TokenFault::Used, TokenFault::Expired]
}

pub(super) fn join_token() -> JoinTokenId {
    JoinTokenId(uuid(0xf0))
}

pub(super) fn node_authority() -> NodeAuthority {
    NodeAuthority { certificate: "pem".to_owned(), key: sealed() }
}

pub(super) fn restore() -> RestoreId {
    RestoreId::new(uuid(0xa7))
}

pub(super) fn restored_row() -> RestoredRow {
    RestoredRow { key: vec![1, 2], value: vec![3, 4, 5] }
}

fn new_subject_key() -> NewSubjectKey {
    NewSubjectKey {
        id: api_key(),
        hash: secret(),
        prefix: label(),
        label: Some(label()),
        expires_at: Some(at()),
    }
}

fn observation() -> Observation {
    Observation {
        trail: Trail::Checks,
        by: Actor::KeyHolder(secret()),
        origin: origin(),
        action: "check.permission".to_owned(),
        target: "subject/alice deploy".to_owned(),
        success: true,
        detail: String::new(),
        count: 300,
        used: Some((subject(), api_key())),
    }
}

pub(super) fn client() -> Client {
    Client { title: label(), audiences: vec![label()], token_lifetime: Some(Lifetime(300)) }
}

pub(super) fn grant() -> Grant {
    Grant {
        family: Family::Keystone,
        access: Lifetime(300),
        scope: vec![permission("read:a")],
        client: Some(label()),
        audience: vec![label()],
    }
}

pub(super) fn subject() -> SubjectId {
    SubjectId::new(uuid(0xe0))
}

pub(super) fn sealed_secrets() -> Vec<SealedSecret> {
    vec![SealedSecret::MintKey, SealedSecret::SigningKey("kid".to_owned()), SealedSecret::NodeAuthority]
}

pub(super) fn actors() -> Vec<Actor> {
    vec![
        Actor::Anonymous,
        Actor::SignedIn { principal: Principal::User(user()), session: session() },
        Actor::System,
        Actor::KeyHolder(secret()),
    ]
}

pub(super) fn replies() -> Vec<Reply> {
    let (session, principal) = (session(), Principal::Service(service()));
    vec![
        Reply::Done,
        Reply::Changed(true),
        Reply::SessionOpened { session, principal, expires_at: at() },
        Reply::ReuseEndedSession { session },
        Reply::SignInRefused { locked_until: Some(at()) },
        Reply::SignInLocked { until: at() },
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
        Rejection::KeyTaken,
        Rejection::RecoveryIssued,
        Rejection::NotKeyBacked,
        Rejection::RegistrationClosed,
        Rejection::JoinToken(TokenFault::Used),
        Rejection::NodeRemoved,
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
        Noun::Node,
        Noun::JoinToken,
    ]
}

pub(super) fn resources() -> Vec<Resource> {
    vec![
        Resource::Account,
        Resource::User(user()),
        Resource::Password(user()),
        Resource::ServiceAccount(service()),
        Resource::Role(role()),
        Resource::Settings,
        Resource::SetupOffer,
    ]
}

pub(super) fn principals() -> Vec<Principal> {
    vec![Principal::User(user()), Principal::Service(service()), Principal::Subject(subject())]
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

pub(super) fn owners() -> Vec<Owner> {
    vec![Owner::Root(user()), Owner::KeyHolder, Owner::Cluster { has_had_admin: true }]
}

pub(super) fn registrations() -> Vec<Registration> {
    vec![Registration::Closed, Registration::Open { roles: vec![role()] }]
}

pub(super) fn password_rules() -> Vec<PasswordRule> {
    vec![PasswordRule::OfSurface, PasswordRule::Own(PasswordPolicy::MODERN)]
}

pub(super) fn families() -> Vec<Family> {
    vec![Family::Native, Family::Keystone]
}

pub(super) fn trails() -> Vec<Trail> {
    vec![Trail::Acts, Trail::Checks]
}

pub(super) fn reasons() -> Vec<Why> {
    vec![
        Why::WrongPassword,
        Why::Unknown,
        Why::Disabled,
        Why::WrongKey,
        Why::BadRefreshToken,
        Why::PasswordExpired,
    ]
}

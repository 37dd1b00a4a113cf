//! One row of each table.

use super::super::account::{Account, AccountState, Owner};
use super::super::audit::{AuditHead, AuditRecord};
use super::super::holder::KeyHolder;
use super::super::key::{KeyAlgorithm, KeyState, SigningKey};
use super::super::lockout::{Attempts, Count, Known};
use super::super::node::{IssuedCertificate, JoinToken, Node, NodeNumber, NodeState, Part};
use super::super::role::Role;
use super::super::service::{ApiKey, ServiceAccount};
use super::super::session::{Method, Refresh, RefreshPointer, Session};
use super::super::settings::Settings;
use super::super::subject::Subject;
use super::super::subject_key::SubjectKey;
use super::super::user::{Password, User, UserStatus};
use super::super::{Actor, Principal};
use super::samples::{
    account, api_key, at, client, grant, label, name, origin, password, permission, registrations, role,
    sealed, secret, service, session, subject, user,
};

pub(super) fn stored_account(state: AccountState) -> Account {
    Account { id: account(), owner: Owner::Root(user()), created_at: at(), state }
}

pub(super) fn holder() -> KeyHolder {
    KeyHolder { key: secret(), recovery: Some(secret()) }
}

pub(super) fn settings() -> Settings {
    Settings { strict_users: true, registration: registrations().remove(1), ..Settings::default() }
}

pub(super) fn stored_password() -> Password {
    Password { hash: password(), set_at: at(), previous: vec![password()] }
}

pub(super) fn attempts() -> Attempts {
    let count = Count { failures: 5, locked_until: Some(at()), judged: 1 };
    let known = vec![Known { source: [7; 8], count }];
    Attempts { strangers: count, known, last_success: Some(at()) }
}

pub(super) fn stored_subject() -> Subject {
    Subject { id: subject(), name: name(), created_at: at() }
}

pub(super) fn stored_subject_key() -> SubjectKey {
    SubjectKey {
        id: api_key(),
        hash: secret(),
        prefix: label(),
        label: None,
        created_at: at(),
        expires_at: Some(at()),
        revoked_at: None,
        last_used_at: Some(at()),
    }
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
        client: Some(client()),
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
        grant: grant(),
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
    AuditHead { sequence: 300, hash: [0xaa; 32], first: 200, anchor: [0xab; 32] }
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
        success: true,
        detail: "d".to_owned(),
        count: 1,
        previous: [0xbb; 32],
        hash: [0xcc; 32],
    }
}

pub(super) fn node() -> Node {
    Node {
        key: Some([0xab; 32]),
        part: Part::Learner,
        state: NodeState::Removed { at: at() },
        replaces: Some(NodeNumber(2)),
        admitted_at: at(),
        token: Some(super::samples::join_token()),
        certificates: vec![IssuedCertificate {
            serial: "0a".to_owned(),
            expires_at: at(),
            revoked_at: Some(at()),
        }],
    }
}

pub(super) fn join_token() -> JoinToken {
    JoinToken {
        secret: secret(),
        created_at: at(),
        expires_at: at(),
        part: Part::Voter,
        replaces: None,
        used_by: Some(NodeNumber(300)),
    }
}

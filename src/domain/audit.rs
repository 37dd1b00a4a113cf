//! The audit trail: who did what to which thing, written by the command that did it.
//!
//! Each account has a chain: a record holds the SHA-256 of the one before it and of itself, so a record
//! cannot be changed or left out without all later hashes changing.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::reseal::SealedSecret;
use super::rows::tables;
use super::{
    AccountId, Action, Actor, Context, Origin, Principal, Read, Rejection, Reply, Resource, Timestamp,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Position in the account's chain, from 1 without gaps.
    pub sequence: u64,
    pub at: Timestamp,
    /// The revision of the command; the actions of a transaction share it.
    pub revision: u64,
    pub by: Actor,
    pub origin: Origin,
    /// What was done, as a stable name such as `user.create`.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// Hash of the record before, zeros for the first.
    pub previous: [u8; 32],
    /// SHA-256 of this record without this member.
    pub hash: [u8; 32],
}

/// The end of an account's chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    pub sequence: u64,
    pub hash: [u8; 32],
}

impl AuditRecord {
    /// The hash that the record must have.
    #[must_use]
    pub fn computed_hash(&self) -> [u8; 32] {
        let plain = Self { hash: [0; 32], ..self.clone() };
        // An encoding that fails would differ from every stored hash, and so be noticed.
        Sha256::digest(postcard::to_stdvec(&plain).unwrap_or_default()).into()
    }
}

/// The end of the account's chain; zeros where nothing happened yet.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn head(rows: &dyn Read, account: AccountId) -> Result<AuditHead, Rejection> {
    Ok(tables::AUDIT_HEAD.get(rows, account, &[])?.map(|row| row.value).unwrap_or_default())
}

/// At most `limit` records behind `after`, oldest first.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode.
pub fn list(
    rows: &dyn Read,
    account: AccountId,
    after: u64,
    limit: usize,
) -> Result<Vec<AuditRecord>, Rejection> {
    let page = tables::AUDIT.scan(rows, account, &[], Some(&after.to_be_bytes()), limit)?;
    Ok(page.into_iter().map(|(_, row)| row.value).collect())
}

/// Whether `records`, which follow on `before`, form an unbroken chain; gives the first bad sequence.
#[must_use]
pub fn first_break(before: AuditHead, records: &[AuditRecord]) -> Option<u64> {
    let mut head = before;
    for record in records {
        let follows = record.sequence == head.sequence + 1 && record.previous == head.hash;
        if !follows || record.hash != record.computed_hash() {
            return Some(record.sequence);
        }
        head = AuditHead { sequence: record.sequence, hash: record.hash };
    }
    None
}

pub(super) fn append(
    context: &mut Context<'_>,
    revision: u64,
    origin: &Origin,
    action: &Action,
    reply: &Reply,
) -> Result<(), Rejection> {
    let head = head(context.rows, context.account)?;
    let (name, target) = described(action, reply);
    let mut record = AuditRecord {
        sequence: head.sequence + 1,
        at: context.at,
        revision,
        by: context.caller.actor(),
        origin: origin.clone(),
        action: name.to_owned(),
        target,
        previous: head.hash,
        hash: [0; 32],
    };
    record.hash = record.computed_hash();
    let next = AuditHead { sequence: record.sequence, hash: record.hash };
    tables::AUDIT.put(context.rows, context.account, &record.sequence.to_be_bytes(), &record)?;
    tables::AUDIT_HEAD.put(context.rows, context.account, &[], &next)
}

/// The stable name of an action and what it is done to. Never a secret: records are read by people.
fn described(action: &Action, reply: &Reply) -> (&'static str, String) {
    let user = |id: &super::UserId| Principal::User(*id).to_string();
    let service = |id: &super::ServiceId| Principal::Service(*id).to_string();
    match action {
        Action::InstallSecrets(_) => ("cluster.install-secrets", String::new()),
        Action::CreateAccount(new) => ("account.create", user(&new.root.id)),
        Action::CreateUser(new) => ("user.create", user(&new.id)),
        Action::UpdateUser { user: id, .. } => ("user.update", user(id)),
        Action::SetUserStatus { user: id, status } => match status {
            super::user::UserStatus::Active => ("user.enable", user(id)),
            super::user::UserStatus::Disabled => ("user.disable", user(id)),
            super::user::UserStatus::Deleted => ("user.delete", user(id)),
        },
        Action::SetPassword { user: id, .. } => ("user.set-password", user(id)),
        Action::RehashPassword { user: id, .. } => ("user.rehash-password", user(id)),
        Action::DeleteUser { user: id } => ("user.delete", user(id)),
        Action::CreateServiceAccount(new) => ("service-account.create", service(&new.id)),
        Action::DeleteServiceAccount { service: id } => ("service-account.delete", service(id)),
        Action::SetServiceStatus { service: id, active: true } => ("service-account.enable", service(id)),
        Action::SetServiceStatus { service: id, active: false } => ("service-account.disable", service(id)),
        Action::AddApiKey { service: id, key } => ("api-key.create", format!("{}/{}", service(id), key.id)),
        Action::RevokeApiKey { service: id, key } => ("api-key.revoke", format!("{}/{key}", service(id))),
        Action::CreateRole(new) => ("role.create", Resource::Role(new.name.clone()).to_string()),
        Action::UpdateRole { role, .. } => ("role.update", Resource::Role(role.clone()).to_string()),
        Action::DeleteRole { role } => ("role.delete", Resource::Role(role.clone()).to_string()),
        Action::AssignRole { principal, role } => ("role.assign", format!("role/{role} to {principal}")),
        Action::UnassignRole { principal, role } => {
            ("role.unassign", format!("role/{role} from {principal}"))
        }
        Action::OpenSession(_) => ("session.open", session_of(reply)),
        Action::RefreshSession(_) => match reply {
            Reply::ReuseEndedSession { .. } => ("session.end-on-reuse", session_of(reply)),
            Reply::Done | Reply::Changed(_) | Reply::SessionOpened { .. } => {
                ("session.refresh", session_of(reply))
            }
        },
        Action::EndSession { session } => ("session.end", format!("session/{session}")),
        Action::EndSessions { principal, .. } => ("session.end-all", principal.to_string()),
        Action::RotateSigningKey { key, .. } => ("signing-key.rotate", format!("signing-key/{}", key.id)),
        Action::Reseal(new) => match &new.secret {
            SealedSecret::MintKey => ("cluster.reseal", "mint-key".to_owned()),
            SealedSecret::SigningKey(id) => ("signing-key.reseal", format!("signing-key/{id}")),
        },
        Action::Transaction(_) => ("transaction", String::new()),
    }
}

fn session_of(reply: &Reply) -> String {
    match reply {
        Reply::SessionOpened { session, principal, .. } => format!("session/{session} of {principal}"),
        Reply::ReuseEndedSession { session } => format!("session/{session}"),
        Reply::Done | Reply::Changed(_) => String::new(),
    }
}

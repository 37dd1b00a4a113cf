//! The audit trails: who did what to which thing, and who asked what.
//!
//! What is done is written down by the command that does it. What is merely asked (permission checks, denials)
//! changes nothing, so nodes gather it and write it down some time later, see [`Observation`].
//!
//! Each trail of an account is a chain: a record holds the SHA-256 of the one before it and of itself, so a
//! record cannot be changed or left out without all later hashes changing.
//!
//! # Why two trails
//! Questions are many and cheap, and whoever asks enough of them would push the acts of others out of a common
//! trail. So acts are kept by age, questions by number, each in a trail of its own.

mod chain;
pub mod search;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

pub use chain::Chain;

use super::lockout::RefusedSignIn;
use super::reseal::SealedSecret;
use super::rows::tables;
use super::user::UserStatus;
use super::{
    AccountId, Action, Actor, ApiKeyId, Context, Origin, Principal, Read, Rejection, Reply, Resource,
    SubjectId, Timestamp, UserName, node, settings, subject_key,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Position in its trail, from 1 without gaps.
    pub sequence: u64,
    /// When it was written down.
    pub at: Timestamp,
    /// The revision of the command; the actions of a transaction share it.
    pub revision: u64,
    pub by: Actor,
    pub origin: Origin,
    /// What was done, as a stable name such as `user.create`.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// Whether it was done, or the question answered with yes.
    pub success: bool,
    /// What else there is to say; never a secret.
    pub detail: String,
    /// How often, where the same was asked several times.
    pub count: u32,
    /// Hash of the record before, zeros for the first.
    pub previous: [u8; 32],
    /// SHA-256 of this record without this member, see [`Chain::hashed`].
    pub hash: [u8; 32],
}

/// Which trail of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trail {
    /// What was done, or tried.
    Acts,
    /// What was asked.
    Checks,
}

/// Both ends of a trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The newest record, and its hash.
    pub sequence: u64,
    pub hash: [u8; 32],
    /// The oldest record that is kept; 0 while there is none.
    pub first: u64,
    /// The hash of the record before that.
    pub anchor: [u8; 32],
}

/// Something that a node saw and that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    pub trail: Trail,
    pub by: Actor,
    pub origin: Origin,
    pub action: String,
    pub target: String,
    pub success: bool,
    pub detail: String,
    pub count: u32,
    /// A key that was asked for.
    pub used: Option<(SubjectId, ApiKeyId)>,
}

/// The most observations in one command.
pub const MAX_OBSERVATIONS: usize = 256;

impl Trail {
    const fn key(self) -> [u8; 1] {
        match self {
            Self::Acts => [b'a'],
            Self::Checks => [b'c'],
        }
    }

    fn path(self, sequence: u64) -> Vec<u8> {
        [self.key().as_slice(), &sequence.to_be_bytes()].concat()
    }
}

/// Both ends of a trail; zeros where nothing happened yet.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn head(rows: &dyn Read, account: AccountId, trail: Trail) -> Result<AuditHead, Rejection> {
    Ok(tables::AUDIT_HEAD.get(rows, account, &trail.key())?.map(|row| row.value).unwrap_or_default())
}

/// At most `limit` records of a trail behind `after`, oldest first.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode.
pub fn list(
    rows: &dyn Read,
    account: AccountId,
    trail: Trail,
    after: u64,
    limit: usize,
) -> Result<Vec<AuditRecord>, Rejection> {
    let page = tables::AUDIT.scan(rows, account, &trail.key(), Some(&trail.path(after)), limit)?;
    Ok(page.into_iter().map(|(_, row)| row.value).collect())
}

/// One record of a trail, if it is kept.
///
/// # Errors
/// As [`list`].
pub fn get(
    rows: &dyn Read,
    account: AccountId,
    trail: Trail,
    sequence: u64,
) -> Result<Option<AuditRecord>, Rejection> {
    Ok(tables::AUDIT.get(rows, account, &trail.path(sequence))?.map(|row| row.value))
}

/// Writes down what an action did.
pub(super) fn append(context: &mut Context<'_>, action: &Action, reply: &Reply) -> Result<(), Rejection> {
    let (name, target) = described(action, reply);
    let (name, detail) = match reply {
        Reply::SignInLocked { .. } => ("session.refuse", "locked".to_owned()),
        Reply::SignInRefused { locked_until: Some(_) } => (name, locked_detail(action)),
        Reply::SignInRefused { locked_until: None } => (name, detail_of(action)),
        Reply::Done | Reply::Changed(_) | Reply::SessionOpened { .. } | Reply::ReuseEndedSession { .. } => {
            (name, String::new())
        }
    };
    let success = match reply {
        Reply::Done | Reply::Changed(_) | Reply::SessionOpened { .. } => true,
        Reply::ReuseEndedSession { .. } | Reply::SignInRefused { .. } | Reply::SignInLocked { .. } => false,
    };
    let entry = Observation {
        trail: Trail::Acts,
        by: context.caller.actor(),
        origin: context.origin.clone(),
        action: name.to_owned(),
        target,
        success,
        detail,
        count: 1,
        used: None,
    };
    write(context, entry)
}

/// Writes down what nodes saw.
pub(super) fn observe(context: &mut Context<'_>, seen: &[Observation]) -> Result<Reply, Rejection> {
    if seen.is_empty() || seen.len() > MAX_OBSERVATIONS {
        return Err(Rejection::invalid("observations", "1 to 256 at once"));
    }
    for observation in seen {
        if let Some((subject, key)) = observation.used {
            let at = context.at;
            subject_key::used(context, subject, key, at)?;
        }
        write(context, observation.clone())?;
    }
    Ok(Reply::Done)
}

fn write(context: &mut Context<'_>, entry: Observation) -> Result<(), Rejection> {
    let trail = entry.trail;
    let mut head = head(context.rows, context.account, trail)?;
    let mut record = AuditRecord {
        sequence: head.sequence + 1,
        at: context.at,
        revision: context.revision,
        by: entry.by,
        origin: entry.origin,
        action: entry.action,
        target: entry.target,
        success: entry.success,
        detail: entry.detail,
        count: entry.count,
        previous: head.hash,
        hash: [0; 32],
    };
    record.hash = Chain { account: context.account, trail }.hash_of(&record);
    (head.sequence, head.hash) = (record.sequence, record.hash);
    if head.first == 0 {
        head.first = record.sequence;
    }
    tables::AUDIT.put(context.rows, context.account, &trail.path(record.sequence), &record)?;
    forget(context, trail, &mut head)?;
    tables::AUDIT_HEAD.put(context.rows, context.account, &trail.key(), &head)
}

/// Drops a few records that are kept no longer: each new one pays for some old ones.
fn forget(context: &mut Context<'_>, trail: Trail, head: &mut AuditHead) -> Result<(), Rejection> {
    let retention = settings::of(context.rows, context.account)?.retention;
    for _ in 0..FORGOTTEN_PER_RECORD {
        let Some(oldest) = get(context.rows, context.account, trail, head.first)? else { break };
        let is_over = match trail {
            Trail::Acts => oldest.at.plus(retention.acts) < context.at,
            Trail::Checks => head.sequence.saturating_sub(head.first) >= retention.checks,
        };
        if !is_over || oldest.sequence == head.sequence {
            break;
        }
        tables::AUDIT.delete(context.rows, context.account, &trail.path(oldest.sequence));
        (head.first, head.anchor) = (oldest.sequence + 1, oldest.hash);
    }
    Ok(())
}

const FORGOTTEN_PER_RECORD: usize = 2;

/// A record names so many of the roles that are given at once: it is read, and kept for long.
const NAMED_ROLES: usize = 20;

/// The stable name of an action and what it is done to. Never a secret: records are read by people.
fn described(action: &Action, reply: &Reply) -> (&'static str, String) {
    let user = |id: &super::UserId| Principal::User(*id).to_string();
    let service = |id: &super::ServiceId| Principal::Service(*id).to_string();
    match action {
        Action::InstallSecrets(_) => ("cluster.install-secrets", String::new()),
        Action::CreateAccount(new) => ("account.create", user(&new.root.id)),
        Action::OpenDefaultAccount(_) | Action::OpenKeyAccount { .. } => ("account.create", String::new()),
        Action::CreateUser(new) => ("user.create", user(&new.id)),
        Action::CreateFirstAdmin(new) => ("user.create-first-admin", user(&new.id)),
        Action::Register(new) => ("user.register", user(&new.id)),
        Action::UpdateUser { user: id, .. } => ("user.update", user(id)),
        Action::SetUserStatus { user: id, status } => match status {
            UserStatus::Active => ("user.enable", user(id)),
            UserStatus::Disabled => ("user.disable", user(id)),
            UserStatus::Deleted => ("user.delete", user(id)),
        },
        Action::SetPassword { user: id, .. } => ("user.set-password", user(id)),
        Action::RehashPassword { user: id, .. } => ("user.rehash-password", user(id)),
        Action::DeleteUser { user: id } => ("user.delete", user(id)),
        Action::Unlock { user: id } => ("user.unlock", user(id)),
        Action::ProvePassword { user: id, .. } => ("user.prove-password", user(id)),
        Action::CreateRole(new) => ("role.create", Resource::Role(new.name.clone()).to_string()),
        Action::UpdateRole { role, changes } => match (changes.add.first(), changes.remove.first()) {
            (Some(added), None) if changes.add.len() == 1 => ("role.grant", format!("role/{role} {added}")),
            (None, Some(removed)) if changes.remove.len() == 1 => {
                ("role.withdraw", format!("role/{role} {removed}"))
            }
            _ => ("role.update", format!("role/{role}")),
        },
        Action::DeleteRole { role } => ("role.delete", Resource::Role(role.clone()).to_string()),
        Action::AssignRole { principal, role } => ("role.assign", format!("role/{role} to {principal}")),
        Action::UnassignRole { principal, role } => {
            ("role.unassign", format!("role/{role} from {principal}"))
        }
        Action::SetRoles { principal, roles } => {
            let names: Vec<&str> = roles.iter().take(NAMED_ROLES).map(super::RoleName::as_str).collect();
            let more = if roles.len() > NAMED_ROLES { ",..." } else { "" };
            ("role.set", format!("role/{}{more} to {principal}", names.join(",")))
        }
        Action::AddMember { user, role } => ("role.assign", format!("role/{role} to {}", named(user))),
        Action::RemoveMember { user, role } => ("role.unassign", format!("role/{role} from {}", named(user))),
        Action::OpenSession(_) => ("session.open", session_of(reply)),
        Action::RefuseSignIn(refused) => ("session.refuse", tried(refused)),
        Action::RefreshSession(_) => match reply {
            Reply::ReuseEndedSession { .. } => ("session.end-on-reuse", session_of(reply)),
            Reply::Done
            | Reply::Changed(_)
            | Reply::SessionOpened { .. }
            | Reply::SignInRefused { .. }
            | Reply::SignInLocked { .. } => ("session.refresh", session_of(reply)),
        },
        Action::EndSession { session } => ("session.end", format!("session/{session}")),
        Action::EndSessions { principal, .. } => ("session.end-all", principal.to_string()),
        Action::RotateSigningKey { key, .. } => ("signing-key.rotate", format!("signing-key/{}", key.id)),
        Action::ChangeSettings(_) => ("settings.update", "settings".to_owned()),
        Action::Observe(_) => ("observe", String::new()),
        Action::Reseal(new) => match &new.secret {
            SealedSecret::MintKey => ("cluster.reseal", "mint-key".to_owned()),
            SealedSecret::NodeAuthority => ("cluster.reseal", "authority".to_owned()),
            SealedSecret::SigningKey(id) => ("signing-key.reseal", format!("signing-key/{id}")),
        },
        Action::OrderNodes(order) => node::described(order),
        Action::OfferSetup { .. } => ("cluster.offer-setup", String::new()),
        Action::FinishRestore(whole) => ("account.restore", format!("backup/{}", whole.backup)),
        Action::BeginRestore { id } => ("account.begin-restore", format!("restore/{id}")),
        Action::RestoreRows(part) => ("account.restore-rows", format!("restore/{}", part.id)),
        Action::AbandonRestore { id } => ("account.abandon-restore", format!("restore/{id}")),
        Action::RaiseLevel { to } => ("cluster.raise-level", format!("level/{to}")),
        Action::Transaction(_) => ("transaction", String::new()),
        Action::CreateServiceAccount(new) => ("service-account.create", service(&new.id)),
        Action::DeleteServiceAccount { service: id } => ("service-account.delete", service(id)),
        Action::SetServiceStatus { service: id, active: true } => ("service-account.enable", service(id)),
        Action::SetServiceStatus { service: id, active: false } => ("service-account.disable", service(id)),
        Action::SetClient { service: id, .. } => ("service-account.update", service(id)),
        Action::AddApiKey { service: id, key } => ("api-key.create", format!("{}/{}", service(id), key.id)),
        Action::RevokeApiKey { service: id, key } => ("api-key.revoke", format!("{}/{key}", service(id))),
        Action::RotateHolder { .. } => ("account-key.rotate", String::new()),
        Action::SetRecovery { .. } => ("account-key.issue-recovery", String::new()),
        Action::Recover(_) => ("account-key.recover", String::new()),
        Action::AddSubjectKey { user, key } => ("user-key.create", format!("{}/{}", named(user), key.id)),
        Action::RevokeSubjectKey { user, key } => ("user-key.revoke", format!("{}/{key}", named(user))),
        Action::ShortenSubjectKey { user, key, .. } => ("user-key.shorten", format!("{}/{key}", named(user))),
    }
}

fn named(user: &UserName) -> String {
    format!("subject/{user}")
}

fn session_of(reply: &Reply) -> String {
    match reply {
        Reply::SessionOpened { session, principal, .. } => format!("session/{session} of {principal}"),
        Reply::ReuseEndedSession { session } => format!("session/{session}"),
        Reply::Done | Reply::Changed(_) | Reply::SignInRefused { .. } | Reply::SignInLocked { .. } => {
            String::new()
        }
    }
}

fn tried(refused: &RefusedSignIn) -> String {
    match refused.user {
        Some(user) => Principal::User(user).to_string(),
        None => refused.login.iter().fold("login/".to_owned(), |mut text, byte| {
            // Writing into a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

fn detail_of(action: &Action) -> String {
    if let Action::RefuseSignIn(refused) = action { refused.why.text().to_owned() } else { String::new() }
}

fn locked_detail(action: &Action) -> String {
    match detail_of(action).as_str() {
        "" => "locked".to_owned(),
        why => format!("{why}; locked"),
    }
}

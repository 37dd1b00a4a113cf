//! The rules: what each command changes, and every reason to refuse it.
//!
//! Pure: no async, clock, randomness, log or I/O. Chance and cost come before proposing: ids are minted,
//! passwords hashed and input parsed by the node that was asked, so that [`apply`] gives the same rows,
//! reply and audit record on every node.
//!
//! What must never be known here: HTTP, Raft, tokens as text, passwords in clear.
//!
//! # Why a command is checked again here
//! The asked node has authenticated and authorized the caller already, for a quick answer. But between
//! that check and this one a session may have ended or a role been taken away, in log order. Only here
//! are check and effect one step, so only here is the last word.

pub mod account;
pub mod audit;
pub mod authority;
pub mod cluster;
mod expectation;
#[cfg(test)]
mod golden;
pub mod holder;
mod id;
pub mod key;
pub mod level;
pub mod lockout;
pub mod membership;
mod nesting;
pub mod node;
pub mod policy;
pub mod principal;
#[cfg(test)]
mod properties;
mod rejection;
pub mod reseal;
pub mod restore;
pub mod role;
pub mod rows;
#[cfg(test)]
mod script;
mod secret;
pub mod service;
pub mod session;
pub mod settings;
pub mod subject;
pub mod subject_key;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;
mod time;
pub mod user;
pub mod workflow;

use serde::{Deserialize, Serialize};

use account::{DefaultAccount, NewAccount};
use audit::Observation;
use authority::Caller;
use cluster::ClusterSecrets;
pub use expectation::{Expectation, Resource};
use holder::Recovery;
pub use id::{AccountId, ApiKeyId, RestoreId, ServiceId, SessionId, SubjectId, UserId};
use key::NewSigningKey;
use lockout::RefusedSignIn;
use node::NodeOrder;
pub use principal::Principal;
pub use rejection::{Noun, Rejection};
use reseal::Resealed;
use restore::{NewPart, WholeRestore};
use role::{NewRole, RoleChanges};
pub use rows::{RawRow, Read, Rows, Stored};
pub use secret::{PasswordHash, Sealed, SecretHash};
use service::{Client, NewApiKey, NewServiceAccount};
use session::{NewSession, Rotation};
use settings::SettingsChanges;
use subject_key::NewSubjectKey;
pub use text::{Email, Label, Permission, RoleName, UserName};
pub use time::{Lifetime, Timestamp};
use user::{NewUser, UserChanges, UserStatus};

/// An order of somebody to change one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The account it concerns; [`AccountId::CLUSTER`] for what belongs to none.
    pub account: AccountId,
    pub by: Actor,
    pub origin: Origin,
    /// Rows that must still be at the revision the caller saw; else nothing happens.
    pub expect: Vec<Expectation>,
    pub action: Action,
}

/// Who gives an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// Nobody known: signing up, signing in, refreshing. The action itself carries the proof.
    Anonymous,
    /// Somebody who is signed in, by that session.
    SignedIn { principal: Principal, session: SessionId },
    /// The cluster itself, for its own upkeep.
    System,
    /// Whoever presented the key that owns the account, by its hash.
    KeyHolder(SecretHash),
}

/// Where a request came from, for the audit trail. Shortened by the edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The address of the peer, as seen by the node that was asked.
    pub address: Option<String>,
    /// What the client calls itself (`User-Agent`), at most 200 characters.
    pub agent: Option<String>,
}

/// What can be ordered. Grows at the end only: variants are stored in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Makes the cluster's own secrets, once.
    InstallSecrets(ClusterSecrets),
    /// Opens an account with its root user and first signing key.
    CreateAccount(NewAccount),
    CreateUser(NewUser),
    UpdateUser {
        user: UserId,
        changes: UserChanges,
    },
    SetUserStatus {
        user: UserId,
        status: UserStatus,
    },
    /// Replaces the password and ends the user's other sessions.
    SetPassword {
        user: UserId,
        password: PasswordHash,
        /// How many of the ones before are kept, so that they are not used again.
        history: u8,
    },
    /// Replaces the hash of the same password by one with newer parameters; sessions go on.
    RehashPassword {
        user: UserId,
        password: PasswordHash,
    },
    DeleteUser {
        user: UserId,
    },
    CreateServiceAccount(NewServiceAccount),
    DeleteServiceAccount {
        service: ServiceId,
    },
    AddApiKey {
        service: ServiceId,
        key: NewApiKey,
    },
    RevokeApiKey {
        service: ServiceId,
        key: ApiKeyId,
    },
    CreateRole(NewRole),
    UpdateRole {
        role: RoleName,
        changes: RoleChanges,
    },
    DeleteRole {
        role: RoleName,
    },
    AssignRole {
        principal: Principal,
        role: RoleName,
    },
    UnassignRole {
        principal: Principal,
        role: RoleName,
    },
    OpenSession(NewSession),
    /// Spends a rotating refresh token and gives the next.
    RefreshSession(Rotation),
    EndSession {
        session: SessionId,
    },
    /// Ends every session of a principal, except one if named.
    EndSessions {
        principal: Principal,
        except: Option<SessionId>,
    },
    /// Signs with a new key from now on; the old one verifies until `retire_after` has passed.
    RotateSigningKey {
        key: NewSigningKey,
        retire_after: Lifetime,
    },
    /// Several actions that happen together or not at all.
    Transaction(#[serde(deserialize_with = "nesting::actions")] Vec<Action>),
    /// Suspends a service account (no token of it is good, it does not sign in) or resumes it.
    SetServiceStatus {
        service: ServiceId,
        active: bool,
    },
    /// Opens the account of clients that know of none, once.
    OpenDefaultAccount(DefaultAccount),
    /// Makes the first administrator of the default account, once.
    CreateFirstAdmin(NewUser),
    /// Lets somebody in who asks by themselves, where the account allows it.
    Register(NewUser),
    /// Opens an account that belongs to whoever holds the key.
    OpenKeyAccount {
        key: SecretHash,
    },
    RotateHolder {
        next: SecretHash,
    },
    /// Sets the secret by which a lost key is replaced, once.
    SetRecovery {
        secret: SecretHash,
    },
    Recover(Recovery),
    ChangeSettings(SettingsChanges),
    /// Gives a role to a subject, by name.
    AddMember {
        user: UserName,
        role: RoleName,
    },
    RemoveMember {
        user: UserName,
        role: RoleName,
    },
    AddSubjectKey {
        user: UserName,
        key: NewSubjectKey,
    },
    RevokeSubjectKey {
        user: UserName,
        key: ApiKeyId,
    },
    /// Lets a key of a subject end earlier.
    ShortenSubjectKey {
        user: UserName,
        key: ApiKeyId,
        end: Timestamp,
    },
    /// Counts and writes down a sign-in that failed.
    RefuseSignIn(RefusedSignIn),
    /// Ends the locks of a user.
    Unlock {
        user: UserId,
    },
    /// Changes what a service account is as an OAuth client.
    SetClient {
        service: ServiceId,
        client: Client,
    },
    /// Writes down what nodes saw and what changed nothing.
    Observe(Vec<Observation>),
    /// Says that somebody who is signed in gave the password that is stored at that revision: a guess like
    /// any other, and refused while guesses are.
    ProvePassword {
        user: UserId,
        revision: u64,
    },
    /// Puts the same secret, sealed under another key, in the place of what was seen.
    Reseal(Resealed),
    /// Gives these roles and takes all others away.
    SetRoles {
        principal: Principal,
        roles: Vec<RoleName>,
    },
    /// About the nodes of the cluster.
    OrderNodes(NodeOrder),
    /// Lets whoever has this secret make the first administrator.
    OfferSetup {
        secret: SecretHash,
        good_for: Lifetime,
    },
    /// The rows of a backup of the account are about to come.
    BeginRestore {
        id: RestoreId,
    },
    /// Some of them. They lie aside until all have come.
    RestoreRows(NewPart),
    /// All have come: the account is put back to them.
    FinishRestore(WholeRestore),
    /// No more will come.
    AbandonRestore {
        id: RestoreId,
    },
    /// Lets in what came with that level and the ones before it; see [`level`].
    RaiseLevel {
        to: u32,
    },
}

/// What a command answers when it is carried out. Everything else can be read at its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    /// Whether the command changed anything: assigning a role twice does not.
    Changed(bool),
    SessionOpened {
        session: SessionId,
        principal: Principal,
        expires_at: Timestamp,
    },
    /// A spent refresh token came again, and its session is ended. To the caller this is a refusal; it is a
    /// reply because it changes rows.
    ReuseEndedSession {
        session: SessionId,
    },
    /// A sign-in is refused. It is a reply because it is counted and written down.
    SignInRefused {
        /// Since it was one too many, or during a lock.
        locked_until: Option<Timestamp>,
    },
    /// The password is right, and too many wrong ones came before.
    SignInLocked {
        until: Timestamp,
    },
}

/// The longest transaction, in actions.
pub const MAX_TRANSACTION: usize = 100;

/// What one action is given.
pub(crate) struct Context<'a> {
    pub(crate) rows: &'a mut dyn Rows,
    pub(crate) account: AccountId,
    pub(crate) at: Timestamp,
    /// Which of all commands this is.
    pub(crate) revision: u64,
    pub(crate) caller: &'a Caller,
    pub(crate) origin: &'a Origin,
}

/// Decides one command at the leader's time `at`, as the `revision`-th of all commands. Either every row
/// it wrote counts, or, with a rejection, none: the caller of `apply` drops them.
///
/// # Errors
/// The [`Rejection`] that says which rule was in the way.
pub fn apply(
    rows: &mut dyn Rows,
    at: Timestamp,
    revision: u64,
    command: &Command,
) -> Result<Reply, Rejection> {
    level::check(rows, command)?;
    let caller = authority::caller(rows, command.account, &command.by, at)?;
    for expectation in &command.expect {
        expectation.check(rows, command.account).or_else(|unmet| {
            // Who may not act learns no revision either.
            authority::refused(rows, command.account, &caller, &command.action).and(Err(unmet))
        })?;
    }
    guarded(command)?;
    let mut context =
        Context { rows, account: command.account, at, revision, caller: &caller, origin: &command.origin };
    let reply = if let Action::Transaction(actions) = &command.action {
        if actions.is_empty() || actions.len() > MAX_TRANSACTION {
            return Err(Rejection::invalid("actions", "a transaction has 1 to 100 actions"));
        }
        for action in actions {
            stands_in_transaction(action)?;
            perform(&mut context, action)?;
        }
        Reply::Done
    } else {
        perform(&mut context, &command.action)?
    };
    session::prune(context.rows, command.account, at)?;
    Ok(reply)
}

/// A new hash of the same password must not undo a change of password that came first in the log, so it
/// says which password it is a hash of.
fn guarded(command: &Command) -> Result<(), Rejection> {
    for action in command.action.each() {
        if let Action::RehashPassword { user, .. } = action {
            let resource = Resource::Password(*user);
            if !command.expect.iter().any(|expectation| expectation.resource == resource) {
                return Err(Rejection::Misplaced("a new hash expects a revision of the password".to_owned()));
            }
        }
    }
    Ok(())
}

/// A session's reply would be lost in a transaction. Worse, a later refusal would take back that a token
/// spent twice ended its session, or that a wrong password was counted.
fn stands_in_transaction(action: &Action) -> Result<(), Rejection> {
    if matches!(
        action,
        Action::OpenSession(_)
            | Action::RefreshSession(_)
            | Action::RefuseSignIn(_)
            | Action::ProvePassword { .. }
            | Action::Observe(_)
    ) {
        return Err(Rejection::Misplaced(
            "a session is opened or refreshed by a command of its own".to_owned(),
        ));
    }
    if matches!(
        action,
        Action::BeginRestore { .. }
            | Action::RestoreRows(_)
            | Action::FinishRestore(_)
            | Action::AbandonRestore { .. }
    ) {
        return Err(Rejection::Misplaced("each step of a restore is a command of its own".to_owned()));
    }
    // What follows in the same command was looked at under the level before.
    if matches!(action, Action::RaiseLevel { .. }) {
        return Err(Rejection::Misplaced("a level is raised by a command of its own".to_owned()));
    }
    Ok(())
}

fn perform(context: &mut Context<'_>, action: &Action) -> Result<Reply, Rejection> {
    authority::may(context.rows, context.account, context.caller, action)?;
    let reply = dispatch(context, action)?;
    // What was seen is written down as what it was, not as the seeing of it; a restore once it is one.
    let is_silent = matches!(
        action,
        Action::Observe(_)
            | Action::BeginRestore { .. }
            | Action::RestoreRows(_)
            | Action::AbandonRestore { .. }
    );
    if reply != Reply::Changed(false) && !is_silent {
        audit::append(context, action, &reply)?;
    }
    Ok(reply)
}

fn dispatch(context: &mut Context<'_>, action: &Action) -> Result<Reply, Rejection> {
    match action {
        Action::InstallSecrets(secrets) => cluster::install(context, secrets),
        Action::CreateAccount(new) => account::create(context, new),
        Action::CreateUser(new) => user::create(context, new, false),
        Action::UpdateUser { user, changes } => user::update(context, *user, changes),
        Action::SetUserStatus { user, status } => user::set_status(context, *user, *status),
        Action::SetPassword { user, password, history } => {
            user::set_password(context, *user, password, *history)
        }
        Action::RehashPassword { user, password } => user::rehash(context, *user, password),
        Action::DeleteUser { user } => user::delete(context, *user),
        Action::CreateServiceAccount(new) => service::create(context, new),
        Action::DeleteServiceAccount { service } => service::delete(context, *service),
        Action::SetServiceStatus { service, active } => service::set_active(context, *service, *active),
        Action::AddApiKey { service, key } => service::add_key(context, *service, key),
        Action::RevokeApiKey { service, key } => service::revoke_key(context, *service, *key),
        Action::CreateRole(new) => role::create(context, new),
        Action::UpdateRole { role, changes } => role::update(context, role, changes),
        Action::DeleteRole { role } => role::delete(context, role),
        Action::AssignRole { principal, role } => membership::assign(context, principal, role),
        Action::UnassignRole { principal, role } => membership::unassign(context, principal, role),
        Action::SetRoles { principal, roles } => membership::set(context, principal, roles),
        Action::OpenSession(new) => session::open(context, new),
        Action::RefreshSession(rotation) => session::rotate(context, rotation),
        Action::EndSession { session } => session::end(context, *session),
        Action::EndSessions { principal, except } => session::end_all(context, principal, *except),
        Action::RotateSigningKey { key, retire_after } => key::rotate(context, key, *retire_after),
        Action::Reseal(new) => reseal::reseal(context, new),
        Action::Transaction(_) => Err(Rejection::Misplaced("a transaction cannot hold another".to_owned())),
        Action::OpenDefaultAccount(new) => account::open_default(context, new),
        Action::CreateFirstAdmin(new) => account::create_first_admin(context, new),
        Action::Register(new) => account::register(context, new),
        Action::OpenKeyAccount { key } => holder::open(context, *key),
        Action::RotateHolder { next } => holder::rotate(context, *next),
        Action::SetRecovery { secret } => holder::set_recovery(context, *secret),
        Action::Recover(recovery) => holder::recover(context, recovery),
        Action::ChangeSettings(changes) => settings::change(context, changes),
        Action::AddMember { user, role } => subject::add_member(context, user, role),
        Action::RemoveMember { user, role } => subject::remove_member(context, user, role),
        Action::AddSubjectKey { user, key } => subject_key::add(context, user, key),
        Action::RevokeSubjectKey { user, key } => subject_key::revoke(context, user, *key),
        Action::ShortenSubjectKey { user, key, end } => subject_key::shorten(context, user, *key, *end),
        Action::RefuseSignIn(refused) => lockout::refuse(context, refused),
        Action::Unlock { user } => lockout::unlock(context, *user),
        Action::SetClient { service, client } => service::set_client(context, *service, client),
        Action::Observe(seen) => audit::observe(context, seen),
        Action::ProvePassword { user, revision } => lockout::prove(context, *user, *revision),
        Action::OrderNodes(order) => node::order(context, order),
        Action::OfferSetup { secret, good_for } => cluster::offer_setup(context, *secret, *good_for),
        Action::BeginRestore { id } => restore::begin(context, *id),
        Action::RestoreRows(part) => restore::add_part(context, part),
        Action::FinishRestore(whole) => restore::finish(context, whole),
        Action::AbandonRestore { id } => restore::abandon(context, *id),
        Action::RaiseLevel { to } => level::raise(context, *to),
    }
}

impl Action {
    /// The actions of a transaction, or this one alone.
    fn each(&self) -> &[Self] {
        if let Self::Transaction(actions) = self { actions } else { std::slice::from_ref(self) }
    }
}

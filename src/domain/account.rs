//! Accounts: one tenant each, owned by a root user, by whoever holds its key, or by the cluster.

use serde::{Deserialize, Serialize};

use super::key::{self, NewSigningKey};
use super::role::{self, NewRole};
use super::rows::{next_account, tables};
use super::settings::{self, Registration, SettingsChanges};
use super::user::{self, NewUser};
use super::{
    AccountId, Context, Email, Read, Rejection, Reply, RoleName, Stored, Timestamp, UserId, membership,
};

/// A tenant. One with a root user is open as long as that is active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub owner: Owner,
    pub created_at: Timestamp,
    pub state: AccountState,
}

/// Who may do everything in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// A root user.
    Root(UserId),
    /// Whoever holds the account's key, see [`super::holder`] (seed 003).
    KeyHolder,
    /// Nobody by birth: the default account, [`AccountId::DEFAULT`] (seeds 000, 002, 004). Whoever has a role
    /// that holds `*` administers it.
    Cluster {
        /// The first administrator is made once, and never again.
        has_had_admin: bool,
    },
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountState {
    Open,
    /// The root user deleted itself: nobody signs in, no token is good.
    Closed {
        at: Timestamp,
    },
}

/// What opening an account needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// The root user; it must have an e-mail address.
    pub root: NewUser,
    pub key: NewSigningKey,
}

/// What opening the default account needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultAccount {
    pub key: NewSigningKey,
    /// The roles that it starts with.
    pub roles: Vec<NewRole>,
    /// The roles of those who register themselves.
    pub registered: Vec<RoleName>,
}

impl Account {
    /// The root user, if it has one.
    #[must_use]
    pub const fn root(&self) -> Option<UserId> {
        match self.owner {
            Owner::Root(user) => Some(user),
            Owner::KeyHolder | Owner::Cluster { .. } => None,
        }
    }
}

/// The account, closed or not.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn find(rows: &dyn Read, account: AccountId) -> Result<Option<Stored<Account>>, Rejection> {
    tables::ACCOUNT.get(rows, account, &[])
}

/// The first account behind `after`, in the order of their ids; closed ones too, and [`AccountId::CLUSTER`] once it
/// has an audit trail.
#[must_use]
pub fn next(rows: &dyn Read, after: Option<AccountId>) -> Option<AccountId> {
    next_account(rows, after)
}

/// At most `limit` accounts behind `after`, in the order of their ids, closed ones too. Only for operators: an
/// account must not learn which others there are.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode.
pub fn list(
    rows: &dyn Read,
    mut after: Option<AccountId>,
    limit: usize,
) -> Result<Vec<Stored<Account>>, Rejection> {
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(id) = next(rows, after)
    {
        after = Some(id);
        // The cluster itself has rows and is no account.
        found.extend(find(rows, id)?);
    }
    Ok(found)
}

/// The account whose root user has that e-mail address.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode.
pub fn find_by_root_email(rows: &dyn Read, email: &Email) -> Result<Option<AccountId>, Rejection> {
    Ok(tables::ROOT_EMAIL.get(rows, email.folded().as_bytes())?.map(|row| row.value))
}

/// The account, if it can be used.
///
/// # Errors
/// [`Rejection::NotFound`] where there is none or it is closed.
pub fn open_account(rows: &dyn Read, account: AccountId) -> Result<Account, Rejection> {
    match find(rows, account)? {
        Some(Stored { value, .. }) if value.state == AccountState::Open => Ok(value),
        _ => Err(Rejection::NotFound(super::Noun::Account)),
    }
}

pub(super) fn create(context: &mut Context<'_>, new: &NewAccount) -> Result<Reply, Rejection> {
    add(context, Owner::Root(new.root.id))?;
    key::add(context, &new.key)?;
    user::create(context, &new.root, true)
}

/// Opens the default account, once: every node proposes it when it starts, and the first in the log counts.
pub(super) fn open_default(context: &mut Context<'_>, new: &DefaultAccount) -> Result<Reply, Rejection> {
    if context.account != AccountId::DEFAULT {
        return Err(Rejection::Misplaced("there is one default account".to_owned()));
    }
    if find(context.rows, context.account)?.is_some() {
        return Ok(Reply::Changed(false));
    }
    add(context, Owner::Cluster { has_had_admin: false })?;
    key::add(context, &new.key)?;
    for role in &new.roles {
        role::create(context, role)?;
    }
    let registration = Some(Registration::Open { roles: new.registered.clone() });
    settings::change(context, &SettingsChanges { registration, ..SettingsChanges::default() })?;
    Ok(Reply::Changed(true))
}

/// Makes the first administrator of the default account. A second time nothing happens, also when the first
/// one has been deleted since: what bootstraps a cluster is good once.
pub(super) fn create_first_admin(context: &mut Context<'_>, new: &NewUser) -> Result<Reply, Rejection> {
    let mut account = open_account(context.rows, context.account)?;
    match account.owner {
        Owner::Cluster { has_had_admin: true } => return Ok(Reply::Changed(false)),
        Owner::Cluster { has_had_admin: false } => {}
        Owner::Root(_) | Owner::KeyHolder => {
            return Err(Rejection::Misplaced("this account has an owner".to_owned()));
        }
    }
    user::create(context, new, false)?;
    account.owner = Owner::Cluster { has_had_admin: true };
    tables::ACCOUNT.put(context.rows, context.account, &[], &account)?;
    Ok(Reply::Changed(true))
}

/// Lets somebody in who asks by themselves, with the roles that the account gives to such people.
pub(super) fn register(context: &mut Context<'_>, new: &NewUser) -> Result<Reply, Rejection> {
    open_account(context.rows, context.account)?;
    let settings = settings::of(context.rows, context.account)?;
    let Registration::Open { roles } = settings.registration else {
        return Err(Rejection::RegistrationClosed);
    };
    if !new.roles.is_empty() {
        return Err(Rejection::Misplaced("who registers does not choose roles".to_owned()));
    }
    let reply = user::create(context, new, false)?;
    for role in &roles {
        membership::add(context, &super::Principal::User(new.id), role)?;
    }
    Ok(reply)
}

/// Adds the row of a new account.
pub(super) fn add(context: &mut Context<'_>, owner: Owner) -> Result<(), Rejection> {
    if context.account == AccountId::CLUSTER || find(context.rows, context.account)?.is_some() {
        return Err(Rejection::AccountIdTaken);
    }
    let account = Account { id: context.account, owner, created_at: context.at, state: AccountState::Open };
    tables::ACCOUNT.put(context.rows, context.account, &[], &account)
}

/// Closes the account with its root user; every other row stays, for the audit trail.
pub(super) fn close(context: &mut Context<'_>) -> Result<(), Rejection> {
    let mut account = open_account(context.rows, context.account)?;
    account.state = AccountState::Closed { at: context.at };
    tables::ACCOUNT.put(context.rows, context.account, &[], &account)
}

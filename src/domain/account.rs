//! Accounts: one tenant each, owned by a root user.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::key::{self, NewSigningKey};
use super::rows::{account_of, tables};
use super::user::{self, NewUser};
use super::{AccountId, Context, Email, Read, Rejection, Reply, Stored, Timestamp, UserId};

/// A tenant. It is open as long as its root user is active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub root: UserId,
    pub created_at: Timestamp,
    pub state: AccountState,
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
    // No tag is so high: behind this are only the rows of other accounts.
    let after = after.map(|account| [b"a", account.as_bytes(), &[0xff]].concat());
    let mut found = None;
    rows.scan(b"a", after.as_deref(), &mut |key, _| {
        let id = account_of(key).and_then(|id| std::str::from_utf8(id).ok());
        found = id.and_then(|id| AccountId::parse(id).ok());
        ControlFlow::Break(())
    });
    found
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
    if context.account == AccountId::CLUSTER || find(context.rows, context.account)?.is_some() {
        return Err(Rejection::AccountIdTaken);
    }
    let account =
        Account { id: context.account, root: new.root.id, created_at: context.at, state: AccountState::Open };
    tables::ACCOUNT.put(context.rows, context.account, &[], &account)?;
    key::add(context, &new.key)?;
    user::create(context, &new.root, true)
}

/// Closes the account with its root user; every other row stays, for the audit trail.
pub(super) fn close(context: &mut Context<'_>) -> Result<(), Rejection> {
    let mut account = open_account(context.rows, context.account)?;
    account.state = AccountState::Closed { at: context.at };
    tables::ACCOUNT.put(context.rows, context.account, &[], &account)
}

//! Leave to read, as a type: rows are reached through a permit, and only `authorize` makes one. Forgetting
//! the check does not compile.
//!
//! Writes need none: their order names the caller, and `domain::apply` decides in log order.

use std::marker::PhantomData;

use conclave_cluster::state::View;

use super::{Caller, Failure};
use crate::domain::authority::{self, permission};
use crate::domain::{AccountId, Principal, Rejection};

/// Something that may be read by those who hold its permission.
pub trait Reading {
    /// The permission it takes.
    const PERMISSION: &'static str;
}

/// Declares kinds of reading.
macro_rules! reading {
    ($($name:ident = $permission:path;)*) => {
        $(
            #[doc = concat!("Takes `", stringify!($permission), "`.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl Reading for $name {
                const PERMISSION: &'static str = $permission;
            }
        )*
    };
}

reading! {
    ReadUsers = permission::READ_USERS;
    ReadServices = permission::READ_SERVICES;
    ReadRoles = permission::READ_ROLES;
    ReadSessions = permission::READ_SESSIONS;
    ReadAudit = permission::READ_AUDIT;
    ReadSettings = permission::READ_SETTINGS;
    Check = permission::CHECK;
    Introspect = permission::INTROSPECT;
}

/// Leave to do one kind of reading in one account, in the rows of one moment.
#[derive(Clone, Debug)]
pub struct Permit<R> {
    account: AccountId,
    rows: View,
    reading: PhantomData<R>,
}

impl<R: Reading> Permit<R> {
    /// The account that may be read.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The rows to read.
    #[must_use]
    pub const fn rows(&self) -> &View {
        &self.rows
    }
}

impl Caller {
    /// Gives leave to read `rows`, by what the caller holds in `now`: a look into the past is judged by the
    /// rights of the present.
    ///
    /// # Errors
    /// [`Rejection::Forbidden`] naming the permission.
    pub fn authorize<R: Reading>(&self, now: &View, rows: &View) -> Result<Permit<R>, Failure> {
        if authority::holds(now, self.account(), &self.principal(), R::PERMISSION)? {
            Ok(Permit { account: self.account(), rows: rows.clone(), reading: PhantomData })
        } else {
            Err(Rejection::Forbidden(R::PERMISSION.to_owned()).into())
        }
    }

    /// As [`Caller::authorize`], or because it is about the caller itself.
    ///
    /// # Errors
    /// [`Rejection::Forbidden`] naming the permission.
    pub fn authorize_about<R: Reading>(
        &self,
        about: &Principal,
        now: &View,
        rows: &View,
    ) -> Result<Permit<R>, Failure> {
        if self.principal() == *about {
            return Ok(Permit { account: self.account(), rows: rows.clone(), reading: PhantomData });
        }
        self.authorize(now, rows)
    }
}

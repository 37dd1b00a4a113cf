//! What an account decides for itself. Replicated, because every node must decide alike.

use serde::{Deserialize, Serialize};

use super::lockout::Lockout;
use super::policy::PasswordPolicy;
use super::rows::tables;
use super::{AccountId, Context, Lifetime, Read, Rejection, Reply, RoleName, Stored, Timestamp};

/// The settings of an account. One that never changed them has the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub passwords: PasswordRule,
    pub lockout: Lockout,
    /// Whether only subjects with a live key of their own become members (seed 003, contract part 3.4).
    pub strict_users: bool,
    pub registration: Registration,
    pub retention: Retention,
}

/// Which passwords are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PasswordRule {
    /// Those that the policy of the surface takes by which they come: each seed has its own (contract part 6).
    #[default]
    OfSurface,
    /// Those that the account's own policy takes, whichever way they come.
    Own(PasswordPolicy),
}

impl PasswordRule {
    /// The policy that counts for a password that comes by a surface with that policy.
    #[must_use]
    pub const fn policy(self, of_surface: PasswordPolicy) -> PasswordPolicy {
        match self {
            Self::OfSurface => of_surface,
            Self::Own(policy) => policy,
        }
    }

    /// Whether a password that was set at `set_at` is too old to sign in with at `at`. No surface's policy lets
    /// passwords grow too old.
    #[must_use]
    pub fn has_expired(self, set_at: Timestamp, at: Timestamp) -> bool {
        match self {
            Self::OfSurface => false,
            Self::Own(policy) => policy.has_expired(set_at, at),
        }
    }
}

/// Whether people let themselves in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Registration {
    #[default]
    Closed,
    Open {
        /// The roles of whoever registers.
        roles: Vec<RoleName>,
    },
}

/// How long the audit trails are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// What was done, by age. At least a day.
    pub acts: Lifetime,
    /// What was merely asked (permission checks and the like), by number of records. At most
    /// [`Retention::MAX_CHECKS`]: they lie in the memory of every node.
    pub checks: u64,
}

impl Retention {
    /// The most records of what was asked, for one account.
    pub const MAX_CHECKS: u64 = 1_000_000;
    const MIN_ACTS: Lifetime = Lifetime::from_secs(86_400);
}

impl Default for Retention {
    fn default() -> Self {
        Self { acts: Lifetime::from_secs(400 * 86_400), checks: 10_000 }
    }
}

/// What to change; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChanges {
    pub passwords: Option<PasswordRule>,
    pub lockout: Option<Lockout>,
    pub strict_users: Option<bool>,
    pub registration: Option<Registration>,
    pub retention: Option<Retention>,
}

/// The account's settings, as they were last changed, if they ever were.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn find(rows: &dyn Read, account: AccountId) -> Result<Option<Stored<Settings>>, Rejection> {
    tables::SETTINGS.get(rows, account, &[])
}

/// The account's settings.
///
/// # Errors
/// As [`find`].
pub fn of(rows: &dyn Read, account: AccountId) -> Result<Settings, Rejection> {
    Ok(find(rows, account)?.map(|row| row.value).unwrap_or_default())
}

pub(super) fn change(context: &mut Context<'_>, changes: &SettingsChanges) -> Result<Reply, Rejection> {
    let before = of(context.rows, context.account)?;
    let after = Settings {
        passwords: changes.passwords.unwrap_or(before.passwords),
        lockout: changes.lockout.unwrap_or(before.lockout),
        strict_users: changes.strict_users.unwrap_or(before.strict_users),
        registration: changes.registration.clone().unwrap_or_else(|| before.registration.clone()),
        retention: changes.retention.unwrap_or(before.retention),
    };
    if after == before {
        return Ok(Reply::Changed(false));
    }
    after.check()?;
    tables::SETTINGS.put(context.rows, context.account, &[], &after)?;
    Ok(Reply::Changed(true))
}

impl Settings {
    fn check(&self) -> Result<(), Rejection> {
        if let PasswordRule::Own(policy) = self.passwords {
            policy.validated()?;
        }
        self.lockout.check()?;
        if self.retention.acts < Retention::MIN_ACTS {
            return Err(Rejection::invalid("retention", "what was done is kept for a day at least"));
        }
        if self.retention.checks > Retention::MAX_CHECKS {
            return Err(Rejection::invalid("retention", "at most 1000000 checks are kept"));
        }
        Ok(())
    }
}

//! What an account decides for itself, and the locks of its users.

use std::fmt::Display;
use std::time::SystemTime;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::wire;
use super::{Account, Answer, Call, Read, Users, Write};

/// The settings of an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// Which passwords are taken.
    pub passwords: PasswordsRule,
    /// When somebody who guesses passwords is locked out.
    pub lockout: LockoutRule,
    /// Whether only subjects with a live key of their own become members.
    pub strict_users: bool,
    /// Whether people let themselves in.
    pub registration: RegistrationRule,
    /// How long the audit trails are kept.
    pub retention: RetentionRule,
}

/// What to change; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SettingsChanges {
    /// Which passwords are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passwords: Option<PasswordsRule>,
    /// When somebody who guesses passwords is locked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockout: Option<LockoutRule>,
    /// Whether only subjects with a live key of their own become members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict_users: Option<bool>,
    /// Whether people let themselves in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationRule>,
    /// How long the audit trails are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionRule>,
}

/// Which passwords are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordsRule {
    /// The account's own policy; without one each surface has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<PasswordPolicy>,
}

/// What a new password must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own, on or off")]
pub struct PasswordPolicy {
    /// The fewest characters: 1 to 64.
    pub min_chars: u8,
    /// The most: 64 to 128.
    pub max_chars: u8,
    /// Of each of these kinds there is at least one character.
    pub required: Vec<CharacterClass>,
    /// No name of its user and not the product's in it.
    pub no_names: bool,
    /// Not among those that are guessed first.
    pub no_common: bool,
    /// No beginning like `password` or `qwerty`.
    pub no_beginnings: bool,
    /// No row of the keyboard in it.
    pub no_keyboard_rows: bool,
    /// From how many of the last it must differ: at most 24.
    pub history: u8,
    /// Seconds after which it must be changed to sign in, a day at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
}

/// A kind of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CharacterClass {
    UpperCase,
    LowerCase,
    Digit,
    SpecialCharacter,
}

/// When somebody who guesses passwords is locked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockoutRule {
    /// Failures in a row that lock; at most 100, and 0 never does.
    pub failures: u32,
    /// Seconds that a lock lasts: a minute to a day.
    pub lock_for_s: u64,
}

/// Whether people let themselves in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationRule {
    pub open: bool,
    /// The roles of whoever registers.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// How long the audit trails are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRule {
    /// Seconds that the trail of what was done goes back: a day at least.
    pub acts_for_s: u64,
    /// How many records of what was asked are kept: at most 1,000,000.
    pub checks: u64,
}

/// Whether anybody is locked out from signing in as a user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Lockout {
    /// Whether anybody is now.
    pub locked: bool,
    /// Tries from where the user never signed in.
    pub strangers: FailureCount,
    /// Tries from where the user signed in lately, the latest last.
    pub known: Vec<FailureCount>,
}

/// Failures in a row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FailureCount {
    /// Up to now.
    pub failures: u32,
    /// Until when these are locked out.
    #[serde(default, deserialize_with = "wire::maybe_time")]
    pub locked_until: Option<SystemTime>,
}

impl Account {
    /// What the account decides for itself.
    pub fn settings(&self) -> Call<Answer<Settings>, Read> {
        self.get(self.below("settings"))
    }

    /// Changes that, and gives what holds then.
    pub fn change_settings(&self, changes: &SettingsChanges) -> Call<Answer<Settings>, Write> {
        self.write(Method::PATCH, self.below("settings")).json(changes)
    }
}

impl Users {
    /// Whether anybody is locked out from signing in as a user.
    pub fn lockout(&self, user: impl Display) -> Call<Answer<Lockout>, Read> {
        self.0.get(self.0.below("users").name(user).word("lockout"))
    }

    /// Ends every lock of a user and forgets the failures.
    pub fn unlock(&self, user: impl Display) -> Call<Answer<()>, Write> {
        self.0.order(Method::DELETE, self.0.below("users").name(user).word("lockout"))
    }
}

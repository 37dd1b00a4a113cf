//! Judges a new password by a policy, before it is hashed.

use std::fmt;

use zeroize::Zeroizing;

use super::guesses;
use super::password::Password;
use crate::domain::policy::{FORBIDDEN_BEGINNINGS, KEYBOARD_ROWS, PasswordPolicy, SPECIAL_CHARACTERS};

/// A rule that a password breaks. Its text says what to do and never quotes the password, nor what it was
/// compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// It has fewer characters than this.
    TooShort(u8),
    /// It has more characters than this.
    TooLong(u8),
    NoUpper,
    NoLower,
    NoDigit,
    NoSpecial,
    /// A name of its user, or this product's, is in it.
    ContainsName,
    /// It is among the first that are guessed.
    Common,
    ForbiddenBeginning,
    KeyboardRow,
    /// It is one of the user's last passwords, so many of which count. Only whoever holds their hashes can
    /// tell, so [`breaches`] never says it.
    Reused(u8),
}

/// Every rule of `policy` that `password` breaks, in the order of [`Breach`].
///
/// `about` holds the names of its user, as for [`guesses::strength`]. They are not looked at where the policy
/// has no rule about names.
///
/// Takes up to some 5 ms where common passwords are refused, see [`guesses`]; else some microseconds.
#[must_use]
pub fn breaches(policy: &PasswordPolicy, password: &Password, about: &[&str]) -> Vec<Breach> {
    let text = password.expose();
    let folded = Zeroizing::new(text.to_lowercase());
    let names = if policy.no_names { guesses::names(about) } else { Vec::new() };
    let has = |is_wanted: fn(char) -> bool| text.chars().any(is_wanted);
    let is_special = |c| SPECIAL_CHARACTERS.contains(c);
    let rules = [
        (password.chars() < policy.min_chars.into(), Breach::TooShort(policy.min_chars)),
        (password.chars() > policy.max_chars.into(), Breach::TooLong(policy.max_chars)),
        (policy.required.upper && !has(char::is_uppercase), Breach::NoUpper),
        (policy.required.lower && !has(char::is_lowercase), Breach::NoLower),
        (policy.required.digit && !has(char::is_numeric), Breach::NoDigit),
        (policy.required.special && !has(is_special), Breach::NoSpecial),
        (names.iter().any(|name| folded.contains(name)), Breach::ContainsName),
        (policy.no_common && guesses::is_common(password, &names), Breach::Common),
        (policy.no_beginnings && begins_badly(&folded), Breach::ForbiddenBeginning),
        (policy.no_keyboard_rows && has_row(&folded), Breach::KeyboardRow),
    ];
    rules.into_iter().filter_map(|(is_broken, breach)| is_broken.then_some(breach)).collect()
}

impl Breach {
    /// What clients may match on.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort(_) => "too_short",
            Self::TooLong(_) => "too_long",
            Self::NoUpper => "no_upper_case",
            Self::NoLower => "no_lower_case",
            Self::NoDigit => "no_digit",
            Self::NoSpecial => "no_special_character",
            Self::ContainsName => "contains_name",
            Self::Common => "common",
            Self::ForbiddenBeginning => "forbidden_beginning",
            Self::KeyboardRow => "keyboard_row",
            Self::Reused(_) => "reused",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(least) => write!(f, "A password has at least {least} characters."),
            Self::TooLong(most) => write!(f, "A password has at most {most} characters."),
            Self::NoUpper => f.write_str("A password has at least one upper-case letter."),
            Self::NoLower => f.write_str("A password has at least one lower-case letter."),
            Self::NoDigit => f.write_str("A password has at least one digit."),
            Self::NoSpecial => write!(f, "A password has at least one of: {SPECIAL_CHARACTERS}"),
            Self::ContainsName => {
                f.write_str("A password contains no name of its user and no name of this service.")
            }
            Self::Common => f.write_str("This password is among those that are guessed first."),
            Self::ForbiddenBeginning => {
                write!(f, "A password does not start with: {}", FORBIDDEN_BEGINNINGS.join(", "))
            }
            Self::KeyboardRow => {
                f.write_str("A password contains no row of the keyboard, in either direction.")
            }
            Self::Reused(1) => f.write_str("A new password differs from the present one."),
            Self::Reused(last) => write!(f, "A new password differs from the last {last}."),
        }
    }
}

fn begins_badly(folded: &str) -> bool {
    FORBIDDEN_BEGINNINGS.iter().any(|beginning| folded.starts_with(beginning))
}

fn has_row(folded: &str) -> bool {
    let backwards = Zeroizing::new(folded.chars().rev().collect::<String>());
    KEYBOARD_ROWS.iter().any(|row| folded.contains(row) || backwards.contains(row))
}

/// No policy allows what a [`Password`] cannot hold.
const _: () = assert!(PasswordPolicy::MAX_CHARS as usize == Password::MAX_CHARS);

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;

//! What a password must be to be set: the rules of an account, as data.
//!
//! Here a policy is only kept and checked for sense. Judging a password by it needs the password, which this
//! layer never sees: that is done where a password is set, by [`breaches`](crate::auth::policy::breaches).

use serde::{Deserialize, Serialize};

use super::{Lifetime, Rejection, Timestamp};

/// The rules that a new password must keep. They are looked at when a password is set, never when one is
/// checked: a stricter policy locks nobody out.
///
/// A value that a caller chose goes through [`PasswordPolicy::validated`] before it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own, on or off")]
pub struct PasswordPolicy {
    /// The fewest characters (Unicode code points), 1 to [`PasswordPolicy::ALWAYS_ALLOWED_CHARS`].
    pub min_chars: u8,
    /// The most characters, [`PasswordPolicy::ALWAYS_ALLOWED_CHARS`] to [`PasswordPolicy::MAX_CHARS`].
    pub max_chars: u8,
    /// The kinds of character of which there must be at least one each.
    pub required: CharacterClasses,
    /// It must not contain the user's name or e-mail name, or the name of this product, in any case.
    pub no_names: bool,
    /// It must not be a common password, a common word, or one of those slightly dressed up.
    pub no_common: bool,
    /// It must not start with one of [`FORBIDDEN_BEGINNINGS`], in any case.
    pub no_beginnings: bool,
    /// It must not contain one of [`KEYBOARD_ROWS`], in any case, forwards or backwards.
    pub no_keyboard_rows: bool,
    /// How many of the user's last passwords, the present one included, it must differ from: 0 to
    /// [`PasswordPolicy::MAX_HISTORY`].
    pub history: u8,
    /// After how long a password must be changed before its user can sign in with it again; at least
    /// [`PasswordPolicy::MIN_AGE`]. `None`, which is advised, is never.
    pub max_age: Option<Lifetime>,
}

/// Kinds of character, each wanted or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four members")]
pub struct CharacterClasses {
    /// A letter in upper case, of any script.
    pub upper: bool,
    /// A letter in lower case, of any script.
    pub lower: bool,
    /// A digit, of any script.
    pub digit: bool,
    /// One of [`SPECIAL_CHARACTERS`].
    pub special: bool,
}

/// What counts as a special character (contract part 4.2).
pub const SPECIAL_CHARACTERS: &str = r#"!@#$%^&*(),.?":{}|<>"#;

/// How no password starts under [`PasswordPolicy::no_beginnings`] (contract part 4.2), in lower case.
pub const FORBIDDEN_BEGINNINGS: [&str; 8] =
    ["password", "123456", "qwerty", "admin", "letmein", "welcome", "monkey", "dragon"];

/// The rows of a keyboard that no password contains under [`PasswordPolicy::no_keyboard_rows`] (contract part
/// 4.2), in lower case.
///
/// A row counts when it is there as a whole. Shorter runs would refuse what Keystone's clients have always
/// been allowed (`1234` in the middle) and plain words besides: `erty` is in "property", `trew` in "strewn".
/// That somebody typed along a row is seen by [`PasswordPolicy::no_common`], which weighs the whole password.
pub const KEYBOARD_ROWS: [&str; 4] = ["qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890"];

impl PasswordPolicy {
    /// The most characters of any password, under any policy.
    pub const MAX_CHARS: u8 = 128;
    /// A password may always have this many characters, and never has to have more (NIST SP 800-63B-4,
    /// section 3.1.1.2: verifiers permit at least 64).
    pub const ALWAYS_ALLOWED_CHARS: u8 = 64;
    /// The most passwords that are remembered for a user.
    pub const MAX_HISTORY: u8 = 24;
    /// The shortest [`PasswordPolicy::max_age`]: one day.
    pub const MIN_AGE: Lifetime = Lifetime::from_secs(24 * 60 * 60);

    /// The default of an account: long enough and not easily guessed, and nothing about how it is composed
    /// (NIST SP 800-63B-4, section 3.1.1.2; OWASP ASVS 5.0, 6.2.4, 6.2.5 and 6.2.11). NIST asks for 15
    /// characters where a password is all that proves who somebody is: an account that follows it raises
    /// `min_chars`.
    pub const MODERN: Self = Self { min_chars: 8, no_names: true, no_common: true, ..Self::ENGINE };

    /// Of the engine's surface (contract part 5): anything that is a password at all.
    pub const ENGINE: Self = Self {
        min_chars: 1,
        max_chars: Self::MAX_CHARS,
        required: CharacterClasses { upper: false, lower: false, digit: false, special: false },
        no_names: false,
        no_common: false,
        no_beginnings: false,
        no_keyboard_rows: false,
        history: 0,
        max_age: None,
    };

    /// Of Keystone's surface (contract part 4.2). Common passwords are refused by their beginnings and by
    /// keyboard rows only, as its clients expect: its own example, `SecurePassword123!`, is two common words.
    ///
    /// Its settings name an age of 90 days as well, which nothing ever enforced. It is off here: whoever is
    /// made to change a password changes one character, and NIST SP 800-63B-4 forbids asking for a change
    /// without a sign of compromise. An account that must have it sets [`PasswordPolicy::max_age`].
    pub const KEYSTONE: Self = Self {
        min_chars: 8,
        required: CharacterClasses { upper: true, lower: true, digit: true, special: true },
        no_names: true,
        no_beginnings: true,
        no_keyboard_rows: true,
        history: 5,
        ..Self::ENGINE
    };

    /// The policy, if it makes sense: somebody can keep it, and none of its limits asks for what this program
    /// does not do.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] with the first limit that is out of its range.
    pub fn validated(self) -> Result<Self, Rejection> {
        let senseless = |rule: String| Err(Rejection::invalid("password_policy", &rule));
        if !(1..=Self::ALWAYS_ALLOWED_CHARS).contains(&self.min_chars) {
            return senseless(format!("min_chars is 1 to {}", Self::ALWAYS_ALLOWED_CHARS));
        }
        if !(Self::ALWAYS_ALLOWED_CHARS..=Self::MAX_CHARS).contains(&self.max_chars) {
            let (least, most) = (Self::ALWAYS_ALLOWED_CHARS, Self::MAX_CHARS);
            return senseless(format!("max_chars is {least} to {most}"));
        }
        if self.history > Self::MAX_HISTORY {
            return senseless(format!("history is at most {}", Self::MAX_HISTORY));
        }
        if self.max_age.is_some_and(|age| age < Self::MIN_AGE) {
            return senseless("max_age is at least one day".to_owned());
        }
        Ok(self)
    }

    /// How many of the last passwords, the present one included, a new one must differ from. That is
    /// [`PasswordPolicy::history`], and the present one at least where passwords grow too old: a change must
    /// be one.
    #[must_use]
    pub fn remembered(&self) -> u8 {
        self.history.max(u8::from(self.max_age.is_some()))
    }

    /// Whether a password that was set at `set_at` is too old to sign in with at `at`.
    #[must_use]
    pub fn has_expired(&self, set_at: Timestamp, at: Timestamp) -> bool {
        self.max_age.is_some_and(|age| at >= set_at.plus(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    type Change = fn(&mut PasswordPolicy);

    #[test]
    fn the_surfaces_policies_make_sense() {
        for policy in [PasswordPolicy::MODERN, PasswordPolicy::ENGINE, PasswordPolicy::KEYSTONE] {
            assert_eq!(policy.validated(), Ok(policy));
            assert_eq!(policy.max_age, None, "nobody has to change a good password");
        }
        assert_eq!(PasswordPolicy::MODERN.required, CharacterClasses::default(), "no composition rule");
    }

    #[test]
    fn limits_out_of_range_are_refused_by_name() {
        let with = |change: Change| {
            let mut policy = PasswordPolicy::MODERN;
            change(&mut policy);
            policy.validated()
        };
        let refused: [(Change, &str); 8] = [
            (|policy| policy.min_chars = 0, "min_chars is 1 to 64"),
            (|policy| policy.min_chars = 65, "min_chars is 1 to 64"),
            (|policy| (policy.min_chars, policy.max_chars) = (20, 10), "max_chars is 64 to 128"),
            (|policy| policy.max_chars = 63, "max_chars is 64 to 128"),
            (|policy| policy.max_chars = 129, "max_chars is 64 to 128"),
            (|policy| policy.history = 25, "history is at most 24"),
            (|policy| policy.max_age = Some(Lifetime(DAY - 1)), "max_age is at least one day"),
            (|policy| policy.max_age = Some(Lifetime(0)), "max_age is at least one day"),
        ];
        for (change, rule) in refused {
            assert_eq!(with(change), Err(Rejection::invalid("password_policy", rule)));
        }
        let allowed: [Change; 4] = [
            |policy| policy.min_chars = 1,
            |policy| (policy.min_chars, policy.max_chars) = (64, 64),
            |policy| policy.history = 24,
            |policy| policy.max_age = Some(Lifetime(DAY)),
        ];
        for change in allowed {
            assert!(with(change).is_ok());
        }
    }

    #[test]
    fn a_password_expires_at_its_age_and_without_one_never() {
        let mut policy = PasswordPolicy { max_age: Some(Lifetime(90 * DAY)), ..PasswordPolicy::MODERN };
        let set_at = Timestamp(5);
        for (at, has_expired) in [(0, false), (5, false), (90 * DAY + 4, false), (90 * DAY + 5, true)] {
            assert_eq!(policy.has_expired(set_at, Timestamp(at)), has_expired, "{at}");
        }
        policy.max_age = None;
        assert!(!policy.has_expired(set_at, Timestamp(u64::MAX)));
    }

    #[test]
    fn a_password_that_grows_too_old_is_changed_for_another() {
        for (history, max_age, remembered) in
            [(0, None, 0), (5, None, 5), (0, Some(Lifetime(DAY)), 1), (5, Some(Lifetime(DAY)), 5)]
        {
            assert_eq!(
                PasswordPolicy { history, max_age, ..PasswordPolicy::ENGINE }.remembered(),
                remembered
            );
        }
    }

    #[test]
    fn the_lists_are_in_the_form_they_are_compared_in() {
        for text in FORBIDDEN_BEGINNINGS.iter().chain(&KEYBOARD_ROWS) {
            assert_eq!(*text, text.to_lowercase());
        }
    }
}

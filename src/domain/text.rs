//! Text that a caller chose, parsed once at the edge: a value of these types is always a valid one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Rejection;

/// Declares a parsed text with a private field.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text.
            ///
            /// # Errors
            #[doc = concat!("[`Rejection::Invalid`]: ", $rule, ".")]
            pub fn parse(text: &str) -> Result<Self, Rejection> {
                if $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Rejection::invalid($field, $rule))
                }
            }

            /// The text as the caller wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The form in which two spellings of one name are equal.
            #[must_use]
            pub fn folded(&self) -> String {
                self.0.to_lowercase()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Rejection;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}

text!(
    /// A user name or the name of a service account; one spelling per account, in any case.
    UserName, "name", is_user_name, "a name has 1 to 128 of: letters, digits, and _ - . @ + : |"
);
text!(
    /// An e-mail address, kept as written, compared without regard to case. Only its shape is checked:
    /// whether mail arrives is known when mail has arrived.
    Email, "email", is_email, "an e-mail address has the form name@host, at most 254 bytes"
);
text!(
    /// The name of a role; case counts (contract part 3).
    RoleName, "role", is_role_name, "a role name has 1 to 64 of: letters, digits, and _ - . :"
);
text!(
    /// A permission, also called a scope. A final `*` stands for every ending.
    Permission, "permission", is_permission,
    "a permission has 1 to 128 of: letters, digits, and _ - . : /, and may end in *"
);
text!(
    /// A first or last name, a description or a label: shown, never compared.
    Label, "text", is_label, "a text has at most 200 characters and no control characters"
);

impl Permission {
    /// Whether holding `self` is enough where `wanted` is asked.
    #[must_use]
    pub fn covers(&self, wanted: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(head) => wanted.starts_with(head),
            None => self.0 == wanted,
        }
    }

    /// Every permission that covers `wanted`, itself first: what an index must be asked for.
    pub fn covering(wanted: &str) -> impl Iterator<Item = String> + '_ {
        let ends = wanted.char_indices().filter(|(_, c)| matches!(c, ':' | '/' | '.')).map(|(at, _)| at + 1);
        let ends = std::iter::once(0).chain(ends).filter(|end| *end < LONGEST_PERMISSION);
        let heads = ends.filter_map(|end| wanted.get(..end));
        std::iter::once(wanted.to_owned()).chain(heads.map(|head| format!("{head}*")))
    }
}

fn all(text: &str, longest: usize, extra: &str) -> bool {
    (1..=longest).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

fn is_user_name(text: &str) -> bool {
    all(text, 128, "_-.@+:|")
}

fn is_role_name(text: &str) -> bool {
    all(text, 64, "_-.:")
}

/// Characters of a permission.
const LONGEST_PERMISSION: usize = 128;

/// A `*` only where [`Permission::covering`] looks for it: alone, or behind one of the separators.
fn is_permission(text: &str) -> bool {
    match text.strip_suffix('*') {
        None => all(text, LONGEST_PERMISSION, "_-.:/"),
        Some("") => true,
        Some(head) => head.ends_with([':', '/', '.']) && all(head, LONGEST_PERMISSION - 1, "_-.:/"),
    }
}

fn is_email(text: &str) -> bool {
    let plain =
        text.len() <= 254 && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '\u{7f}');
    plain
        && text.split_once('@').is_some_and(|(name, host)| {
            (1..=64).contains(&name.len()) && !host.is_empty() && !host.contains('@')
        })
}

fn is_label(text: &str) -> bool {
    text.chars().count() <= 200 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_folded() {
        assert!(UserName::parse("john.doe@example.com").is_ok());
        assert_eq!(UserName::parse("ALICE").unwrap().folded(), UserName::parse("alice").unwrap().folded());
        for bad in ["", "a b", "a\0", "a/b", "é", &"x".repeat(129)] {
            assert!(UserName::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "a", "a@", "@b", "a@b@c", "a b@c", "a@b\n", &format!("{}@x", "x".repeat(65))] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
        for bad in ["a*b", "**", "re*", "*a", ""] {
            assert!(Permission::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_star_covers_every_ending_and_nothing_else() {
        let held = Permission::parse("iam:users:*").unwrap();
        assert!(held.covers("iam:users:read") && held.covers("iam:users:"));
        assert!(!held.covers("iam:user") && !held.covers("iam:roles:read"));
        assert!(Permission::parse("*").unwrap().covers("x"));
        for wanted in ["iam:users:read", "read", "a/b.c", "x:"] {
            for covering in Permission::covering(wanted) {
                assert!(Permission::parse(&covering).unwrap().covers(wanted), "{covering} {wanted}");
            }
        }
        assert!(Permission::covering("a:b").any(|p| p == "*"));
    }
}

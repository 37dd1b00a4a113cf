//! Names of things that nobody chooses: minted before a command is proposed, never inside `apply`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Rejection;

/// Declares an id that is a UUID. No way leads from one kind of id to another.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes a UUID that was minted for this kind of thing.
            #[must_use]
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

id!(
    /// A person: the root of an account or one of its users.
    UserId
);
id!(
    /// A service account.
    ServiceId
);
id!(
    /// One API key of a service account.
    ApiKeyId
);
id!(
    /// A plain name that holds roles. It follows from the name, see [`super::subject::id_of`].
    SubjectId
);
id!(
    /// One sign-in, from its opening to its end. Also the `sid` of its access tokens.
    SessionId
);
id!(
    /// One try to put an account back to a backup.
    RestoreId
);

/// An account: twelve digits, the first not zero. Chosen at random, unique by `apply`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId([u8; AccountId::DIGITS]);

impl AccountId {
    /// How many digits an account id has.
    pub const DIGITS: usize = 12;

    /// Stands for the cluster itself: what belongs to no account. Never given to anybody.
    pub const CLUSTER: Self = Self(*b"000000000000");

    /// The account of clients that know of none (seeds 000, 002, 004). Drawn ids never begin with 0.
    pub const DEFAULT: Self = Self(*b"000000000001");

    /// Reads twelve digits, or `default` for [`AccountId::DEFAULT`]; a leading `acc-` is cut off, because clients of seed 001 send it
    /// (contract part 5).
    ///
    /// # Errors
    /// [`Rejection::Invalid`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        if text == "default" {
            return Ok(Self::DEFAULT);
        }
        let digits = text.strip_prefix("acc-").unwrap_or(text).as_bytes();
        match <[u8; Self::DIGITS]>::try_from(digits) {
            Ok(id) if id.iter().all(u8::is_ascii_digit) => Ok(Self(id)),
            _ => Err(Rejection::invalid("account", "an account id has 12 digits")),
        }
    }

    /// The digits as bytes: the head of each row key of the account.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({})", self.as_str())
    }
}

impl TryFrom<String> for AccountId {
    type Error = Rejection;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_is_twelve_digits() {
        assert_eq!(AccountId::parse("123456789012").unwrap().as_str(), "123456789012");
        assert_eq!(AccountId::parse("acc-123456789012").unwrap().as_str(), "123456789012");
        for bad in ["", "12345678901", "1234567890123", "12345678901x", "acc-", "acc-acc-123456789012"] {
            assert!(AccountId::parse(bad).is_err(), "{bad}");
        }
    }
}

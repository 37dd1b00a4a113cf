//! A password as a person sent it.

use crate::secret::Secret;

/// A password within the limits. It is wiped when dropped and never printed.
///
/// It is hashed and verified exactly as sent: not trimmed, not cut, not changed in case, and not Unicode
/// normalized. Two forms of a text that look alike (NFC and NFD) are two passwords; clients that want them
/// to be one normalize before they send.
///
/// The limits here protect the server. How long a password has to be to be a good one is a rule of the
/// account and looked at where a password is set, not where it is checked.
#[derive(Clone, Debug)]
pub struct Password(Secret<String>);

/// Why a text is no password. It does not quote the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Nothing was sent.
    #[error("the password is empty")]
    Empty,
    /// More than [`Password::MAX_BYTES`] bytes or [`Password::MAX_CHARS`] characters.
    #[error(
        "the password is longer than {} characters or {} bytes",
        Password::MAX_CHARS,
        Password::MAX_BYTES
    )]
    TooLong,
}

impl Password {
    /// The most bytes, in UTF-8.
    pub const MAX_BYTES: usize = 512;
    /// The most characters (Unicode code points).
    pub const MAX_CHARS: usize = 128;

    /// Takes a password that is within the limits. Costs nothing that grows with an over-long text.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn parse(text: impl Into<Secret<String>>) -> Result<Self, PasswordError> {
        let text = text.into();
        let bytes = text.expose().len();
        if bytes == 0 {
            return Err(PasswordError::Empty);
        }
        if bytes > Self::MAX_BYTES || text.expose().chars().count() > Self::MAX_CHARS {
            return Err(PasswordError::TooLong);
        }
        Ok(Self(text))
    }

    /// Its length in characters (Unicode code points), for rules about length.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.0.expose().chars().count()
    }

    /// The text, for hashing and for comparison with a list of common passwords.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Password, PasswordError> {
        Password::parse(text.to_owned())
    }

    #[test]
    fn limits_are_in_characters_and_in_bytes() {
        assert_eq!(parse("").err(), Some(PasswordError::Empty));
        assert!(parse("x").is_ok());
        assert!(parse(&"x".repeat(128)).is_ok());
        assert_eq!(parse(&"x".repeat(129)).err(), Some(PasswordError::TooLong));
        assert!(parse(&"é".repeat(128)).is_ok(), "256 bytes");
        assert!(parse(&"🔑".repeat(128)).is_ok(), "512 bytes");
        assert_eq!(parse(&"🔑".repeat(129)).err(), Some(PasswordError::TooLong));
        assert_eq!(parse(&"e\u{301}".repeat(65)).err(), Some(PasswordError::TooLong), "marks count too");
        assert_eq!(parse(&"x".repeat(1 << 20)).err(), Some(PasswordError::TooLong));
    }

    #[test]
    fn nothing_is_trimmed_changed_or_shown() {
        let password = parse(" Tr\u{0}im\tme \n").unwrap();
        assert_eq!(password.expose(), " Tr\u{0}im\tme \n");
        assert!(!format!("{password:?}").contains("im"));
        assert_ne!(parse("é").unwrap().expose(), parse("e\u{301}").unwrap().expose());
    }
}

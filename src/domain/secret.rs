//! What is stored in place of a secret: enough to recognise it, not enough to use it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password hash in PHC string form (Argon2id). Prints nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string made by the hasher.
    #[must_use]
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string, for the hasher only.
    #[must_use]
    pub fn phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// SHA-256 of a random secret of at least 122 bits (API key, refresh token). A fast hash is enough for
/// such secrets (ASVS 11.4), and looking one up by its hash compares nothing byte by byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Takes the SHA-256 of a secret.
    #[must_use]
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The hash, as an index key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// A secret encrypted under the cluster's data key; opened only by `auth`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes what the sealer made.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The encrypted bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_comes_back_and_is_not_printed() {
        let (password, hash, sealed) =
            (PasswordHash::new("$argon2id$".to_owned()), SecretHash::new([77; 32]), Sealed::new(vec![77; 9]));
        assert_eq!(
            (password.phc(), hash.as_bytes(), sealed.as_bytes()),
            ("$argon2id$", &[77; 32], &[77; 9][..])
        );
        assert_eq!(format!("{password:?} {hash:?} {sealed:?}"), "PasswordHash(..) SecretHash(..) Sealed(..)");
    }
}

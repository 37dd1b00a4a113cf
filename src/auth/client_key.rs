//! The secrets of accounts that are owned by a key (contract part 3): their forms.
//!
//! - The client key is a UUID of version 4 that the client drew itself, hyphenated, in any case of letters.
//! - The keys of its users begin with `rak_`, what replaces a lost client key with `rrk_`; 43 base62 characters
//!   follow, 256 bits. There is no checksum: clients compare these forms.

use std::fmt;

use uuid::{Uuid, Variant};
use zeroize::Zeroize;

use super::token::SecretHash;
use crate::secret::Secret;

/// How keys of users begin.
pub const SUBJECT_KEY_PREFIX: &str = "rak_";
/// How secrets that replace a lost client key begin.
pub const RECOVERY_PREFIX: &str = "rrk_";

/// Random characters behind either.
pub(super) const BODY_CHARS: usize = 43;

/// A client key. Prints nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientKey(Uuid);

impl ClientKey {
    /// Takes a key that was drawn for a client.
    pub(super) const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// Reads a key as clients send it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Of the spellings that the parser takes only the hyphenated one has this length.
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)?;
        (id.get_version_num() == 4 && id.get_variant() == Variant::RFC4122).then_some(Self(id))
    }

    /// The hash under which it is stored: that of the spelling in small letters, so that case does not count.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        let mut text = Uuid::encode_buffer();
        let hash = SecretHash::of(self.0.hyphenated().encode_lower(&mut text));
        text.zeroize();
        hash
    }

    /// The key itself, to be shown to whoever owns it.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        Secret::new(self.0.hyphenated().to_string())
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(..)")
    }
}

/// Whether a text may be the key of a user.
#[must_use]
pub fn is_subject_key(text: &str) -> bool {
    has_form(text, SUBJECT_KEY_PREFIX)
}

/// Whether a text may replace a lost client key.
#[must_use]
pub fn is_recovery(text: &str) -> bool {
    has_form(text, RECOVERY_PREFIX)
}

fn has_form(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|body| body.len() == BODY_CHARS && body.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::mint::Mint;

    const KEY: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    #[test]
    fn case_does_not_count_in_a_client_key() {
        let key = ClientKey::parse(KEY).unwrap();
        assert_eq!(ClientKey::parse(&KEY.to_uppercase()), Some(key));
        assert_eq!(key.text().expose(), KEY);
        assert!(key.hash().is(&SecretHash::of(KEY)));
        assert_eq!(format!("{key:?}"), "ClientKey(..)");
    }

    #[test]
    fn other_spellings_and_versions_are_no_client_key() {
        for text in [
            "",
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            "67e55044-10b1-126f-9247-bb680e5fe0c8", // version 1
            "67e55044-10b1-426f-c247-bb680e5fe0c8", // another variant
            "67e55044-10b1-426f-9247-bb680e5fe0c",
            "67e55044-10b1-426f-9247-bb680e5fe0c8 ",
            "67e55044-10b1-426f-9247-bb680e5fe0cg",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert_eq!(ClientKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_minted_has_its_form_and_no_other() {
        let mut mint = Mint::random();
        let (key, recovery) = (mint.subject_key().unwrap(), mint.recovery_secret().unwrap());
        assert!(is_subject_key(key.expose()) && !is_recovery(key.expose()));
        assert!(is_recovery(recovery.expose()) && !is_subject_key(recovery.expose()));
        assert_eq!(key.expose().len(), 47);
        for text in ["", "rak_", &key.expose()[..46], &format!("{}0", key.expose())] {
            assert!(!is_subject_key(text), "{text}");
        }
        assert!(!is_subject_key(&format!("rak_{}é", "0".repeat(41))), "no character is cut in two");
        assert!(!is_subject_key(&format!("rak_{}-", "0".repeat(42))));
        assert!(ClientKey::parse(mint.client_key().unwrap().text().expose()).is_some());
    }
}

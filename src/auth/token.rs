//! Opaque secrets that clients hold: their form, and the hash under which they are stored.
//!
//! # Why
//! They are random and long, so one SHA-256 is enough: there is nothing to guess. The prefix lets secret
//! scanners find a leaked one; the checksum tells a mistyped one without looking at a row.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::mint::ApiKeyForm;
pub use crate::domain::SecretHash;
use crate::secret::Secret;

/// How API keys of ours begin.
pub const API_KEY_PREFIX: &str = "cak_";
/// How refresh tokens of ours begin.
pub const REFRESH_TOKEN_PREFIX: &str = "crt_";

/// Random characters of a token: 32 of 62 kinds are 190 bits.
pub(super) const BODY_CHARS: usize = 32;
/// Characters of the checksum: 6 of 62 kinds hold 32 bits.
const CHECKSUM_CHARS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl SecretHash {
    /// Hashes a token as the client sent it. Not for passwords: those are guessable and need
    /// [`super::hasher`].
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self::new(sha256(token.as_bytes()))
    }

    /// Whether both are the hash of the same token, in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.as_bytes(), other.as_bytes()).is_ok()
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    // Both are 32 bytes.
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    hash
}

/// The form of a text that may be an API key: `None` when no key can look like this, so that there is no need
/// to look it up. UUIDs are taken as they were given out: hyphenated, lower case, version 4.
#[must_use]
pub fn parse_api_key(text: &str) -> Option<ApiKeyForm> {
    if has_form(text, API_KEY_PREFIX) {
        return Some(ApiKeyForm::Prefixed);
    }
    let id = uuid::Uuid::try_parse(text).ok()?;
    let is_ours = id.get_version_num() == 4
        && id.get_variant() == uuid::Variant::RFC4122
        && id.hyphenated().to_string() == text;
    is_ours.then_some(ApiKeyForm::Uuid4)
}

/// Whether a text may be a refresh token of ours.
#[must_use]
pub fn parse_refresh_token(text: &str) -> bool {
    has_form(text, REFRESH_TOKEN_PREFIX)
}

fn has_form(text: &str, prefix: &str) -> bool {
    let Some(rest) = text.strip_prefix(prefix) else { return false };
    if rest.len() != BODY_CHARS + CHECKSUM_CHARS || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, given) = rest.split_at(BODY_CHARS);
    given == checksum(prefix, body)
}

/// Appends base62 characters for random bytes, up to `length` in all. Bytes that would favour some characters
/// give none.
pub(super) fn extend_base62(body: &Secret<String>, length: usize, random: &[u8]) -> Secret<String> {
    const FAIR: u8 = 248; // four times 62
    let mut longer = String::with_capacity(length);
    longer.push_str(body.expose());
    let chars = random.iter().filter(|byte| **byte < FAIR).map(|byte| base62(u32::from(*byte)));
    longer.extend(chars.take(length.saturating_sub(body.expose().len())));
    Secret::new(longer)
}

pub(super) fn with_checksum(prefix: &str, body: &Secret<String>) -> Secret<String> {
    let mut text = String::with_capacity(prefix.len() + BODY_CHARS + CHECKSUM_CHARS);
    text.push_str(prefix);
    text.push_str(body.expose());
    text.push_str(&checksum(prefix, body.expose()));
    Secret::new(text)
}

/// The first 32 bits of SHA-256 over prefix and body, in base62.
fn checksum(prefix: &str, body: &str) -> String {
    let hash = sha256([prefix, body].concat().as_bytes());
    let mut rest = hash.iter().take(4).fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let mut chars = ['0'; CHECKSUM_CHARS];
    for char in chars.iter_mut().rev() {
        *char = base62(rest);
        rest /= 62;
    }
    chars.iter().collect()
}

fn base62(number: u32) -> char {
    ALPHABET.get((number % 62) as usize).map_or('0', |byte| char::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::mint::Mint;

    #[test]
    fn a_changed_character_is_seen() {
        let key = Mint::random().api_key(ApiKeyForm::Prefixed).unwrap();
        let key = key.expose();
        assert_eq!(key.len(), 42);
        for place in 0..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            assert_eq!(parse_api_key(&String::from_utf8(bytes).unwrap()), None, "{place}");
        }
    }

    #[test]
    fn foreign_forms_are_refused() {
        let refresh = Mint::random().refresh_token().unwrap();
        assert_eq!(parse_api_key(refresh.expose()), None, "kinds cannot be swapped");
        assert_eq!(parse_api_key(&refresh.expose().replace("crt_", "cak_")), None, "nor by the prefix");
        for text in [
            "",
            "cak_",
            "cak_000000000000000000000000000000000000000",
            "67e55044-10b1-126f-9247-bb680e5fe0c8", // version 1
            "67e55044-10b1-426f-c247-bb680e5fe0c8", // another variant
            "67E55044-10B1-426F-9247-BB680E5FE0C8",
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            " 67e55044-10b1-426f-9247-bb680e5fe0c8",
        ] {
            assert_eq!(parse_api_key(text), None, "{text}");
            assert!(!parse_refresh_token(text), "{text}");
        }
        assert_eq!(parse_api_key("67e55044-10b1-426f-9247-bb680e5fe0c8"), Some(ApiKeyForm::Uuid4));
        let wide = format!("cak_{}é", "0".repeat(36));
        assert_eq!(parse_api_key(&wide), None, "no character is cut in two");
    }

    #[test]
    fn a_hash_is_of_the_exact_text() {
        let hash = SecretHash::of("abc");
        assert_eq!(hash.as_bytes()[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert!(hash.is(&SecretHash::new(*hash.as_bytes())));
        assert!(!hash.is(&SecretHash::of("abC")));
        assert_eq!(format!("{hash:?}"), "SecretHash(..)");
    }
}

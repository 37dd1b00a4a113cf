//! A data key, and the messages sealed under it.
//!
//! ```text
//! salt 16, nonce 12, ciphertext, tag 16       both random; the salt gives the message its key
//! ```

use std::fmt;
use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::DataKeyBytes;

/// How much longer a sealed message is.
pub(crate) const MESSAGE_OVERHEAD: usize = SALT + NONCE_LEN + TAG;

const SALT: usize = 16;
pub(super) const TAG: usize = 16;

/// Does not open: altered, cut, or moved here from another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed was altered, or belongs elsewhere")]
pub(crate) struct NotOpened;

impl From<NotOpened> for io::Error {
    fn from(error: NotOpened) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A data key. Shows nothing of itself, and is wiped when dropped.
pub(crate) struct DataKey {
    root: Prk,
    names: hmac::Key,
}

impl DataKey {
    /// Takes 32 random bytes.
    pub(crate) fn new(bytes: &DataKeyBytes) -> io::Result<Self> {
        let root = Prk::new_less_safe(HKDF_SHA256, &bytes[..]);
        let mut name_key = Zeroizing::new([0; 32]);
        let derived = root.expand(&[NAMES], hmac::HMAC_SHA256).and_then(|okm| okm.fill(&mut name_key[..]));
        derived.map_err(|_| io::Error::other("a key cannot be derived"))?;
        Ok(Self { names: hmac::Key::new(hmac::HMAC_SHA256, &name_key[..]), root })
    }

    /// Seals a message for its place.
    pub(crate) fn seal(&self, place: &[u8], plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut head = [0; SALT + NONCE_LEN];
        rand::fill(&mut head).map_err(|_| io::Error::other("no randomness to seal with"))?;
        let (salt, nonce) = split(&head).ok_or(NotOpened)?;
        let mut sealed = Vec::with_capacity(plain.len() + MESSAGE_OVERHEAD);
        sealed.extend_from_slice(&head);
        sealed.extend_from_slice(plain);
        let body = sealed.get_mut(head.len()..).unwrap_or_default();
        let tag = self.message_key(salt)?.seal_in_place_separate_tag(nonce, Aad::from(place), body);
        sealed.extend_from_slice(tag.map_err(|_| io::Error::other("too long to be sealed"))?.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for that place.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (head, body) = sealed.split_at_checked(SALT + NONCE_LEN).ok_or(NotOpened)?;
        let (salt, nonce) = split(head).ok_or(NotOpened)?;
        let mut plain = body.to_vec();
        let opened = self.message_key(salt)?.open_in_place(nonce, Aad::from(place), &mut plain);
        let length = opened.map_err(|_| NotOpened)?.len();
        plain.truncate(length);
        Ok(plain)
    }

    /// What stands for a name where the name itself must not be read: the same for the same name.
    pub(crate) fn name(&self, name: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.names);
        for part in name {
            context.update(part);
        }
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        out
    }

    /// The key of a file that is written once.
    pub(super) fn file_key(&self, salt: &[u8]) -> Result<LessSafeKey, NotOpened> {
        self.derive(FILE, salt)
    }

    fn message_key(&self, salt: &[u8]) -> Result<LessSafeKey, NotOpened> {
        self.derive(MESSAGE, salt)
    }

    fn derive(&self, label: &[u8], salt: &[u8]) -> Result<LessSafeKey, NotOpened> {
        let info = [label, salt];
        let derived = self.root.expand(&info, &AES_256_GCM).map_err(|_| NotOpened)?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

fn split(head: &[u8]) -> Option<(&[u8], Nonce)> {
    let (salt, nonce) = head.split_at_checked(SALT)?;
    Some((salt, Nonce::try_assume_unique_for_key(nonce).ok()?))
}

// No label is the beginning of another: what follows them varies.
const MESSAGE: &[u8] = b"conclave message key 1";
const FILE: &[u8] = b"conclave file key 1";
const NAMES: &[u8] = b"conclave names key 1";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        DataKey::new(&Zeroizing::new([byte; 32])).unwrap()
    }

    #[test]
    fn opens_what_it_sealed_and_seals_anew_each_time() {
        for plain in [&b""[..], b"x", &[7; 5_000]] {
            let sealed = key(1).seal(b"here", plain).unwrap();
            assert_eq!(sealed.len(), plain.len() + MESSAGE_OVERHEAD);
            assert_eq!(key(1).open(b"here", &sealed).unwrap(), plain);
            assert_ne!(sealed, key(1).seal(b"here", plain).unwrap());
        }
    }

    #[test]
    fn a_changed_bit_another_place_or_key_does_not_open() {
        let sealed = key(1).seal(b"here", b"secret").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key(1).open(b"here", &bad), Err(NotOpened), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key(1).open(b"here", &sealed[..length]), Err(NotOpened), "{length} bytes");
        }
        assert_eq!(key(1).open(b"there", &sealed), Err(NotOpened));
        assert_eq!(key(2).open(b"here", &sealed), Err(NotOpened));
    }

    /// Sealed by the first release, and what it called a name: both are on disks.
    #[test]
    fn what_was_sealed_long_ago_opens() {
        let sealed = "ce69a2d2349f01959b01b5c3b2449cba1fff2e2ae7e65bc6164dafe8bed089a40e651b8fcf4c1723339527c6\
                      00cb8fb97b13";
        assert_eq!(key(1).open(b"here", &unhex(sealed)).unwrap(), b"secret");
        assert_eq!(
            hex(&key(1).name(&[b"a", b"bc"])),
            "e645dc07efa9ccfb3eecbdfe88788a071a5798f497e0841496d38b5f2f492169"
        );
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn names_depend_on_the_key_and_on_every_part() {
        let name = key(1).name(&[b"a", b"bc"]);
        assert_eq!(name, key(1).name(&[b"a", b"bc"]));
        assert_ne!(name, key(1).name(&[b"a", b"bd"]));
        assert_ne!(name, key(2).name(&[b"a", b"bc"]));
    }
}

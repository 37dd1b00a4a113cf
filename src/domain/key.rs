//! Signing keys of an account: one signs, the others still verify until the last token they signed ends.

use serde::{Deserialize, Serialize};

use super::rows::tables;
use super::{AccountId, Context, Lifetime, Noun, Read, Rejection, Reply, Sealed, Timestamp};

/// A key pair; the private half is sealed and only `auth` opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    pub id: String,
    pub algorithm: KeyAlgorithm,
    /// The public half as its algorithm writes it (Ed25519: 32 bytes, RFC 8032).
    pub public: Vec<u8>,
    /// The private half as PKCS #8, sealed.
    pub private: Sealed,
    pub created_at: Timestamp,
    pub state: KeyState,
}

/// What a key signs with. Grows at the end only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// Signs and verifies.
    Signing,
    /// Verifies until then.
    Retiring { until: Timestamp },
}

/// What a new key needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSigningKey {
    /// The `kid`, random: unique in its account.
    pub id: String,
    pub algorithm: KeyAlgorithm,
    pub public: Vec<u8>,
    pub private: Sealed,
}

impl SigningKey {
    /// Whether signatures of this key count at `now`.
    #[must_use]
    pub fn verifies(&self, now: Timestamp) -> bool {
        match self.state {
            KeyState::Signing => true,
            KeyState::Retiring { until } => now < until,
        }
    }
}

/// The key with that `kid`, whatever its state.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode; so for the others here.
pub fn find(rows: &dyn Read, account: AccountId, id: &str) -> Result<Option<SigningKey>, Rejection> {
    Ok(tables::SIGNING_KEY.get(rows, account, id.as_bytes())?.map(|row| row.value))
}

/// Every key of the account.
///
/// # Errors
/// As [`find`].
pub fn list(rows: &dyn Read, account: AccountId) -> Result<Vec<SigningKey>, Rejection> {
    let keys = tables::SIGNING_KEY.scan(rows, account, &[], None, usize::MAX)?;
    Ok(keys.into_iter().map(|(_, row)| row.value).collect())
}

/// The key that signs now.
///
/// # Errors
/// [`Rejection::NotFound`] if there is none, which no open account is without.
pub fn signing(rows: &dyn Read, account: AccountId) -> Result<SigningKey, Rejection> {
    let mut keys = list(rows, account)?.into_iter();
    keys.find(|key| key.state == KeyState::Signing).ok_or(Rejection::NotFound(Noun::SigningKey))
}

pub(super) fn add(context: &mut Context<'_>, new: &NewSigningKey) -> Result<(), Rejection> {
    if find(context.rows, context.account, &new.id)?.is_some() {
        return Err(Rejection::IdTaken);
    }
    let key = SigningKey {
        id: new.id.clone(),
        algorithm: new.algorithm,
        public: new.public.clone(),
        private: new.private.clone(),
        created_at: context.at,
        state: KeyState::Signing,
    };
    tables::SIGNING_KEY.put(context.rows, context.account, new.id.as_bytes(), &key)
}

/// Lets the new key sign. Keys whose time is over are forgotten, so a rotation never adds up.
pub(super) fn rotate(
    context: &mut Context<'_>,
    new: &NewSigningKey,
    retire_after: Lifetime,
) -> Result<Reply, Rejection> {
    for mut key in list(context.rows, context.account)? {
        if !key.verifies(context.at) {
            tables::SIGNING_KEY.delete(context.rows, context.account, key.id.as_bytes());
        } else if key.state == KeyState::Signing {
            key.state = KeyState::Retiring { until: context.at.plus(retire_after) };
            tables::SIGNING_KEY.put(context.rows, context.account, key.id.as_bytes(), &key)?;
        }
    }
    add(context, new)?;
    Ok(Reply::Done)
}

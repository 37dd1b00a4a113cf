//! The keys of accounts, decoded and opened once, remembered as long as the rows stay the same.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use conclave_cluster::state::View;

use super::{App, Failure};
use crate::auth::keys::{KeyAlgorithm, KeySet, VerifyingKey};
use crate::auth::seal::Place;
use crate::auth::signer::SigningKey;
use crate::domain::{AccountId, Noun, Rejection, Timestamp, key};

/// Key material by account. Bounded: a node that serves more accounts than that decodes again.
#[derive(Default)]
pub(super) struct KeyCache {
    accounts: RwLock<BTreeMap<AccountId, Arc<AccountKeys>>>,
}

/// The keys of one account, as the rows had them.
pub(super) struct AccountKeys {
    rows: Vec<key::SigningKey>,
    set: KeySet,
    signing: Option<SigningKey>,
}

const MAX_ACCOUNTS: usize = 10_000;

impl App {
    /// The keys that verify tokens of the account at `now`.
    pub(super) fn key_set(
        &self,
        view: &View,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Arc<AccountKeys>, Failure> {
        let mut rows = key::list(view, account)?;
        rows.retain(|key| key.verifies(now));
        if rows.is_empty() {
            return Err(Rejection::NotFound(Noun::Account).into());
        }
        let cached = {
            let accounts = self.keys.accounts.read().unwrap_or_else(PoisonError::into_inner);
            accounts.get(&account).filter(|keys| keys.rows == rows).cloned()
        };
        if let Some(keys) = cached {
            return Ok(keys);
        }
        let keys = Arc::new(self.open_keys(account, rows)?);
        let mut accounts = self.keys.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= MAX_ACCOUNTS {
            accounts.clear();
        }
        accounts.insert(account, Arc::clone(&keys));
        Ok(keys)
    }

    fn open_keys(&self, account: AccountId, rows: Vec<key::SigningKey>) -> Result<AccountKeys, Failure> {
        let mut verifying = Vec::with_capacity(rows.len() + 1);
        let mut signing = None;
        for row in &rows {
            let bad = |_| Failure::Internal("a stored signing key is malformed");
            verifying.push(VerifyingKey::ed25519(&row.id, &row.public).map_err(bad)?);
            if row.state == key::KeyState::Signing {
                let private =
                    self.keyring.sealer().open(&place(&account, &row.id), row.private.as_bytes()).map_err(
                        |_| Failure::Internal("a signing key does not open with this node's key file"),
                    )?;
                signing = Some(SigningKey::new(&row.id, KeyAlgorithm::EdDsa, private).map_err(bad)?);
            }
        }
        verifying.extend(self.shared_verifying_key().cloned());
        Ok(AccountKeys { rows, set: KeySet::new(account.as_str(), verifying), signing })
    }

    /// A new key pair for the account, sealed.
    pub(super) fn new_key(&self, account: AccountId, id: String) -> Result<key::NewSigningKey, Failure> {
        let private = SigningKey::generate_ed25519()?;
        let sealed = self
            .keyring
            .sealer()
            .seal(&place(&account, &id), private.expose())
            .map_err(|_| Failure::Internal("no randomness"))?;
        let pair = SigningKey::new(&id, KeyAlgorithm::EdDsa, private)
            .map_err(|_| Failure::Internal("a new signing key is malformed"))?;
        let public = pair.verifying().public().map(|bytes| bytes.to_vec()).unwrap_or_default();
        let private = crate::domain::Sealed::new(sealed);
        Ok(key::NewSigningKey { id, algorithm: key::KeyAlgorithm::EdDsa, public, private })
    }

    /// The key that signs for the account now.
    pub(super) fn signing_key<'k>(&'k self, keys: &'k AccountKeys) -> Result<&'k SigningKey, Failure> {
        let own = self.shared_key.as_ref().or(keys.signing.as_ref());
        own.ok_or(Failure::Internal("an account without a signing key"))
    }
}

impl AccountKeys {
    pub(super) fn set(&self) -> &KeySet {
        &self.set
    }
}

pub(super) fn place<'p>(account: &'p AccountId, key: &'p str) -> Place<'p> {
    Place { account: account.as_str(), record: key, purpose: "signing key" }
}

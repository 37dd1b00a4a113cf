//! Remembers tokens whose signature was good.
//!
//! # Why
//! A signature takes 40 µs to check and a client sends the same token for minutes. What is remembered is
//! only that these bytes were signed by that key and say these claims: both stay true. Time, key set,
//! account and session can change, and are looked at again on every hit.
//!
//! It is a table of small sets, one lock each, and a full set drops the entry that was put in first: no list
//! to keep in order, no lock that all requests share. A token's place follows from its SHA-256, and only
//! tokens with a good signature get in, so nobody can fill a set of their choosing.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::claims::Claims;
use super::keys::KeySet;

pub(super) type TokenHash = [u8; 32];

pub(super) struct TokenCache {
    sets: Vec<Mutex<VecDeque<Entry>>>,
}

struct Entry {
    token: TokenHash,
    kid: Arc<str>,
    key_identity: [u8; 32],
    claims: Arc<Claims>,
}

/// Entries in a set.
const WAYS: usize = 8;

impl TokenCache {
    /// Room for at least `capacity` tokens.
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self { sets: (0..capacity.get().div_ceil(WAYS)).map(|_| Mutex::default()).collect() }
    }

    /// The claims of a token that was signed by a key of this set. A token that is known, but whose key is not
    /// in the set any more or is another one by now, is forgotten.
    pub(super) fn get(&self, token: &TokenHash, keys: &KeySet) -> Option<Arc<Claims>> {
        let mut set = self.set(token)?;
        let index = set.iter().position(|entry| entry.token == *token)?;
        let entry = set.get(index)?;
        let is_live = keys.find(&entry.kid).is_some_and(|key| *key.identity() == entry.key_identity);
        if is_live {
            return Some(Arc::clone(&entry.claims));
        }
        set.remove(index);
        None
    }

    /// Remembers a token that was just checked with this key.
    pub(super) fn put(&self, token: TokenHash, kid: &str, key_identity: [u8; 32], claims: Arc<Claims>) {
        let Some(mut set) = self.set(&token) else { return };
        set.retain(|entry| entry.token != token);
        if set.len() >= WAYS {
            set.pop_front();
        }
        set.push_back(Entry { token, kid: kid.into(), key_identity, claims });
    }

    /// Forgets a token.
    pub(super) fn remove(&self, token: &TokenHash) {
        if let Some(mut set) = self.set(token) {
            set.retain(|entry| entry.token != *token);
        }
    }

    /// How many tokens are remembered.
    pub(super) fn len(&self) -> usize {
        self.sets.iter().map(|set| set.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn set(&self, token: &TokenHash) -> Option<MutexGuard<'_, VecDeque<Entry>>> {
        let (head, _) = token.split_first_chunk::<8>()?;
        let count = u64::try_from(self.sets.len()).ok()?;
        let index = usize::try_from(u64::from_be_bytes(*head).checked_rem(count)?).ok()?;
        Some(self.sets.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("sets", &self.sets.len()).finish_non_exhaustive()
    }
}

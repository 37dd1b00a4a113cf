//! Sealing again: a secret in a row is replaced by the same one under another key-encryption key.
//!
//! # Why through the log
//! Rows are equal on all nodes, and so are the sealed bytes in them. Whoever seals again has seen them at some
//! revision; a key that was rotated or forgotten since must not come back. So the command says what it has seen,
//! and does nothing where that is no longer so. That both are the same secret nobody can check here: only the
//! cluster itself may order this.

use serde::{Deserialize, Serialize};

use super::rows::tables;
use super::{AccountId, Context, Read, Rejection, Reply, Sealed, cluster, key, node};

/// Which secret of an account, or of the cluster. Grows at the end only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SealedSecret {
    /// What repeatable draws come from; the cluster's.
    MintKey,
    /// The private half of the signing key with this id.
    SigningKey(String),
    /// The private key of the nodes' authority; the cluster's.
    NodeAuthority,
}

/// A secret, as it was seen and as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    pub secret: SealedSecret,
    pub was: Sealed,
    pub now: Sealed,
}

/// Every sealed secret of the account, or of the cluster for [`AccountId::CLUSTER`].
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode.
pub fn list(rows: &dyn Read, account: AccountId) -> Result<Vec<(SealedSecret, Sealed)>, Rejection> {
    if account == AccountId::CLUSTER {
        let mint_key = cluster::secrets(rows)?.map(|row| (SealedSecret::MintKey, row.value.mint_key));
        let authority = node::authority(rows)?.map(|row| (SealedSecret::NodeAuthority, row.value.key));
        return Ok(mint_key.into_iter().chain(authority).collect());
    }
    let keys = key::list(rows, account)?;
    Ok(keys.into_iter().map(|key| (SealedSecret::SigningKey(key.id), key.private)).collect())
}

pub(super) fn reseal(context: &mut Context<'_>, new: &Resealed) -> Result<Reply, Rejection> {
    match &new.secret {
        SealedSecret::MintKey => {
            if context.account != AccountId::CLUSTER {
                return Err(Rejection::Misplaced("the mint key belongs to the cluster".to_owned()));
            }
            let Some(mut secrets) = cluster::secrets(context.rows)?.map(|row| row.value) else {
                return Ok(Reply::Changed(false));
            };
            if !replace(&mut secrets.mint_key, new) {
                return Ok(Reply::Changed(false));
            }
            tables::CLUSTER_SECRETS.put(context.rows, &[], &secrets)?;
        }
        SealedSecret::NodeAuthority => {
            if context.account != AccountId::CLUSTER {
                return Err(Rejection::Misplaced("the authority belongs to the cluster".to_owned()));
            }
            let Some(mut authority) = node::authority(context.rows)?.map(|row| row.value) else {
                return Ok(Reply::Changed(false));
            };
            if !replace(&mut authority.key, new) {
                return Ok(Reply::Changed(false));
            }
            tables::NODE_AUTHORITY.put(context.rows, &[], &authority)?;
        }
        SealedSecret::SigningKey(id) => {
            let Some(mut key) = key::find(context.rows, context.account, id)? else {
                return Ok(Reply::Changed(false));
            };
            if !replace(&mut key.private, new) {
                return Ok(Reply::Changed(false));
            }
            tables::SIGNING_KEY.put(context.rows, context.account, id.as_bytes(), &key)?;
        }
    }
    Ok(Reply::Changed(true))
}

/// Whether it was what had been seen, and is something else now.
fn replace(stored: &mut Sealed, new: &Resealed) -> bool {
    if *stored != new.was || new.was == new.now {
        return false;
    }
    stored.clone_from(&new.now);
    true
}

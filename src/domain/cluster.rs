//! What belongs to the cluster and to no account: its own sealed secrets.

use serde::{Deserialize, Serialize};

use super::rows::tables;
use super::{AccountId, Context, Read, Rejection, Reply, Sealed, Stored};

/// Secrets that every node must share. Installed by the first leader, and never changed: only sealed again, see
/// [`super::reseal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSecrets {
    /// Seeds what is minted for a request with an idempotency key, so that a retry on any node mints the
    /// same ids and secrets.
    pub mint_key: Sealed,
}

/// The cluster's secrets, once they are installed.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn secrets(rows: &dyn Read) -> Result<Option<Stored<ClusterSecrets>>, Rejection> {
    tables::CLUSTER_SECRETS.get(rows, &[])
}

pub(super) fn install(context: &mut Context<'_>, new: &ClusterSecrets) -> Result<Reply, Rejection> {
    if context.account != AccountId::CLUSTER {
        return Err(Rejection::Misplaced("secrets belong to the cluster".to_owned()));
    }
    if secrets(context.rows)?.is_some() {
        return Ok(Reply::Changed(false));
    }
    tables::CLUSTER_SECRETS.put(context.rows, &[], new)?;
    Ok(Reply::Changed(true))
}

//! What belongs to the cluster and to no account: its own sealed secrets.

use serde::{Deserialize, Serialize};

use super::rows::tables;
use super::{AccountId, Context, Lifetime, Read, Rejection, Reply, Sealed, SecretHash, Stored, Timestamp};

/// Secrets that every node must share. Installed by the first leader, and never changed: only sealed again, see
/// [`super::reseal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSecrets {
    /// Seeds what is minted for a request with an idempotency key, so that a retry on any node mints the
    /// same ids and secrets.
    pub mint_key: Sealed,
}

/// Lets whoever has the secret make the first administrator. That is made once, so it is used once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupOffer {
    pub secret: SecretHash,
    pub expires_at: Timestamp,
}

/// The offer that stands, if there is one; it may be over.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn setup_offer(rows: &dyn Read) -> Result<Option<Stored<SetupOffer>>, Rejection> {
    tables::SETUP_OFFER.get(rows, &[])
}

/// Offers it anew; an offer before this one is void.
pub(super) fn offer_setup(
    context: &mut Context<'_>,
    secret: SecretHash,
    good_for: Lifetime,
) -> Result<Reply, Rejection> {
    if context.account != AccountId::CLUSTER {
        return Err(Rejection::Misplaced("setting up belongs to the cluster".to_owned()));
    }
    let offer = SetupOffer { secret, expires_at: context.at.plus(good_for) };
    tables::SETUP_OFFER.put(context.rows, &[], &offer)?;
    Ok(Reply::Done)
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

//! Replacing the key-encryption key while the node serves: under which key everything is sealed, and sealing it
//! again under the first one.
//!
//! # Why it is safe to repeat, and to break off
//! A data key is wrapped again by replacing one small file as a whole; a secret in a row by a command that says
//! what it replaces. Whatever was not done is still sealed under a key at hand. A key that seals anything, on this
//! disk or in the rows, is not let go: keys that are read again are used only when they open all of it.

use std::collections::BTreeSet;

use conclave_cluster::seal::DataKeyStatus;
use conclave_cluster::state::View;
use futures_util::{StreamExt, stream};
use tokio::time::{Duration, Instant};

use super::{App, Failure, Request};
use crate::auth::kek::KeyId;
use crate::auth::key_file::KekError;
use crate::auth::seal::{Sealer, key_of};
use crate::domain::reseal::{self, Resealed, SealedSecret};
use crate::domain::{AccountId, Action, Actor, Command, Origin, Rejection, Reply, Sealed, account};
use crate::replica::Freshness;

/// What a node's keys seal.
#[derive(Clone, Debug)]
pub struct KeyReport {
    /// The revision at which the rows were looked at.
    pub revision: u64,
    /// The keys at hand, that which seals first.
    pub keys: Vec<KeyId>,
    /// The data keys on this node's disk, each with the name of its key as text.
    pub data_keys: Vec<DataKeyStatus>,
    /// The keys under which the secrets in the rows are sealed, one for each secret.
    pub secrets: Vec<KeyId>,
}

/// What was done about new keys.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// How many data keys on this disk were wrapped again.
    pub data_keys: usize,
    /// How many secrets in the rows were sealed again. When time was too short for all, ask once more.
    pub secrets: usize,
    /// How it stands now.
    pub report: KeyReport,
}

/// Why new keys are not used. Nothing has changed then, unless it is a [`Failure`].
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// They cannot be read.
    #[error(transparent)]
    Unreadable(#[from] KekError),
    /// They lack one that is needed.
    #[error("the new keys lack {id}, which still seals {what}")]
    StillNeeded {
        /// The key.
        id: String,
        /// Something that it seals.
        what: String,
    },
    /// The cluster or the disk was in the way. What was done before stays done.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A secret in a row.
struct InRow {
    account: AccountId,
    secret: SealedSecret,
    sealed: Sealed,
}

impl App {
    /// What this node's keys seal, as far as this node knows. Asks no other node.
    ///
    /// # Errors
    /// [`Failure::Internal`] for a disk or a row that cannot be read.
    pub async fn key_report(&self) -> Result<KeyReport, Failure> {
        let view = self.cluster.view();
        let revision = view.revision();
        let secrets = in_rows(view).await?.iter().filter_map(InRow::key).collect();
        Ok(KeyReport {
            revision,
            keys: self.keyring.sealer().key_ids().collect(),
            data_keys: self.data_keys().await?,
            secrets,
        })
    }

    /// Reads the key file again, wraps this node's data keys under its first key, and has the secrets in the rows
    /// sealed under it, as many as the deadline allows.
    ///
    /// # Errors
    /// See [`NotReloaded`].
    pub async fn reload_keys(&self, deadline: Instant) -> Result<Reloaded, NotReloaded> {
        let retry_after = Duration::from_secs(1);
        let _only_one = self.keyring.try_begin().ok_or(Failure::Busy { retry_after })?;
        let sealer = self.keyring.read_again()?;
        let view = self.view(Freshness::Linearizable, deadline).await?;
        let rows = in_rows(view).await?;
        check(&sealer, &rows, &self.data_keys().await?)?;
        self.keyring.replace(sealer);
        let data_keys = self.rewrap().await?;
        let secrets = self.reseal(rows, deadline).await?;
        Ok(Reloaded { data_keys, secrets, report: self.key_report().await? })
    }

    /// Whether the keys at hand open every secret in the rows; else one that they lack.
    pub(super) async fn missing_key(&self, view: View) -> Result<Option<KeyId>, Failure> {
        let at_hand: BTreeSet<KeyId> = self.keyring.sealer().key_ids().collect();
        Ok(in_rows(view).await?.iter().filter_map(InRow::key).find(|id| !at_hand.contains(id)))
    }

    async fn data_keys(&self) -> Result<Vec<DataKeyStatus>, Failure> {
        let cluster = self.cluster.clone();
        let read = tokio::task::spawn_blocking(move || cluster.data_keys()).await;
        of_disk(read.map_err(|error| error.to_string()).and_then(|read| read.map_err(|e| e.to_string())))
    }

    async fn rewrap(&self) -> Result<usize, Failure> {
        let cluster = self.cluster.clone();
        let done = tokio::task::spawn_blocking(move || cluster.rewrap_data_keys()).await;
        of_disk(done.map_err(|error| error.to_string()).and_then(|done| done.map_err(|e| e.to_string())))
    }

    async fn reseal(&self, rows: Vec<InRow>, deadline: Instant) -> Result<usize, Failure> {
        let sealer = self.keyring.sealer();
        let outdated = rows.into_iter().filter(|row| sealer.is_outdated(row.sealed.as_bytes()));
        // Several at once, because they share syncs; few, because they are in no hurry.
        let mut done = stream::iter(outdated)
            .take_while(|_| std::future::ready(Instant::now() + MARGIN < deadline))
            .map(|row| self.reseal_one(&sealer, row, deadline))
            .buffer_unordered(AT_ONCE);
        let mut count = 0;
        while let Some(is_changed) = done.next().await {
            count += usize::from(is_changed?);
        }
        Ok(count)
    }

    async fn reseal_one(&self, sealer: &Sealer, row: InRow, deadline: Instant) -> Result<bool, Failure> {
        let InRow { account, secret, sealed } = row;
        let place = match &secret {
            SealedSecret::MintKey => super::bootstrap::MINT_KEY,
            SealedSecret::SigningKey(id) => super::keys::place(&account, id),
            SealedSecret::NodeAuthority => super::nodes::AUTHORITY_KEY,
        };
        let Ok(opened) = sealer.open(&place, sealed.as_bytes()) else {
            tracing::error!(%account, ?secret, "a secret in a row is damaged");
            return Ok(false);
        };
        let now = sealer.seal(&place, opened.expose()).map_err(|_| Failure::Internal("no randomness"))?;
        let action = Action::Reseal(Resealed { secret, was: sealed, now: Sealed::new(now) });
        let origin = Origin::default();
        let command = Command { account, by: Actor::System, origin, expect: Vec::new(), action };
        let done = self.execute(&command, &Request::once(deadline, Origin::default())).await?;
        Ok(done.reply == Reply::Changed(true))
    }
}

impl InRow {
    fn key(&self) -> Option<KeyId> {
        key_of(self.sealed.as_bytes())
    }
}

/// Every sealed secret of the cluster and of all accounts. A walk over all accounts is no work for a runtime's
/// worker.
async fn in_rows(view: View) -> Result<Vec<InRow>, Failure> {
    let walk = move || -> Result<Vec<InRow>, Rejection> {
        let mut found = Vec::new();
        let (mut next, mut is_first) = (Some(AccountId::CLUSTER), true);
        while let Some(account) = next {
            // The cluster comes first, and may come again with its audit trail.
            if is_first || account != AccountId::CLUSTER {
                let secrets = reseal::list(&view, account)?;
                found.extend(secrets.into_iter().map(|(secret, sealed)| InRow { account, secret, sealed }));
            }
            next = account::next(&view, (!is_first).then_some(account));
            is_first = false;
        }
        Ok(found)
    };
    let found = tokio::task::spawn_blocking(walk).await;
    Ok(found.map_err(|_| Failure::Internal("a walk over the accounts panicked"))??)
}

/// Whether these keys open everything.
fn check(sealer: &Sealer, rows: &[InRow], data_keys: &[DataKeyStatus]) -> Result<(), NotReloaded> {
    let at_hand: BTreeSet<String> = sealer.key_ids().map(|id| id.to_string()).collect();
    let on_disk = data_keys.iter().filter_map(|it| Some((it.key.clone()?, it.file.display().to_string())));
    let in_rows = rows.iter().filter_map(|row| Some((row.key()?.to_string(), row.to_string())));
    match on_disk.chain(in_rows).find(|(id, _)| !at_hand.contains(id)) {
        Some((id, what)) => Err(NotReloaded::StillNeeded { id, what }),
        None => Ok(()),
    }
}

impl std::fmt::Display for InRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.secret {
            SealedSecret::MintKey => f.write_str("the cluster's mint key"),
            SealedSecret::NodeAuthority => f.write_str("the key of the nodes' authority"),
            SealedSecret::SigningKey(id) => write!(f, "signing key {id} of account {}", self.account),
        }
    }
}

fn of_disk<T>(done: Result<T, String>) -> Result<T, Failure> {
    done.map_err(|error| {
        tracing::error!(error, "the data keys");
        Failure::Internal("the data keys cannot be read or written")
    })
}

const AT_ONCE: usize = 16;
/// No command is begun that late.
const MARGIN: Duration = Duration::from_secs(1);

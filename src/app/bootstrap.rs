//! The cluster's own secrets: made once by whichever node asks first, opened by every node at its start.

use tokio::time::{Duration, Instant};

use super::{App, Failure, Request};
use crate::auth::mint::MintKey;
use crate::auth::seal::{Place, SealError};
use crate::domain::cluster::{self, ClusterSecrets};
use crate::domain::{AccountId, Action, Actor, Command, Origin, Sealed};
use crate::replica::Freshness;
use crate::secret::Secret;

/// Why this node may not serve.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The rows cannot be read yet: try again.
    #[error(transparent)]
    NotYet(Failure),
    /// The key file is not the cluster's, or the row is damaged.
    #[error("the cluster's secrets do not open with this node's key file: {0}")]
    WrongKey(SealError),
}

pub(super) const MINT_KEY: Place<'_> = Place { account: "", record: "cluster", purpose: "mint key" };

impl App {
    /// Opens the cluster's secrets and its default account, making them if nobody has. Until then nothing
    /// that needs them is served.
    ///
    /// # Errors
    /// [`NotOpened::NotYet`] while the cluster cannot be read or written; [`NotOpened::WrongKey`] for good.
    pub async fn open_secrets(&self, patience: Duration) -> Result<(), NotOpened> {
        if self.is_open() {
            return Ok(());
        }
        let request = Request::once(Instant::now() + patience, Origin::default());
        let sealed = self.stored_mint_key(&request).await.map_err(NotOpened::NotYet)?;
        let opened = self.keyring.sealer().open(&MINT_KEY, sealed.as_bytes()).map_err(NotOpened::WrongKey)?;
        let key: [u8; 32] =
            opened.expose().as_slice().try_into().map_err(|_| NotOpened::WrongKey(SealError::Damaged))?;
        // A node that lacks a key would fail one account and serve the others: better not to serve at all.
        let view = self.view(Freshness::Linearizable, request.deadline).await.map_err(NotOpened::NotYet)?;
        if let Some(id) = self.missing_key(view).await.map_err(NotOpened::NotYet)? {
            return Err(NotOpened::WrongKey(SealError::UnknownKey(id)));
        }
        // A second call has opened the same, here and below.
        let _ = self.mint_key.set(MintKey::new(Secret::new(key)));
        self.open_default_account(&request.step(1)).await.map_err(NotOpened::NotYet)?;
        let _ = self.opened.set(());
        Ok(())
    }

    async fn stored_mint_key(&self, request: &Request) -> Result<Sealed, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        if let Some(stored) = cluster::secrets(&view)? {
            return Ok(stored.value.mint_key);
        }
        // A new cluster has no older nodes to wait for, as a rule.
        if let Some(behind) = self.raise_level(request.deadline).await? {
            tracing::info!("the new cluster starts at an older level: {behind}");
        }
        let key = MintKey::random()?;
        let sealed = self.keyring.sealer().seal(&MINT_KEY, key.expose());
        let sealed = sealed.map_err(|_| Failure::Internal("no randomness"))?;
        let action = Action::InstallSecrets(ClusterSecrets { mint_key: Sealed::new(sealed) });
        let command = Command {
            account: AccountId::CLUSTER,
            by: Actor::System,
            origin: Origin::default(),
            expect: Vec::new(),
            action,
        };
        let done = self.execute(&command, request).await?;
        let stored = cluster::secrets(&done.view)?.ok_or(Failure::NotReady)?;
        Ok(stored.value.mint_key)
    }
}

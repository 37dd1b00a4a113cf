//! What the product does, told in steps: signing up and in, refreshing, checking a token, changing things.
//!
//! Every HTTP surface is a view of these. Here a password meets the hasher, a mint gives ids and secrets, a
//! command is proposed and a token signed. What must not be known here: HTTP, routes, the shape of errors.
//!
//! # Why this layer
//! Five families of clients ask for the same few things in different words. What they share is a story of
//! several steps (hash, propose, sign) that belongs to none of them, and is no rule either: rules are pure.

pub mod accounts;
pub mod admit;
pub mod backups;
pub mod bootstrap;
pub mod caller;
pub mod clients;
pub mod counts;
pub mod failure;
pub mod first;
pub mod holders;
pub mod idempotency;
pub mod keyring;
mod keys;
pub mod nodes;
pub mod observer;
pub mod passwords;
pub mod permit;
pub mod refresh;
pub mod registration;
pub mod rotation;
pub mod setup;
pub mod sign_in;
pub mod terms;
pub mod tokens;
pub mod upgrade;
pub mod users;

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use conclave_cluster::state::View;
use conclave_cluster::{Clock, Cluster, LogTime};
use tokio::time::Instant;
use tracing::Instrument;

use crate::auth::hasher::Hasher;
use crate::auth::keys::{KeyAlgorithm, VerifyingKey};
use crate::auth::mint::{Mint, MintKey};
use crate::auth::signer::SigningKey;
use crate::auth::verifier::Verifier;
use crate::config::{Doors, Keystone, Nodes, RateLimits};
use crate::domain::{Actor, Command, Lifetime, Rejection, Reply, Timestamp, authority};
use crate::replica::{self, Freshness};
use crate::secret::Secret;
use crate::tenants::Orders;
use crate::tenants::orders::Decided;

pub use caller::Caller;
pub use failure::Failure;
pub use idempotency::Request;
pub use keyring::KeyRing;
pub use permit::Permit;

/// The settings that the steps below need.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of the issuers of tokens, the same on all nodes; an account's issuer is below it.
    pub issuer: String,
    pub access_token: Lifetime,
    pub refresh_token: Lifetime,
    pub api_key: Lifetime,
    /// When set, tokens are signed with HS256 under this secret (at least 32 bytes) instead of the
    /// account's own key.
    pub jwt_secret: Option<Secret<String>>,
    /// What is special to the clients of `/api/v1`.
    pub keystone: Keystone,
    /// What strangers may do.
    pub doors: Doors,
    /// How often something may be done.
    pub limits: RateLimits,
    /// What happens to members by itself.
    pub nodes: Nodes,
}

/// Everything a step needs. Built once by the node, shared by all requests.
pub struct App {
    pub cluster: Cluster,
    pub hasher: Hasher,
    orders: Orders,
    verifier: Verifier,
    keyring: Arc<KeyRing>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    keys: keys::KeyCache,
    shared_key: Option<SigningKey>,
    mint_key: OnceLock<MintKey>,
    opened: OnceLock<()>,
    counts: counts::Counts,
    observer: observer::Observer,
    /// Whether it is to stop: then it is ready no more, and answers what comes all the same.
    pub is_stopping: AtomicBool,
    /// Held while the membership is changed, on the leader.
    changing: tokio::sync::Mutex<()>,
    started: Instant,
    backups: backups::Backups,
    programs: upgrade::Programs,
}

/// A command that was carried out.
#[derive(Debug)]
pub struct Done {
    /// The revision that it has made, or had made when it was first sent.
    pub revision: u64,
    pub at: Timestamp,
    pub reply: Reply,
    /// The rows right after it, as far back as they are kept, else as they are now.
    pub view: View,
}

/// The `kid` of the shared HS256 secret.
const SHARED_KEY: &str = "hs256";
/// The audience of access tokens.
pub const AUDIENCE: &str = "conclave";
const REMEMBERED_TOKENS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

impl App {
    /// Puts the parts together.
    ///
    /// # Errors
    /// When the shared secret is too short for HS256.
    pub fn new(
        cluster: Cluster,
        orders: Orders,
        hasher: Hasher,
        keyring: Arc<KeyRing>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, crate::auth::keys::KeyError> {
        let shared = settings.jwt_secret.as_ref().map(|secret| {
            let secret = Secret::new(secret.expose().as_bytes().to_vec());
            SigningKey::new(SHARED_KEY, KeyAlgorithm::Hs256, secret)
        });
        Ok(Self {
            cluster,
            hasher,
            orders,
            verifier: Verifier::new(REMEMBERED_TOKENS),
            keyring,
            settings,
            clock,
            keys: keys::KeyCache::default(),
            shared_key: shared.transpose()?,
            mint_key: OnceLock::new(),
            opened: OnceLock::new(),
            counts: counts::Counts::new(),
            observer: observer::Observer::default(),
            is_stopping: AtomicBool::new(false),
            changing: tokio::sync::Mutex::default(),
            started: Instant::now(),
            backups: backups::Backups::default(),
            programs: upgrade::Programs::default(),
        })
    }

    /// The rows, as fresh as asked.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when they cannot be that fresh in time, [`Failure::Revision`] when the
    /// revision asked for is not kept.
    pub async fn view(&self, freshness: Freshness, deadline: Instant) -> Result<View, Failure> {
        Ok(replica::read(&self.cluster, freshness, deadline).await?)
    }

    /// Has a command carried out, and waits until this node shows it.
    ///
    /// # Errors
    /// The rule that refused it, or why it could not be decided in time.
    pub async fn execute(&self, command: &Command, request: &Request) -> Result<Done, Failure> {
        self.needs_level(command.level(), request.deadline).await?;
        let proposed = request.proposed();
        let decided =
            self.orders.execute(command, proposed.id, proposed.fingerprint, request.deadline).await?;
        if decided.replayed {
            self.must_still_be(command, &decided, request).await?;
        }
        let applying = self.cluster.wait_revision(decided.revision, request.deadline);
        let now = applying.instrument(tracing::debug_span!("apply")).await?;
        let view = now.as_of(decided.revision).unwrap_or(now);
        Ok(Done { revision: decided.revision, at: decided.at, reply: decided.reply, view })
    }

    /// A retry gets the first answer without being decided again, so the caller is looked at here: the answer may
    /// hold a secret, and its token may have been revoked or its key replaced since. Not if it was by this very
    /// command: a node that asks twice, because the leader changed, must hear that it is done.
    async fn must_still_be(
        &self,
        command: &Command,
        first: &Decided,
        request: &Request,
    ) -> Result<(), Failure> {
        match command.by {
            Actor::SignedIn { .. } | Actor::KeyHolder(_) => {}
            Actor::Anonymous | Actor::System => return Ok(()),
        }
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let Err(ended) = authority::caller(&view, command.account, &command.by, self.now(&view)) else {
            return Ok(());
        };
        let then = view.as_of(first.revision)?;
        match authority::caller(&then, command.account, &command.by, first.at) {
            Err(Rejection::Unauthenticated) => Ok(()),
            Ok(_) | Err(_) => Err(ended.into()),
        }
    }

    /// The rows that a request found when it came first, where this is a retry: what it names means what it
    /// meant then, also when it has since been renamed or deleted, by that very request perhaps.
    #[must_use]
    pub fn rows_found_first(&self, view: &View, request: &Request) -> Option<View> {
        let decided = view.decided_at(request.proposed().id)?;
        view.as_of(decided.checked_sub(1)?).ok()
    }

    /// Whether this node has opened the cluster's secrets, and there is a default account.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    /// Whether a token is that of an operator of this machine.
    #[must_use]
    pub fn is_operator(&self, token: &str) -> bool {
        self.keyring.sealer().is_operator(token)
    }

    /// Draws ids for the things that a request makes.
    ///
    /// # Errors
    /// [`Failure::NotReady`] while the cluster's secrets are not open.
    pub fn draw_ids(&self, request: &Request, count: usize) -> Result<Vec<uuid::Uuid>, Failure> {
        let mut mint = self.mint(request)?;
        (0..count).map(|_| Ok(mint.uuid()?)).collect()
    }

    /// The time now: this node's clock, but never behind the log.
    pub fn now(&self, view: &View) -> Timestamp {
        Timestamp(self.clock.now().0.max(view.at().0))
    }

    /// This node's clock.
    #[must_use]
    pub fn clock_now(&self) -> LogTime {
        self.clock.now()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often credentials were tried and tokens given.
    #[must_use]
    pub fn counts(&self) -> &counts::Counts {
        &self.counts
    }

    /// How many access tokens need no signature checked again.
    #[must_use]
    pub fn remembered_tokens(&self) -> usize {
        self.verifier.cached()
    }

    /// The source of ids and secrets for a request: repeatable if it has an idempotency key.
    pub(crate) fn mint(&self, request: &Request) -> Result<Mint, Failure> {
        match request.name() {
            None => Ok(Mint::random()),
            Some(name) => {
                let key = self.mint_key.get().ok_or(Failure::NotReady)?;
                Ok(Mint::repeatable(key, &name))
            }
        }
    }

    /// The shared HS256 key, for checking.
    pub(crate) fn shared_verifying_key(&self) -> Option<&VerifyingKey> {
        self.shared_key.as_ref().map(SigningKey::verifying)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}

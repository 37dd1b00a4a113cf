//! Starting a node on its data folder.
//!
//! # Why
//!
//! A folder that says it has been started and holds no log has lost its votes; one that holds state and no log
//! likewise. Such a node must not come back as if it were new ([`StartError::Lost`]), whatever an operator
//! hopes: it could help elect a leader that misses acknowledged entries.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::StartError;
use crate::fence::Fence;
use crate::folder::DataFolder;
use crate::handle::Cluster;
use crate::log::disk::DiskLog;
use crate::log::{LogDevice, LogState};
use crate::machine::{Machine, NewerLevel};
use crate::membership;
use crate::membership::join::{self, Coming};
use crate::network::server::TlsTransport;
use crate::network::tls::Tls;
use crate::node::{Node, NodeService, Parts};
use crate::pki::NodeCertificate;
use crate::raft::Member;
use crate::seal::Vault;
use crate::state::{Disk, Folder, LogPosition, Recovery, Store};

impl Cluster {
    /// Starts the node that `config.data` belongs to.
    ///
    /// The first start of an empty folder founds a one-node cluster, with its own certificate authority. With
    /// `config.join`, the folder must have been given a certificate of the cluster to join
    /// ([`DataFolder::adopt`], [`DataFolder::prepare`]); the call then returns once the node is a voter, or a
    /// learner without [`Config::promotes`]. Without, a folder that remembers peers asks those.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        config: Config,
        machine: Arc<dyn Machine>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let opened = {
            let (config, clock) = (config.clone(), Arc::clone(&clock));
            tokio::task::spawn_blocking(move || Opened::open(&config, machine, &*clock)).await
        };
        let Opened { folder, certificate, vault, log, store, recovery } =
            opened.map_err(|error| StartError::State(error.to_string()))??;
        let identity = folder.identity();
        let log: Arc<dyn LogDevice> = Arc::new(log);
        let held = log.state().await.map_err(|error| StartError::Raft(error.to_string()))?;
        let applied = store.view().applied();
        let is_new = is_new(&folder, &held, &recovery, applied)?;

        let join = if config.join.is_empty() && !folder.was_started() {
            folder.peers().to_vec()
        } else {
            config.join.clone()
        };

        let fence = Fence::new();
        let tls = Tls::new(identity, &certificate, fence.clone()).map_err(StartError::Tls)?;
        let listening = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
        let peer_address = listener.local_addr().map_err(listening)?;
        let member = Member {
            peer_addr: config.peer_addr.clone().unwrap_or_else(|| peer_address.to_string()),
            api_url: config.api_url.clone(),
        };
        let transport = Arc::new(TlsTransport::new(tls.clone()));
        let parts = Parts { transport: transport.clone(), log, store, clock, fence };
        let node = Node::start(identity, member, &config, parts).await?;
        let service = Arc::new(NodeService(Arc::downgrade(&node)));
        transport.listen(listener, tls.clone(), service, Arc::clone(&node.desk));
        node.keep(folder, vault, tls);
        let mut starting = Starting(Some(Self { node, peer_address }));
        if let Err(error) = starting.settle(join, is_new).await {
            if let Some(cluster) = starting.0.take() {
                cluster.shutdown().await;
            }
            return Err(error);
        }
        starting.done()
    }

    /// Sees to it that the node is a member, and that the others know its addresses.
    async fn settle(&self, join: Vec<String>, is_new: bool) -> Result<(), StartError> {
        if is_new && join.is_empty() {
            return membership::found(self.core()).await;
        }
        // Raft says what it has read only once it runs.
        let running = self.core().raft.with_raft_state(|_| ()).await;
        running.map_err(|error| StartError::Raft(error.to_string()))?;
        // A node that was a member is content with what the others made of it.
        let may_learn = !self.core().promotes || self.node.was_started();
        if join::is_settled(self.core(), may_learn) {
            return Ok(());
        }
        if !join.is_empty() && !self.core().knows_itself(may_learn) {
            let coming = Coming { is_new, may_learn };
            return tokio::select! {
                biased;
                reason = self.core().fence.until_told() => Err(StartError::Refused(reason)),
                joined = join::join(self.core(), &join, coming, Instant::now() + JOIN) => joined,
            };
        }
        // A member with new addresses: it can serve while the others get to know.
        let node = Arc::clone(&self.node);
        tokio::spawn(async move {
            let coming = Coming { is_new: false, may_learn };
            if let Err(error) = join::join(&node.core, &join, coming, Instant::now() + JOIN).await {
                tracing::warn!(%error, "the other members do not know this node's new addresses yet");
            }
        });
        Ok(())
    }
}

/// A node on its way to being a member. Dropped before it is one, because it failed or its caller gave up, it
/// stops: nothing is left running behind a start that did not succeed.
struct Starting(Option<Cluster>);

impl Starting {
    async fn settle(&self, join: Vec<String>, is_new: bool) -> Result<(), StartError> {
        match &self.0 {
            Some(cluster) => cluster.settle(join, is_new).await,
            None => Ok(()),
        }
    }

    fn done(mut self) -> Result<Cluster, StartError> {
        let cluster = self.0.take().ok_or_else(|| StartError::Raft("stopped".to_owned()))?;
        cluster.node.mark_started()?;
        Ok(cluster)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(cluster) = self.0.take() {
            tokio::spawn(async move { cluster.shutdown().await });
        }
    }
}

struct Opened {
    folder: DataFolder,
    certificate: NodeCertificate,
    vault: Arc<Vault>,
    log: DiskLog,
    store: Store,
    recovery: Recovery,
}

impl Opened {
    fn open(config: &Config, machine: Arc<dyn Machine>, clock: &dyn Clock) -> Result<Self, StartError> {
        if DataFolder::owner(&config.data)?.is_none() && config.join.is_empty() {
            DataFolder::found(&config.data, clock.now())?;
        }
        let mut folder = DataFolder::open(&config.data)?;
        // Before anything is read that may be in a newer format.
        let known = machine.known_level();
        NewerLevel::check(folder.level(), known)?;
        let vault = Arc::new(Vault::new(&config.data, folder.identity(), Arc::clone(&config.keys)));
        // Before anything is repaired, moved aside or tidied up: with the wrong key all of it looks damaged.
        vault.check()?;
        // Likewise under another node's name, which a rotten identity file may hold.
        folder.check_certificate(&vault)?;
        vault.rewrap()?;
        let disk = Disk::Folder(Folder::new(folder.state(), Arc::clone(&vault)));
        let (store, recovery) = Store::open(&disk, machine, config.limits)
            .map_err(|fault| StartError::State(fault.to_string()))?;
        let level = store.level();
        // Remembered where the next start finds it first.
        folder.require_level(level)?;
        NewerLevel::check(level, known)?;
        // A folder that never was a member's has nothing that an older program would want to come back to, and
        // may be sent rows of any level.
        if !folder.was_started() {
            folder.require_level(known)?;
        }
        let certificate = folder.certificate(&vault)?;
        let log = DiskLog::open(&folder.log(), &vault)?;
        Ok(Self { folder, certificate, vault, log, store, recovery })
    }
}

/// Whether the node has never been a member, or an error when it has and lost what it must not lose.
pub(crate) fn is_new(
    folder: &DataFolder,
    held: &LogState,
    recovery: &Recovery,
    applied: Option<LogPosition>,
) -> Result<bool, StartError> {
    tracing::info!(?recovery, ?held, "opened log and state");
    let has_log = held.vote.is_some() || held.last.is_some();
    let is_lost = match recovery {
        // All of the log is there: it makes the state again.
        Recovery::Lost { .. } => !has_log || held.purged.is_some(),
        // Rot can take the state back to before the log begins: entries in between are nowhere here.
        Recovery::Empty | Recovery::Clean | Recovery::RebuiltFromSnapshot { .. } if has_log => {
            held.purged.map(|purged| purged.index) > applied.map(|applied| applied.index)
        }
        // An earlier start may have ended before anything happened.
        Recovery::Empty | Recovery::Clean | Recovery::RebuiltFromSnapshot { .. } => {
            folder.was_started() || applied.is_some()
        }
    };
    if is_lost { Err(StartError::Lost { node: folder.identity().node }) } else { Ok(!has_log) }
}

/// A snapshot of any sensible size arrives in this time.
const JOIN: Duration = Duration::from_mins(10);

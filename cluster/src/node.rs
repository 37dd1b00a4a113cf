//! A running node, put together from its parts. The parts may be real or simulated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{self, BoxFuture};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use crate::barrier::Barrier;
use crate::call::{self, CallHandler};
use crate::clock::Clock;
use crate::config::Config;
use crate::core::Core;
use crate::enrol::Desk;
use crate::error::{Fatal, StartError, Unavailable};
use crate::fence::Fence;
use crate::folder::{DataFolder, FolderError};
use crate::identity::{Identity, NodeId};
use crate::log::LogDevice;
use crate::membership::{handover, join};
use crate::network::tls::Tls;
use crate::network::{Channel, Service, Transport};
use crate::raft::log_store::LogStore;
use crate::raft::machine_store::MachineStore;
use crate::raft::network::{AddressBook, Network};
use crate::raft::service::RaftService;
use crate::raft::{Member, Raft, convert, settings};
use crate::seal::Vault;
use crate::space::{self, Space};
use crate::state::{Durability, LogPosition, Store};
use crate::usage::{self, DiskUsage, LogSyncs};
use crate::wire::{JoinAnswer, Request, Response};

/// What a node stands on.
pub(crate) struct Parts {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) log: Arc<dyn LogDevice>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fence: Fence,
}

pub(crate) struct Node {
    pub(crate) core: Arc<Core>,
    /// Answers those that want to become nodes.
    pub(crate) desk: Arc<Desk>,
    pub(crate) barrier: Barrier,
    /// Taken away when the node stops: it holds the node, as a rule.
    handler: RwLock<Option<Arc<dyn CallHandler>>>,
    raft: Arc<RaftService>,
    log: Arc<dyn LogDevice>,
    is_recovered: Arc<AtomicBool>,
    /// A real node's data folder, locked.
    folder: Mutex<Option<DataFolder>>,
    /// The keys of what lies in it.
    vault: OnceLock<Arc<Vault>>,
    /// A real node's side of its connections.
    tls: OnceLock<Tls>,
}

impl Node {
    /// Starts Raft on the parts. Nothing comes in before the transport is given this node as its service.
    pub(crate) async fn start(
        identity: Identity,
        member: Member,
        config: &Config,
        parts: Parts,
    ) -> Result<Arc<Self>, StartError> {
        let settings = settings(config).map_err(StartError::Config)?;
        let Parts { transport, log, store, clock, fence } = parts;
        snapshot_for_gap(&*log, &store).await?;
        let durability = store.durability();
        let durable = Arc::new(move || durability.borrow().durable.map(|position| position.index));
        let append_ttl = Duration::from_millis(config.timing.election_max_ms);
        let addresses = AddressBook::default();
        let network = Network::new(identity.node, Arc::clone(&transport), addresses.clone(), append_ttl);
        let raft = Raft::new(
            identity.node.0,
            settings,
            network,
            LogStore::new(Arc::clone(&log), durable),
            MachineStore::new(store.clone()),
        );
        let raft = raft.await.map_err(|error| StartError::Raft(error.to_string()))?;
        let core = Arc::new(Core {
            identity,
            member,
            timing: config.timing,
            raft: raft.clone(),
            store: store.clone(),
            transport,
            clock,
            fence,
            fatal: watch::Sender::new(None),
            is_stopping: AtomicBool::new(false),
            promotes: config.promotes,
            changing: Arc::default(),
            space: Space::default(),
            gone: RwLock::default(),
        });
        let node = Arc::new(Self {
            barrier: Barrier::start(Arc::clone(&core)),
            raft: RaftService::new(raft, store),
            handler: RwLock::default(),
            log,
            is_recovered: Arc::default(),
            folder: Mutex::default(),
            vault: OnceLock::new(),
            tls: OnceLock::new(),
            desk: Arc::new(Desk::new()),
            core: Arc::clone(&core),
        });
        tokio::spawn(watch_raft(Arc::clone(&core), addresses));
        tokio::spawn(watch_disk(Arc::downgrade(&core), core.store.durability()));
        tokio::spawn(recover(core, Arc::clone(&node.is_recovered)));
        Ok(node)
    }

    pub(crate) fn handler(&self) -> Option<Arc<dyn CallHandler>> {
        self.handler.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_handler(&self, handler: Option<Arc<dyn CallHandler>>) {
        *self.handler.write().unwrap_or_else(PoisonError::into_inner) = handler;
    }

    /// Keeps the folder's lock until the node stops.
    pub(crate) fn keep(&self, folder: DataFolder, vault: Arc<Vault>, tls: Tls) {
        tokio::spawn(space::watch(Arc::downgrade(&self.core), folder.path().to_owned()));
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
        // A node is given its folder once.
        drop(self.vault.set(vault));
        drop(self.tls.set(tls));
    }

    /// A real node's side of its connections.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.get()
    }

    /// Does something in the data folder, one at a time; nothing when there is none, or the node has let go of it.
    pub(crate) fn with_folder<T>(&self, work: impl FnOnce(&DataFolder, &Vault) -> T) -> Option<T> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(folder.as_ref()?, self.vault.get()?))
    }

    /// The keys of a real node's data folder.
    pub(crate) fn vault(&self) -> Option<Arc<Vault>> {
        self.vault.get().cloned()
    }

    /// Remembers on the disk that the node has become a member.
    pub(crate) fn mark_started(&self) -> Result<(), StartError> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        folder.as_ref().map_or(Ok(()), |folder| Ok(folder.mark_started()?))
    }

    /// Whether the node has been a member before.
    pub(crate) fn was_started(&self) -> bool {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        folder.as_ref().is_some_and(DataFolder::was_started)
    }

    /// Keeps programs out of the data folder that do not know `level`. A simulated node has no folder.
    pub(crate) fn require_level(&self, level: u32) -> Result<(), FolderError> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        folder.as_mut().map_or(Ok(()), |folder| folder.require_level(level))
    }

    pub(crate) fn log_syncs(&self) -> LogSyncs {
        self.log.syncs()
    }

    /// What its data folder holds; nothing when it has none, or has let go of it.
    pub(crate) fn disk_usage(&self) -> Option<DiskUsage> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let (log, state) = folder.as_ref().map(|folder| (folder.log(), folder.state()))?;
        drop(folder);
        Some(usage::of(&log, &state))
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.is_recovered.load(Ordering::Acquire)
    }

    /// Hands over, stops, syncs and lets go of everything, within [`STOP`].
    pub(crate) async fn stop(&self) {
        let deadline = Instant::now() + STOP;
        if self.core.leads() && !self.core.is_stopping() {
            let until = Instant::now() + HAND_OVER;
            match time::timeout_at(until, handover::before_stop(&self.core, until)).await {
                Ok(Ok(leader)) => tracing::info!(%leader, "handed over"),
                Ok(Err(error)) => tracing::info!(%error, "stopping without a hand-over"),
                Err(_) => tracing::warn!("stopping without a hand-over: raft does not answer"),
            }
        }
        self.core.is_stopping.store(true, Ordering::Release);
        let stopping = async {
            if let Err(error) = self.core.raft.shutdown().await {
                tracing::warn!(%error, "raft did not stop cleanly");
            }
            if let Err(fault) = self.core.store.flush().await {
                tracing::warn!(%fault, "the state was not flushed; the log has it");
            }
            let store = self.core.store.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
                tracing::warn!(%error, "the state was not closed");
            }
            if let Err(error) = self.log.close().await {
                tracing::warn!(%error, "the log did not close cleanly");
            }
        };
        if time::timeout_at(deadline, stopping).await.is_err() {
            tracing::warn!("stopping took too long; the log has what was acknowledged");
        }
        self.core.transport.close();
        self.set_handler(None);
        self.desk.set_handler(None);
        // Handles may live on; another process may have the folder now.
        drop(self.folder.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    async fn respond(&self, from: NodeId, request: Request) -> Response {
        // A real one does not get this far: its connections are refused.
        if let Some(reason) = self.core.fence.reason(Some(from), None) {
            let is_joining = matches!(request, Request::Join { .. });
            return if is_joining {
                Response::Join(JoinAnswer::Refused(reason))
            } else {
                Response::Failed(reason)
            };
        }
        match request {
            Request::ReadIndex => Response::ReadIndex(self.read_index().await),
            Request::Call { to_leader, request } => {
                Response::Call(call::answer(&self.core, self.handler(), from, to_leader, request).await)
            }
            Request::Join { member, is_fresh } => {
                Response::Join(join::admit(&self.core, from, member, is_fresh).await)
            }
            Request::Ping => Response::Pong,
            raft @ (Request::Append { .. }
            | Request::Vote(_)
            | Request::PreVote(_)
            | Request::Transfer { .. }
            | Request::SnapshotPart { .. }
            | Request::SnapshotEnd { .. }) => {
                self.raft.answer(from, raft).await.unwrap_or_else(Response::Failed)
            }
        }
    }

    /// For a follower. Goes through the leader's own barrier, so that the questions of all nodes share rounds.
    async fn read_index(&self) -> Result<LogPosition, Unavailable> {
        if !self.core.leads() {
            return Err(self.core.not_leader());
        }
        let patience = Duration::from_millis(self.core.timing.election_max_ms.saturating_mul(2));
        let view = self.barrier.pass(Instant::now() + patience).await?;
        view.applied().ok_or(Unavailable::NoLeader)
    }
}

/// Makes a snapshot where openraft will need one and not make it.
///
/// Entries may be applied, and the state with them be on the disk, before this node's own log has synced them:
/// a majority of others had. After a power cut the state is then ahead of the log. openraft begins the log anew
/// behind the state, and from then on takes for granted that a snapshot reaches as far as the log was purged.
/// Without one it could neither serve a follower that is behind nor start again. Found by the simulation.
async fn snapshot_for_gap(log: &dyn LogDevice, store: &Store) -> Result<(), StartError> {
    let held = log.state().await.map_err(|error| StartError::Raft(error.to_string()))?;
    let index = |position: Option<LogPosition>| position.map(|position| position.index);
    let applied = store.view().applied();
    let purged = if index(applied) > index(held.last) { applied } else { held.purged };
    let snapshot = store.snapshot().and_then(|snapshot| snapshot.applied);
    if index(purged) > index(snapshot) && index(applied) >= index(purged) {
        store.build_snapshot().await.map_err(|fault| StartError::State(fault.to_string()))?;
    }
    Ok(())
}

/// What the transport holds. It does not keep the node alive.
pub(crate) struct NodeService(pub(crate) Weak<Node>);

impl Service for NodeService {
    fn answer(&self, from: NodeId, _channel: Channel, request: Bytes) -> BoxFuture<'static, Bytes> {
        let node = self.0.upgrade();
        Box::pin(async move {
            let response = match (node, convert::decode::<Request>(&request)) {
                (Some(node), Ok(request)) => node.respond(from, request).await,
                (None, _) => Response::Failed("this node is stopping".to_owned()),
                (_, Err(error)) => {
                    tracing::warn!(%from, %error, "a request that cannot be read");
                    Response::Failed(error.to_string())
                }
            };
            // An answer that cannot be encoded is one that is not understood either.
            convert::encode(&response).unwrap_or_default()
        })
    }
}

/// Raft stops by itself only when its storage failed or it has a bug.
async fn watch_raft(core: Arc<Core>, addresses: AddressBook) {
    let mut metrics = core.raft.metrics();
    loop {
        let (running, membership) = {
            let now = metrics.borrow_watched();
            (now.running_state.clone(), Arc::clone(&now.membership_config))
        };
        addresses.learn(membership.nodes());
        if let Err(error) = running {
            return fail(&core, format!("raft has stopped: {error}"));
        }
        if metrics.changed().await.is_err() {
            return fail(&core, "raft has stopped".to_owned());
        }
    }
}

async fn watch_disk(core: Weak<Core>, mut durability: watch::Receiver<Durability>) {
    let fault = match durability.wait_for(|now| now.fault.is_some()).await {
        Ok(now) => now.fault.clone(),
        Err(_) => None,
    };
    if let (Some(fault), Some(core)) = (fault, core.upgrade()) {
        fail(&core, fault.to_string());
        // It must neither lead nor acknowledge any more.
        drop(core.raft.shutdown().await);
    }
}

fn fail(core: &Core, reason: String) {
    if core.is_stopping() {
        return;
    }
    tracing::error!(reason, "this node must stop");
    core.fatal.send_if_modified(|fatal| {
        let is_first = fatal.is_none();
        fatal.get_or_insert(Fatal { reason });
        is_first
    });
}

/// Until the cluster has confirmed what this node had before its start, its state may be older than what it
/// has served then.
async fn recover(core: Arc<Core>, is_recovered: Arc<AtomicBool>) {
    let recovering = core.raft.wait_for_recovery(None);
    let mut fatal = core.fatal.subscribe();
    let failing = fatal.wait_for(Option::is_some);
    if let future::Either::Left((Ok(_), _)) =
        future::select(std::pin::pin!(recovering), std::pin::pin!(failing)).await
    {
        is_recovered.store(true, Ordering::Release);
    }
}

/// All of a stop.
const STOP: Duration = Duration::from_secs(10);
/// Of that, for the hand-over.
const HAND_OVER: Duration = Duration::from_secs(4);

//! The nodes of a run, their disks and clocks, and what becomes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{self, Instant};

use super::bug::{Bug, FORGOTTEN};
use super::clock::SimClock;
use super::disk::{SimDisk, USUAL_SYNC_MS};
use super::layer::{Layer, Setup};
use super::network::SimNetwork;
use super::random::Random;
use super::watch::Watch;
use crate::config::Config;
use crate::error::StartError;
use crate::fence::Fence;
use crate::handle::Cluster;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::membership::join::{self, Coming};
use crate::node::{Node, NodeService, Parts};
use crate::raft::Member;
use crate::seal::{DataKeyBytes, KeyWrapper, WrapError};
use crate::state::{Disk, MemoryDisk, Recovery, Store};

/// All nodes of a run. Clones are the same world.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    network: SimNetwork,
    nodes: Vec<SimNode>,
    setup: Setup,
    layer: Arc<dyn Layer>,
    watch: Mutex<Watch>,
}

struct SimNode {
    id: NodeId,
    log: SimDisk,
    state: MemoryDisk,
    clock: Arc<SimClock>,
    /// Where it says it is.
    address: Mutex<String>,
    place: Mutex<Place>,
    /// Its state has rotted since it last ran.
    is_rotten: AtomicBool,
    running: Mutex<Option<Cluster>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It has never run.
    Spare,
    Enrolled,
    /// Its id is never used again.
    Retired,
}

impl World {
    /// A world whose founders have just founded a cluster.
    pub async fn found(random: &Random, setup: Setup, layer: Arc<dyn Layer>) -> Self {
        let founders = setup.founders;
        let nodes = (1..=founders + setup.spares).map(|id| SimNode {
            id: NodeId(id),
            log: SimDisk::new(random.fork(), setup.bug),
            state: MemoryDisk::new(),
            clock: Arc::new(SimClock::new()),
            address: Mutex::new(SimNetwork::address(NodeId(id))),
            place: Mutex::new(Place::Spare),
            is_rotten: AtomicBool::new(false),
            running: Mutex::new(None),
        });
        let world = Self(Arc::new(Inner {
            network: SimNetwork::new(random.fork()),
            nodes: nodes.collect(),
            setup,
            layer,
            watch: Mutex::default(),
        }));
        for node in &world.0.nodes {
            if world.0.setup.bug == Bug::AppliedOutsideBatch {
                node.state.run_ahead();
            }
            if world.0.setup.bug == Bug::SnapshotWithoutRows {
                let machine = world.0.layer.machine(node.id, node.clock.clone());
                node.state.forget_in_snapshots(FORGOTTEN, machine, world.0.setup.limits);
            }
            tokio::spawn(sync_states(node.state.clone(), random.fork()));
            if node.id.0 <= founders {
                world.start(node.id).await.unwrap();
            }
        }
        let members: BTreeMap<u64, Member> =
            (1..=founders).map(|id| (id, member(SimNetwork::address(NodeId(id))))).collect();
        world.node(NodeId(1)).unwrap().core().raft.initialize(members).await.unwrap();
        world
    }

    pub(crate) fn network(&self) -> &SimNetwork {
        &self.0.network
    }

    /// Cuts what `from` says to `to`; the other direction stays.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.0.network.cut(from, to);
    }

    /// Of 1,000 messages about `loss_per_mille` are lost from now on; the others take up to `longest_us`.
    pub fn worsen(&self, loss_per_mille: u64, longest_us: u64) {
        self.0.network.worsen(loss_per_mille, longest_us);
    }

    /// A sync of the node's log takes up to `most_ms` from now on.
    pub fn slow_down(&self, id: NodeId, most_ms: u64) {
        self.sim(id).log.slow_down(most_ms);
    }

    /// Flips a bit of what a node that does not run has: in its durable state, or in its newest snapshot. What starts
    /// from it must notice.
    pub(crate) fn rot(&self, id: NodeId, random: &Random) {
        let node = self.sim(id);
        let pick = usize::try_from(random.below(1 << 20)).unwrap();
        if random.per_mille(500) {
            // It is read when it is wanted, and then as a whole.
            let _ = node.state.rot_snapshot(pick);
        } else if node.state.rot(pick) {
            node.is_rotten.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a failed sync is taken for one that succeeded.
    pub(crate) fn forgives_syncs(&self) -> bool {
        self.0.setup.bug == Bug::IgnoredSyncError
    }

    /// Undoes everything that was done to network, disks and clocks. Who has crashed stays so.
    pub fn heal(&self) {
        self.0.network.heal();
        for node in &self.0.nodes {
            node.log.slow_down(USUAL_SYNC_MS);
            node.clock.skew(0);
        }
    }

    /// Nodes that have never run.
    pub fn spares(&self) -> Vec<NodeId> {
        self.placed(Place::Spare)
    }

    /// Nodes that have run and may run again.
    pub fn enrolled(&self) -> Vec<NodeId> {
        self.placed(Place::Enrolled)
    }

    fn placed(&self, place: Place) -> Vec<NodeId> {
        let nodes = self.0.nodes.iter().filter(|node| *node.place.lock().unwrap() == place);
        nodes.map(|node| node.id).collect()
    }

    /// All nodes, whether they run or not.
    pub fn ids(&self) -> Vec<NodeId> {
        self.0.nodes.iter().map(|node| node.id).collect()
    }

    /// The node, if it runs.
    pub fn node(&self, id: NodeId) -> Option<Cluster> {
        self.sim(id).running.lock().unwrap().clone()
    }

    /// Those that run, in the order of their ids.
    pub fn running(&self) -> Vec<Cluster> {
        self.ids().into_iter().filter_map(|id| self.node(id)).collect()
    }

    /// What a node will say of where it is.
    pub fn claim(&self, id: NodeId, address: &str) {
        address.clone_into(&mut self.sim(id).address.lock().unwrap());
    }

    /// Who takes itself for the leader.
    pub fn leader(&self) -> Option<Cluster> {
        self.running().into_iter().find(Cluster::is_leader)
    }

    /// Has a node that runs ask the others to be taken in, or for its new address to be noted.
    pub async fn join(&self, id: NodeId, within: Duration) -> Result<(), StartError> {
        let node = self.node(id).unwrap();
        // Raft says what it has read only once it runs.
        node.core().raft.with_raft_state(|_| ()).await.unwrap();
        let is_new = node.status().last_index.is_none();
        let coming = Coming { is_new, may_learn: !self.0.setup.promotes };
        let others = self.ids().into_iter().filter(|other| *other != id);
        let peers: Vec<String> = others.map(SimNetwork::address).collect();
        join::join(node.core(), &peers, coming, Instant::now() + within).await
    }

    /// Sets a node's clock wrong.
    pub fn skew(&self, id: NodeId, by_ms: i64) {
        self.sim(id).clock.skew(by_ms);
    }

    pub(crate) fn log(&self, id: NodeId) -> &SimDisk {
        &self.sim(id).log
    }

    /// As a power cut, after which it never starts again.
    pub fn retire(&self, id: NodeId) {
        *self.sim(id).place.lock().unwrap() = Place::Retired;
        self.crash(id);
    }

    /// As a power cut: what its disks had not synced is lost, and what it was doing reaches nobody.
    pub fn crash(&self, id: NodeId) {
        let node = self.sim(id);
        let Some(running) = node.running.lock().unwrap().take() else { return };
        self.0.network.detach(id);
        node.log.crash();
        node.state.crash();
        // One of them only: what a majority has lost is lost.
        if self.0.setup.bug == Bug::ReusedId && id == NodeId(1) {
            node.log.empty();
            node.state.empty();
        }
        self.0.watch.lock().unwrap().forget(id);
        self.0.layer.crashed(id);
        tokio::spawn(async move {
            running.core().is_stopping.store(true, Ordering::Release);
            let _ = running.core().raft.shutdown().await;
        });
    }

    /// Starts a node on what its disks have; nothing happens when it runs, or is retired.
    pub async fn start(&self, id: NodeId) -> Result<(), String> {
        let node = self.sim(id);
        {
            let mut place = node.place.lock().unwrap();
            if node.running.lock().unwrap().is_some() || *place == Place::Retired {
                return Ok(());
            }
            *place = Place::Enrolled;
        }
        let Setup { promotes, snapshot_every, log_kept, limits, .. } = self.0.setup;
        let machine = self.0.layer.machine(id, node.clock.clone());
        let (store, recovery) = Store::open(&Disk::Memory(node.state.clone()), machine, limits)
            .map_err(|fault| fault.to_string())?;
        if node.is_rotten.swap(false, Ordering::Relaxed) && recovery == Recovery::Clean {
            return Err(format!("node {id} does not see that its state has rotted"));
        }
        // As a real start: with entries missing between state and log, it must not go on.
        let purged = node.log.purged().map(|purged| purged.index);
        if purged > store.view().applied().map(|applied| applied.index) {
            return Err(format!("node {id} has lost what it acknowledged: {recovery:?}"));
        }
        let transport = self.0.network.attach(id);
        let parts = Parts {
            transport: Arc::new(transport.clone()),
            log: Arc::new(node.log.open()),
            store,
            clock: node.clock.clone(),
            fence: Fence::new(),
        };
        let identity = Identity { cluster: ClusterId::from_random([7; 16]), node: id };
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let config = Config {
            snapshot_every,
            log_kept,
            limits,
            promotes,
            ..Config::new("", nowhere, "", Arc::new(NoKeys))
        };
        let address = node.address.lock().unwrap().clone();
        let node_started = Node::start(identity, member(address), &config, parts).await;
        let started = node_started.map_err(|error| format!("node {id} does not start: {error}"))?;
        transport.serve(Arc::new(NodeService(Arc::downgrade(&started))));
        let cluster = Cluster { node: started, peer_address: config.listen };
        self.0.layer.started(&cluster, node.clock.clone());
        *node.running.lock().unwrap() = Some(cluster);
        Ok(())
    }

    /// Looks at what all nodes show, and compares it with what any has shown before: the head of `watch` says what
    /// is looked for. A node that must stop, and not because its disk failed, is an error too.
    pub fn compare(&self) -> Result<(), String> {
        let mut watch = self.0.watch.lock().unwrap();
        for node in &self.0.nodes {
            let Some(running) = node.running.lock().unwrap().clone() else { continue };
            watch.look(&running, &node.log)?;
            if let Some(fatal) = running.core().fatal.borrow().as_ref()
                && (!node.log.has_failed() || self.forgives_syncs())
            {
                return Err(format!("node {}: {fatal}", node.id));
            }
        }
        Ok(())
    }

    fn sim(&self, id: NodeId) -> &SimNode {
        self.0.nodes.iter().find(|node| node.id == id).unwrap()
    }
}

/// Nothing here reaches a real disk, so nothing is sealed.
#[derive(Debug)]
struct NoKeys;

impl KeyWrapper for NoKeys {
    fn wrap(&self, _: &str, _: &DataKeyBytes) -> Result<Vec<u8>, WrapError> {
        Err(WrapError::Damaged)
    }

    fn unwrap(&self, _: &str, _: &[u8]) -> Result<DataKeyBytes, WrapError> {
        Err(WrapError::Damaged)
    }

    fn key_of(&self, _: &[u8]) -> Option<String> {
        None
    }

    fn is_outdated(&self, _: &[u8]) -> bool {
        false
    }
}

fn member(peer_addr: String) -> Member {
    Member { peer_addr, api_url: String::new() }
}

/// The disk of a state gets round to syncing now and then.
async fn sync_states(disk: MemoryDisk, random: Random) {
    loop {
        time::sleep(random.millis(1, 40)).await;
        for _ in 0..random.below(8) {
            let _ = disk.sync_next();
        }
    }
}

//! The nodes of a run, their disks and clocks, and what becomes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{self, Instant};

use super::clock::SimClock;
use super::disk::SimDisk;
use super::layer::{Layer, Setup};
use super::network::SimNetwork;
use super::random::Random;
use crate::config::Config;
use crate::error::StartError;
use crate::fence::Fence;
use crate::handle::Cluster;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::membership::join::{self, Coming};
use crate::node::{Node, NodeService, Parts};
use crate::raft::Member;
use crate::seal::{DataKeyBytes, KeyWrapper, WrapError};
use crate::state::{Disk, MemoryDisk, Store};

/// All nodes of a run. Clones are the same world.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    network: SimNetwork,
    nodes: Vec<SimNode>,
    setup: Setup,
    layer: Arc<dyn Layer>,
    /// The digest at each revision that any node has shown.
    digests: Mutex<BTreeMap<u64, u128>>,
}

struct SimNode {
    id: NodeId,
    log: SimDisk,
    state: MemoryDisk,
    clock: Arc<SimClock>,
    /// Where it says it is.
    address: Mutex<String>,
    running: Mutex<Option<Cluster>>,
}

impl World {
    /// A world whose founders have just founded a cluster.
    pub async fn found(random: &Random, setup: Setup, layer: Arc<dyn Layer>) -> Self {
        let founders = setup.founders;
        let nodes = (1..=founders + setup.spares).map(|id| SimNode {
            id: NodeId(id),
            log: SimDisk::new(random.fork()),
            state: MemoryDisk::new(),
            clock: Arc::new(SimClock::new()),
            address: Mutex::new(SimNetwork::address(NodeId(id))),
            running: Mutex::new(None),
        });
        let world = Self(Arc::new(Inner {
            network: SimNetwork::new(random.fork()),
            nodes: nodes.collect(),
            setup,
            layer,
            digests: Mutex::default(),
        }));
        for node in &world.0.nodes {
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

    /// Undoes everything that was done to network, disks and clocks. Who has crashed stays so.
    pub fn heal(&self) {
        self.0.network.heal();
        for node in &self.0.nodes {
            node.log.slow_down(USUAL_SYNC_MS);
            node.clock.skew(0);
        }
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

    #[cfg(test)]
    pub(crate) fn log(&self, id: NodeId) -> &SimDisk {
        &self.sim(id).log
    }

    /// As a power cut: what its disks had not synced is lost, and what it was doing reaches nobody.
    pub fn crash(&self, id: NodeId) {
        let node = self.sim(id);
        let Some(running) = node.running.lock().unwrap().take() else { return };
        self.0.network.detach(id);
        node.log.crash();
        node.state.crash();
        self.0.layer.crashed(id);
        tokio::spawn(async move {
            running.core().is_stopping.store(true, Ordering::Release);
            let _ = running.core().raft.shutdown().await;
        });
    }

    /// Starts a node on what its disks have; nothing happens when it runs.
    pub async fn start(&self, id: NodeId) -> Result<(), String> {
        let node = self.sim(id);
        if node.running.lock().unwrap().is_some() {
            return Ok(());
        }
        let Setup { promotes, snapshot_every, log_kept, limits, .. } = self.0.setup;
        let machine = self.0.layer.machine(id, node.clock.clone());
        let (store, _) = Store::open(&Disk::Memory(node.state.clone()), machine, limits)
            .map_err(|fault| fault.to_string())?;
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

    /// Looks at what all nodes show, and compares it with what any has shown at the same revision.
    pub fn compare(&self) -> Result<(), String> {
        let mut digests = self.0.digests.lock().unwrap();
        for node in self.running() {
            let view = node.view();
            let known = *digests.entry(view.revision()).or_insert(view.digest());
            if known != view.digest() {
                return Err(format!("{:?} differs at revision {}", node.identity().node, view.revision()));
            }
            if let Some(fatal) = node.fatal().borrow().as_ref() {
                return Err(format!("{:?}: {fatal}", node.identity().node));
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

/// Longest sync of a log when nothing is wrong.
pub(crate) const USUAL_SYNC_MS: u64 = 3;

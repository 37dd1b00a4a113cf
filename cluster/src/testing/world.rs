//! The nodes of a run, their disks and clocks, and what becomes of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{self, Instant};

use super::clock::SimClock;
use super::disk::SimDisk;
use super::keys::TestKeys;
use super::machine::Names;
use super::network::SimNetwork;
use super::random::Random;
use crate::call::CallHandler;
use crate::config::Config;
use crate::error::{StartError, Unavailable};
use crate::fence::Fence;
use crate::handle::Cluster;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::machine::Proposal;
use crate::membership::join::{self, Coming};
use crate::node::{Node, NodeService, Parts};
use crate::raft::Member;
use crate::state::{Disk, Limits, MemoryDisk, Store};

/// All nodes of a run. Clones are the same world.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    network: SimNetwork,
    nodes: Vec<SimNode>,
    /// Whether a leader makes voters of those who join.
    promotes: bool,
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
    /// `count` nodes that have just founded a cluster.
    pub(crate) async fn found(random: &Random, count: u64) -> Self {
        Self::found_beside(random, count, 0, true).await
    }

    /// `count` nodes that have just founded a cluster, and `spare` ones that have never run.
    pub(crate) async fn found_beside(random: &Random, count: u64, spare: u64, promotes: bool) -> Self {
        let nodes = (1..=count + spare).map(|id| SimNode {
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
            promotes,
            digests: Mutex::default(),
        }));
        for node in &world.0.nodes {
            tokio::spawn(sync_states(node.state.clone(), random.fork()));
            if node.id.0 <= count {
                world.start(node.id).await.unwrap();
            }
        }
        let members: BTreeMap<u64, Member> =
            (1..=count).map(|id| (id, member(SimNetwork::address(NodeId(id))))).collect();
        world.node(NodeId(1)).unwrap().core().raft.initialize(members).await.unwrap();
        world
    }

    pub(crate) fn network(&self) -> &SimNetwork {
        &self.0.network
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.0.nodes.iter().map(|node| node.id).collect()
    }

    /// The node, if it runs.
    pub(crate) fn node(&self, id: NodeId) -> Option<Cluster> {
        self.sim(id).running.lock().unwrap().clone()
    }

    pub(crate) fn running(&self) -> Vec<Cluster> {
        self.ids().into_iter().filter_map(|id| self.node(id)).collect()
    }

    /// What a node will say of where it is.
    pub(crate) fn claim(&self, id: NodeId, address: &str) {
        address.clone_into(&mut self.sim(id).address.lock().unwrap());
    }

    pub(crate) fn leader(&self) -> Option<Cluster> {
        self.running().into_iter().find(Cluster::is_leader)
    }

    /// Has a node that runs ask the others to be taken in, or for its new address to be noted.
    pub(crate) async fn join(&self, id: NodeId, within: Duration) -> Result<(), StartError> {
        let node = self.node(id).unwrap();
        // Raft says what it has read only once it runs.
        node.core().raft.with_raft_state(|_| ()).await.unwrap();
        let is_new = node.status().last_index.is_none();
        let coming = Coming { is_new, may_learn: !self.0.promotes };
        let others = self.ids().into_iter().filter(|other| *other != id);
        let peers: Vec<String> = others.map(SimNetwork::address).collect();
        join::join(node.core(), &peers, coming, Instant::now() + within).await
    }

    pub(crate) fn skew(&self, id: NodeId, by_ms: i64) {
        self.sim(id).clock.skew(by_ms);
    }

    pub(crate) fn log(&self, id: NodeId) -> &SimDisk {
        &self.sim(id).log
    }

    /// As a power cut: what its disks had not synced is lost, and what it was doing reaches nobody.
    pub(crate) fn crash(&self, id: NodeId) {
        let node = self.sim(id);
        let Some(running) = node.running.lock().unwrap().take() else { return };
        self.0.network.detach(id);
        node.log.crash();
        node.state.crash();
        tokio::spawn(async move {
            running.core().is_stopping.store(true, Ordering::Release);
            let _ = running.core().raft.shutdown().await;
        });
    }

    /// Starts a node on what its disks have; nothing happens when it runs.
    pub(crate) async fn start(&self, id: NodeId) -> Result<(), String> {
        let node = self.sim(id);
        if node.running.lock().unwrap().is_some() {
            return Ok(());
        }
        let limits = Limits { history_ms: 5_000, requests_ms: 120_000, ..Limits::default() };
        let (store, _) = Store::open(&Disk::Memory(node.state.clone()), Arc::new(Names), limits)
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
        // Nothing here reaches a real disk, so nothing is sealed.
        let keys = Arc::new(TestKeys::new(&[1]));
        let mut config = Config::new("", SocketAddr::from(([0, 0, 0, 0], 0)), "", keys);
        config.snapshot_every = 60;
        config.log_kept = 20;
        config.promotes = self.0.promotes;
        let address = node.address.lock().unwrap().clone();
        let node_started = Node::start(identity, member(address), &config, parts).await;
        let started = node_started.map_err(|error| format!("node {id} does not start: {error}"))?;
        transport.serve(Arc::new(NodeService(Arc::downgrade(&started))));
        let cluster = Cluster { node: started, peer_address: config.listen };
        cluster.set_call_handler(Arc::new(Proposer(cluster.clone())));
        *node.running.lock().unwrap() = Some(cluster);
        Ok(())
    }

    /// Looks at what all nodes show, and compares it with what any has shown at the same revision.
    pub(crate) fn compare(&self) -> Result<(), String> {
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

/// Proposes what it is called with.
struct Proposer(Cluster);

impl CallHandler for Proposer {
    fn handle(&self, _: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, Unavailable>> {
        let cluster = self.0.clone();
        Box::pin(async move {
            let proposal: Proposal = postcard::from_bytes(&request).unwrap();
            let applied = cluster.propose(vec![proposal], Instant::now() + Duration::from_secs(2)).await?;
            Ok(postcard::to_stdvec(&applied[0]).unwrap().into())
        })
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

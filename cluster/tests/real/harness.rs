//! Starts and stops nodes, and waits for what is to come instead of sleeping.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::pki::Authority;
use conclave_cluster::{
    Applied, CallHandler, Clock, Cluster, Config, DataFolder, NodeId, Proposal, StartError, SystemClock,
    Unavailable,
};
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::time::{self, Instant};

use crate::keys::TestKeys;
use crate::machine::{Names, proposal};

pub(crate) struct Nodes {
    pub(crate) authority: Authority,
    pub(crate) root: TempDir,
    pub(crate) running: Vec<Option<Cluster>>,
    pub(crate) snapshot_every: u64,
    /// Whether those who join are made voters.
    pub(crate) promotes: bool,
    /// Where nodes listened before.
    pub(crate) addresses: BTreeMap<u64, SocketAddr>,
    /// Of all nodes.
    pub(crate) keys: TestKeys,
    ids: AtomicU64,
}

impl Nodes {
    /// Three voters that know a leader.
    pub(crate) async fn three() -> Self {
        Self::three_with(10_000).await
    }

    pub(crate) async fn three_with(snapshot_every: u64) -> Self {
        let mut nodes = Self::none(snapshot_every);
        for id in 1..=3 {
            nodes.prepare(id);
            nodes.start(id).await.unwrap();
        }
        nodes
    }

    pub(crate) fn none(snapshot_every: u64) -> Self {
        Self {
            authority: Authority::create(SystemClock.now()).unwrap(),
            root: TempDir::new().unwrap(),
            running: vec![None; 9],
            snapshot_every,
            promotes: true,
            addresses: BTreeMap::new(),
            keys: TestKeys::new(&[1]),
            ids: AtomicU64::new(1),
        }
    }

    pub(crate) fn folder(&self, id: u64) -> PathBuf {
        self.root.path().join(format!("node-{id}"))
    }

    pub(crate) fn prepare(&self, id: u64) {
        DataFolder::prepare(&self.folder(id), &self.authority, NodeId(id), SystemClock.now()).unwrap();
    }

    pub(crate) fn config(&self, id: u64) -> Config {
        let url = format!("http://node-{id}");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = self.addresses.get(&id).copied().unwrap_or(any);
        let mut config = Config::new(self.folder(id), address, url, Arc::new(self.keys.clone()));
        config.snapshot_every = self.snapshot_every;
        config.log_kept = self.snapshot_every / 10;
        config.promotes = self.promotes;
        // Tests share two cores with other tests.
        config.timing.heartbeat_ms = 100;
        config.timing.election_min_ms = 500;
        config.timing.election_max_ms = 1000;
        if id != 1 {
            config.join = self.all().iter().map(|node| node.peer_address().to_string()).collect();
        }
        config
    }

    pub(crate) async fn start(&mut self, id: u64) -> Result<Cluster, StartError> {
        self.start_knowing(id, 1).await
    }

    /// Starts a node whose program knows the levels up to `level`.
    pub(crate) async fn start_knowing(&mut self, id: u64, level: u32) -> Result<Cluster, StartError> {
        let node = start_knowing(self.config(id), level).await?;
        self.addresses.insert(id, node.peer_address());
        self.running[usize::try_from(id).unwrap()] = Some(node.clone());
        Ok(node)
    }

    pub(crate) async fn stop(&mut self, id: u64) {
        if let Some(node) = self.running[usize::try_from(id).unwrap()].take() {
            node.shutdown().await;
        }
    }

    pub(crate) fn node(&self, id: u64) -> &Cluster {
        self.running[usize::try_from(id).unwrap()].as_ref().unwrap()
    }

    pub(crate) fn all(&self) -> Vec<&Cluster> {
        self.running.iter().flatten().collect()
    }

    pub(crate) async fn leader(&self) -> &Cluster {
        eventually("a leader", || async { self.all().into_iter().find(|node| node.is_leader()) }).await
    }

    /// The id of a running node that does not lead.
    pub(crate) async fn follower(&self) -> u64 {
        let leader = self.leader().await.identity().node;
        let others = self.all().into_iter().map(|node| node.identity().node);
        others.into_iter().find(|node| *node != leader).unwrap().0
    }

    /// Proposes through node `id`, as the layers above do.
    pub(crate) async fn write(&self, id: u64, command: &str) -> Applied {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = postcard::to_stdvec(&proposal(number, command)).unwrap();
        let answer = self.node(id).call_leader(request.into(), soon()).await.unwrap();
        postcard::from_bytes(&answer).unwrap()
    }

    pub(crate) async fn assert_equal(&self) {
        eventually("equal digests", || async {
            let all: Vec<_> =
                self.all().iter().map(|node| (node.view().revision(), node.view().digest())).collect();
            all.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        })
        .await;
    }
}

pub(crate) async fn start(config: Config) -> Result<Cluster, StartError> {
    start_knowing(config, 1).await
}

/// Starts a node whose program knows the levels up to `level`.
pub(crate) async fn start_knowing(config: Config, level: u32) -> Result<Cluster, StartError> {
    let node = Cluster::start(config, Arc::new(Names(level)), Arc::new(SystemClock)).await?;
    node.set_call_handler(Arc::new(Proposer(node.clone())));
    Ok(node)
}

/// Proposes what it is called with.
struct Proposer(Cluster);

impl CallHandler for Proposer {
    fn handle(&self, _: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, Unavailable>> {
        let cluster = self.0.clone();
        Box::pin(async move {
            let Ok(proposal) = postcard::from_bytes::<Proposal>(&request) else {
                return Ok(request);
            };
            let applied = cluster.propose(vec![proposal], soon()).await?;
            Ok(postcard::to_stdvec(&applied[0]).unwrap().into())
        })
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// What `look` sees at last.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        let mut tick = time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    time::timeout(Duration::from_mins(1), waiting).await.unwrap_or_else(|_| panic!("never saw {what}"))
}

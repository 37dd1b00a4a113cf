//! An application on each simulated node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conclave::app::nodes::NodeErrands;
use conclave::app::{App, KeyRing, Settings};
use conclave::auth::hasher::{Hasher, HasherConfig};
use conclave::auth::key_file::KeySource;
use conclave::config::{Config, Flags};
use conclave::domain::Lifetime;
use conclave::replica::Rules;
use conclave::secret::Secret;
use conclave::tenants::{Limits, Orders, Tenants};
use conclave_cluster::state::Transaction;
use conclave_cluster::testing::Layer;
use conclave_cluster::{Clock, Cluster, LogTime, Machine, NodeId, Verdict, View};

/// What is wrong with the system, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// Whether something is still good is looked up without asking the others.
    NoBarrier,
    /// Each node decides by its own clock.
    OwnClock,
    /// A request that is sent again says nothing of having been sent before.
    RetriesAsNew,
    /// Whether a refresh token was spent is looked up where it is shown, and not decided in the log.
    SpentAtTheEdge,
}

/// The applications of all nodes that run. Clones are the same.
#[derive(Clone)]
pub(super) struct System(Arc<Inner>);

struct Inner {
    bug: Bug,
    keyring: Arc<KeyRing>,
    hasher: Hasher,
    settings: Settings,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// Starts and crashes so far, of all nodes.
    turns: u64,
    /// The turn in which a node was started that runs.
    started: BTreeMap<NodeId, u64>,
    apps: BTreeMap<NodeId, Arc<App>>,
}

impl System {
    pub(super) fn new(bug: Bug) -> Self {
        let config = Config::load(Flags::default(), None, Vec::new()).unwrap();
        // So that nothing expires when a clock jumps by an hour.
        let long = Lifetime::from_secs(30 * 86_400);
        let settings = Settings {
            issuer: "urn:conclave:simulated".to_owned(),
            access_token: long,
            refresh_token: long,
            api_key: long,
            jwt_secret: None,
            keystone: config.keystone.clone(),
            doors: config.doors,
            limits: config.limits,
            nodes: config.nodes,
        };
        let key = Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned());
        Self(Arc::new(Inner {
            bug,
            keyring: Arc::new(KeyRing::given(KeySource::Setting(key)).unwrap()),
            hasher: Hasher::start(HasherConfig::default()).unwrap(),
            settings,
            running: Mutex::default(),
        }))
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.0.bug == bug
    }

    pub(super) fn keyring(&self) -> &KeyRing {
        &self.0.keyring
    }

    /// Those that can be asked.
    pub(super) fn apps(&self) -> Vec<Arc<App>> {
        self.0.running.lock().unwrap().apps.values().cloned().collect()
    }

    async fn build(self, cluster: Cluster, clock: Arc<dyn Clock>, turn: u64) {
        let patience = Duration::from_secs(5);
        let tenants = Tenants::proposing_to(cluster.clone(), Limits::default(), patience).await.unwrap();
        let orders = Orders::new(cluster.clone(), tenants);
        let forwards = orders.clone();
        let Inner { hasher, keyring, settings, .. } = &*self.0;
        let (hasher, keyring) = (hasher.clone(), Arc::clone(keyring));
        let app = App::new(cluster.clone(), orders, hasher, keyring, settings.clone(), clock);
        let app = Arc::new(app.unwrap());
        forwards.serve(Arc::new(NodeErrands(Arc::downgrade(&app))));
        let node = cluster.identity().node;
        let app = {
            let mut running = self.0.running.lock().unwrap();
            // It may have crashed meanwhile, and run again.
            if running.started.get(&node) != Some(&turn) {
                return;
            }
            let weak = Arc::downgrade(&app);
            running.apps.insert(node, app);
            weak
        };
        // As a node does, until it is done or the node has crashed.
        while let Some(app) = app.upgrade() {
            if app.open_secrets(patience).await.is_ok() {
                break;
            }
            drop(app);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Layer for System {
    fn machine(&self, _: NodeId, clock: Arc<dyn Clock>) -> Arc<dyn Machine> {
        if self.has(Bug::OwnClock) { Arc::new(ByOwnClock(clock)) } else { Arc::new(Rules) }
    }

    fn started(&self, cluster: &Cluster, clock: Arc<dyn Clock>) {
        let mut running = self.0.running.lock().unwrap();
        running.turns += 1;
        let turn = running.turns;
        running.started.insert(cluster.identity().node, turn);
        tokio::spawn(self.clone().build(cluster.clone(), clock, turn));
    }

    fn crashed(&self, node: NodeId) {
        let mut running = self.0.running.lock().unwrap();
        running.started.remove(&node);
        running.apps.remove(&node);
    }
}

/// The rules by the clock of the node.
struct ByOwnClock(Arc<dyn Clock>);

impl Machine for ByOwnClock {
    fn apply(&self, _: LogTime, revision: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
        Rules.apply(self.0.now(), revision, rows, command)
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        Rules.group(key)
    }

    fn known_level(&self) -> u32 {
        Rules.known_level()
    }

    fn level(&self, rows: &View) -> u32 {
        Rules.level(rows)
    }
}

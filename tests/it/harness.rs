//! Clusters for stories. The first test that asks starts one of three real nodes (TLS between them, data on
//! the disk) that all tests of this binary share; each opens an account of its own, so none sees another.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use conclave::auth::kek::Kek;
use conclave::clock::{Clock, SystemClock};
use conclave::config::{Config, Flags};
use conclave::domain::AccountId;
use conclave::domain::audit::{self, Trail};
use conclave::node::Node;
use conclave::telemetry::Metrics;
use conclave_cluster::pki::Authority;
use conclave_cluster::state::View;
use conclave_cluster::{DataFolder, NodeId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{Ask, Client, Reply};

/// Every password here, unless the story is about passwords.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Another one that is good.
pub(crate) const NEW_PASSWORD: &str = "another horse, another battery";

/// Longer than anything takes that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    // Not as fast as can be: what is waited for needs the processor too.
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "still not: {what}");
    }
}

/// Settings without limits on requests: stories are quicker than people. Those about limits name the setting in
/// `more`, which then is not in here.
fn unlimited(more: &str) -> String {
    let names = ["login", "refresh", "service", "register", "native", "api", "default"];
    let lines = names.map(|name| format!("rate_limit_{name} = 'off'\n"));
    let is_named = |line: &String| line.split_once(" =").is_some_and(|(name, _)| more.contains(name));
    lines.into_iter().filter(|line| !is_named(line)).collect()
}

/// The settings files of a cluster that was not started yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) settings: Vec<PathBuf>,
    pub(crate) http: Vec<SocketAddr>,
}

impl Prepared {
    /// Gives each node its folder, certificate and settings, as an operator does who sets up all at once.
    /// `more` are further lines of settings, the same for all.
    pub(crate) fn new(folder: &Path, nodes: u16, more: &str) -> Self {
        let now = SystemClock.now();
        let authority = Authority::create(now).unwrap();
        let first = folder.join("node-1");
        fs::create_dir_all(&first).unwrap();
        authority.save(&first).unwrap();
        let key_file = folder.join("conclave.kek");
        drop(Kek::read_or_create_file(&key_file).unwrap());
        let peers: Vec<SocketAddr> = (0..nodes).map(|_| free_address()).collect();
        let http: Vec<SocketAddr> = (0..nodes).map(|_| free_address()).collect();
        let mut settings = Vec::new();
        for (index, node) in (1..=nodes).enumerate() {
            let data = folder.join(format!("node-{node}"));
            DataFolder::prepare(&data, &authority, NodeId(node.into()), now).unwrap();
            let others: Vec<String> =
                peers.iter().filter(|peer| **peer != peers[index]).map(ToString::to_string).collect();
            let join = if node == 1 { Vec::new() } else { others };
            let text = format!(
                "data = '{}'\nhttp_listen = '{}'\npeer_listen = '{}'\nkey_file = '{}'\n\
                 join = {join:?}\npromote_after = '0ms'\nargon2_memory_kib = 7168\nargon2_iterations = 1\n{}{more}",
                data.display(),
                http[index],
                peers[index],
                key_file.display(),
                unlimited(more),
            );
            let path = folder.join(format!("node-{node}.toml"));
            fs::write(&path, text).unwrap();
            settings.push(path);
        }
        Self { settings, http }
    }

    /// The settings of a node, from 0.
    pub(crate) fn config(&self, node: usize) -> Config {
        Config::load(Flags::default(), Some(&self.settings[node]), Vec::new()).unwrap()
    }
}

/// A port that nobody has, below those that the system gives to clients, so that none takes it meanwhile.
pub(crate) fn free_address() -> SocketAddr {
    const LOWEST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs at the same time begin far apart.
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).unwrap();
    loop {
        let offset = (u32::from(start) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        let port = LOWEST + u16::try_from(offset).unwrap();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// The cluster that all tests share, with a runtime of its own: those of the tests end with them.
struct Shared {
    nodes: Vec<Node>,
    key_file: PathBuf,
    // Held as long as the process lives.
    _runtime: Runtime,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    // On a thread of its own, because a test's thread is inside a runtime already.
    std::thread::spawn(Shared::start).join().expect("the shared cluster starts")
});

impl Shared {
    fn start() -> Self {
        let folder = remove_leftovers().join(format!("stories-{}", std::process::id()));
        // Patient, because the machine has other things to do while tests run.
        let prepared = Prepared::new(&folder, 3, &format!("{PATIENT}request_timeout = '20s'\n"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let nodes = runtime.block_on(start(&prepared));
        Self { nodes, key_file: prepared.config(0).key_file, _runtime: runtime }
    }
}

const PATIENT: &str = "heartbeat = '100ms'\nelection_min = '1s'\nelection_max = '2s'\n";

/// Starts all nodes, and waits until they serve and vote.
async fn start(prepared: &Prepared) -> Vec<Node> {
    let mut nodes = Vec::new();
    for node in 0..prepared.settings.len() {
        nodes.push(Node::start(&prepared.config(node), Arc::new(Metrics::new())).await.unwrap());
    }
    let all = nodes.len();
    eventually("voters that serve", async || nodes.iter().all(|node| is_complete(node, all)).then_some(()))
        .await;
    nodes
}

fn is_complete(node: &Node, voters: usize) -> bool {
    let status = node.cluster().status();
    status.is_ready
        && node.app().is_open()
        && status.members.iter().filter(|member| member.is_voter).count() == voters
}

/// A cluster with settings of its own, for one test.
pub(crate) struct Own {
    pub(crate) nodes: Vec<Node>,
    client: Client,
    _folder: TempDir,
}

impl Deref for Own {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Own {
    /// Starts so many nodes with these further lines of settings.
    pub(crate) async fn start(nodes: u16, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prepared = Prepared::new(folder.path(), nodes, &format!("{PATIENT}{more}"));
        let nodes = start(&prepared).await;
        Self { nodes, client: Client::new(prepared.http.clone()), _folder: folder }
    }

    /// The index of the node that leads.
    pub(crate) async fn leader(&self) -> usize {
        eventually("a leader", async || self.nodes.iter().position(|node| node.cluster().is_leader())).await
    }
}

/// Where the shared clusters lie, without those of runs that are over: nobody was there to remove them.
fn remove_leftovers() -> PathBuf {
    let parent = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(&parent).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("stories-");
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    parent
}

/// The shared cluster as one test sees it, with connections of its own.
#[derive(Debug)]
pub(crate) struct World {
    client: Client,
}

impl Deref for World {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Each call gives another number.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl World {
    pub(crate) fn new() -> Self {
        Self { client: Client::new(SHARED.nodes.iter().map(Node::http_address).collect()) }
    }

    /// A node itself, to look at what no client sees.
    pub(crate) fn node(node: usize) -> &'static Node {
        &SHARED.nodes[node]
    }

    /// The key file that the nodes share.
    pub(crate) fn key_file() -> &'static Path {
        &SHARED.key_file
    }

    /// The rows of a node that shows everything acknowledged.
    pub(crate) async fn view(node: usize) -> View {
        Self::node(node).cluster().read_barrier(Instant::now() + PATIENCE).await.unwrap()
    }

    /// A digest of all that an account is, and of all that was done in it. Not of its trails themselves, where
    /// it is written down a moment later that somebody asked something, or was denied.
    pub(crate) async fn digest(&self, account: &str) -> Vec<u8> {
        const TRAILS: [u8; 2] = [0x70, 0x71];
        let view = Self::view(1).await;
        let head = format!("a{account}").into_bytes();
        let mut digest = Sha256::new();
        for (key, row) in view.scan(&head, None).filter(|(key, _)| !TRAILS.contains(&key[head.len()])) {
            digest.update((key.len() as u64).to_be_bytes());
            digest.update(&key);
            digest.update(row.revision.to_be_bytes());
            digest.update(&row.value);
        }
        let id = AccountId::parse(account).unwrap();
        for record in audit::list(&view, id, Trail::Acts, 0, usize::MAX).unwrap() {
            if record.action != "denied" {
                digest.update(record.revision.to_be_bytes());
                digest.update(&record.action);
            }
        }
        digest.finalize().to_vec()
    }

    /// A new account, signed up on some node, with its root user signed in.
    pub(crate) async fn account(&self) -> Account {
        Account::open(&self.client).await
    }
}

/// An account and its root user.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) root: String,
    pub(crate) token: String,
}

impl Account {
    pub(crate) async fn open(client: &Client) -> Self {
        let number = unique();
        let node = usize::try_from(number).unwrap();
        let email = format!("root-{number}@stories.test");
        let body = json!({"email": email, "password": PASSWORD, "first_name": "Ada"});
        let made = client.post(node, "/v1/accounts").json(&body).await.is(201);
        let body = json!({"email": email, "password": PASSWORD});
        let signed = client.post(node + 1, "/v1/sign-in").json(&body).await.is(200);
        Self {
            id: made.json["account"]["id"].as_str().unwrap().to_owned(),
            root: made.json["root"]["id"].as_str().unwrap().to_owned(),
            token: signed.text("access_token"),
            email,
        }
    }

    /// A path below the account.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("/v1/accounts/{}{path}", self.id)
    }

    /// A request of the root user to a path below the account, without a body.
    pub(crate) fn ask(&self, client: &Client, node: usize, method: &str, path: &str) -> Ask {
        client.ask(node, method, self.at(path)).by(&self.token)
    }

    /// A request of the root user, with a body.
    pub(crate) async fn send(
        &self,
        client: &Client,
        node: usize,
        method: &str,
        path: &str,
        body: Value,
    ) -> Reply {
        self.ask(client, node, method, path).json(&body).await
    }

    /// A user with these roles, signed in.
    pub(crate) async fn user(&self, client: &Client, name: &str, roles: &[&str]) -> Member {
        let body = json!({"name": name, "password": PASSWORD, "roles": roles});
        self.send(client, 0, "POST", "/users", body).await.is(201);
        self.member(client, name).await
    }

    /// A user that exists, signed in.
    pub(crate) async fn member(&self, client: &Client, name: &str) -> Member {
        let signed = self.sign_in(client, 1, name, PASSWORD).await.is(200);
        let token = signed.text("access_token");
        let own = client.get(2, self.at("/users/me")).by(&token).await.is(200);
        Member::new(own.text("id"), name, &signed)
    }

    /// A service account with these roles, signed in with its API key.
    pub(crate) async fn service(&self, client: &Client, name: &str, roles: &[&str]) -> Member {
        let body = json!({"name": name, "roles": roles});
        let made = self.send(client, 0, "POST", "/service-accounts", body).await.is(201);
        let key = made.text("api_key");
        let body = json!({"name": name, "api_key": key});
        let signed = client.post(1, self.at("/service-accounts/sign-in")).json(&body).await.is(200);
        let mut member = Member::new(made.text("id"), name, &signed);
        member.key = Some((made.text("key_id"), key));
        member
    }

    /// A role with these permissions.
    pub(crate) async fn role(&self, client: &Client, name: &str, permissions: &[&str]) -> Reply {
        let body = json!({"name": name, "permissions": permissions});
        self.send(client, 0, "POST", "/roles", body).await.is(201)
    }

    /// A sign-in to the account.
    pub(crate) async fn sign_in(&self, client: &Client, node: usize, login: &str, password: &str) -> Reply {
        let body = json!({"login": login, "password": password});
        client.post(node, self.at("/sign-in")).json(&body).await
    }
}

/// A user or a service account, signed in.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) session: String,
    /// Empty for a service account.
    pub(crate) refresh: String,
    /// The id and text of the API key, for a service account.
    pub(crate) key: Option<(String, String)>,
}

impl Member {
    fn new(id: String, name: &str, signed: &Reply) -> Self {
        Self {
            id,
            name: name.to_owned(),
            token: signed.text("access_token"),
            session: signed.text("session"),
            refresh: signed.json["refresh_token"].as_str().unwrap_or_default().to_owned(),
            key: None,
        }
    }
}

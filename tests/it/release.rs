//! What the first release wrote, read by this one: every format that lies on a disk, as the bytes that it left.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conclave::app::KeyRing;
use conclave::auth::key_file::KeySource;
use conclave::clock::SystemClock;
use conclave::config::{Config, Flags};
use conclave::domain::level::{FIRST, LEVEL, RELEASE};
use conclave::node::Node;
use conclave::replica::Rules;
use conclave::telemetry::Metrics;
use conclave_cluster::Cluster;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::client::Client;
use crate::harness::{Own, eventually, free_address};

/// What `conclave members --json` printed last.
const REVISION: u64 = 107;
const DIGEST: &str = "6b7988f2ac7860828464b5491bf2c4ac";
const ACCOUNT: &str = "934789279674";
const API_KEY: &str = "cak_K3czUk71uNyymb81FJmBRPHrbxPo2Rpe2a00nv";

/// A copy, because a node writes where it reads.
struct Written {
    folder: TempDir,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/release-0.1");
        copy(&source, folder.path());
        Self { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("conclave.kek")
    }

    fn config(&self) -> Config {
        let text = format!(
            "data = '{}'\nkey_file = '{}'\nhttp_listen = '{}'\npeer_listen = '{}'\nargon2_memory_kib = 7168\n\
             argon2_iterations = 1\n",
            self.data().display(),
            self.keys().display(),
            free_address(),
            free_address()
        );
        let path = self.folder.path().join("node.toml");
        fs::write(&path, text).unwrap();
        Config::load(Flags::default(), Some(&path), Vec::new()).unwrap()
    }

    async fn start(&self) -> (Node, Client) {
        let node = Node::start(&self.config(), Arc::new(Metrics::new())).await.unwrap();
        let client = Client::new(vec![node.http_address()]);
        eventually("readiness", async || (client.get(0, "/ready").await.status == 200).then_some(())).await;
        (node, client)
    }
}

/// Git keeps no modes, and what is secret must be the owner's alone.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// From its durable copy, from its snapshot and the log behind it, and from the log alone: the same to the bit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_release_wrote_gives_the_same_digest() {
    for lost in [None, Some("state/copy-1"), Some("state")] {
        let written = Written::new();
        if let Some(lost) = lost {
            fs::remove_dir_all(written.data().join(lost)).unwrap();
        }
        let keys = KeyRing::given(KeySource::File(written.keys())).unwrap();
        let config = conclave_cluster::Config::new(
            written.data(),
            free_address(),
            "http://localhost".to_owned(),
            Arc::new(keys),
        );
        let cluster = Cluster::start(config, Arc::new(Rules), Arc::new(SystemClock)).await.unwrap();
        eventually("all of the log", async || (cluster.view().revision() == REVISION).then_some(())).await;
        assert_eq!(format!("{:032x}", cluster.view().digest()), DIGEST, "without {lost:?}");
        cluster.shutdown().await;
        // Nothing here keeps the first release from going on.
        let identity = fs::read_to_string(written.data().join("identity.toml")).unwrap();
        assert!(identity.starts_with("format = 1\n") && !identity.contains("level"), "{identity}");
        assert!(fs::read(written.data().join("node.key")).unwrap().starts_with(b"-----BEGIN"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_with_what_the_first_release_wrote() {
    let written = Written::new();
    let (node, client) = written.start().await;
    let roles = format!("/v1/accounts/{ACCOUNT}/roles");
    let sign_in = format!("/v1/accounts/{ACCOUNT}/sign-in");

    let root = json!({"email": "alice@example.com", "password": "SecurePass123"});
    let root = client.post(0, "/iam/v1/SignInAsRootUser").json(&root).await.is(200).text("access_token");
    assert_eq!(
        client.get(0, format!("{roles}/role-8")).by(&root).await.is(200).json["permissions"][0],
        "doc:read"
    );
    client.get(0, format!("{roles}/role-7")).by(&root).await.is(404);
    let bob = json!({"login": "bob", "password": "green Tractor 42"});
    client.post(0, &sign_in).json(&bob).await.is(200);
    let by_key = json!({"name": "deployer", "api_key": API_KEY});
    let programs = format!("/v1/accounts/{ACCOUNT}/service-accounts/sign-in");
    client.post(0, programs).json(&by_key).await.is(200);

    // It is the only member, so nobody needs the first release any more.
    eventually("the next level", async || (node.app().level().unwrap() == LEVEL).then_some(())).await;
    const { assert!(LEVEL > FIRST) };
    let identity = fs::read_to_string(written.data().join("identity.toml")).unwrap();
    assert!(
        identity.starts_with("format = 2\n") && identity.contains(&format!("level = {LEVEL}")),
        "{identity}"
    );
    node.stop().await;
    let (node, client) = written.start().await;
    assert!(!fs::read(written.data().join("node.key")).unwrap().starts_with(b"-----BEGIN"));
    client.post(0, &sign_in).json(&bob).await.is(200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_says_what_every_node_runs() {
    let own = Own::start(3, "").await;
    for node in &own.nodes {
        let programs = eventually("three answers", async || {
            let programs = node.app().descriptions(Instant::now() + Duration::from_secs(5)).await;
            (programs.len() == 3 && programs.iter().all(|program| program.level.is_some()))
                .then_some(programs)
        })
        .await;
        for program in programs {
            assert_eq!((program.release.as_deref(), program.level), (Some(RELEASE), Some(LEVEL)));
        }
        // A new cluster waits for nobody.
        assert_eq!(node.app().level().unwrap(), LEVEL);
    }
}

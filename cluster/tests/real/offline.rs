//! What is done to the folders of nodes that do not run: a cluster from a backup, and going on without a majority.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use conclave_cluster::archive::{self, Archive, ArchiveError, Origin};
use conclave_cluster::offline::{self, OfflineError, Recovered, Seed, Stopped, seed};
use conclave_cluster::pki::Authority;
use conclave_cluster::state::{Limits, Transaction};
use conclave_cluster::{
    Clock, Cluster, Config, DataFolder, LogTime, Member, NodeId, StartError, SystemClock, Unavailable,
};

use crate::harness::{Nodes, eventually, soon, start};
use crate::keys::TestKeys;
use crate::machine::Names;

fn member() -> Member {
    Member { peer_addr: "127.0.0.1:1".to_owned(), api_url: "http://somewhere".to_owned() }
}

fn origin(node: &Cluster) -> Origin {
    Origin { identity: node.identity(), program: "test".to_owned(), created: SystemClock.now() }
}

fn from_archive(
    data: &Path,
    bytes: &[u8],
    keys: &TestKeys,
) -> Result<conclave_cluster::Identity, OfflineError<ArchiveError>> {
    let mut archive = Archive::open(bytes, keys).map_err(OfflineError::Rows)?;
    let header = archive.header().clone();
    let plan = Seed {
        data,
        keys: Arc::new(keys.clone()),
        machine: &Names(1),
        limits: Limits::default(),
        member: member(),
        revision: header.revision,
        at: header.at,
        now: SystemClock.now(),
    };
    let rows = std::iter::from_fn(|| archive.next_row().transpose());
    let change = |_: LogTime, _: u64, rows: &mut Transaction<'_>| {
        rows.put(b"restored", b"yes".to_vec());
        Ok(())
    };
    seed(&plan, rows, change).map(|(identity, ())| identity)
}

fn config(data: &Path, keys: &TestKeys) -> Config {
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::new(data, any, "http://new", Arc::new(keys.clone()));
    config.timing.heartbeat_ms = 100;
    config.timing.election_min_ms = 500;
    config.timing.election_max_ms = 1000;
    config
}

fn value(node: &Cluster, key: &str) -> String {
    node.view()
        .get(key.as_bytes())
        .map_or("none".to_owned(), |row| String::from_utf8_lossy(&row.value).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_becomes_a_cluster_of_its_own() {
    let nodes = Nodes::three().await;
    for number in 0..20 {
        nodes.write(1 + number % 3, &format!("put key-{number} {number}")).await;
    }
    let view = nodes.node(1).read_barrier(soon()).await.unwrap();
    let mut bytes = Vec::new();
    archive::write(&view, None, &origin(nodes.node(1)), &nodes.keys, &mut bytes).unwrap();
    nodes.write(1, "put key-0 later").await;

    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("new");
    let (keys, folder) = (nodes.keys.clone(), data.clone());
    let seeded = tokio::task::spawn_blocking(move || from_archive(&folder, &bytes, &keys).unwrap());
    let identity = seeded.await.unwrap();
    let old = nodes.node(1).identity();
    assert_ne!(identity.cluster, old.cluster);

    let new = start(config(&data, &nodes.keys)).await.unwrap();
    eventually("a leader", || async { new.is_leader().then_some(()) }).await;
    assert_eq!(
        (value(&new, "key-0"), value(&new, "key-19"), value(&new, "restored")),
        ("0".into(), "19".into(), "yes".into())
    );
    assert_eq!(new.view().revision(), view.revision() + 1);
    assert!(new.view().at() >= view.at());
    assert_eq!(new.view().get(b"key-3").unwrap().revision, view.get(b"key-3").unwrap().revision);
    eventually("its own address", || async {
        let address = new.peer_address().to_string();
        new.status().members.iter().any(|it| it.member.peer_addr == address).then_some(())
    })
    .await;

    // It grows as any other, and starts again.
    let authority = Authority::load(&data, identity.cluster).unwrap();
    let second = root.path().join("second");
    DataFolder::prepare(&second, &authority, NodeId(2), SystemClock.now()).unwrap();
    let mut joining = config(&second, &nodes.keys);
    joining.join = vec![new.peer_address().to_string()];
    let joined = start(joining).await.unwrap();
    eventually("the rows on the second", || async { (value(&joined, "key-19") == "19").then_some(()) }).await;
    assert_eq!(joined.view().digest(), new.view().digest());
    joined.shutdown().await;
    new.shutdown().await;
    drop((joined, new));
    let new = start(config(&data, &nodes.keys)).await.unwrap();
    assert_eq!(value(&new, "restored"), "yes");
    new.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_empty_or_a_backup_that_is_not_whole_makes_no_cluster() {
    let nodes = Nodes::none(10_000);
    let root = tempfile::tempdir().unwrap();
    let first = start(config(&root.path().join("first"), &nodes.keys)).await.unwrap();
    let mut bytes = Vec::new();
    archive::write(&first.view(), None, &origin(&first), &nodes.keys, &mut bytes).unwrap();
    first.shutdown().await;
    let (keys, path) = (nodes.keys.clone(), root.path().to_owned());
    let trying = move || {
        let taken = from_archive(&path.join("first"), &bytes, &keys).unwrap_err();
        assert!(matches!(taken, OfflineError::NotEmpty(_)), "{taken}");
        let new = path.join("new");
        let cut = from_archive(&new, &bytes[..bytes.len() - 1], &keys).unwrap_err();
        assert!(matches!(cut, OfflineError::Rows(ArchiveError::Damaged(_))), "{cut}");
        let refused = DataFolder::found(&new, SystemClock.now()).unwrap_err();
        assert!(refused.to_string().contains("interrupted"), "{refused}");
        from_archive(&new, &bytes, &keys).unwrap();
        DataFolder::open(&new).unwrap();
        assert!(!new.join("unfinished").exists());
        let twice = from_archive(&new, &bytes, &keys).unwrap_err();
        assert!(matches!(twice, OfflineError::NotEmpty(_)), "{twice}");
    };
    tokio::task::spawn_blocking(trying).await.unwrap();
}

fn stopped(data: &Path, keys: &TestKeys) -> Result<Stopped, OfflineError<Infallible>> {
    Stopped::open(data, Arc::new(keys.clone()), Arc::new(Names(1)), Limits::default())
}

fn recover(data: &Path, keys: &TestKeys) -> Recovered {
    let node = stopped(data, keys).unwrap();
    let change = |_: LogTime, _: u64, rows: &mut Transaction<'_>| {
        rows.put(b"recovered", b"yes".to_vec());
        Ok::<_, Infallible>(())
    };
    node.recover(member(), SystemClock.now(), change).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_goes_on_alone_with_all_that_it_has() {
    for from in [2, 1] {
        let mut nodes = Nodes::three_with(50).await;
        for number in 0..120 {
            nodes.write(1 + number % 3, &format!("put key-{number} {number}")).await;
        }
        nodes.assert_equal().await;
        let old = nodes.node(1).identity().cluster;
        for id in 1..=3 {
            nodes.stop(id).await;
        }
        let (folder, keys) = (nodes.folder(from), nodes.keys.clone());
        let recovering = move || {
            let known = stopped(&folder, &keys).unwrap().last_known().clone();
            assert_eq!((known.identity.node, known.members.len()), (NodeId(from), 3));
            (known, recover(&folder, &keys))
        };
        let (known, recovered) = tokio::task::spawn_blocking(recovering).await.unwrap();
        assert_ne!(recovered.identity.cluster, old);
        assert_eq!((recovered.identity.node, recovered.revision), (NodeId(from), known.revision + 1));

        let mut alone = nodes.config(from);
        alone.join.clear();
        let new = start(alone).await.unwrap();
        eventually("a leader", || async { new.is_leader().then_some(()) }).await;
        for number in 0..120 {
            assert_eq!(value(&new, &format!("key-{number}")), number.to_string());
        }
        assert_eq!(value(&new, "recovered"), "yes");
        assert_eq!(new.status().members.len(), 1);

        // An old node finds the new one at the old address, and is no part of it.
        let other = if from == 1 { 3 } else { 1 };
        let old_node = nodes.start(other).await.unwrap();
        let asked =
            old_node.read_barrier(tokio::time::Instant::now() + std::time::Duration::from_secs(3)).await;
        assert!(matches!(asked, Err(Unavailable::NoLeader | Unavailable::Timeout { .. })), "{asked:?}");
        assert_eq!(new.status().members.len(), 1);
        let aside = recovered.aside.unwrap();
        assert!(fs::read_to_string(aside.join("identity.toml")).unwrap().contains(&old.to_string()));
        new.shutdown().await;
        drop(new);
        nodes.stop(other).await;
        let mut again = nodes.config(from);
        again.join.clear();
        start(again).await.unwrap().shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_a_member_runs_or_was_lost_is_not_recovered() {
    let nodes = Nodes::none(10_000);
    nodes.prepare(1);
    let (folder, keys) = (nodes.folder(1), nodes.keys.clone());
    let trying = move || stopped(&folder, &keys).unwrap_err();
    let never = tokio::task::spawn_blocking(trying).await.unwrap();
    assert!(matches!(never, OfflineError::NeverStarted(_)), "{never}");

    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("one");
    let running = start(config(&data, &nodes.keys)).await.unwrap();
    let (folder, keys) = (data.clone(), nodes.keys.clone());
    let trying = move || stopped(&folder, &keys).unwrap_err();
    let in_use = tokio::task::spawn_blocking(trying).await.unwrap();
    assert!(in_use.to_string().contains("another process"), "{in_use}");
    running.shutdown().await;
    drop(running);

    let (folder, keys) = (data.clone(), TestKeys::new(&[9]));
    let trying = move || stopped(&folder, &keys).unwrap_err();
    let wrong = tokio::task::spawn_blocking(trying).await.unwrap();
    assert!(wrong.to_string().contains("key"), "{wrong}");

    fs::remove_dir_all(data.join("log")).unwrap();
    fs::remove_file(data.join("log.dek")).unwrap();
    let keys = nodes.keys.clone();
    let trying = move || stopped(&data, &keys).unwrap_err();
    let lost = tokio::task::spawn_blocking(trying).await.unwrap();
    assert!(matches!(lost, OfflineError::Start(StartError::Lost { .. })), "{lost}");
    assert!(offline::finish(root.path()).unwrap().is_none());
}

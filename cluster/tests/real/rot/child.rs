//! What runs in a process of its own, because rot may end a process or hang it: a node that fills a folder, one that
//! opens it, a cluster one node of which goes bad again and again. Told what to do by the environment.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conclave_cluster::{Cluster, Config, StartError};

use super::damage::{self, Damage};
use crate::harness::{Nodes, eventually, soon, start};
use crate::keys::TestKeys;
use crate::machine::proposal;

/// Does what the environment says, if it says anything: as a test by itself, nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    match std::env::var(ROLE).unwrap().as_str() {
        "fill and stop" => fill(&folder, true).await,
        "fill and die" => fill(&folder, false).await,
        "open" => open(&folder).await,
        "three" => three(std::env::var(SEED).unwrap().parse().unwrap()).await,
        other => panic!("{other}"),
    }
}

pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{MARK}{line}").unwrap();
    out.flush().unwrap();
}

fn config(data: &Path) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::new(data, any, "http://node", Arc::new(TestKeys::new(&[1])));
    config.snapshot_every = 50;
    config.log_kept = 5;
    // Alone, it waits for nobody.
    config.timing.heartbeat_ms = 20;
    config.timing.election_min_ms = 60;
    config.timing.election_max_ms = 120;
    config
}

async fn write(node: &Cluster, number: u64, command: &str) {
    node.propose(vec![proposal(number, command)], soon()).await.unwrap();
}

/// A command with a value of some length: some lie in pieces.
fn command(number: u64) -> String {
    let length = [3, 40, 1_900, 2_100, 7_000][usize::try_from(number % 5).unwrap()];
    format!("put key-{} {number}-{}", number % 60, "v".repeat(length))
}

/// Fills a folder with acknowledged commands, and says what the digest was at each revision.
async fn fill(folder: &Path, stops: bool) {
    let node = start(config(folder)).await.unwrap();
    eventually("a leader", || async { node.is_leader().then_some(()) }).await;
    for number in 0..COMMANDS {
        write(&node, number, &command(number)).await;
        say(&format!("was {} {}", node.view().revision(), node.view().digest()));
    }
    eventually("a snapshot", || async {
        node.status().snapshot_index.is_some_and(|index| index > COMMANDS / 2).then_some(())
    })
    .await;
    if stops {
        node.shutdown().await;
    }
    say("filled");
    // Without the rest of a stop.
    std::process::exit(0);
}

/// Opens a folder, says what it shows, writes, and opens it once more.
async fn open(folder: &Path) {
    let node = match start(config(folder)).await {
        Ok(node) => node,
        Err(error) => return say(&format!("refused {error}").replace('\n', " ")),
    };
    let mut fatal = node.fatal();
    let view = tokio::select! {
        view = node.read_barrier(soon()) => view.unwrap(),
        why = fatal.wait_for(Option::is_some) => {
            return say(&format!("stopped {:?}", why.unwrap().as_ref().map(ToString::to_string)));
        }
    };
    say(&format!("served {} {}", view.revision(), view.digest()));
    write(&node, COMMANDS, "put after it").await;
    let digest = node.view().digest();
    node.shutdown().await;
    drop(node);
    let node = start(config(folder)).await.unwrap();
    let view = node.read_barrier(soon()).await.unwrap();
    assert_eq!((&*view.get(b"after").unwrap().value, view.digest()), (&b"it"[..], digest));
    node.shutdown().await;
    say("goes on");
}

/// Three nodes that serve, while the folder of one is damaged again and again.
async fn three(seed: u64) {
    let mut nodes = Nodes::three_with(50).await;
    let mut number = 0;
    for round in 0..ROUNDS {
        let bad =
            if round % 2 == 0 { nodes.follower().await } else { nodes.leader().await.identity().node.0 };
        nodes.stop(bad).await;
        let other = nodes.follower().await;
        // Sometimes so much that the log it lacks is gone.
        for _ in 0..[3, 20, 90][usize::try_from(round % 3).unwrap()] {
            number += 1;
            nodes.write(other, &command(number)).await;
        }
        let spare = nodes.root.path().join("spare");
        damage::copy_folder(&nodes.folder(bad), &spare);
        let damage = damage::inflict(&nodes.folder(bad), seed * 1_000 + round);
        let started = nodes.start(bad).await;
        check_others(&nodes, bad, &damage);
        let outcome = match started {
            Ok(back) => {
                let view =
                    back.read_barrier(soon()).await.unwrap_or_else(|error| panic!("{damage:?}: {error}"));
                assert_eq!(view.get(b"key-0").is_some(), number >= 60, "{damage:?}");
                "served"
            }
            Err(error) => {
                check_error(&error, &nodes.folder(bad));
                // It would join under a new id. Here it gets its folder back: nothing has happened since.
                fs::remove_dir_all(nodes.folder(bad)).unwrap();
                damage::copy_folder(&spare, &nodes.folder(bad));
                nodes.start(bad).await.unwrap();
                "refused"
            }
        };
        fs::remove_dir_all(spare).unwrap();
        number += 1;
        nodes.write(bad, &command(number)).await;
        nodes.assert_equal().await;
        check_others(&nodes, bad, &damage);
        say(&format!("round {outcome} {damage:?}"));
    }
    say("goes on");
}

/// One bad disk is no reason for anybody else to stop.
fn check_others(nodes: &Nodes, bad: u64, damage: &Damage) {
    for node in nodes.all() {
        let is_bad = node.identity().node.0 == bad;
        assert!(is_bad || node.fatal().borrow().is_none(), "{damage:?}: {:?}", node.fatal().borrow());
    }
}

fn check_error(error: &StartError, folder: &Path) {
    let text = error.to_string();
    assert!(text.contains("lost") || text.contains(&folder.display().to_string()), "{text}");
}

pub(super) const FOLDER: &str = "CONCLAVE_TEST_ROT_FOLDER";
pub(super) const ROLE: &str = "CONCLAVE_TEST_ROT_ROLE";
pub(super) const SEED: &str = "CONCLAVE_TEST_ROT_SEED";
pub(super) const MARK: &str = "rot: ";
pub(super) const COMMANDS: u64 = 130;
const ROUNDS: u64 = 6;

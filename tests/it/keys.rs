//! The key-encryption key is replaced while three nodes serve, as an operator does it.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{Account, Prepared, eventually};
use crate::processes::{Processes, SETTINGS, program};

fn keys(settings: &Path, arguments: &[&str]) -> Output {
    program().arg("keys").args(arguments).arg("--config").arg(settings).output().unwrap()
}

#[track_caller]
fn must(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn status(processes: &Processes, node: usize) -> Value {
    serde_json::from_str(&must(&keys(processes.settings(node), &["status", "--json"]))).unwrap()
}

/// What each key of a node does, and how much it seals.
fn uses(processes: &Processes, node: usize) -> Vec<(String, u64)> {
    let status = status(processes, node);
    let key = |key: &Value| {
        let sealed = key["data_keys"].as_u64().unwrap() + key["secrets"].as_u64().unwrap();
        (key["role"].as_str().unwrap().to_owned(), sealed)
    };
    status["keys"].as_array().unwrap().iter().map(key).collect()
}

/// Writes through all nodes in turn until it is told to stop, and says how often.
struct Writing {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Writing {
    fn start(client: Client, account: Account) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopping, counting) = (Arc::clone(&stop), Arc::clone(&count));
        let task = tokio::spawn(async move {
            while !stopping.load(Ordering::Relaxed) {
                let number = counting.fetch_add(1, Ordering::Relaxed);
                let body = json!({"name": format!("meanwhile-{number}")});
                account.send(&client, number, "POST", "/roles", body).await.is(201);
            }
        });
        Self { stop, count, task }
    }

    /// Waits for some more, so that each step has writes beside it.
    async fn some(&self) {
        let before = self.count.load(Ordering::Relaxed);
        eventually("writes go on", async || {
            assert!(!self.task.is_finished(), "a write failed");
            (self.count.load(Ordering::Relaxed) > before + 40).then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_key_is_replaced_while_three_nodes_serve() {
    let mut processes = Processes::start("snapshot_every = 100\n").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    let key_file = processes.data(0).with_file_name("conclave.kek");
    let old_file = processes.data(0).with_file_name("old.kek");
    fs::copy(&key_file, &old_file).unwrap();
    let writing = Writing::start(client.clone(), account.clone());
    writing.some().await;
    assert_eq!(uses(&processes, 0).len(), 1);

    // The new key comes last: all nodes open what it will seal.
    let said = must(&keys(processes.settings(0), &["add"]));
    for key in fs::read_to_string(&key_file).unwrap().lines() {
        assert!(!said.contains(key), "a key was shown");
    }
    for node in 0..3 {
        let said = must(&keys(processes.settings(node), &["reload"]));
        assert!(said.starts_with("0 data keys and 0 secrets"), "{said}");
        writing.some().await;
    }

    // Then it comes first. The old one cannot go before all is sealed again.
    must(&keys(processes.settings(0), &["promote"]));
    let both = fs::read(&key_file).unwrap();
    must(&keys(processes.settings(0), &["drop"]));
    let refused = keys(processes.settings(0), &["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("key_still_needed"), "{said}");
    fs::write(&key_file, both).unwrap();
    for node in 0..3 {
        must(&keys(processes.settings(node), &["reload"]));
        writing.some().await;
    }
    for node in 0..3 {
        let [(seals, many), (opens, none)] = &uses(&processes, node)[..] else { panic!("two keys") };
        assert_eq!((seals.as_str(), opens.as_str(), *none), ("seals", "opens", 0));
        // The log, a copy, the snapshots; the mint key and a signing key.
        assert!(*many >= 5, "{many}");
    }
    // A person who opens an account now has a key under the new one at once.
    Account::open(&client).await;
    assert_eq!(uses(&processes, 1)[1].1, 0);

    // And the old one goes.
    must(&keys(processes.settings(0), &["drop"]));
    for node in 0..3 {
        must(&keys(processes.settings(node), &["reload"]));
        writing.some().await;
        assert_eq!(uses(&processes, node).len(), 1);
    }
    writing.end().await;

    // Each comes back with the new key only, and none with the old one.
    for node in 0..3 {
        processes.kill(node);
        processes.spawn(node);
        processes.ready(node).await;
    }
    account.ask(&client, 1, "GET", "/roles/meanwhile-0").await.is(200);
    Account::open(&client).await;
    processes.are_equal().await;
    processes.kill(2);
    let new = fs::read(&key_file).unwrap();
    fs::copy(&old_file, &key_file).unwrap();
    processes.spawn(2);
    let said = processes.fails(2).await;
    assert!(said.contains("was sealed with key") && said.contains("Nothing was changed"), "{said}");
    fs::write(&key_file, new).unwrap();
    processes.spawn(2);
    processes.ready(2).await;
    processes.are_equal().await;
}

#[tokio::test]
async fn a_key_may_come_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Prepared::new(folder.path(), 1, SETTINGS);
    let settings = &prepared.settings[0];
    let text = fs::read_to_string(settings).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("key_file"));
    fs::write(settings, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let client = Client::new(prepared.http.clone());
    let (old, new) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
    let mut account = None;
    // A restart is what it takes to change it.
    for keys in [old.clone(), format!("{new},{old}"), new] {
        let mut node = program()
            .args(["start", "--config"])
            .arg(settings)
            .env("CONCLAVE_ENCRYPTION_KEY", &keys)
            .spawn()
            .unwrap();
        eventually("it serves", async || {
            assert!(node.try_wait().unwrap().is_none(), "the node ended");
            client.get(0, "/ready").send().await.is_ok_and(|reply| reply.status == 200).then_some(())
        })
        .await;
        match &account {
            None => account = Some(Account::open(&client).await),
            Some(account) => drop(account.ask(&client, 0, "GET", "/users/me").await.is(200)),
        }
        let reload = program()
            .args(["keys", "reload", "--config"])
            .arg(settings)
            .env("CONCLAVE_ENCRYPTION_KEY", &keys)
            .output()
            .unwrap();
        must(&reload);
        node.kill().unwrap();
        node.wait().unwrap();
    }
    assert!(!folder.path().join("node-1.kek").exists(), "no key file is made beside the setting");
}

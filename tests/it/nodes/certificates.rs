//! The nodes' certificates are changed while they serve, and a stolen one is worth nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Crew, write};
use crate::harness::{Account, eventually};

/// The serial numbers that are good, by node.
fn good(crew: &Crew, machine: usize) -> BTreeSet<(u64, String)> {
    let all: Value = serde_json::from_str(&crew.must(machine, &["certs", "list", "--json"])).unwrap();
    let all = all["certificates"].as_array().unwrap().clone();
    let is_good = |each: &&Value| each["revoked_at"].is_null();
    let named = |each: &Value| (each["node"].as_u64().unwrap(), each["serial"].as_str().unwrap().to_owned());
    all.iter().filter(is_good).map(named).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_rotated_while_requests_go_on_and_a_stolen_one_is_refused() {
    let mut crew = Crew::grown(3, "").await;
    let client = crew.client();
    let account = Account::open(&client).await;
    write(&client, &account, 0, "role").await;
    let before = eventually("all three are written down", async || {
        Some(good(&crew, 0))
            .filter(|all| all.iter().map(|(node, _)| node).collect::<BTreeSet<_>>().len() == 3)
    })
    .await;

    // Somebody copies a node's disk while it is down.
    crew.kill(1);
    let thief = crew.add("");
    copy(&crew.data(1), &crew.data(thief));
    fs::copy(crew.settings(1).with_file_name("own.kek"), crew.settings(thief).with_file_name("own.kek"))
        .unwrap();
    crew.start(1);
    crew.ready(1).await;

    // Reads and writes through all nodes, none of which may fail.
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = {
        let (stop, count, client, account) =
            (Arc::clone(&stop), Arc::clone(&count), client.clone(), account.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let body = serde_json::json!({"name": format!("n{number}")});
                account.send(&client, number % 3, "POST", "/roles", body).await.is(201);
                account.ask(&client, (number + 1) % 3, "GET", "/roles/role").await.is(200);
            }
        })
    };
    let some = async || {
        let so_far = count.load(Ordering::Relaxed);
        eventually("requests go on", async || {
            assert!(!load.is_finished(), "a request failed");
            (count.load(Ordering::Relaxed) > so_far + 20).then_some(())
        })
        .await;
    };
    some().await;
    let said = crew.must(0, &["certs", "rotate"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    some().await;
    let after = good(&crew, 2);
    assert_eq!(after.difference(&before).count(), 3);
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();

    // Everything that node 2 ever had is refused, but what it has just been given: it goes on, the thief does not.
    let began = Instant::now();
    let said = crew.must(2, &["certs", "revoke", "2"]);
    assert!(said.contains("it goes on"), "{said}");
    assert_eq!(good(&crew, 0).iter().filter(|(node, _)| *node == 2).count(), 1);
    crew.start(thief);
    let status = crew.ends(thief).await;
    let log = crew.log(thief);
    assert!(!status.success() && log.contains("was revoked"), "{log}");
    assert!(began.elapsed() < Duration::from_secs(50));
    crew.voters(1, 3).await;
    write(&client, &account, 1, "after").await;
    // Also after it was started anew.
    crew.kill(1);
    crew.start(1);
    crew.ready(1).await;
    crew.voters(0, 3).await;

    // One that does not answer is shut out, and comes back under a new id.
    crew.kill(2);
    let said = crew.must(0, &["certs", "revoke", "3"]);
    assert!(said.contains("shut out"), "{said}");
    crew.start(2);
    crew.ends(2).await;
    assert!(crew.log(2).contains("was revoked"), "{}", crew.log(2));
    crew.insist(0, &["remove", "3"]).await;
    fs::remove_dir_all(crew.data(2)).unwrap();
    let token = crew.token(1, &[]);
    crew.join(2, &token);
    crew.ready(2).await;
    crew.voters(0, 3).await;
}

#[tokio::test]
async fn certificates_are_renewed_before_they_end() {
    let mut crew = Crew::grown(2, "node_certificate_lifetime = '1m'\n").await;
    let serial = |all: &BTreeSet<(u64, String)>| all.iter().filter(|(node, _)| *node == 2).count();
    let client = crew.client();
    let account = Account::open(&client).await;
    assert_eq!(serial(&good(&crew, 0)), 1);
    // With a third of its minute left.
    eventually("a second certificate of node 2", async || (serial(&good(&crew, 0)) >= 2).then_some(())).await;
    write(&client, &account, 1, "renewed").await;
    // The new one is what it comes back with.
    crew.kill(1);
    crew.start(1);
    crew.ready(1).await;
    crew.voters(0, 2).await;
}

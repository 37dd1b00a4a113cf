//! A node is told to stop by a signal: it says so at once, goes on for a while, and ends in time whatever hangs.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Account, eventually};
use crate::processes::Processes;

/// Who runs nodes kills them after this.
const LIMIT: Duration = Duration::from_secs(10);

fn terminate(processes: &Processes, node: usize) {
    let pid = processes.pid(node).to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

#[tokio::test]
async fn it_is_not_ready_at_once_and_serves_until_the_grace_is_over() {
    let mut processes = Processes::start("stop_grace = '3s'\n").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    let leader = processes.leader(&[0, 1, 2]).await;
    terminate(&processes, leader);
    let begun = Instant::now();
    eventually("it is not ready", async || {
        let reply = client.get(leader, "/ready").send().await.expect("it still answers");
        (reply.status == 503).then(|| assert_eq!(reply.json["code"], "stopping"))
    })
    .await;
    let body = json!({"name": "meanwhile"});
    account.send(&client, leader, "POST", "/roles", body).await.is(201);
    assert!(begun.elapsed() < Duration::from_secs(3), "too slow to tell: {:?}", begun.elapsed());
    let status = processes.stop(leader).await;
    assert!(status.success() && begun.elapsed() < LIMIT, "{status} after {:?}", begun.elapsed());
    // It has handed over: the others go on.
    let other = (leader + 1) % 3;
    account.send(&client, other, "POST", "/roles", json!({"name": "later"})).await.is(201);
}

#[tokio::test]
async fn it_ends_in_time_with_a_client_that_never_reads_and_without_a_leader() {
    let mut processes = Processes::start("").await;
    let address = processes.client_address(0);
    let mut stuck = TcpStream::connect(address).await.unwrap();
    let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50);
    stuck.write_all(&request).await.unwrap();
    // Nobody is left to elect a leader with, or to take it over.
    processes.kill(1);
    processes.kill(2);
    // A write that waits for a leader in vain is in flight too.
    let client = processes.client();
    let body = json!({"email": "ada@stories.test", "password": crate::harness::PASSWORD});
    let waiting = tokio::spawn(client.post(0, "/v1/accounts").json(&body).send());
    eventually("it is under way", async || client.get(0, "/health").send().await.ok()).await;
    terminate(&processes, 0);
    let begun = Instant::now();
    let status = processes.stop(0).await;
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert!(status.success(), "{}", processes.log(0));
    assert_eq!(waiting.await.unwrap().map(|reply| reply.status), Ok(503));
    drop(stuck);
}

//! What lies on the disks of a cluster: nothing that a person or a program said.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::client::Client;
use crate::harness::{Account, PASSWORD, eventually};
use crate::processes::Processes;

/// What nobody may find in a data folder.
const CANARIES: [&str; 7] = [
    "canary-name",
    "canary-mail@stories.test",
    "CanaryFirst",
    "canary-role",
    "canary:permission",
    "CanaryAgent/1.0",
    "canary-description",
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

async fn say_them(client: &Client, account: &Account) {
    let role = json!({"name": CANARIES[3], "description": CANARIES[6], "permissions": [CANARIES[4]]});
    account.send(client, 0, "POST", "/roles", role).await.is(201);
    let user = json!({
        "name": CANARIES[0], "email": CANARIES[1], "first_name": CANARIES[2], "password": PASSWORD,
        "roles": [CANARIES[3]],
    });
    account.ask(client, 1, "POST", "/users").header("user-agent", CANARIES[5]).json(&user).await.is(201);
}

/// All that the API shows of them, as one text.
async fn shown(client: &Client, account: &Account, node: usize) -> String {
    let mut text = String::new();
    for path in ["/users/canary-name", "/roles/canary-role", "/audit?limit=100"] {
        text += &account.ask(client, node, "GET", path).await.is(200).json.to_string();
    }
    text
}

#[tokio::test]
async fn the_disks_hold_nothing_that_can_be_read() {
    let mut processes = Processes::start("snapshot_every = 100\n").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    say_them(&client, &account).await;
    for index in 0..120 {
        let body = json!({"name": format!("canary-role-{index}")});
        account.send(&client, index, "POST", "/roles", body).await.is(201);
    }
    for node in 0..3 {
        let snapshots = processes.data(node).join("state/snapshots");
        eventually("a snapshot", async || {
            files(&snapshots)
                .iter()
                .any(|path| path.extension().is_some_and(|end| end == "snapshot"))
                .then_some(())
        })
        .await;
        let text = shown(&client, &account, node).await;
        assert!(CANARIES.iter().all(|canary| text.contains(canary)), "{text}");
    }

    // While they run, and once everything has reached the disks.
    for is_stopped in [false, true] {
        let mut kinds = [false; 3];
        for node in 0..3 {
            if is_stopped {
                assert!(processes.stop(node).await.success());
            }
            for path in files(&processes.data(node)) {
                // A running node replaces files.
                let Ok(bytes) = fs::read(&path) else { continue };
                for (seen, part) in kinds.iter_mut().zip(["/log/", "/sled/", "/snapshots/"]) {
                    *seen |= path.to_string_lossy().contains(part) && bytes.len() > 1_000;
                }
                for canary in CANARIES.iter().chain([&account.email.as_str(), &account.id.as_str()]) {
                    let is_there = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
                    assert!(!is_there, "{canary} in {}", path.display());
                }
            }
        }
        assert_eq!(kinds, [true; 3], "log, copy and snapshots were looked at");
    }
}

//! Data folders that are in use, foreign or damaged: a clear error or a repair, never a quiet mistake.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::client::Client;
use crate::harness::{Account, Prepared, eventually, free_address};
use crate::processes::{Processes, SETTINGS, start_in_vain};

/// Every file below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Turns over bits at the beginning of a file and all over it.
fn spoil(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    assert!(!bytes.is_empty(), "{}", path.display());
    let step = (bytes.len() / 64).max(1);
    let first = bytes.len().min(64);
    for index in (0..first).chain((step / 2..bytes.len()).step_by(step)) {
        bytes[index] ^= 0xff;
    }
    fs::write(path, bytes).unwrap();
}

fn one(mut found: Vec<PathBuf>, is_it: impl Fn(&str) -> bool) -> PathBuf {
    found.retain(|path| is_it(&path.display().to_string()));
    assert!(!found.is_empty(), "no such file");
    found.remove(0)
}

/// Replaces one line of a settings file.
fn with(settings: &Path, name: &str, value: &str) -> PathBuf {
    let text = fs::read_to_string(settings).unwrap();
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some((has, _)) if has == name => format!("{name} = {value}"),
        _ => line.to_owned(),
    });
    let changed = settings.with_extension("changed.toml");
    fs::write(&changed, lines.collect::<Vec<_>>().join("\n")).unwrap();
    changed
}

async fn roles(client: &Client, account: &Account, from: usize, count: usize) {
    for index in from..from + count {
        account.send(client, index, "POST", "/roles", json!({"name": format!("role-{index}")})).await.is(201);
    }
}

#[tokio::test]
async fn folders_of_others_and_wrong_keys_are_refused_and_the_cluster_goes_on() {
    let mut processes = Processes::start("").await;
    let client = processes.client();
    let account = Account::open(&client).await;

    // A second process on the folder of one that runs.
    let ports = format!("'{}'", free_address());
    let second = with(processes.settings(0), "http_listen", &ports);
    let second = with(&second, "peer_listen", &format!("'{}'", free_address()));
    let output = start_in_vain(&second);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another process is using this data folder"), "{said}");
    account.ask(&client, 0, "GET", "").await.is(200);

    // The log and state of another cluster under this one's identity, and the other way round.
    let other = tempfile::tempdir().unwrap();
    let prepared = Prepared::new(other.path(), 1, SETTINGS);
    let stranger = other.path().join("node-1");
    fs::copy(processes.data(1).join("identity.toml"), stranger.join("identity.toml")).unwrap();
    let output = start_in_vain(&prepared.settings[0]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the certificate is not for node 2"), "{said}");

    // Data without an identity is nobody's, and never taken for a new node's.
    let empty = with(&prepared.settings[0], "data", &format!("{:?}", other.path().join("lost")));
    fs::create_dir_all(other.path().join("lost/log")).unwrap();
    let output = start_in_vain(&empty);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no identity.toml"), "{said}");

    // A node whose log and state are gone has lost its votes: it does not come back as if it were new.
    assert!(processes.stop(2).await.success());
    let (log, away) = (processes.data(2).join("log"), processes.data(2).join("log-away"));
    let (state, state_away) = (processes.data(2).join("state"), processes.data(2).join("state-away"));
    fs::rename(&log, &away).unwrap();
    processes.spawn(2);
    assert!(processes.fails(2).await.contains("has lost its log or state"), "{}", processes.log(2));
    fs::rename(&state, &state_away).unwrap();
    processes.spawn(2);
    assert!(processes.fails(2).await.contains("has lost its log or state"), "{}", processes.log(2));
    for (from, to) in [(&away, &log), (&state_away, &state)] {
        let _ = fs::remove_dir_all(to);
        fs::rename(from, to).unwrap();
    }

    // A key file that is not the cluster's, or that others may read. Nothing of the data is touched.
    let data = processes.data(2);
    let contents = || files(&data).into_iter().map(|path| (fs::read(&path).unwrap(), path));
    let before: Vec<_> = contents().collect();
    let key = processes.data(2).with_file_name("other.kek");
    drop(conclave::auth::kek::Kek::read_or_create_file(&key).unwrap());
    let wrong = with(processes.settings(2), "key_file", &format!("{key:?}"));
    let right = processes.settings(2).to_owned();
    let kept = fs::read_to_string(&right).unwrap();
    fs::copy(&wrong, &right).unwrap();
    processes.spawn(2);
    let said = processes.fails(2).await;
    let says = ["was sealed with key", "does not open with this node's key file", "log.dek"];
    assert!(says.iter().all(|text| said.contains(text)), "{said}: {}", processes.log(2));
    assert!(contents().eq(before), "a start with the wrong key changed the data folder");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    processes.spawn(2);
    assert!(processes.fails(2).await.contains("chmod 600"), "{}", processes.log(2));
    fs::remove_file(&key).unwrap();
    processes.spawn(2);
    let said = processes.fails(2).await;
    assert!(said.contains("is missing") && said.contains("put it back") && !key.exists(), "{said}");
    fs::write(&right, kept).unwrap();

    // None of it did harm.
    roles(&client, &account, 0, 2).await;
    processes.spawn(2);
    processes.ready(2).await;
    account.ask(&client, 2, "GET", "/roles/role-1").await.is(200);
    processes.are_equal().await;
}

#[tokio::test]
async fn damaged_files_are_repaired_or_refused() {
    let mut processes = Processes::start("snapshot_every = 100\n").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    // Two nodes must remain that can outvote what happens to the third.
    let victim = 2;
    let data = processes.data(victim);
    roles(&client, &account, 0, 130).await;
    eventually("a snapshot", async || (!files(&data.join("state/snapshots")).is_empty()).then_some(())).await;

    // The durable copy, which a gentle stop has brought up to date: rebuilt from the snapshot and the log.
    assert!(processes.stop(victim).await.success());
    spoil(&one(files(&data.join("state")), |name| name.ends_with("sled/db")));
    processes.spawn(victim);
    processes.ready(victim).await;
    assert!(processes.log(victim).contains("the durable state is"), "{}", processes.log(victim));
    account.ask(&client, victim, "GET", "/roles/role-129").await.is(200);
    processes.are_equal().await;

    // A snapshot: moved aside, the copy is enough.
    processes.kill(victim);
    for snapshot in files(&data.join("state/snapshots")) {
        spoil(&snapshot);
    }
    processes.spawn(victim);
    processes.ready(victim).await;
    assert!(processes.log(victim).contains("a snapshot is damaged"), "{}", processes.log(victim));
    roles(&client, &account, 130, 5).await;
    processes.are_equal().await;

    // The end of the log, as a power cut leaves it: cut off, and fetched again.
    processes.kill(victim);
    let log =
        files(&data.join("log")).into_iter().rfind(|path| path.extension().is_some_and(|end| end == "wal"));
    let log = log.unwrap();
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 3]).unwrap();
    processes.spawn(victim);
    processes.ready(victim).await;
    processes.are_equal().await;

    // The middle of the log: not guessed at.
    processes.kill(victim);
    let log =
        files(&data.join("log")).into_iter().rfind(|path| path.extension().is_some_and(|end| end == "wal"));
    let log = log.unwrap();
    let good = fs::read(&log).unwrap();
    spoil(&log);
    processes.spawn(victim);
    let said = processes.fails(victim).await;
    assert!(said.contains("is damaged") && said.contains("It is not repaired by guessing"), "{said}");
    account.ask(&client, 0, "GET", "/roles/role-134").await.is(200);
    fs::write(&log, good).unwrap();
    processes.spawn(victim);
    processes.ready(victim).await;
    processes.are_equal().await;
}

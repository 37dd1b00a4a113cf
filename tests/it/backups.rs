//! Backups of real nodes under writes, what becomes of them, and a cluster that lost its majority.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conclave::auth::kek::Kek;
use conclave::config::{Config, Flags};
use conclave::node::Node;
use conclave::telemetry::Metrics;
use serde_json::{Value, json};

use crate::client::Client;
use crate::clock::Forward;
use crate::harness::{Account, Member, PASSWORD, eventually, free_address};
use crate::processes::{Processes, SETTINGS, program};

/// Runs the program, which must succeed, and reads what it prints.
fn told(arguments: &[&str]) -> Value {
    let output = program().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Runs the program, which must fail and say this.
#[track_caller]
fn refused(arguments: &[&str], says: &str) {
    let output = program().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A node started by itself, killed when dropped.
struct Single {
    child: Child,
    client: Client,
}

impl Drop for Single {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Single {
    /// Starts it and waits until it serves.
    async fn start(settings: &Path) -> Self {
        let mut command = program();
        command.args(["start", "--stop-with-stdin", "--config"]).arg(settings);
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let address = setting(settings, "http_listen").parse().unwrap();
        let mut single = Self { child, client: Client::new(vec![address]) };
        eventually("the node serves", async || {
            assert!(single.child.try_wait().unwrap().is_none(), "it ended");
            single.client.get(0, "/ready").send().await.is_ok_and(|reply| reply.status == 200).then_some(())
        })
        .await;
        single
    }
}

fn setting(settings: &Path, name: &str) -> String {
    let text = fs::read_to_string(settings).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")).map(str::to_owned));
    line.unwrap().trim_matches('\'').to_owned()
}

/// Settings of a node in another folder, alone, with the same key file.
fn settings_beside(of: &Path, folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.toml"));
    let lines = format!(
        "data = '{}'\nhttp_listen = '{}'\npeer_listen = '{}'\nkey_file = '{}'\nargon2_memory_kib = 7168\n\
         argon2_iterations = 1\nrate_limit_login = 'off'\n{SETTINGS}",
        folder.join(name).display(),
        free_address(),
        free_address(),
        setting(of, "key_file"),
    );
    fs::write(&path, lines).unwrap();
    path
}

/// Somebody who writes without a pause, and counts what was acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(client: Client, account: Account, node: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut made = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let name = format!("written-{node}-{}", made.len());
                account.role(&client, &name, &["doc:read"]).await;
                made.push(name);
            }
            made
        });
        Self { stop, task }
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn refresh(client: &Client, account: &Account, member: &Member) -> u16 {
    client.post(0, account.at("/tokens/refresh")).json(&json!({"refresh_token": member.refresh})).await.status
}

async fn key_sign_in(client: &Client, account: &Account, robot: &Member) -> u16 {
    let body = json!({"name": robot.name, "api_key": robot.key.as_ref().unwrap().1});
    client.post(0, account.at("/service-accounts/sign-in")).json(&body).await.status
}

async fn knows(client: &Client, account: &Account, token: &str) -> u16 {
    client.get(0, account.at("/users/me")).by(token).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_saved_under_writes_and_comes_back_without_what_was_revoked() {
    let mut cluster = Processes::start("rate_limit_login = 'off'\n").await;
    let client = cluster.client();
    let account = Account::open(&client).await;
    account.role(&client, "reader", &["doc:read"]).await;
    let ann = account.user(&client, "ann", &["reader"]).await;
    let bob = account.user(&client, "bob", &[]).await;
    let robot = account.service(&client, "robot", &[]).await;

    let folder = tempfile::tempdir().unwrap();
    let file = text(&folder.path().join("all.backup"));
    let settings = text(cluster.settings(0));
    let writers = [1, 2].map(|node| Writer::start(cluster.client(), account.clone(), node));
    let saving = [file.clone(), settings.clone()];
    let saved = tokio::task::spawn_blocking(move || {
        told(&["backup", "save", &saving[0], "--config", &saving[1], "--json"])
    });
    let saved = saved.await.unwrap();
    for writer in writers {
        assert!(!writer.end().await.is_empty());
    }
    let verified = told(&["backup", "verify", &file, "--config", &settings, "--json"]);
    assert_eq!(verified, saved);
    assert!(saved["revision"].as_u64().unwrap() > 5 && saved["accounts"] == 2 && saved["unknown_rows"] == 0);
    assert!(fs::read_dir(folder.path()).unwrap().count() == 1, "something is left beside it");

    // What is closed after the backup.
    assert_eq!(refresh(&client, &account, &ann).await, 200);
    client.delete(0, account.at(&format!("/sessions/{}", bob.session))).by(&account.token).await.is(204);
    let key = &robot.key.as_ref().unwrap().0;
    let path = account.at(&format!("/service-accounts/{}/keys/{key}", robot.id));
    client.delete(0, path).by(&account.token).await.is(204);
    for node in 0..3 {
        cluster.kill(node);
        fs::remove_dir_all(cluster.data(node)).unwrap();
    }

    let new = settings_beside(cluster.settings(0), folder.path(), "new");
    let restored = told(&["backup", "restore", &file, "--config", &text(&new), "--json"]);
    assert_eq!(restored["revision"].as_u64(), saved["revision"].as_u64().map(|revision| revision + 1));
    assert_ne!(restored["cluster"], saved["cluster"]);
    assert!(restored["dropped"]["sessions"].as_u64().unwrap() >= 4 && restored["dropped"]["api_keys"] == 1);
    refused(&["backup", "restore", &file, "--config", &text(&new)], "not empty");

    let node = Single::start(&new).await;
    let client = &node.client;
    for token in [&account.token, &ann.token, &bob.token, &robot.token] {
        assert_eq!(knows(client, &account, token).await, 401);
    }
    for member in [&ann, &bob] {
        assert_eq!(refresh(client, &account, member).await, 401);
    }
    assert_eq!(key_sign_in(client, &account, &robot).await, 401);
    let root = account.sign_in(client, 0, &account.email, PASSWORD).await.is(200);
    let again = account.sign_in(client, 0, "ann", PASSWORD).await.is(200);
    assert!(again.revision() > saved["revision"].as_u64().unwrap());
    let path = account.at(&format!("/check?permission=doc:read&user={}", ann.id));
    let checked = client.get(0, path).by(&root.text("access_token")).await.is(200);
    assert_eq!(checked.json["allowed"], true);
    let operator = Kek::read_file(Path::new(&setting(&new, "key_file"))).unwrap();
    let path = "/v1/cluster/audit?action=cluster.restore";
    let records = client.get(0, path).by(operator.operator_token().expose()).await.is(200);
    let detail = records.items()[0]["detail"].as_str().unwrap();
    assert!(detail.contains(saved["cluster"].as_str().unwrap()), "{detail}");
}

#[expect(clippy::too_many_lines, reason = "one story")]
#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_put_back_while_others_go_on_and_bad_backups_change_nothing() {
    let cluster = Processes::start("rate_limit_login = 'off'\n").await;
    let client = cluster.client();
    let (account, other) = (Account::open(&client).await, Account::open(&client).await);
    account.role(&client, "kept", &["doc:read"]).await;
    let ann = account.user(&client, "ann", &["kept"]).await;
    let bob = account.user(&client, "bob", &[]).await;
    let (robot, good) =
        (account.service(&client, "robot", &[]).await, account.service(&client, "good", &[]).await);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    let settings = text(cluster.settings(1));
    let with = |arguments: &[&str]| -> Value { told(&[arguments, &["--config", &settings]].concat()) };
    let (all, one) = (path("all"), path("one"));
    with(&["backup", "save", &all]);
    let saved = with(&["backup", "save", &one, "--account", &account.id, "--json"]);
    assert_eq!((&saved["account"], &saved["accounts"]), (&json!(account.id), &json!(1)));

    // Damage by hand, and what is closed for good.
    client.delete(0, account.at("/roles/kept")).by(&account.token).await.is(204);
    account.role(&client, "newer", &["doc:write"]).await;
    client.delete(0, account.at(&format!("/users/{}", ann.id))).by(&account.token).await.is(204);
    client.delete(0, account.at(&format!("/sessions/{}", bob.session))).by(&account.token).await.is(204);
    let key = &robot.key.as_ref().unwrap().0;
    let revoked = account.at(&format!("/service-accounts/{}/keys/{key}", robot.id));
    client.delete(0, revoked).by(&account.token).await.is(204);

    // Every bad input, and the account is as it was.
    let bytes = fs::read(&one).unwrap();
    let bad = |name: &str, bytes: &[u8]| {
        let file = path(name);
        fs::write(&file, bytes).unwrap();
        file
    };
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 4;
        bytes
    };
    let empty = bad("empty", b"");
    let foreign = bad("foreign", b"{\"a\": 1}");
    let files = [
        (empty.clone(), "not a backup"),
        (foreign, "not a backup"),
        (bad("cut", &bytes[..bytes.len() - 1]), "damaged"),
        (bad("short", &bytes[..60]), "damaged"),
        (bad("longer", &[&bytes[..], b"x"].concat()), "damaged"),
        (bad("header", &flipped(20)), "damaged"),
        (bad("rows", &flipped(bytes.len() / 2)), "damaged"),
        (bad("end", &flipped(bytes.len() - 3)), "damaged"),
    ];
    for (file, says) in &files {
        refused(&["backup", "verify", file, "--config", &settings], says);
        refused(&["backup", "restore", file, "--account", &account.id, "--config", &settings], says);
    }
    // The node does not take the program's word for it.
    let operator = Kek::read_file(Path::new(&setting(cluster.settings(1), "key_file"))).unwrap();
    let operator = operator.operator_token().expose().clone();
    let upload = format!("/v1/cluster/accounts/{}/restore", account.id);
    for (file, _) in &files {
        let bytes = fs::read(file).unwrap();
        client.post(2, &upload).body(bytes).by(&operator).await.says(400, "backup_unusable");
    }
    client.post(2, &upload).body(bytes.clone()).by(&account.token).await.says(401, "not_operator");
    refused(&["backup", "verify", &path("none"), "--config", &settings], "none");
    refused(&["backup", "restore", &one, "--account", &other.id, "--config", &settings], "another_account");
    refused(
        &["backup", "restore", &all, "--account", "100000000009", "--config", &settings],
        "not_in_backup",
    );
    refused(&["backup", "restore", &all, "--account", "x", "--config", &settings], "12 digits");
    refused(&["backup", "save", &path("x"), "--account", "100000000009", "--config", &settings], "404");
    refused(&["recover", "--from-this-node", "--data", &path("nowhere"), "--config", &settings], "no node's");
    refused(&["backup", "save", &path("no/x"), "--config", &settings], "cannot be written");
    let lonely = settings_beside(cluster.settings(0), folder.path(), "lonely");
    refused(&["backup", "restore", &one, "--config", &text(&lonely)], "account");
    let other_key = folder.path().join("other.kek");
    drop(Kek::read_or_create_file(&other_key).unwrap());
    let wrong_key = ["backup", "verify", &one, "--config", &settings];
    let output = program().args(wrong_key).env("CONCLAVE_KEY_FILE", &other_key).output().unwrap();
    assert!(stderr(&output).contains("sealed with key"), "{output:?}");
    assert_eq!(client.get(0, account.at("/roles/newer")).by(&account.token).await.status, 200);

    // A disk that is full: the earlier one stays, and nothing else does.
    let before = (fs::read(&one).unwrap(), fs::read_dir(folder.path()).unwrap().count());
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {} \"$@\"", env!("CARGO_BIN_EXE_conclave"));
    let full = Command::new("sh")
        .args(["-c", &script, "sh", "backup", "save", &one, "--config", &settings])
        .env_clear()
        .output()
        .unwrap();
    assert!(stderr(&full).contains("no room"), "{full:?}");
    assert_eq!((fs::read(&one).unwrap(), fs::read_dir(folder.path()).unwrap().count()), before);

    let writer = Writer::start(cluster.client(), other.clone(), 2);
    let restored = with(&["backup", "restore", &one, "--account", &account.id, "--json"]);
    assert_eq!(restored["backup_revision"], saved["revision"]);
    let written = writer.end().await;
    for name in [written.first().unwrap(), written.last().unwrap()] {
        client.get(1, other.at(&format!("/roles/{name}"))).by(&other.token).await.is(200);
    }
    let root = &account.token;
    client.get(0, account.at("/roles/kept")).by(root).await.is(200);
    client.get(0, account.at("/roles/newer")).by(root).await.is(404);
    account.sign_in(&client, 1, "ann", PASSWORD).await.is(200);
    // Ended or revoked since: dead. Alive in both: alive.
    assert_eq!(knows(&client, &account, &ann.token).await, 401);
    assert_eq!(knows(&client, &account, &bob.token).await, 401);
    assert_eq!(refresh(&client, &account, &ann).await, 401);
    assert_eq!(key_sign_in(&client, &account, &robot).await, 401);
    assert_eq!(key_sign_in(&client, &account, &good).await, 200);
    let records = client.get(2, account.at("/audit?action=account.restore")).by(root).await.is(200);
    assert_eq!(records.items()[0]["target"], format!("backup/{}", saved["revision"]));
    cluster.are_equal().await;
    // The backup of the whole cluster holds it as well.
    with(&["backup", "restore", &all, "--account", &account.id]);
    client.get(0, account.at("/roles/kept")).by(root).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_saves_backups_by_itself_and_keeps_some() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let key_file = folder.path().join("new.kek");
    drop(Kek::read_or_create_file(&key_file).unwrap());
    let base = folder.path().join("base.toml");
    fs::write(&base, format!("key_file = '{}'\n", key_file.display())).unwrap();
    let settings = settings_beside(&base, folder.path(), "new");
    let alone = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{alone}backup_folder = '{}'\nbackup_keep = 2\n", kept.display())).unwrap();
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("conclave-1.77.part"), "of a node that was killed").unwrap();
    fs::write(kept.join("conclave-mine.backup"), "somebody's own").unwrap();
    let config = Config::load(Flags::default(), Some(&settings), Vec::new()).unwrap();
    let (clock, metrics) = (Arc::new(Forward::default()), Arc::new(Metrics::new()));
    let node = Node::start_by(&config, Arc::clone(&metrics), clock.clone()).await.unwrap();
    let list = || {
        let output =
            program().args(["backup", "list", "--json", "--config"]).arg(&settings).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["file"].clone());
        lines.collect::<Vec<Value>>()
    };
    let mut newest = Vec::new();
    for day in 0..4 {
        let saved = format!("conclave_backup_saved_total {}", day + 1);
        eventually("the day's backup", async || metrics.render().contains(&saved).then_some(())).await;
        let files = list();
        assert_eq!(files.len(), (day + 1).min(2), "{files:?}");
        told(&["backup", "verify", files[0].as_str().unwrap(), "--config", &text(&settings), "--json"]);
        assert!(!newest.contains(&files[0]));
        newest.push(files[0].clone());
        clock.pass(Duration::from_hours(24));
    }
    let names: Vec<_> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.contains(&"conclave-mine.backup".into()), "{names:?}");
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{names:?}");
    // A folder that is gone and cannot come back.
    fs::remove_dir_all(&kept).unwrap();
    fs::write(&kept, "no folder").unwrap();
    clock.pass(Duration::from_hours(24));
    let failures = "conclave_backup_failures_total 1";
    eventually("a failure is told", async || metrics.render().contains(failures).then_some(())).await;
    let told = metrics.render();
    assert!(told.contains("conclave_backup_age_seconds"), "{told}");
    assert!(told.contains("conclave_backup_last_success_timestamp_seconds"), "{told}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_majority_is_survived_by_one_node_and_the_others_stay_outside() {
    let mut cluster = Processes::start("rate_limit_login = 'off'\n").await;
    let client = cluster.client();
    let account = Account::open(&client).await;
    let ann = account.user(&client, "ann", &[]).await;
    let robot = account.service(&client, "robot", &[]).await;
    for number in 0..30 {
        account.role(&client, &format!("role-{number}"), &["doc:read"]).await;
    }
    cluster.are_equal().await;
    let before = cluster.members(2).unwrap();
    let settings = text(cluster.settings(2));
    let recover = ["recover", "--from-this-node", "--config", &settings];
    refused(&recover, "another process");
    for node in 0..3 {
        cluster.kill(node);
    }
    refused(&recover, "--yes");
    let output = program().args(recover).output().unwrap();
    assert!(stderr(&output).contains(&format!("last revision here  {}", before["revision"])), "{output:?}");
    assert_eq!(program().args(["recover", "--config", &settings]).output().unwrap().status.code(), Some(2));
    let done = told(&[&recover[..], &["--yes", "--json"]].concat());
    assert_eq!(done["old_cluster"], before["cluster"]);
    assert!(done["revision"].as_u64() > before["revision"].as_u64());
    assert!(Path::new(done["old_parts"].as_str().unwrap()).join("identity.toml").exists());

    let node = Single::start(cluster.settings(2)).await;
    let client = &node.client;
    let root = account.sign_in(client, 0, &account.email, PASSWORD).await.is(200).text("access_token");
    for number in 0..30 {
        client.get(0, account.at(&format!("/roles/role-{number}"))).by(&root).await.is(200);
    }
    assert_eq!(knows(client, &account, &ann.token).await, 401, "sessions end");
    assert_eq!(key_sign_in(client, &account, &robot).await, 200, "keys stay");

    // An old node comes back, and finds nobody.
    cluster.spawn(0);
    let old = cluster.client();
    eventually("the old node answers", async || {
        old.get(0, "/health").send().await.is_ok_and(|reply| reply.status == 200).then_some(())
    })
    .await;
    let asked = old.get(0, account.at("/roles/role-1")).by(&root).await;
    assert!(asked.status == 503 || asked.status == 401, "{}", asked.status);
    assert_ne!(old.get(0, "/ready").await.status, 200);
    let members = cluster.members(2).unwrap();
    assert_eq!((members["members"].as_array().unwrap().len(), &members["cluster"]), (1, &done["cluster"]));
}

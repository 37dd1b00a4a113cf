//! The program itself: its exit codes, what it says when it cannot start, and that it stops when told to.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use conclave::auth::kek::Kek;
use conclave::cli::ask::ask;

/// The program with no variable of ours in its environment.
fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path()).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn version_and_help_are_answered() {
    let version = run(&["--version"], &[]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("conclave 0."), "{version:?}");
    let help = run(&["start", "--help"], &[]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("--join") && !text.contains("stdin") && !text.contains("secret"), "{text}");
}

#[test]
fn what_the_operator_must_change_is_exit_code_2() {
    let secret = "hunter2-hunter2";
    for (arguments, environment, says) in [
        (&["begin"][..], &[][..], "unrecognized subcommand"),
        (&["start", "--config", "none.toml"], &[], "none.toml"),
        (&["start", "--http-listen", "8080"], &[], "`http_listen` on the command line"),
        (&["start"], &[("CONCLAVE_HTP_LISTEN", "x")], "did you mean `http_listen`?"),
        (&["start"], &[("CONCLAVE_JWT_SECRET", secret)], "needs 32"),
        (&["members", "--data", "/"], &[], "root folder"),
        (&["dev", "--nodes", "0"], &[], "--nodes"),
    ] {
        let output = run(arguments, environment);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains(secret));
    }
}

#[test]
fn dev_names_a_taken_port_and_starts_nothing() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    // Ports near the top have no room for those of the peers, which is another error.
    let output = program(folder.path()).args(["dev", "--port", &port.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(&format!("port {port} is taken")) || said.contains("too high"), "{said}");
    assert!(!folder.path().join("conclave-dev/node-1").exists());
}

#[test]
fn members_says_what_is_missing() {
    let address = free_address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let ask =
        || program(folder.path()).arg("members").env("CONCLAVE_HTTP_LISTEN", &address).output().unwrap();
    let output = ask();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("conclave-data.kek"), "{output:?}");
    Kek::read_or_create_file(&folder.path().join("conclave-data.kek")).unwrap();
    let output = ask();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("no node answers at {address}")), "{output:?}");
}

#[test]
fn settings_are_printed_as_a_file_that_loads() {
    let output = run(&["settings"], &[]);
    assert!(output.status.success(), "{output:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("conclave.toml");
    std::fs::write(&file, &output.stdout).unwrap();
    // It gets as far as looking for the key file.
    let members = program(folder.path()).args(["members", "--config"]).arg(&file).output().unwrap();
    assert!(stderr(&members).contains("conclave-data.kek"), "{members:?}");
}

#[tokio::test]
async fn variables_of_older_systems_are_said_at_the_start_without_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let http = free_address();
    let mut command = program(folder.path());
    command
        .args(["start", "--peer-listen", &free_address().to_string()])
        .envs([("HOST", "localhost"), ("PORT", &http.port().to_string())])
        .env("DATABASE_URL", "postgresql://keystone:hunter2@localhost/keystone")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let mut node = Running(command.spawn().unwrap(), http);
    node.until("/ready", |status| status == Some(200)).await;
    drop(node);
    let said = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(said.matches("DATABASE_URL has no effect: there is no database").count(), 1, "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// A node of its own, stopped when dropped.
struct Running(Child, SocketAddr);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    async fn start(folder: &Path, more: &[&str]) -> Self {
        let (http, peers) = (free_address(), free_address());
        let mut command = program(folder);
        command
            .args(["start", "--http-listen", &http.to_string(), "--peer-listen", &peers.to_string()])
            .args(more);
        let mut running = Self(command.stdin(Stdio::piped()).spawn().unwrap(), http);
        running.until("/ready", |status| status == Some(200)).await;
        running
    }

    async fn until(&mut self, path: &str, good: impl Fn(Option<u16>) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !good(ask(self.1, "GET", path, None).await.ok().map(|answer| answer.status)) {
            assert!(self.0.try_wait().unwrap().is_none(), "the node ended");
            assert!(Instant::now() < deadline, "{path} takes too long");
            tokio::task::yield_now().await;
        }
    }

    /// How the process ends, within a time that only a hanging one reaches.
    async fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_node_stops_gracefully_on_signals_and_with_its_parent() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Running::start(folder.path(), &[]).await;
        let pid = node.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(node.end().await.success(), "{signal}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut node = Running::start(folder.path(), &["--stop-with-stdin"]).await;
    drop(node.0.stdin.take());
    assert!(node.end().await.success());
}

#[tokio::test]
async fn an_administrator_is_made_by_whoever_can_read_the_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let node = Running::start(folder.path(), &[]).await;
    let create = |arguments: &[&str], input: &str| {
        let mut command = program(folder.path());
        command.args(["admin", "create"]).args(arguments).env("CONCLAVE_HTTP_LISTEN", node.1.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that needs no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let first = create(&[], "");
    assert!(first.status.success(), "{}", stderr(&first));
    let text = said(&first);
    let password = text.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    let other = create(&["--username", "grace", "--password-stdin"], "a long and unusual sentence\nmore\n");
    assert!(other.status.success(), "{}", stderr(&other));
    assert!(said(&other).starts_with("administrator grace (") && !said(&other).contains("unusual"));
    for (name, password) in [("admin", password), ("grace", "a long and unusual sentence")] {
        let body = format!(r#"{{"grant_type":"password","username":"{name}","password":"{password}"}}"#);
        let answer = ask(node.1, "POST", "/api/v1/auth/token", Some(&body)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    for (arguments, input, says) in [
        (&["--username", "grace"][..], "", "name_taken"),
        (&["--username", "a b"], "", "invalid_value"),
        (&["--username", "weak", "--password-stdin"], "password\n", "weak_password"),
        (&["--username", "none", "--password-stdin"], "", "no password"),
    ] {
        let output = create(arguments, input);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
    }
}

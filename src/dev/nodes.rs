//! The processes of the nodes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

use super::folder::Folder;
use super::{DevError, Ports};
use crate::cli::ask::ask;

/// A node whose process was started.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub(super) node: u16,
    pub(super) pid: u32,
    pub(super) http: SocketAddr,
    pub(super) log: PathBuf,
    pub(super) settings: PathBuf,
}

/// All processes; those that have ended are no longer in `running`.
pub(super) struct Nodes {
    started: Vec<Started>,
    running: Vec<Running>,
}

struct Running {
    node: u16,
    child: Child,
    /// Dropping it asks the node to stop. Held apart, because waiting for a [`Child`] drops its own.
    lifeline: Option<ChildStdin>,
}

/// For a node to finish what it is doing when asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Settings that we write for each node, so the environment must not override them.
const OWN_VARIABLES: [&str; 8] = [
    "CONCLAVE_CONFIG",
    "CONCLAVE_DATA",
    "CONCLAVE_HTTP_LISTEN",
    "CONCLAVE_PEER_LISTEN",
    "CONCLAVE_PEER_ADVERTISE",
    "CONCLAVE_PUBLIC_URL",
    "CONCLAVE_JOIN",
    "CONCLAVE_KEY_FILE",
];

impl Nodes {
    /// Starts a process for each node of the folder.
    pub(super) fn start(folder: &Folder, ports: &[Ports]) -> Result<Self, DevError> {
        let mut nodes = Self { started: Vec::new(), running: Vec::new() };
        for (node, ports) in (1..).zip(ports) {
            let (settings, log) = (folder.settings(node), folder.log(node));
            let failed = |source| DevError::Process { node, source };
            let mut command = Command::new(std::env::current_exe().map_err(failed)?);
            command.arg("start").arg("--config").arg(&settings).arg("--stop-with-stdin");
            for variable in OWN_VARIABLES {
                command.env_remove(variable);
            }
            let child = spawn(command, &log).map_err(failed)?;
            nodes.add(Started { node, pid: 0, http: ports.http, log, settings }, child);
        }
        Ok(nodes)
    }

    fn add(&mut self, node: Started, mut child: Child) {
        let pid = child.id().unwrap_or_default();
        let lifeline = child.stdin.take();
        self.running.push(Running { node: node.node, child, lifeline });
        self.started.push(Started { pid, ..node });
    }

    pub(super) fn started(&self) -> &[Started] {
        &self.started
    }

    pub(super) fn are_all_gone(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits until every node answers that it is ready.
    pub(super) async fn ready(&mut self, within: Duration) -> Result<(), DevError> {
        let deadline = Instant::now() + within;
        for node in self.started.clone() {
            loop {
                if let Some((dead, status)) = self.ended_already()? {
                    return Err(DevError::Died {
                        node: dead.node,
                        status,
                        tail: tail(&dead.log).unwrap_or_default(),
                        log: dead.log,
                    });
                }
                let answer = ask(node.http, "GET", "/ready", None).await;
                if answer.is_ok_and(|answer| answer.status == 200) {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(DevError::NotReady { node: node.node, log: node.log });
                }
                // Nothing tells us from outside when a process begins to listen.
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// A node that has ended, without waiting for one.
    fn ended_already(&mut self) -> Result<Option<(Started, ExitStatus)>, DevError> {
        for index in 0..self.running.len() {
            let Some(Running { node, child, .. }) = self.running.get_mut(index) else { continue };
            let node = *node;
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    self.running.remove(index);
                    return Ok(self.find(node).map(|started| (started, status)));
                }
                Err(source) => return Err(DevError::Process { node, source }),
            }
        }
        Ok(None)
    }

    fn find(&self, node: u16) -> Option<Started> {
        self.started.iter().find(|started| started.node == node).cloned()
    }

    /// Waits for the next node that ends by itself.
    pub(super) async fn next_end(&mut self) -> Result<(Started, ExitStatus), DevError> {
        if self.running.is_empty() {
            return Err(DevError::AllGone);
        }
        let ends = self.running.iter_mut().map(|running| Box::pin(running.child.wait()));
        let (outcome, index, _) = select_all(ends).await;
        let Running { node, .. } = self.running.remove(index);
        let status = outcome.map_err(|source| DevError::Process { node, source })?;
        self.find(node).map(|started| (started, status)).ok_or(DevError::AllGone)
    }

    /// Asks all nodes to stop, waits for them, and kills those that do not.
    pub(super) async fn stop(&mut self) {
        for running in &mut self.running {
            drop(running.lifeline.take());
        }
        let deadline = Instant::now() + STOP_WITHIN;
        for Running { node, child, .. } in &mut self.running {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, child.wait()).await.is_err() {
                println!("conclave dev: node {node} does not stop; killing it");
                let _ = child.kill().await;
            }
        }
        self.running.clear();
    }
}

/// Starts a process that ends with us and writes into `log`.
fn spawn(mut command: Command, log: &Path) -> io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is sent to our whole group; the nodes hear of it from us.
        .process_group(0)
        .spawn()
}

/// What to type to bring a node back.
pub(super) fn start_command(settings: &Path) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("conclave"));
    format!("{} start --config {}", program.display(), settings.display())
}

/// The last lines of a log.
fn tail(log: &Path) -> io::Result<String> {
    const BYTES: u64 = 4096;
    const LINES: usize = 12;
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    Ok(last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// A process that runs a shell script in place of a node.
    fn shell(script: &str, log: &Path) -> Child {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        spawn(command, log).unwrap()
    }

    fn nodes(scripts: &[&str], folder: &Path) -> Nodes {
        let mut nodes = Nodes { started: Vec::new(), running: Vec::new() };
        for (node, script) in (1..).zip(scripts) {
            let log = folder.join(format!("{node}.log"));
            let child = shell(script, &log);
            let settings = PathBuf::from(format!("node-{node}.toml"));
            nodes.add(Started { node, pid: 0, http: super::super::loopback(1), log, settings }, child);
        }
        nodes
    }

    /// Runs until its standard input ends, and then says so.
    const UNTIL_STDIN_ENDS: &str = "cat; echo stopped gently";

    #[tokio::test]
    async fn a_killed_node_is_reported_and_the_others_are_stopped_gently() {
        let folder = tempfile::tempdir().unwrap();
        let mut nodes = nodes(&[UNTIL_STDIN_ENDS, "kill -9 $$", UNTIL_STDIN_ENDS], folder.path());
        let (ended, status) = nodes.next_end().await.unwrap();
        assert_eq!((ended.node, status.signal()), (2, Some(9)));
        assert!(start_command(&ended.settings).ends_with("start --config node-2.toml"));
        // Waiting for one end must not bring about the others'.
        assert!(timeout(Duration::from_millis(300), nodes.next_end()).await.is_err());
        assert!(!nodes.are_all_gone());
        nodes.stop().await;
        assert!(nodes.are_all_gone());
        for node in [1, 3] {
            let log = std::fs::read_to_string(folder.path().join(format!("{node}.log"))).unwrap();
            assert_eq!(log, "stopped gently\n");
        }
        assert!(matches!(nodes.next_end().await, Err(DevError::AllGone)));
    }

    #[tokio::test]
    async fn a_node_that_ends_before_it_is_ready_is_shown_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut nodes = nodes(&[UNTIL_STDIN_ENDS, "echo no such setting; exit 2"], folder.path());
        let error = nodes.ready(Duration::from_secs(20)).await.unwrap_err().to_string();
        assert!(
            error.contains("node 2 ended (exit status: 2)") && error.ends_with("  no such setting"),
            "{error}"
        );
        nodes.stop().await;
    }

    #[tokio::test]
    async fn a_node_that_never_gets_ready_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut nodes = nodes(&[UNTIL_STDIN_ENDS], folder.path());
        let error = nodes.ready(Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, DevError::NotReady { node: 1, .. }), "{error}");
        nodes.stop().await;
    }
}

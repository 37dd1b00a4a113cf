//! Clusters of real processes, for what only a process can suffer: `kill -9`, and damage while it is down.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::harness::{Prepared, eventually};

/// Processes of one cluster; all are killed when dropped.
pub(crate) struct Processes {
    running: Vec<Option<Child>>,
    prepared: Prepared,
    folder: TempDir,
}

/// Patient, because the machine has other things to do; and short in what is asked, so that what cannot be
/// answered is said soon.
pub(crate) const SETTINGS: &str = "heartbeat = '100ms'\nelection_min = '400ms'\nelection_max = '800ms'\n\
     request_timeout = '2s'\n";

impl Processes {
    /// Starts three nodes and waits until they all serve and vote.
    pub(crate) async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prepared = Prepared::new(folder.path(), 3, &format!("{SETTINGS}{more}"));
        let mut processes = Self { running: vec![None, None, None], prepared, folder };
        for node in 0..3 {
            processes.spawn(node);
        }
        for node in 0..3 {
            processes.ready(node).await;
        }
        processes
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.prepared.http.clone())
    }

    /// Where the nodes answer clients.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.prepared.http.iter().map(|address| format!("http://{address}")).collect()
    }

    /// Where a node answers clients.
    pub(crate) fn client_address(&self, node: usize) -> std::net::SocketAddr {
        self.prepared.http[node]
    }

    /// The process of a node.
    pub(crate) fn pid(&self, node: usize) -> u32 {
        self.running[node].as_ref().unwrap().id()
    }

    /// The data folder of a node.
    pub(crate) fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{}", node + 1))
    }

    /// The settings file of a node.
    pub(crate) fn settings(&self, node: usize) -> &Path {
        &self.prepared.settings[node]
    }

    /// Starts the process of a node, and does not wait for anything.
    pub(crate) fn spawn(&mut self, node: usize) {
        let log = self.folder.path().join(format!("node-{}.log", node + 1));
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = program();
        command.args(["start", "--stop-with-stdin", "--config"]).arg(self.settings(node));
        self.running[node] =
            Some(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// What a node has logged in all its lives.
    pub(crate) fn log(&self, node: usize) -> String {
        fs::read_to_string(self.folder.path().join(format!("node-{}.log", node + 1))).unwrap()
    }

    /// Waits until a node serves as one of three voters.
    pub(crate) async fn ready(&mut self, node: usize) {
        let client = self.client();
        eventually(&format!("node {node} is ready"), async || {
            if let Some(status) = self.running[node].as_mut().unwrap().try_wait().unwrap() {
                panic!("node {node} ended with {status}: {}", self.log(node));
            }
            let is_ready = client.get(node, "/ready").send().await.is_ok_and(|reply| reply.status == 200);
            (is_ready && self.voters(node) == 3).then_some(())
        })
        .await;
    }

    fn voters(&self, node: usize) -> usize {
        let status = self.members(node).unwrap_or_default();
        let members = status["members"].as_array().cloned().unwrap_or_default();
        members.iter().filter(|member| member["is_voter"] == true).count()
    }

    /// Kills the process as `kill -9` does.
    pub(crate) fn kill(&mut self, node: usize) {
        let mut child = self.running[node].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the process to stop and waits for its end.
    pub(crate) async fn stop(&mut self, node: usize) -> ExitStatus {
        let mut child = self.running[node].take().unwrap();
        drop(child.stdin.take());
        ended(&mut child).await
    }

    /// Waits until a process that was started ends by itself, and gives what it said last.
    pub(crate) async fn fails(&mut self, node: usize) -> String {
        let mut child = self.running[node].take().unwrap();
        let status = ended(&mut child).await;
        let log = self.log(node);
        assert!(!status.success(), "{log}");
        log.lines().rev().find(|line| line.starts_with("conclave: ")).unwrap_or_default().to_owned()
    }

    /// What `conclave members` says on a node.
    pub(crate) fn members(&self, node: usize) -> Option<Value> {
        let output =
            program().args(["members", "--json", "--config"]).arg(self.settings(node)).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The node that leads, as all of `nodes` agree.
    pub(crate) async fn leader(&self, nodes: &[usize]) -> usize {
        eventually("they agree on who leads", async || {
            let named: Vec<Option<u64>> = nodes
                .iter()
                .map(|node| self.members(*node).and_then(|status| status["leader"].as_u64()))
                .collect();
            let leader = named[0].filter(|_| named.iter().all(|name| *name == named[0]))?;
            let leader = usize::try_from(leader).unwrap() - 1;
            nodes.contains(&leader).then_some(leader)
        })
        .await
    }

    /// Waits until all nodes show the same digest at the same revision.
    pub(crate) async fn are_equal(&self) {
        eventually("equal digests", async || {
            let seen: Vec<Value> = (0..3).filter_map(|node| self.members(node)).collect();
            let shown = |status: &Value| (status["revision"].clone(), status["digest"].clone());
            (seen.len() == 3 && seen.iter().all(|status| shown(status) == shown(&seen[0]))).then_some(())
        })
        .await;
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn ended(child: &mut Child) -> ExitStatus {
    eventually("the process ends", async || child.try_wait().unwrap()).await
}

/// The program with no variable of ours in its environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs a node that is expected to end by itself at once.
pub(crate) fn start_in_vain(settings: &Path) -> Output {
    program().args(["start", "--config"]).arg(settings).output().unwrap()
}

//! A cluster grows, shrinks, heals and changes its certificates, as an operator does it: with the program.

mod certificates;
mod changing;
mod discovery;
mod joining;
mod replacing;
mod setup;

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, interval};

use crate::client::Client;
use crate::harness::{Account, PATIENCE, eventually, free_address};
use crate::processes::{SETTINGS, program};

/// Machines, each with settings and ports of its own, and nothing that they share but what a token or a file brings.
/// Numbered from 0; what runs is killed when this is dropped.
struct Crew {
    machines: Vec<Machine>,
    folder: TempDir,
}

struct Machine {
    settings: PathBuf,
    http: SocketAddr,
    peer: SocketAddr,
    running: Option<Child>,
}

impl Crew {
    /// So many machines where nothing runs.
    fn new(machines: usize, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut crew = Self { machines: Vec::new(), folder };
        for _ in 0..machines {
            crew.add(more);
        }
        crew
    }

    /// A machine more; gives its number.
    fn add(&mut self, more: &str) -> usize {
        let number = self.machines.len();
        let (http, peer) = (free_address(), free_address());
        let home = self.folder.path().join(format!("machine-{number}"));
        fs::create_dir_all(&home).unwrap();
        let own = |name: &str, line: String| if more.contains(name) { String::new() } else { line };
        let text = format!(
            "data = '{}'\nhttp_listen = '{http}'\npeer_listen = '{peer}'\n{}{}argon2_memory_kib = 7168\n\
             argon2_iterations = 1\nrate_limit_login = 'off'\nrate_limit_register = 'off'\n\
             rate_limit_native = 'off'\nrate_limit_default = 'off'\n{SETTINGS}{more}",
            home.join("data").display(),
            own("key_file", format!("key_file = '{}'\n", home.join("own.kek").display())),
            own("promote_after", "promote_after = '0ms'\n".to_owned()),
        );
        let settings = home.join("settings.toml");
        fs::write(&settings, text).unwrap();
        self.machines.push(Machine { settings, http, peer, running: None });
        number
    }

    /// A cluster of so many voters, made by one `start` and as many tokens and joins as it takes.
    async fn grown(machines: usize, more: &str) -> Self {
        let mut crew = Self::new(machines, more);
        crew.spawn(0, &["start"], None);
        crew.ready(0).await;
        for machine in 1..machines {
            let token = crew.token(0, &[]);
            crew.join(machine, &token);
            crew.ready(machine).await;
        }
        crew.voters(0, machines).await;
        crew
    }

    fn settings(&self, machine: usize) -> &Path {
        &self.machines[machine].settings
    }

    fn data(&self, machine: usize) -> PathBuf {
        self.settings(machine).with_file_name("data")
    }

    fn peer(&self, machine: usize) -> String {
        self.machines[machine].peer.to_string()
    }

    fn client(&self) -> Client {
        Client::new(self.machines.iter().map(|machine| machine.http).collect())
    }

    /// Starts a process there that goes on, with a join token in its environment if there is one.
    fn spawn(&mut self, machine: usize, arguments: &[&str], token: Option<&str>) {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path(machine)).unwrap();
        let mut command = program();
        command.args(arguments).arg("--config").arg(self.settings(machine));
        if let Some(token) = token {
            command.env("CONCLAVE_JOIN_TOKEN", token);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.machines[machine].running = Some(command.spawn().unwrap());
    }

    fn start(&mut self, machine: usize) {
        self.spawn(machine, &["start"], None);
    }

    fn join(&mut self, machine: usize, token: &str) {
        self.spawn(machine, &["join"], Some(token));
    }

    fn log_path(&self, machine: usize) -> PathBuf {
        self.settings(machine).with_file_name("log")
    }

    /// What was said on a machine, in all lives of its node.
    fn log(&self, machine: usize) -> String {
        fs::read_to_string(self.log_path(machine)).unwrap_or_default()
    }

    /// Waits until the node of a machine serves and has its place.
    async fn ready(&mut self, machine: usize) {
        let client = self.client();
        eventually(&format!("machine {machine} is ready"), async || {
            let running = self.machines[machine].running.as_mut().unwrap();
            if let Some(status) = running.try_wait().unwrap() {
                panic!("machine {machine} ended with {status}: {}", self.log(machine));
            }
            client.get(machine, "/ready").send().await.is_ok_and(|reply| reply.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until a machine says that there are so many voters, all healthy, and nobody else on the way.
    async fn voters(&self, machine: usize, count: usize) -> Value {
        eventually(&format!("{count} healthy voters"), async || {
            let all = self.members(machine)?;
            let members = all["members"].as_array().unwrap().clone();
            let is_good = |member: &&Value| {
                member["is_voter"] == true && member["is_healthy"] == true && member["is_leaving"] == false
            };
            (members.iter().filter(is_good).count() == count && all["voters"] == json!(count)).then_some(all)
        })
        .await
    }

    /// What `conclave members` says on a machine.
    fn members(&self, machine: usize) -> Option<Value> {
        let output = self.run(machine, &["members", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The number of the node on a machine.
    fn node(&self, machine: usize) -> u64 {
        self.members(machine).unwrap()["node"].as_u64().unwrap()
    }

    /// The numbers of all members, as a machine sees them.
    fn nodes(&self, machine: usize) -> Vec<u64> {
        let all = self.members(machine).unwrap();
        all["members"].as_array().unwrap().iter().map(|each| each["node"].as_u64().unwrap()).collect()
    }

    /// The machine whose node leads, as `asked` sees it, where node N is on machine N-1.
    async fn leader(&self, asked: usize) -> usize {
        let leader = eventually("a leader", async || self.members(asked)?["leader"].as_u64()).await;
        usize::try_from(leader).unwrap() - 1
    }

    fn command(&self, machine: usize, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).arg("--config").arg(self.settings(machine));
        command
    }

    /// Runs a command on a machine to its end.
    fn run(&self, machine: usize, arguments: &[&str]) -> Output {
        self.command(machine, arguments).output().unwrap()
    }

    /// The same, which must work; gives what it prints.
    #[track_caller]
    fn must(&self, machine: usize, arguments: &[&str]) -> String {
        let output = self.run(machine, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, which must be refused with this exit code and these words.
    #[track_caller]
    fn refuses(&self, machine: usize, arguments: &[&str], code: i32, words: &str) {
        let output = self.run(machine, arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?} should say {words:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }

    /// A command that is given again until it is done: it is refused as long as another change is under way, or what
    /// it needs is not there yet.
    async fn insist(&self, machine: usize, arguments: &[&str]) {
        eventually(&format!("{arguments:?}"), async || {
            self.run(machine, arguments).status.success().then_some(())
        })
        .await;
    }

    /// A new join token.
    #[track_caller]
    fn token(&self, machine: usize, more: &[&str]) -> String {
        let arguments = [&["token", "create"], more].concat();
        self.must(machine, &arguments).trim().to_owned()
    }

    /// Kills the process on a machine as `kill -9` does.
    fn kill(&mut self, machine: usize) {
        let mut child = self.machines[machine].running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until the process on a machine ends by itself.
    async fn ends(&mut self, machine: usize) -> ExitStatus {
        let child = self.machines[machine].running.as_mut().unwrap();
        let status = eventually("the process ends", async || child.try_wait().unwrap()).await;
        self.machines[machine].running = None;
        status
    }

    /// Waits until a machine has said this.
    async fn says(&self, machine: usize, words: &str) {
        eventually(&format!("machine {machine} says {words:?}"), async || {
            self.log(machine).contains(words).then_some(())
        })
        .await;
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for child in self.machines.iter_mut().filter_map(|machine| machine.running.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for machine in 0..self.machines.len() {
                let log = self.log(machine);
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(25)..].join("\n");
                eprintln!("--- machine {machine}\n{last}");
            }
        }
    }
}

/// Everything that a command said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Creates a role through a node, under a key that makes trying again safe, until it is acknowledged.
async fn write(client: &Client, account: &Account, machine: usize, name: &str) {
    let (body, deadline) = (json!({"name": name}), Instant::now() + PATIENCE);
    let mut ticks = interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Ok(reply) = account.ask(client, machine, "POST", "/roles").key(name).json(&body).send().await {
            assert!(matches!(reply.status, 201 | 503), "{}", reply.json);
            if reply.status == 201 {
                return;
            }
        }
        assert!(Instant::now() < deadline, "a write is not acknowledged: {name}");
    }
}

/// Writes through some machines in turn until it is told to stop; what was acknowledged must be there then.
struct Writing {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Writing {
    fn start(client: Client, account: Account, machines: Vec<usize>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut written = Vec::new();
            while !stopping.load(Ordering::Relaxed) {
                let name = format!("meanwhile-{}", written.len());
                write(&client, &account, machines[written.len() % machines.len()], &name).await;
                written.push(name);
            }
            written
        });
        Self { stop, task }
    }

    /// Ends it, and looks for all that was acknowledged through a machine.
    async fn end(self, client: &Client, account: &Account, machine: usize) {
        self.stop.store(true, Ordering::Relaxed);
        let written = self.task.await.unwrap();
        assert!(!written.is_empty());
        for name in &written {
            account.ask(client, machine, "GET", &format!("/roles/{name}")).await.is(200);
        }
    }
}

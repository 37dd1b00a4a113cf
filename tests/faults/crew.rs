//! Real processes of one cluster, each on a machine with a network of its own, and all that is done to them.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use conclave::auth::key_file::KeySource;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;
use crate::net::{self, Net};

/// How the machines of a crew are set up.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The program that is tried.
    pub(crate) program: PathBuf,
    /// Where settings and logs are, and the data of machines that `data` does not name.
    pub(crate) folder: PathBuf,
    /// Data folders, the first machine's first: for disks that are somewhere else.
    pub(crate) data: Vec<PathBuf>,
    /// Further lines of settings. What is named here replaces ours.
    pub(crate) settings: String,
    /// Variables of every node's environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// The processes of one cluster. All are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) net: Net,
    options: Options,
    machines: Vec<Machine>,
    client: Client,
}

#[derive(Debug)]
struct Machine {
    home: PathBuf,
    data: PathBuf,
    running: Option<Child>,
    is_paused: bool,
}

/// Longer than anything takes that does not hang, on a machine that others use too.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "still not: {what}");
    }
}

/// What a node says of itself, without asking others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) term: u64,
    pub(crate) is_leader: bool,
    /// Index of the last log entry that it shows.
    pub(crate) applied: u64,
    /// Index of the last entry in its newest snapshot.
    pub(crate) snapshot: u64,
}

impl Crew {
    /// A cluster of so many voters on the network of this process, made as an operator makes it: a start, and a token
    /// and a join for each of the others.
    pub(crate) async fn grown(owner: u32, machines: usize, options: Options) -> Self {
        let mut crew = Self { net: Net::new(owner), options, machines: Vec::new(), client: Client::new() };
        crew.add();
        crew.start(0);
        crew.ready(0).await;
        for _ in 1..machines {
            crew.grow().await;
        }
        crew.voters(machines).await;
        crew
    }

    /// A machine more, where nothing runs yet; gives its number.
    pub(crate) fn add(&mut self) -> usize {
        let number = self.net.add();
        let home = self.options.folder.join(format!("machine-{number}"));
        fs::create_dir_all(&home).unwrap();
        let data = self.options.data.get(number).cloned().unwrap_or_else(|| home.join("data"));
        let more = &self.options.settings;
        let ours = [
            ("argon2_memory_kib", "7168".to_owned()),
            ("argon2_iterations", "1".to_owned()),
            ("promote_after", "'0ms'".to_owned()),
            ("access_token_lifetime", "'12h'".to_owned()),
            ("public_url", format!("'http://{}'", net::http(number))),
        ];
        let limits = ["login", "refresh", "service", "register", "native", "api", "default"];
        let limits = limits.map(|name| format!("rate_limit_{name} = 'off'\n")).concat();
        let ours: Vec<String> = ours
            .iter()
            .filter(|(name, _)| !more.contains(name))
            .map(|(name, value)| format!("{name} = {value}\n"))
            .collect();
        let ours = ours.concat();
        let text = format!(
            "data = '{}'\nhttp_listen = '{}'\npeer_listen = '{}'\nkey_file = '{}'\n{limits}{ours}{more}",
            data.display(),
            net::http(number),
            net::peer(number),
            home.join("own.kek").display(),
        );
        fs::write(home.join("settings.toml"), text).unwrap();
        fs::write(home.join("clock"), "+0\n").unwrap();
        self.machines.push(Machine { home, data, running: None, is_paused: false });
        number
    }

    /// A machine more that joins, and is ready when this returns; gives its number.
    pub(crate) async fn grow(&mut self) -> usize {
        let token = self.token().await;
        let machine = self.add();
        self.join(machine, &token);
        self.ready(machine).await;
        machine
    }

    /// A join token, from whichever machine can make one.
    pub(crate) async fn token(&self) -> String {
        let output = eventually("a join token", async || {
            self.running().into_iter().find_map(|machine| {
                let output = self.run(machine, &["token", "create"]);
                output.status.success().then_some(output)
            })
        })
        .await;
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Machines with a process that is not paused.
    pub(crate) fn running(&self) -> Vec<usize> {
        let up =
            |machine: &usize| self.machines[*machine].running.is_some() && !self.machines[*machine].is_paused;
        (0..self.machines.len()).filter(up).collect()
    }

    pub(crate) fn settings(&self, machine: usize) -> PathBuf {
        self.machines[machine].home.join("settings.toml")
    }

    /// The process on a machine.
    pub(crate) fn pid(&self, machine: usize) -> u32 {
        self.machines[machine].running.as_ref().expect("a process").id()
    }

    /// What was said on a machine, in all lives of its node.
    pub(crate) fn log(&self, machine: usize) -> String {
        fs::read_to_string(self.log_path(machine)).unwrap_or_default()
    }

    fn log_path(&self, machine: usize) -> PathBuf {
        self.machines[machine].home.join("log")
    }

    pub(crate) fn start(&mut self, machine: usize) {
        self.spawn(machine, "start", None);
    }

    pub(crate) fn join(&mut self, machine: usize, token: &str) {
        self.spawn(machine, "join", Some(token));
    }

    fn spawn(&mut self, machine: usize, verb: &str, token: Option<&str>) {
        assert!(self.machines[machine].running.is_none(), "a machine has one process");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path(machine)).unwrap();
        let mut command = self.net.command(machine, &self.options.program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.arg(verb).arg("--config").arg(self.settings(machine));
        for (name, value) in &self.options.environment {
            command.env(name, value.replace("{home}", &self.machines[machine].home.display().to_string()));
        }
        if let Some(token) = token {
            command.env("CONCLAVE_JOIN_TOKEN", token);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let machine = &mut self.machines[machine];
        machine.running = Some(command.spawn().unwrap());
        machine.is_paused = false;
    }

    /// Kills the process on a machine as `kill -9` does. Nothing happens where none runs.
    pub(crate) fn kill(&mut self, machine: usize) {
        if let Some(mut child) = self.machines[machine].running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks the process on a machine to stop, and waits until it has.
    pub(crate) async fn stop(&mut self, machine: usize) {
        self.signal(machine, Signal::TERM);
        let child = self.machines[machine].running.as_mut().unwrap();
        let status = eventually("the process ends", async || child.try_wait().unwrap()).await;
        self.machines[machine].running = None;
        assert!(status.success(), "machine {machine} ended with {status}: {}", self.tail(machine));
    }

    /// Stops the process on a machine in its tracks; [`Self::resume`] lets it go on.
    pub(crate) fn pause(&mut self, machine: usize) {
        self.signal(machine, Signal::STOP);
        self.machines[machine].is_paused = true;
    }

    pub(crate) fn resume(&mut self, machine: usize) {
        self.signal(machine, Signal::CONT);
        self.machines[machine].is_paused = false;
    }

    fn signal(&self, machine: usize, signal: Signal) {
        let pid = i32::try_from(self.pid(machine)).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Sets the clock of a machine off by so many seconds. Works where the crew has a faked clock.
    pub(crate) fn set_clock(&self, machine: usize, seconds: i64) {
        let home = &self.machines[machine].home;
        fs::write(home.join("clock.new"), format!("{seconds:+}\n")).unwrap();
        fs::rename(home.join("clock.new"), home.join("clock")).unwrap();
    }

    /// Empties the data folder of a machine where nothing runs, and its key.
    pub(crate) fn wipe(&self, machine: usize) {
        let Machine { home, data, running, .. } = &self.machines[machine];
        assert!(running.is_none(), "a process is still using it");
        fs::remove_dir_all(data).unwrap();
        fs::remove_file(home.join("own.kek")).unwrap();
    }

    /// Waits until the node of a machine serves and has its place.
    pub(crate) async fn ready(&mut self, machine: usize) {
        let client = self.client.clone();
        eventually(&format!("machine {machine} is ready"), async || {
            self.lives(machine);
            (client.ask(machine, "GET", "/ready").send().await.status == 200).then_some(())
        })
        .await;
    }

    /// Fails where the process on a machine has ended by itself.
    pub(crate) fn lives(&mut self, machine: usize) {
        let ended = self.machines[machine].running.as_mut().and_then(|child| child.try_wait().unwrap());
        assert!(ended.is_none(), "machine {machine} ended with {ended:?}: {}", self.tail(machine));
    }

    /// Waits until whoever runs says that there are so many voters, all healthy, and nobody else on the way.
    pub(crate) async fn voters(&self, count: usize) {
        eventually(&format!("{count} healthy voters"), async || {
            for machine in self.running() {
                let all = self.members(machine).await?;
                let members = all["members"].as_array()?;
                let is_good = |member: &&Value| {
                    member["is_voter"] == true
                        && member["is_healthy"] == true
                        && member["is_leaving"] == false
                };
                if members.len() != count || members.iter().filter(is_good).count() != count {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Waits until none of these machines knows a node any more.
    pub(crate) async fn gone(&self, machines: &[usize], node: u64) {
        eventually(&format!("node {node} is gone"), async || {
            for machine in machines {
                let all = self.members(*machine).await?;
                let members = all["members"].as_array()?;
                if members.iter().any(|member| member["node"] == node) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Waits until all that runs shows the same digest at the same revision.
    pub(crate) async fn are_equal(&self) {
        eventually("equal digests", async || {
            let mut shown = Vec::new();
            for machine in self.running() {
                let all = self.members(machine).await?;
                shown.push((all["revision"].clone(), all["digest"].clone()));
            }
            let revision = |one: &(Value, Value)| one.0.clone();
            let first = shown.first()?.clone();
            if shown.iter().any(|other| revision(other) != revision(&first)) {
                return None;
            }
            assert!(shown.iter().all(|other| *other == first), "one revision, different states: {shown:?}");
            Some(())
        })
        .await;
    }

    /// The cluster as a machine sees it.
    pub(crate) async fn members(&self, machine: usize) -> Option<Value> {
        let sealer = KeySource::File(self.machines[machine].home.join("own.kek")).read().ok()?;
        let token = sealer.operator_tokens().next()?;
        let reply = self.client.ask(machine, "GET", "/v1/cluster/members").by(token.expose()).send().await;
        reply.is_done().then_some(reply.json)
    }

    /// The number of the node on a machine.
    pub(crate) async fn node(&self, machine: usize) -> u64 {
        eventually("its number", async || self.members(machine).await?["node"].as_u64()).await
    }

    /// What a machine says of itself at once.
    pub(crate) async fn figures(&self, machine: usize) -> Option<Figures> {
        let ask = self.client.ask(machine, "GET", "/metrics").patience(Duration::from_millis(500));
        let page = ask.page().await?;
        let find =
            |name: &str| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        Some(Figures {
            term: find("conclave_raft_term ")?,
            is_leader: find("conclave_raft_role{role=\"leader\"} ")? == 1,
            applied: find("conclave_raft_applied ")?,
            snapshot: find("conclave_raft_snapshot ")?,
        })
    }

    /// The hour of the day on a machine.
    pub(crate) async fn hour(&self, machine: usize) -> String {
        eventually("the time", async || self.client.ask(machine, "GET", "/ping").hour().await).await
    }

    /// The machine that leads: of several that think so, the one of the highest term.
    pub(crate) async fn leader(&self) -> usize {
        eventually("a leader", async || {
            let mut leaders = Vec::new();
            for machine in self.running() {
                if let Some(figures) = self.figures(machine).await.filter(|figures| figures.is_leader) {
                    leaders.push((figures.term, machine));
                }
            }
            leaders.into_iter().max().map(|(_, machine)| machine)
        })
        .await
    }

    /// Runs a command of the program on a machine to its end.
    pub(crate) fn run(&self, machine: usize, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.options.program);
        command.env_clear().args(arguments).arg("--config").arg(self.settings(machine));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The same, again until it works: it is refused while another change is under way.
    pub(crate) async fn insist(&self, arguments: &[&str]) {
        let mut said = String::new();
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            for machine in self.running() {
                let output = self.run(machine, arguments);
                if output.status.success() {
                    return;
                }
                said = String::from_utf8_lossy(&output.stderr).into_owned();
            }
            assert!(Instant::now() < deadline, "{arguments:?}: {said}");
        }
    }

    /// The last lines that were said on a machine.
    fn tail(&self, machine: usize) -> String {
        let log = self.log(machine);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
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
                eprintln!("--- machine {machine}\n{}", self.tail(machine));
            }
        }
    }
}

/// The variables that give a program a clock which [`Crew::set_clock`] sets; `None` where that is not installed.
pub(crate) fn faked_clock() -> Option<Vec<(String, String)>> {
    let library = fs::read_dir("/usr/lib").ok()?.flatten().find_map(|entry| {
        let library = entry.path().join("faketime/libfaketimeMT.so.1");
        File::open(&library).ok().map(|_| library)
    })?;
    let variables = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", "{home}/clock".to_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    Some(variables.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

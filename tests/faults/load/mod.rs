//! People who use the cluster all the time, on all machines, and write down what they see.

mod names;
mod refresh;
mod registers;
mod revocations;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::check::{IN_TIME, Names};
use crate::client::{Ask, Client, PATIENCE, Reply};
use crate::crew::eventually;
use crate::history::{Op, Outcome, Slow, What};
use crate::recorder::Recorder;

/// Every password here.
const PASSWORD: &str = "correct horse battery staple";

/// Between two requests of one person. It sets the load, so that what is measured is not a machine at its limit.
const PACE: Duration = Duration::from_millis(6);

/// Stands in the history for all credentials that nobody ever revokes.
const GOOD: usize = 0;

/// What all of them share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) recorder: Recorder,
    account: String,
    /// The root user's.
    token: String,
    /// Those that are asked.
    machines: Mutex<Vec<usize>>,
    numbers: AtomicUsize,
    is_over: AtomicBool,
    /// Access tokens whose revocation was acknowledged, with their numbers in the history.
    revoked: Mutex<Vec<(usize, String)>>,
}

/// What came of a request that was repeated where that was needed.
#[derive(Debug)]
struct Answer {
    outcome: Outcome,
    machine: usize,
    reply: Reply,
}

impl World {
    /// An account of its own on a cluster where all is well.
    pub(crate) async fn open(machines: Vec<usize>) -> Arc<Self> {
        let client = Client::new();
        let first = machines[0];
        let body = json!({"email": "root@faults.test", "password": PASSWORD});
        let made = eventually("an account", async || {
            let made = client.ask(first, "POST", "/v1/accounts").json(&body).send().await;
            (made.status == 201).then_some(made)
        })
        .await;
        let signed = eventually("a sign-in", async || {
            let signed = client.ask(first, "POST", "/v1/sign-in").json(&body).send().await;
            signed.is_done().then_some(signed)
        })
        .await;
        Arc::new(Self {
            recorder: Recorder::new(),
            account: made.json["account"]["id"].as_str().unwrap().to_owned(),
            token: signed.text("access_token"),
            machines: Mutex::new(machines),
            numbers: AtomicUsize::new(1),
            is_over: AtomicBool::new(false),
            revoked: Mutex::default(),
        })
    }

    /// From now on these are asked.
    pub(crate) fn ask_only(&self, machines: Vec<usize>) {
        *self.machines.lock().unwrap() = machines;
    }

    /// Another number with each call.
    fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Some machine, another with each number.
    fn machine(&self, number: usize) -> usize {
        let machines = self.machines.lock().unwrap();
        machines[number % machines.len()]
    }

    fn everywhere(&self) -> Vec<usize> {
        self.machines.lock().unwrap().clone()
    }

    fn at(&self, path: &str) -> String {
        format!("/v1/accounts/{}{path}", self.account)
    }

    /// A request of the root user.
    fn ask(&self, client: &Client, machine: usize, method: &str, path: &str) -> Ask {
        client.ask(machine, method, &self.at(path)).by(&self.token)
    }

    /// Sends a request with a credential that is good to a machine, and remembers if that was refused.
    async fn send(&self, machine: usize, ask: &Ask) -> Reply {
        self.exchange(machine, ask, true).await
    }

    /// The same with one that may be bad.
    async fn try_with(&self, machine: usize, ask: &Ask) -> Reply {
        self.exchange(machine, ask, false).await
    }

    /// Remembers if it took too long.
    async fn exchange(&self, machine: usize, ask: &Ask, is_good: bool) -> Reply {
        let begun = self.recorder.now();
        let reply = ask.send().await;
        let ended = self.recorder.now();
        if ended - begun > IN_TIME {
            self.recorder.add_slow(Slow { machine, begun, ended });
        }
        // Nobody here asks for what does not exist or is not theirs; those who do record that themselves.
        if is_good && matches!(reply.status, 401 | 403 | 404) {
            let what = What::Check { token: GOOD, granted: false };
            self.recorder.add(Op { what, machine, begun, ended, outcome: Outcome::Done });
        }
        reply
    }

    /// Sends a request that has an idempotency key to one machine after another until it is decided, at most so
    /// often.
    async fn insist(&self, tries: usize, ask: impl Fn(usize) -> Ask) -> Answer {
        let first = self.number();
        let mut is_unknown = false;
        let mut turn = 0;
        loop {
            let machine = self.machine(first + turn);
            let reply = self.send(machine, &ask(machine)).await;
            turn += 1;
            is_unknown |= reply.is_unknown();
            let outcome = match (reply.is_done(), is_unknown) {
                (true, _) => Outcome::Done,
                (false, true) => Outcome::Unknown,
                (false, false) => Outcome::Refused,
            };
            let is_decided = reply.is_done() || (400..500).contains(&reply.status);
            if is_decided || turn >= tries {
                return Answer { outcome, machine, reply };
            }
            // Not as fast as can be where nobody leads.
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// The names that a machine shows.
    async fn names_on(&self, client: &Client, machine: usize) -> Option<BTreeSet<String>> {
        let (mut names, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let path = format!("/roles?limit=200{cursor}");
            let page = self.ask(client, machine, "GET", &path).send().await;
            let items = page.json["items"].as_array().filter(|_| page.is_done())?;
            names.extend(items.iter().filter_map(|item| Some(item["name"].as_str()?.to_owned())));
            match page.json["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Some(names),
            }
        }
    }
}

/// The people at work.
#[derive(Debug)]
pub(crate) struct Load {
    world: Arc<World>,
    people: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins when all is well: what they need is made first.
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        registers::prepare(world).await;
        revocations::prepare(world).await;
        refresh::prepare(world).await;
        let mut people = Vec::new();
        for person in 0..4 {
            // Two of them wait for each answer as long as it takes; the others try elsewhere.
            let patience = if person < 2 { PATIENCE } else { Duration::from_millis(700) };
            people.push(tokio::spawn(registers::live(Arc::clone(world), patience)));
        }
        for person in 0..3 {
            people.push(tokio::spawn(names::write(Arc::clone(world), person)));
        }
        people.push(tokio::spawn(names::race(Arc::clone(world))));
        for person in 0..2 {
            people.push(tokio::spawn(revocations::live(Arc::clone(world), person)));
        }
        people.push(tokio::spawn(refresh::live(Arc::clone(world))));
        Self { world: Arc::clone(world), people }
    }

    /// Ends it on a cluster where all is well again, and looks at everything once more on every machine; gives the
    /// names that each shows.
    pub(crate) async fn end(self) -> Names {
        self.world.is_over.store(true, Ordering::Relaxed);
        for person in self.people {
            person.await.expect("nobody fails at this work");
        }
        let client = Client::new();
        let mut names = Names::new();
        for machine in self.world.everywhere() {
            registers::read_all(&self.world, &client, machine).await;
            revocations::check_all(&self.world, &client, machine).await;
            let shown = eventually("all names", async || self.world.names_on(&client, machine).await).await;
            names.insert(machine, shown);
        }
        names
    }
}

//! Clients that note what they were told, and the check of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::bug::{Bug, FORGOTTEN};
use super::machine::number;
use super::random::Random;
use super::world::World;
use crate::machine::{Applied, Proposal, RequestId};
use crate::state::View;

/// What all clients of a run were told. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct History(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    /// The highest revision acknowledged to anybody.
    revision: u64,
    /// Keys and values of acknowledged `put`s; each key is written once.
    puts: Vec<(String, String)>,
    /// Who owns a name, as somebody was told.
    owners: BTreeMap<String, String>,
    /// Which request was decided at a revision.
    decided: BTreeMap<u64, u64>,
    counters: BTreeMap<String, Count>,
    reads: u64,
}

/// What is known of a counter.
#[derive(Clone, Default)]
struct Count {
    /// Requests that add to it, each once.
    asked: u64,
    /// Which request was told which number.
    told: BTreeMap<u64, u64>,
}

impl Count {
    /// `told` numbers had been given before `shown` was read.
    fn check(&self, counter: &str, told: u64, shown: u64) -> Result<(), String> {
        let asked = self.asked;
        if (told..=asked).contains(&shown) {
            return Ok(());
        }
        Err(format!("{counter} is {shown}; {told} additions were acknowledged, of {asked} asked for"))
    }
}

impl History {
    pub(crate) fn acknowledged(&self) -> usize {
        self.0.lock().unwrap().decided.len()
    }

    pub(crate) fn reads(&self) -> u64 {
        self.0.lock().unwrap().reads
    }

    /// Everything that anybody was told is so in `view`.
    pub(crate) fn check(&self, view: &View) -> Result<(), String> {
        let told = self.0.lock().unwrap();
        if view.revision() < told.revision {
            return Err(format!("the end is at {}, and {} was acknowledged", view.revision(), told.revision));
        }
        let puts = told.puts.iter().map(|(key, value)| (key, value));
        for (key, value) in puts.chain(&told.owners) {
            expect(view, key, value)?;
        }
        for (counter, count) in &told.counters {
            count.check(counter, count.told.len() as u64, shown(view, counter))?;
        }
        Ok(())
    }

    fn note(&self, number_of: u64, command: &Command, applied: &Applied) -> Result<(), String> {
        let mut told = self.0.lock().unwrap();
        let Applied::Done { revision, reply, .. } = applied else {
            return Err(format!("request {number_of} was taken for another one"));
        };
        let reply = String::from_utf8_lossy(reply).into_owned();
        told.revision = told.revision.max(*revision);
        if let Some(other) = told.decided.insert(*revision, number_of)
            && other != number_of
        {
            return Err(format!("requests {other} and {number_of} were both decided at {revision}"));
        }
        match command {
            Command::Put { key, value } => told.puts.push((key.clone(), value.clone())),
            Command::Take { name, .. } => {
                let first = told.owners.entry(name.clone()).or_insert_with(|| reply.clone()).clone();
                if first != reply {
                    return Err(format!("{name} belongs to {first} and to {reply}"));
                }
            }
            Command::Add { counter } => {
                let reached = number(reply.as_bytes()).ok_or("an addition without a number")?;
                let count = told.counters.entry(counter.clone()).or_default();
                if let Some(other) = count.told.insert(reached, number_of)
                    && other != number_of
                {
                    return Err(format!("requests {other} and {number_of} both took {counter} to {reached}"));
                }
            }
        }
        Ok(())
    }
}

enum Command {
    Put { key: String, value: String },
    Take { name: String, owner: String },
    Add { counter: String },
}

impl Command {
    fn text(&self) -> String {
        match self {
            Self::Put { key, value } => format!("put {key} {value}"),
            Self::Take { name, owner } => format!("take {name} {owner}"),
            Self::Add { counter } => format!("add {counter}"),
        }
    }
}

/// One who writes and reads through random nodes.
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) random: Random,
    pub(crate) number: u64,
    pub(crate) history: History,
    pub(crate) bug: Bug,
}

impl Client {
    /// Works until `end`.
    pub(crate) async fn work(self, end: Instant) -> Result<(), String> {
        for n in 0.. {
            if Instant::now() >= end {
                break;
            }
            tokio::time::sleep(self.random.micros(100, 20_000)).await;
            match self.command(n) {
                Some(command) => self.write(self.number << 32 | n, &command, end).await?,
                None => self.read().await?,
            }
        }
        Ok(())
    }

    /// What to write; nothing when it is time to read.
    fn command(&self, n: u64) -> Option<Command> {
        let number = self.number;
        Some(match self.random.below(20) {
            0..=5 => {
                let value = format!("{:x}", self.random.next());
                Command::Put { key: format!("put-{number}-{n}"), value }
            }
            6..=8 => Command::Put { key: format!("{FORGOTTEN}{number}-{n}"), value: "yes".to_owned() },
            9..=11 => Command::Take { name: format!("name-{}", n / 3), owner: format!("owner-{number}-{n}") },
            12..=13 => Command::Add { counter: format!("counter-{}", self.random.below(2)) },
            _ => return None,
        })
    }

    async fn write(&self, number: u64, command: &Command, end: Instant) -> Result<(), String> {
        let Self { world, random, history, bug, .. } = self;
        if let Command::Add { counter } = command {
            history.0.lock().unwrap().counters.entry(counter.clone()).or_default().asked += 1;
        }
        let mut proposal = Proposal {
            request: request(number, 0),
            fingerprint: number,
            command: Bytes::from(command.text()),
        };
        // Until it is known what became of it, or the run ends: then nobody was told anything.
        for attempt in 0.. {
            if Instant::now() >= end {
                break;
            }
            let running = world.running();
            if running.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            if *bug == Bug::RetryWithoutKey {
                proposal.request = request(number, attempt);
            }
            let bytes = Bytes::from(postcard::to_stdvec(&proposal).unwrap());
            let deadline = Instant::now() + random.millis(50, 2000);
            if let Ok(answer) = random.pick(&running).call_leader(bytes, deadline).await {
                return history.note(number, command, &postcard::from_bytes(&answer).unwrap());
            }
            tokio::time::sleep(random.millis(1, 50)).await;
        }
        Ok(())
    }

    /// Whatever was acknowledged to anybody before it began, a linearizable read shows.
    async fn read(&self) -> Result<(), String> {
        let Self { world, random, history, .. } = self;
        let running = world.running();
        if running.is_empty() {
            return Ok(());
        }
        let (floor, expected, counted) = {
            let told = history.0.lock().unwrap();
            let put = (!told.puts.is_empty()).then(|| random.pick(&told.puts).clone());
            let last = told.puts.last().cloned();
            let owner = told.owners.iter().next_back().map(|(name, owner)| (name.clone(), owner.clone()));
            let expected: Vec<_> = put.into_iter().chain(last).chain(owner).collect();
            let counted = told.counters.iter().map(|(name, count)| (name.clone(), count.told.len() as u64));
            (told.revision, expected, counted.collect::<Vec<_>>())
        };
        let node = random.pick(&running);
        let view = if self.bug == Bug::ReadWithoutBarrier {
            node.view()
        } else {
            let Ok(view) = node.read_barrier(Instant::now() + Duration::from_secs(1)).await else {
                return Ok(());
            };
            view
        };
        let mut told = history.0.lock().unwrap();
        told.reads += 1;
        if view.revision() < floor {
            let node = node.identity().node;
            return Err(format!("node {node} read {}, and {floor} was acknowledged before", view.revision()));
        }
        for (counter, before) in counted {
            told.counters[&counter].check(&counter, before, shown(&view, &counter))?;
        }
        expected.iter().try_for_each(|(key, value)| expect(&view, key, value))
    }
}

/// The id of a request, which all its tries share.
fn request(number: u64, attempt: u64) -> RequestId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id[8..].copy_from_slice(&attempt.to_le_bytes());
    RequestId(id)
}

/// How far a counter is.
fn shown(view: &View, counter: &str) -> u64 {
    view.get(counter.as_bytes()).and_then(|row| number(&row.value)).unwrap_or(0)
}

fn expect(view: &View, key: &str, value: &str) -> Result<(), String> {
    match view.get(key.as_bytes()) {
        Some(row) if &*row.value == value.as_bytes() => Ok(()),
        other => Err(format!("{key} was acknowledged as {value}, and is {other:?}")),
    }
}

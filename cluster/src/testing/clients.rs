//! Clients that note what they were told, and the check of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

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
    reads: u64,
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
        Ok(())
    }

    fn note(&self, number: u64, command: &Command, applied: &Applied) -> Result<(), String> {
        let mut told = self.0.lock().unwrap();
        let Applied::Done { revision, reply, .. } = applied else {
            return Err(format!("request {number} was taken for another one"));
        };
        let reply = String::from_utf8_lossy(reply).into_owned();
        told.revision = told.revision.max(*revision);
        if let Some(other) = told.decided.insert(*revision, number)
            && other != number
        {
            return Err(format!("requests {other} and {number} were both decided at {revision}"));
        }
        match command {
            Command::Put { key, value } => told.puts.push((key.clone(), value.clone())),
            Command::Take { name, .. } => {
                let first = told.owners.entry(name.clone()).or_insert_with(|| reply.clone()).clone();
                if first != reply {
                    return Err(format!("{name} belongs to {first} and to {reply}"));
                }
            }
        }
        Ok(())
    }
}

enum Command {
    Put { key: String, value: String },
    Take { name: String, owner: String },
}

impl Command {
    fn text(&self) -> String {
        match self {
            Self::Put { key, value } => format!("put {key} {value}"),
            Self::Take { name, owner } => format!("take {name} {owner}"),
        }
    }
}

/// Writes and reads through random nodes until `end`.
pub(crate) async fn client(
    world: World,
    random: Random,
    number: u64,
    history: History,
    end: Instant,
) -> Result<(), String> {
    for n in 0.. {
        if Instant::now() >= end {
            break;
        }
        tokio::time::sleep(random.micros(100, 20_000)).await;
        match random.below(10) {
            0..=4 => {
                let command =
                    Command::Put { key: format!("put-{number}-{n}"), value: format!("{:x}", random.next()) };
                write(&world, &random, number << 32 | n, &command, &history, end).await?;
            }
            5..=6 => {
                let command =
                    Command::Take { name: format!("name-{}", n / 3), owner: format!("owner-{number}-{n}") };
                write(&world, &random, number << 32 | n, &command, &history, end).await?;
            }
            _ => read(&world, &random, &history).await?,
        }
    }
    Ok(())
}

async fn write(
    world: &World,
    random: &Random,
    number: u64,
    command: &Command,
    history: &History,
    end: Instant,
) -> Result<(), String> {
    let mut request = [0; 16];
    request[..8].copy_from_slice(&number.to_le_bytes());
    let proposal =
        Proposal { request: RequestId(request), fingerprint: number, command: Bytes::from(command.text()) };
    let bytes = Bytes::from(postcard::to_stdvec(&proposal).unwrap());
    // Until it is known what became of it, or the run ends: then nobody was told anything.
    while Instant::now() < end {
        let running = world.running();
        if running.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let deadline = Instant::now() + random.millis(50, 2000);
        if let Ok(answer) = random.pick(&running).call_leader(bytes.clone(), deadline).await {
            return history.note(number, command, &postcard::from_bytes(&answer).unwrap());
        }
        tokio::time::sleep(random.millis(1, 50)).await;
    }
    Ok(())
}

/// Whatever was acknowledged to anybody before it began, a linearizable read shows.
async fn read(world: &World, random: &Random, history: &History) -> Result<(), String> {
    let running = world.running();
    if running.is_empty() {
        return Ok(());
    }
    let (floor, expected) = {
        let told = history.0.lock().unwrap();
        let put = (!told.puts.is_empty()).then(|| random.pick(&told.puts).clone());
        let last = told.puts.last().cloned();
        let owner = told.owners.iter().next_back().map(|(name, owner)| (name.clone(), owner.clone()));
        (told.revision, put.into_iter().chain(last).chain(owner).collect::<Vec<_>>())
    };
    let node = random.pick(&running);
    let Ok(view) = node.read_barrier(Instant::now() + Duration::from_secs(1)).await else { return Ok(()) };
    history.0.lock().unwrap().reads += 1;
    if view.revision() < floor {
        let node = node.identity().node;
        return Err(format!("node {node} read {}, and {floor} was acknowledged before", view.revision()));
    }
    expected.iter().try_for_each(|(key, value)| expect(&view, key, value))
}

fn expect(view: &View, key: &str, value: &str) -> Result<(), String> {
    match view.get(key.as_bytes()) {
        Some(row) if &*row.value == value.as_bytes() => Ok(()),
        other => Err(format!("{key} was acknowledged as {value}, and is {other:?}")),
    }
}

//! Runs from seeds.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{self, Instant};

use super::bug::Bug;
use super::clients::{Client, History};
use super::layer::Setup;
use super::machine::NamesLayer;
use super::nemesis::nemesis;
use super::peace::{agrees, serves};
use super::random::Random;
use super::world::World;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    acknowledged: usize,
    reads: u64,
    revision: u64,
    digest: u128,
    /// Until everybody served again.
    healed_ms: u128,
    members: usize,
}

pub(crate) fn run(seed: u64, bug: Bug) -> Result<Outcome, String> {
    super::run(seed, |random| fight(random, bug))
}

async fn fight(random: Random, bug: Bug) -> Result<Outcome, String> {
    // In some runs members change too; those need more time.
    let spares = if random.per_mille(250) { 3 } else { 0 };
    let setup = Setup { spares, bug, ..Setup::of(3) };
    let world = World::found(&random, setup, Arc::new(NamesLayer { bug })).await;
    let history = History::default();
    let end = Instant::now() + FIGHT;
    let client = |number| Client {
        world: world.clone(),
        random: random.fork(),
        number,
        history: history.clone(),
        bug,
    };
    let mut tasks: Vec<JoinHandle<Result<(), String>>> = Vec::new();
    tasks.extend((1..=CLIENTS).map(|number| tokio::spawn(client(number).work(end))));
    tasks.push(tokio::spawn(nemesis(world.clone(), random.fork(), end)));
    while tasks.iter().any(|task| !task.is_finished()) {
        world.compare()?;
        time::sleep(Duration::from_millis(5)).await;
    }
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    // All faults are gone: everybody must serve again, soon, and agree.
    let began = Instant::now();
    serves(&world, |view| history.check(view)).await?;
    let healed_ms = began.elapsed().as_millis();
    client(CLIENTS + 1).work(Instant::now() + Duration::from_millis(500)).await?;
    let (revision, digest) = agrees(&world, |view| history.check(view)).await?;
    let (acknowledged, reads) = (history.acknowledged(), history.reads());
    Ok(Outcome { acknowledged, reads, revision, digest, healed_ms, members: world.running().len() })
}

/// All of these seeds, on both cores of a small machine.
fn run_all(seeds: Range<u64>) -> Vec<(u64, Result<Outcome, String>)> {
    let next = AtomicU64::new(seeds.start);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed, Bug::None);
                    println!("seed {seed}: {outcome:?}");
                    outcomes.lock().unwrap().push((seed, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("CONCLAVE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("CONCLAVE_SIM_SEEDS").unwrap_or(SEEDS) + 1,
    }
}

#[test]
fn simulation_loses_nothing_that_was_acknowledged() {
    let outcomes = run_all(seeds());
    let (mut failed, mut void) = (Vec::new(), Vec::new());
    for (seed, outcome) in &outcomes {
        match outcome {
            Err(reason) => failed.push(format!("seed {seed}: {reason}")),
            // A run in which nothing gets through shows nothing.
            Ok(outcome) if outcome.acknowledged < 20 || outcome.reads < 5 => void.push(seed),
            Ok(_) => {}
        }
    }
    assert!(failed.is_empty(), "scripts/simulate.sh 1 SEED runs one of them again\n{}", failed.join("\n"));
    assert!(void.len() * 10 <= outcomes.len().max(10), "nothing got through with {void:?}");
}

#[cfg(tokio_unstable)]
#[test]
fn simulation_replays_exactly() {
    for seed in 1..=3 {
        assert_eq!(run(seed, Bug::None), run(seed, Bug::None), "seed {seed}");
    }
}

/// Here, beside everything else; scripts/simulate.sh runs more.
const SEEDS: u64 = 200;
const THREADS: u64 = 2;
const CLIENTS: u64 = 4;
const FIGHT: Duration = Duration::from_secs(4);

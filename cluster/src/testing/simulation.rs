//! Runs from seeds.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{self, Instant};

use super::clients::{History, client};
use super::layer::Setup;
use super::machine::NamesLayer;
use super::nemesis::nemesis;
use super::peace::{agrees, serves};
use super::random::Random;
use super::world::World;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    acknowledged: usize,
    reads: u64,
    revision: u64,
    digest: u128,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// Logs say "synced" before they are.
    LyingLogs,
}

fn run(seed: u64, bug: Bug) -> Result<Outcome, String> {
    super::run(seed, |random| fight(random, bug))
}

async fn fight(random: Random, bug: Bug) -> Result<Outcome, String> {
    let world = World::found(&random, Setup::of(3), Arc::new(NamesLayer)).await;
    if bug == Bug::LyingLogs {
        world.ids().into_iter().for_each(|id| world.log(id).lie());
    }
    let history = History::default();
    let end = Instant::now() + FIGHT;
    let mut tasks: Vec<JoinHandle<Result<(), String>>> = Vec::new();
    for number in 1..=CLIENTS {
        tasks.push(tokio::spawn(client(world.clone(), random.fork(), number, history.clone(), end)));
    }
    tasks.push(tokio::spawn(nemesis(world.clone(), random.fork(), end)));
    while tasks.iter().any(|task| !task.is_finished()) {
        world.compare()?;
        time::sleep(Duration::from_millis(5)).await;
    }
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    peace(&world, &random, &history).await
}

/// All faults are gone: everybody must serve again, soon, and agree.
async fn peace(world: &World, random: &Random, history: &History) -> Result<Outcome, String> {
    serves(world, |view| history.check(view)).await?;
    let end = Instant::now() + Duration::from_millis(500);
    client(world.clone(), random.fork(), CLIENTS + 1, history.clone(), end).await?;
    let (revision, digest) = agrees(world, |view| history.check(view)).await?;
    Ok(Outcome { acknowledged: history.acknowledged(), reads: history.reads(), revision, digest })
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("CONCLAVE_SIM_SEED") {
        return vec![seed];
    }
    (1..=number("CONCLAVE_SIM_SEEDS").unwrap_or(20)).collect()
}

#[test]
fn simulation_loses_nothing_that_was_acknowledged() {
    let mut failed = Vec::new();
    let mut acknowledged = 0;
    for seed in seeds() {
        match run(seed, Bug::None) {
            Ok(outcome) => {
                println!("seed {seed}: {outcome:?}");
                acknowledged += outcome.acknowledged;
                // A run in which nothing gets through shows nothing.
                if outcome.acknowledged < 20 || outcome.reads < 5 {
                    failed.push(format!("seed {seed} is void: {outcome:?}"));
                }
            }
            Err(reason) => failed.push(format!("seed {seed}: {reason}")),
        }
    }
    assert!(failed.is_empty(), "{acknowledged} acknowledged, and:\n{}", failed.join("\n"));
}

/// The simulation is worth something only if it finds the bug it was made for.
#[test]
fn simulation_finds_a_log_that_acknowledges_before_the_sync() {
    let found = (1..=40).find_map(|seed| run(seed, Bug::LyingLogs).err().map(|reason| (seed, reason)));
    println!("{found:?}");
    assert!(found.is_some());
}

#[cfg(tokio_unstable)]
#[test]
fn simulation_replays_exactly() {
    for seed in 1..=3 {
        assert_eq!(run(seed, Bug::None), run(seed, Bug::None), "seed {seed}");
    }
}

const CLIENTS: u64 = 4;
const FIGHT: Duration = Duration::from_secs(12);

//! The whole system from seeds: real applications over real nodes, on a simulated network, disk and clock.
//!
//! What `cluster` simulates is how commands are replicated. Here the rules, the actors of the accounts and the steps of
//! the application stand on those nodes; only HTTP and the hashing of passwords, which has threads of its own, are left
//! out. Clients race for names and for refresh tokens, sign in with keys, take keys and sessions and roles back, and
//! ask whether what they hold is still good, each through a node drawn anew; a nemesis cuts, delays, crashes, and sets
//! clocks wrong. What they were told must fit together, see [`history`]; in the end all faults go, and every node must
//! serve, show the same, and have written every change into the audit trail.
//!
//! `CONCLAVE_SIM_SEED=7 cargo test --test it simulation` runs one seed, `CONCLAVE_SIM_SEEDS=1000` as many. How far a
//! seed replays is told at `conclave_cluster::testing`; ids and keys are drawn anew each time.

mod history;
mod orders;
mod people;
mod system;

use std::sync::Arc;
use std::time::Duration;

use conclave_cluster::testing::{self, Random, Setup, World, nemesis};
use tokio::task::JoinHandle;
use tokio::time::{self, Instant};

use history::History;
use people::Person;
use system::{Bug, System};

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    changes: usize,
    checks: u64,
    revision: u64,
}

async fn fight(random: Random, bug: Bug) -> Result<Outcome, String> {
    let system = System::new(bug);
    let mut setup = Setup::of(3);
    // A clock that jumps by an hour makes nodes forget what is older: then a retry is a new request, and what was so at
    // a revision is not known any more. How long things are remembered is not in question here.
    (setup.limits.requests_ms, setup.limits.history_ms) = (24 * 3_600_000, 24 * 3_600_000);
    let world = World::found(&random, setup, Arc::new(system.clone())).await;
    let history = History::open(&world, &system).await?;
    let end = Instant::now() + FIGHT;
    let mut tasks: Vec<JoinHandle<Result<(), String>>> = Vec::new();
    for number in 0..PEOPLE {
        let person = Person::new(number, system.clone(), random.fork(), history.clone());
        tasks.push(tokio::spawn(person.live(end)));
    }
    tasks.push(tokio::spawn(nemesis(world.clone(), random.fork(), end)));
    while tasks.iter().any(|task| !task.is_finished()) {
        world.compare()?;
        time::sleep(Duration::from_millis(10)).await;
    }
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    testing::serves(&world, |view| history.holds(view)).await?;
    let end = Instant::now() + Duration::from_millis(500);
    let late = Person::new(PEOPLE, system.clone(), random.fork(), history.clone());
    let before = history.changes();
    late.live(end).await?;
    if history.changes() == before {
        return Err("nothing can be changed in peace".to_owned());
    }
    let (revision, _) = testing::agrees(&world, |view| history.holds(view)).await?;
    Ok(Outcome { changes: history.changes(), checks: history.checks(), revision })
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("CONCLAVE_SIM_SEED") {
        return vec![seed];
    }
    let first = number("CONCLAVE_SIM_FIRST").unwrap_or(1);
    (first..first + number("CONCLAVE_SIM_SEEDS").unwrap_or(SEEDS)).collect()
}

#[test]
fn what_people_are_told_fits_together_whatever_goes_wrong() {
    let mut failed = Vec::new();
    for seed in seeds() {
        match testing::run(seed, |random| fight(random, Bug::None)) {
            Ok(outcome) => {
                println!("seed {seed}: {outcome:?}");
                // A run in which nothing gets through shows nothing.
                if outcome.changes < 20 || outcome.checks < 5 {
                    failed.push(format!("seed {seed} is void: {outcome:?}"));
                }
            }
            Err(reason) => failed.push(format!("seed {seed}: {reason}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The simulation is worth something only if it finds bugs: these were put in, one at a time.
#[test]
fn bugs_that_are_put_in_are_found() {
    for bug in [Bug::NoBarrier, Bug::OwnClock, Bug::RetriesAsNew, Bug::SpentAtTheEdge] {
        let found = (1..=120).find_map(|seed| {
            let run = testing::run(seed, |random| fight(random, bug));
            run.err().map(|reason| (seed, reason))
        });
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

const PEOPLE: u64 = 5;
const FIGHT: Duration = Duration::from_secs(10);
const SEEDS: u64 = 12;

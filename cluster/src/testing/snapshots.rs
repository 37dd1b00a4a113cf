//! Snapshots on their way to another node.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::bug::Bug;
use super::clients::{Client, History};
use super::layer::Setup;
use super::machine::NamesLayer;
use super::random::Random;
use super::run;
use super::world::World;
use crate::identity::NodeId;

/// Node 3 comes back to a cluster whose log no longer reaches back to it, and of everything it says about its snapshot
/// the first answer is lost.
async fn lose_answers(random: Random) -> Result<Duration, String> {
    let world = World::found(&random, Setup::of(3), Arc::new(NamesLayer { bug: Bug::None })).await;
    let history = History::default();
    let back = NodeId(3);
    let applied = |id| world.node(id).and_then(|node| node.view().applied()).map(|applied| applied.index);
    let work = |number| {
        let (world, random, history) = (world.clone(), random.fork(), history.clone());
        Client { world, random, number, history, bug: Bug::None }
            .work(Instant::now() + Duration::from_secs(2))
    };
    work(1).await?;
    let before = applied(back);
    world.crash(back);
    work(2).await?;
    let purged = [NodeId(1), NodeId(2)].map(|id| world.log(id).purged().map(|purged| purged.index));
    if purged.iter().any(|purged| *purged <= before) {
        return Err(format!("the log still reaches back from {purged:?} to {before:?}"));
    }
    world.network().lose_snapshot_answers();
    world.start(back).await?;
    let began = Instant::now();
    let node = world.node(back).ok_or("it does not run")?;
    let view = node.read_barrier(began + Duration::from_mins(4)).await.map_err(|error| error.to_string())?;
    history.check(&view)?;
    world.compare()?;
    Ok(began.elapsed())
}

#[test]
fn a_snapshot_whose_answers_are_lost_still_arrives_soon() {
    for seed in 1..=5 {
        let took = run(seed, lose_answers).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        println!("seed {seed}: {took:?}");
        // Two answers are lost, and after each there is a wait of two seconds.
        assert!((4..8).contains(&took.as_secs()), "seed {seed}: it took {took:?}");
    }
}

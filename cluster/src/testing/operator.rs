//! Somebody who changes the members while everything else goes wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{self, Instant};

use super::random::Random;
use super::world::World;
use crate::identity::NodeId;
use crate::status::Status;

/// Takes spare nodes in and others out, until `end`: three to five voters, two for a while when one is replaced.
pub(crate) async fn operate(world: World, random: Random, end: Instant) -> Result<(), String> {
    while Instant::now() < end {
        time::sleep(random.millis(200, 1500)).await;
        let Some(leader) = world.leader() else { continue };
        let members = leader.status().members;
        let spare = world.spares().into_iter().next();
        match spare {
            Some(spare) if members.len() < 3 || (members.len() < 5 && random.per_mille(500)) => {
                world.start(spare).await?;
                // What does not succeed soon is seen to in the end.
                let _ = world.join(spare, Duration::from_secs(3)).await;
            }
            _ if members.len() > 2 => {
                let going = random.pick(&members).node;
                if leader.remove(going).await.is_ok() {
                    world.retire(going);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// With all faults gone: finishes what was begun, until all that run are voters.
pub(crate) async fn settle(world: &World) -> Result<(), String> {
    let end = Instant::now() + SETTLED;
    while Instant::now() < end {
        time::sleep(Duration::from_millis(50)).await;
        let Some(status) = status(world, end).await else { continue };
        let members: BTreeSet<NodeId> = status.members.iter().map(|member| member.node).collect();
        let running: BTreeSet<NodeId> = world.running().iter().map(|node| node.identity().node).collect();
        // Removed, or not taken in: either has no place any more.
        running.difference(&members).for_each(|id| world.retire(*id));
        let mut learners = status.members.iter().filter(|member| !member.is_voter);
        match learners.next() {
            Some(learner) => drop(world.join(learner.node, Duration::from_secs(5)).await),
            None if members.is_subset(&running) => return Ok(()),
            None => return Err(format!("{members:?} are members, and {running:?} run")),
        }
    }
    Err("the members do not settle in peace".to_owned())
}

/// What a leader says who is one, of members that are not changing.
async fn status(world: &World, end: Instant) -> Option<Status> {
    let leader = world.leader()?;
    leader.finish_change().await.ok()?;
    leader.read_barrier(end).await.ok()?;
    Some(leader.status()).filter(|status| leader.is_leader() && !status.is_changing)
}

const SETTLED: Duration = Duration::from_secs(30);

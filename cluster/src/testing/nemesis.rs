//! What goes wrong in a run.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::random::Random;
use super::world::{USUAL_SYNC_MS, World};
use crate::identity::NodeId;

/// Does harm until `end`, and then undoes it all.
pub async fn nemesis(world: World, random: Random, end: Instant) -> Result<(), String> {
    while Instant::now() < end {
        time::sleep(random.millis(50, 900)).await;
        harm(&world, &random).await?;
    }
    world.heal();
    for id in world.ids() {
        world.start(id).await?;
    }
    Ok(())
}

async fn harm(world: &World, random: &Random) -> Result<(), String> {
    let ids = world.ids();
    let id = *random.pick(&ids);
    match random.below(14) {
        0..=1 => {
            world.crash(id);
            start_later(world, random, id).await?;
        }
        2 => {
            // The power fails for all of them, at about the same time.
            for id in &ids {
                world.crash(*id);
                time::sleep(random.micros(0, 1_000)).await;
            }
            for id in ids {
                start_later(world, random, id).await?;
            }
        }
        3 => {
            if let Some(leader) = leader(world) {
                world.crash(leader);
                start_later(world, random, leader).await?;
            }
        }
        4 => others(&ids, id).for_each(|other| {
            world.cut(id, other);
            world.cut(other, id);
        }),
        // It hears and cannot speak; it speaks and cannot hear.
        5 => others(&ids, id).for_each(|other| world.cut(id, other)),
        6 => others(&ids, id).for_each(|other| world.cut(other, id)),
        7 => world.cut(id, *random.pick(&ids)),
        8 => world.worsen(random.below(200), 2_000 + random.below(60_000)),
        9 => {
            let hour_ms = 3_600_000;
            world.skew(id, i64::try_from(random.below(2 * hour_ms)).unwrap() - hour_ms.cast_signed());
        }
        10 => world.slow_down(id, 3 + random.below(300)),
        11 => {
            if let Some(node) = world.node(id) {
                let _ = node.core().raft.trigger().snapshot().await;
            }
        }
        12 => {
            if let Some(node) = leader(world).and_then(|leader| world.node(leader)) {
                let _ = node.transfer_leader(None, Instant::now() + Duration::from_millis(500)).await;
            }
        }
        _ => {
            world.network().heal();
            for id in ids {
                world.slow_down(id, USUAL_SYNC_MS);
            }
        }
    }
    Ok(())
}

async fn start_later(world: &World, random: &Random, id: NodeId) -> Result<(), String> {
    time::sleep(random.millis(1, 700)).await;
    world.start(id).await
}

fn leader(world: &World) -> Option<NodeId> {
    world.running().into_iter().find(crate::handle::Cluster::is_leader).map(|node| node.identity().node)
}

fn others(ids: &[NodeId], id: NodeId) -> impl Iterator<Item = NodeId> {
    ids.iter().copied().filter(move |other| *other != id)
}

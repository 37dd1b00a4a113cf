//! What goes wrong in a run.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::disk::USUAL_SYNC_MS;
use super::operator;
use super::random::Random;
use super::world::World;
use crate::identity::NodeId;

/// One kind of harm.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Crash,
    /// The power fails for all of them, at about the same time.
    PowerCut,
    CrashLeader,
    /// A node is cut off from all others.
    Isolate,
    /// It hears and cannot speak.
    Mute,
    /// It speaks and cannot hear.
    Deafen,
    CutOne,
    /// Two halves that see each other only through one node between them.
    Bridge,
    /// Links go one by one, and come back in another order.
    Swizzle,
    /// What a node says and hears waits, as if it were stopped, and then comes all at once.
    Hold,
    /// Losses and long delays.
    Worsen,
    /// Messages arrive twice.
    Repeat,
    Skew,
    SlowDisk,
    /// A sync of the log fails: the node must stop.
    FailSync,
    /// Bits flip in the durable state of a node that is down, or in its newest snapshot.
    Rot,
    Snapshot,
    HandOver,
    Heal,
}

const HARMS: [Harm; 18] = [
    Harm::Crash,
    Harm::PowerCut,
    Harm::CrashLeader,
    Harm::Isolate,
    Harm::Mute,
    Harm::Deafen,
    Harm::CutOne,
    Harm::Bridge,
    Harm::Swizzle,
    Harm::Hold,
    Harm::Worsen,
    Harm::Repeat,
    Harm::Skew,
    Harm::SlowDisk,
    Harm::FailSync,
    Harm::Rot,
    Harm::Snapshot,
    Harm::HandOver,
];

/// Does harm until `end`, and then undoes it all. Each run has harms of its own, at a pace of its own: what comes
/// seldom among all of them is common in some runs. In a world with spare nodes, members change meanwhile.
pub async fn nemesis(world: World, random: Random, end: Instant) -> Result<(), String> {
    let mut harms: Vec<Harm> = HARMS.into_iter().filter(|_| random.per_mille(500)).collect();
    harms.extend([Harm::Crash, Harm::CrashLeader, Harm::Heal, Harm::Heal, Harm::Heal]);
    let slowest_ms = *random.pick(&[300, 600, 900]);
    let has_spares = !world.spares().is_empty();
    let changing = has_spares.then(|| tokio::spawn(operator::operate(world.clone(), random.fork(), end)));
    while Instant::now() < end {
        time::sleep(random.millis(20, slowest_ms)).await;
        let ids = world.enrolled();
        if !ids.is_empty() {
            harm(&world, &random, *random.pick(&harms), &ids).await?;
        }
    }
    world.heal();
    for id in world.enrolled() {
        world.start(id).await?;
    }
    if let Some(changing) = changing {
        changing.await.map_err(|error| error.to_string())??;
        operator::settle(&world).await?;
    }
    Ok(())
}

async fn harm(world: &World, random: &Random, harm: Harm, ids: &[NodeId]) -> Result<(), String> {
    let id = *random.pick(ids);
    match harm {
        Harm::Crash => crash(world, random, id).await?,
        Harm::PowerCut => {
            for id in ids {
                world.crash(*id);
                time::sleep(random.micros(0, 1_000)).await;
            }
            for id in ids {
                start_later(world, random, *id).await?;
            }
        }
        Harm::CrashLeader => {
            if let Some(leader) = world.leader() {
                crash(world, random, leader.identity().node).await?;
            }
        }
        Harm::Isolate => others(ids, id).for_each(|other| {
            world.cut(id, other);
            world.cut(other, id);
        }),
        Harm::Mute => others(ids, id).for_each(|other| world.cut(id, other)),
        Harm::Deafen => others(ids, id).for_each(|other| world.cut(other, id)),
        Harm::CutOne => world.cut(id, *random.pick(ids)),
        Harm::Bridge => {
            let ends: Vec<NodeId> = others(ids, id).collect();
            let (left, right) = ends.split_at(ends.len() / 2);
            for (one, other) in left.iter().flat_map(|one| right.iter().map(move |other| (*one, *other))) {
                world.cut(one, other);
                world.cut(other, one);
            }
        }
        Harm::Swizzle => swizzle(world, random, ids).await,
        Harm::Hold => {
            world.network().hold(id);
            time::sleep(random.millis(100, 1_500)).await;
            world.network().release(id);
        }
        Harm::Worsen => world.worsen(random.below(300), 2_000 + random.below(60_000)),
        Harm::Repeat => world.network().repeat(random.below(500)),
        Harm::Skew => {
            let hour_ms = 3_600_000;
            world.skew(id, i64::try_from(random.below(2 * hour_ms)).unwrap() - hour_ms.cast_signed());
        }
        Harm::SlowDisk => world.slow_down(id, USUAL_SYNC_MS + random.below(300)),
        Harm::FailSync => fail_sync(world, random, id).await?,
        Harm::Rot => {
            world.crash(id);
            world.rot(id, random);
            start_later(world, random, id).await?;
        }
        Harm::Snapshot => {
            if let Some(node) = world.node(id) {
                let _ = node.core().raft.trigger().snapshot().await;
            }
        }
        Harm::HandOver => {
            if let Some(leader) = world.leader() {
                let _ = leader.transfer_leader(None, Instant::now() + Duration::from_millis(500)).await;
            }
        }
        Harm::Heal => world.heal(),
    }
    Ok(())
}

async fn swizzle(world: &World, random: &Random, ids: &[NodeId]) {
    let mut links: Vec<(NodeId, NodeId)> =
        ids.iter().flat_map(|one| others(ids, *one).map(|other| (*one, other))).collect();
    let mut cut = Vec::new();
    while !links.is_empty() {
        let (from, to) = links.swap_remove(usize::try_from(random.below(links.len() as u64)).unwrap());
        if random.per_mille(700) {
            world.cut(from, to);
            cut.push((from, to));
            time::sleep(random.millis(1, 100)).await;
        }
    }
    while !cut.is_empty() {
        let (from, to) = cut.swap_remove(usize::try_from(random.below(cut.len() as u64)).unwrap());
        world.network().mend(from, to);
        time::sleep(random.millis(1, 100)).await;
    }
}

async fn fail_sync(world: &World, random: &Random, id: NodeId) -> Result<(), String> {
    let Some(node) = world.node(id) else { return Ok(()) };
    world.log(id).fail();
    for _ in 0..100 {
        if world.log(id).has_told_of_failure() {
            break;
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    if world.log(id).has_told_of_failure() {
        time::sleep(random.millis(100, 1_000)).await;
        if !world.forgives_syncs() && node.core().fatal.borrow().is_none() {
            return Err(format!("node {id} goes on after a failed sync"));
        }
    }
    crash(world, random, id).await
}

/// Sometimes the leader goes with it: then those who come back first are a majority that may lack something.
async fn crash(world: &World, random: &Random, id: NodeId) -> Result<(), String> {
    let leader = world.leader().map(|leader| leader.identity().node);
    let other = leader.filter(|leader| *leader != id && random.per_mille(400));
    world.crash(id);
    if let Some(other) = other {
        world.crash(other);
    }
    start_later(world, random, id).await?;
    match other {
        Some(other) => start_later(world, random, other).await,
        None => Ok(()),
    }
}

async fn start_later(world: &World, random: &Random, id: NodeId) -> Result<(), String> {
    time::sleep(random.millis(1, 700)).await;
    world.start(id).await
}

fn others(ids: &[NodeId], id: NodeId) -> impl Iterator<Item = NodeId> {
    ids.iter().copied().filter(move |other| *other != id)
}

//! Growing, shrinking, replacing and stopping, with clients at work and from seeds.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{self, Instant};

use super::bug::Bug;
use super::clients::{Client, History};
use super::layer::Setup;
use super::machine::NamesLayer;
use super::random::Random;
use super::run::run;
use super::world::World;
use crate::error::{StartError, Unavailable};
use crate::handle::Cluster;
use crate::identity::NodeId;
use crate::membership::{After, ChangeError, Wish};
use crate::status::Status;

/// Runs a story with several seeds; one that fails says which.
fn tell<F: Future<Output = ()>>(story: impl Fn(Random) -> F) {
    let seeds = std::env::var("CONCLAVE_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 1..=seeds.unwrap_or(SEEDS) {
        println!("seed {seed}");
        run(seed, |random| async {
            story(random).await;
            Ok(())
        })
        .unwrap();
    }
}

async fn found(random: &Random, founders: u64, spares: u64, promotes: bool) -> World {
    let setup = Setup { spares, promotes, ..Setup::of(founders) };
    World::found(random, setup, Arc::new(NamesLayer { bug: Bug::None })).await
}

/// Clients that write and read, and are told of nothing that is not so.
struct Load {
    world: World,
    history: History,
    end: Instant,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(world: &World, random: &Random, lasts: Duration) -> Self {
        let (history, end) = (History::default(), Instant::now() + lasts);
        let clients = (1..=3)
            .map(|number| {
                let (world, random, history) = (world.clone(), random.fork(), history.clone());
                tokio::spawn(Client { world, random, number, history, bug: Bug::None }.work(end))
            })
            .collect();
        Self { world: world.clone(), history, end, clients }
    }

    /// Everything acknowledged is there, on each of these.
    async fn check(self, nodes: &[u64]) {
        time::sleep_until(self.end).await;
        for client in self.clients {
            client.await.unwrap().unwrap();
        }
        let acknowledged = self.history.acknowledged();
        assert!(acknowledged > 20, "{acknowledged} acknowledged show nothing");
        for id in nodes {
            let view = self.world.node(NodeId(*id)).unwrap().read_barrier(soon()).await.unwrap();
            self.history.check(&view).unwrap();
        }
        self.world.compare().unwrap();
    }
}

async fn leader(world: &World) -> Cluster {
    eventually("a leader", || world.leader()).await
}

/// Has the leader grant a wish, whoever that is by then.
async fn grant(world: &World, wish: Wish) -> Result<After, ChangeError> {
    let end = soon();
    loop {
        let leader = leader(world).await;
        let granted = match wish {
            Wish::Promote(node) => leader.promote(node).await,
            Wish::Demote(node) => leader.demote(node).await,
            Wish::Remove(node) => leader.remove(node).await,
        };
        match granted {
            Err(ChangeError::Unavailable(error)) if Instant::now() < end => {
                println!("again: {error}");
                time::sleep(Duration::from_millis(20)).await;
            }
            decided => return decided,
        }
    }
}

async fn remove(world: &World, node: u64) -> Result<After, ChangeError> {
    grant(world, Wish::Remove(NodeId(node))).await
}

fn refusal<T: std::fmt::Debug>(changed: Result<T, ChangeError>) -> String {
    match changed {
        Err(ChangeError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

async fn let_in(world: &World, node: u64) {
    world.start(NodeId(node)).await.unwrap();
    world.join(NodeId(node), Duration::from_secs(20)).await.unwrap();
}

/// Voters and learners, as the leader has them when no change is under way.
async fn members(world: &World) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let status = eventually("an end of changes", || {
        world.leader().map(|leader| leader.status()).filter(|status| !status.is_changing)
    })
    .await;
    let of = |is_voter| {
        let members = status.members.iter().filter(|member| member.is_voter == is_voter);
        members.map(|member| member.node.0).collect()
    };
    (of(true), of(false))
}

/// What the leader says once it finds all members in good health.
async fn healthy(world: &World) -> Status {
    eventually("everybody in good health", || {
        let status = world.leader()?.status();
        status.members.iter().all(|member| member.is_healthy == Some(true)).then_some(status)
    })
    .await
}

async fn voters(world: &World) -> BTreeSet<u64> {
    members(world).await.0
}

async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "never saw {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn set(nodes: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    nodes.into_iter().collect()
}

#[test]
fn one_grows_to_five_and_shrinks_to_one() {
    tell(|random| async move {
        let world = found(&random, 1, 4, true).await;
        leader(&world).await;
        let load = Load::start(&world, &random, Duration::from_secs(8));
        for (node, can_lose) in [(2, 0), (3, 1), (4, 1), (5, 2)] {
            let_in(&world, node).await;
            assert_eq!(voters(&world).await, set(1..=node));
            let status = healthy(&world).await;
            assert_eq!((status.can_lose, status.tolerance), (can_lose, Some(can_lose)));
        }
        // Whoever leads goes too.
        let mut left = set(1..=5);
        while left.len() > 1 {
            let all: Vec<u64> = left.iter().copied().collect();
            let going = *random.pick(&all);
            left.remove(&going);
            let after = remove(&world, going).await.unwrap();
            assert_eq!(after.voters, left.iter().map(|node| NodeId(*node)).collect());
            assert_eq!(after.tolerance, (left.len() - 1) / 2);
            assert_eq!(members(&world).await, (left.clone(), set([])));
            world.crash(NodeId(going));
        }
        let last = *left.first().unwrap();
        let reason = refusal(remove(&world, last).await);
        assert!(reason.contains("last voter"), "{reason}");
        load.check(&[last]).await;
    });
}

#[test]
fn a_dead_voter_is_replaced_while_clients_work() {
    tell(|random| async move {
        let world = found(&random, 3, 1, true).await;
        leader(&world).await;
        let load = Load::start(&world, &random, Duration::from_secs(8));
        time::sleep(Duration::from_millis(500)).await;
        let dead = *random.pick(&[1, 2, 3]);
        world.crash(NodeId(dead));
        let mut left = set(1..=4);
        left.remove(&dead);
        if random.per_mille(500) {
            let_in(&world, 4).await;
            assert_eq!(leader(&world).await.status().can_lose, 1);
            assert_eq!(remove(&world, dead).await.unwrap().tolerance, 1);
        } else {
            assert_eq!(remove(&world, dead).await.unwrap().tolerance, 0);
            let_in(&world, 4).await;
        }
        assert_eq!(voters(&world).await, left);
        assert_eq!(healthy(&world).await.tolerance, Some(1));
        load.check(&left.into_iter().collect::<Vec<_>>()).await;
    });
}

#[test]
fn a_leader_that_is_to_go_hands_over_first() {
    tell(|random| async move {
        let world = found(&random, 3, 0, true).await;
        let old = leader(&world).await;
        let node = old.identity().node;
        for wish in [Wish::Demote(node), Wish::Remove(node)] {
            old.transfer_leader(None, soon()).await.ok();
            let leads = leader(&world).await;
            leads.transfer_leader(Some(node), soon()).await.ok();
            eventually("the old leader", || old.is_leader().then_some(())).await;
            let granted = match wish {
                Wish::Demote(_) => old.demote(node).await,
                Wish::Promote(_) | Wish::Remove(_) => old.remove(node).await,
            };
            let Err(ChangeError::Unavailable(Unavailable::NotLeader { leader: Some(new) })) = granted else {
                panic!("{granted:?}");
            };
            assert_ne!(new, node);
            assert_eq!(voters(&world).await, set(1..=3));
        }
        let after = remove(&world, node.0).await.unwrap();
        assert_eq!(after.voters.len(), 2);
        assert_eq!(remove(&world, node.0).await.unwrap(), after);
        assert!(!voters(&world).await.contains(&node.0));
    });
}

#[test]
fn of_two_operators_only_one_gets_their_way() {
    tell(|random| async move {
        for dead_first in [true, false] {
            let world = found(&random, 3, 0, true).await;
            healthy(&world).await;
            let leads = leader(&world).await;
            let others: Vec<u64> = (1..=3).filter(|id| *id != leads.identity().node.0).collect();
            let [dead, alive] = others[..] else { panic!("{others:?}") };
            world.crash(NodeId(dead));
            eventually("a dead node", || (leads.status().tolerance == Some(0)).then_some(())).await;
            let (bury, kill) = if dead_first {
                tokio::join!(leads.remove(NodeId(dead)), leads.remove(NodeId(alive)))
            } else {
                let (kill, bury) = tokio::join!(leads.remove(NodeId(alive)), leads.remove(NodeId(dead)));
                (bury, kill)
            };
            assert_eq!(bury.unwrap().voters.len(), 2);
            let reason = refusal(kill);
            let expected = if dead_first { "have changed meanwhile" } else { "has not answered for" };
            assert!(reason.contains(expected), "{reason}");
            assert_eq!(voters(&world).await.len(), 2);
        }
    });
}

#[test]
fn a_wish_that_would_stop_the_cluster_is_refused() {
    tell(|random| async move {
        let world = found(&random, 3, 0, true).await;
        let leads = leader(&world).await;
        let follower = NodeId((1..=3).find(|id| *id != leads.identity().node.0).unwrap());
        // Given up is as good as dead, however lively.
        let others = (1..=3).map(NodeId).filter(|id| *id != follower && *id != leads.identity().node);
        let gone: BTreeSet<NodeId> = others.collect();
        leads.give_up(gone.clone());
        assert_eq!(leads.status().tolerance, Some(0));
        let before = leads.status().last_index;
        for wish in [Wish::Remove(follower), Wish::Demote(follower)] {
            let reason = refusal(leads.preview(wish).await);
            assert!(reason.contains("has been given up"), "{reason}");
            assert_eq!(refusal(grant(&world, wish).await), reason);
        }
        assert_eq!(leads.status().last_index, before, "something was written");
        let gone = gone.first().unwrap();
        assert_eq!(leads.preview(Wish::Remove(*gone)).await.unwrap().voters.len(), 2);
        leads.remove(*gone).await.unwrap();
        // It knows no better, asks to be let in again, and is not.
        let refused = world.join(*gone, Duration::from_secs(5)).await;
        if let Err(error) = refused {
            assert!(
                matches!(&error, StartError::Refused(reason) if reason.contains("never used")),
                "{error}"
            );
        }
        assert_eq!(voters(&world).await.len(), 2);
    });
}

#[test]
fn a_learner_lasts_reads_and_can_vote_again() {
    tell(|random| async move {
        let world = found(&random, 3, 0, true).await;
        let leads = leader(&world).await;
        let node = NodeId((1..=3).find(|id| *id != leads.identity().node.0).unwrap());
        let load = Load::start(&world, &random, Duration::from_secs(6));
        let after = grant(&world, Wish::Demote(node)).await.unwrap();
        assert_eq!((after.voters.len(), after.tolerance), (2, 0));
        assert_eq!(grant(&world, Wish::Demote(node)).await.unwrap(), after);
        for _ in 0..2 {
            let learner = world.node(node).unwrap();
            learner.read_barrier(soon()).await.unwrap();
            eventually("readiness", || learner.is_ready().then_some(())).await;
            assert!(members(&world).await.1.contains(&node.0));
            world.crash(node);
            time::sleep(random.millis(1, 500)).await;
            world.start(node).await.unwrap();
        }
        let learner = world.node(node).unwrap();
        learner.read_barrier(soon()).await.unwrap();
        eventually("a learner that has caught up", || {
            world.leader().and_then(|leader| leader.caught_up(node)).filter(|caught_up| *caught_up)
        })
        .await;
        assert_eq!(grant(&world, Wish::Promote(node)).await.unwrap().tolerance, 1);
        assert_eq!(learner.caught_up(node), None, "only a leader knows");
        load.check(&[1, 2, 3]).await;
    });
}

#[test]
fn a_learner_that_does_not_work_is_not_promoted() {
    tell(|random| async move {
        let world = found(&random, 3, 1, false).await;
        leader(&world).await;
        let_in(&world, 4).await;
        assert_eq!(members(&world).await, (set(1..=3), set([4])));
        world.crash(NodeId(4));
        time::sleep(Duration::from_secs(2)).await;
        let reason = refusal(grant(&world, Wish::Promote(NodeId(4))).await);
        assert!(reason.contains("node 4 has not answered"), "{reason}");
        let leads = leader(&world).await;
        assert_eq!(leads.caught_up(NodeId(4)), Some(false));
        assert_eq!(leads.caught_up(NodeId(9)), None);
        let unknown = refusal(grant(&world, Wish::Promote(NodeId(9))).await);
        assert!(unknown.contains("not a member"), "{unknown}");
        // It comes back as what it was, and votes when it is told to.
        world.start(NodeId(4)).await.unwrap();
        world.join(NodeId(4), Duration::from_secs(10)).await.unwrap();
        world.node(NodeId(4)).unwrap().read_barrier(soon()).await.unwrap();
        assert_eq!(members(&world).await, (set(1..=3), set([4])));
        assert_eq!(grant(&world, Wish::Promote(NodeId(4))).await.unwrap().voters.len(), 4);
    });
}

#[test]
fn a_wrong_address_changes_nothing() {
    tell(|random| async move {
        let world = found(&random, 3, 1, true).await;
        leader(&world).await;
        let before = members(&world).await;
        for address in ["nowhere", "node-2", "node-9"] {
            world.claim(NodeId(4), address);
            world.start(NodeId(4)).await.unwrap();
            let joined = world.join(NodeId(4), Duration::from_secs(3)).await;
            let Err(StartError::NotJoined(reason)) = joined else { panic!("{joined:?}") };
            let expected = format!("node 4 cannot be reached at {address} from node");
            assert!(reason.contains(&expected), "{reason}");
            assert!(reason.contains("is --peer-advertise right?"), "{reason}");
            world.crash(NodeId(4));
        }
        // Nor when a voter comes back with it: it serves on under the old one.
        let moved = leader(&world).await.identity().node.0 % 3 + 1;
        world.crash(NodeId(moved));
        world.claim(NodeId(moved), "nowhere");
        world.start(NodeId(moved)).await.unwrap();
        let joined = world.join(NodeId(moved), Duration::from_secs(3)).await;
        assert!(matches!(joined, Err(StartError::NotJoined(_))), "{joined:?}");
        assert_eq!(members(&world).await, before);
        let status = leader(&world).await.status();
        assert!(
            status.members.iter().all(|member| member.member.peer_addr.starts_with("node-")),
            "{status:?}"
        );
        assert_eq!(status.tolerance, Some(1));
    });
}

#[test]
fn a_join_broken_off_anywhere_can_be_repeated() {
    tell(|random| async move {
        let world = found(&random, 3, 1, true).await;
        leader(&world).await;
        let load = Load::start(&world, &random, Duration::from_secs(6));
        for _ in 0..6 {
            world.start(NodeId(4)).await.unwrap();
            let joining = world.join(NodeId(4), Duration::from_secs(20));
            let _ = time::timeout(random.millis(1, 250), joining).await;
            world.crash(NodeId(4));
            time::sleep(random.millis(0, 300)).await;
        }
        let_in(&world, 4).await;
        assert_eq!(voters(&world).await, set(1..=4));
        load.check(&[1, 2, 3, 4]).await;
    });
}

#[test]
fn a_change_whose_leader_dies_is_finished_by_the_next() {
    tell(|random| async move {
        let world = found(&random, 3, 2, false).await;
        leader(&world).await;
        let_in(&world, 4).await;
        let_in(&world, 5).await;
        let load = Load::start(&world, &random, Duration::from_secs(20));
        let mut half_done = 0;
        for round in 0..8 {
            let leads = leader(&world).await;
            let node = NodeId(4 + round % 2);
            let is_voter = voters(&world).await.contains(&node.0);
            let wish = if is_voter { Wish::Demote(node) } else { Wish::Promote(node) };
            let changing = async {
                let _ = if is_voter { leads.demote(node).await } else { leads.promote(node).await };
            };
            let _ = time::timeout(random.micros(0, 12_000), changing).await;
            world.crash(leads.identity().node);
            let next = leader(&world).await;
            half_done += u32::from(next.status().is_changing);
            next.finish_change().await.ok();
            // Repeated as it was, whatever became of it.
            let granted = grant(&world, wish).await.map(|after| after.voters.contains(&node));
            if let Ok(votes) = granted {
                assert_eq!(votes, !is_voter);
                assert_eq!(voters(&world).await.contains(&node.0), !is_voter);
            }
            world.start(leads.identity().node).await.unwrap();
            healthy(&world).await;
        }
        println!("{half_done} half done");
        load.check(&[1, 2, 3, 4, 5]).await;
    });
}

#[test]
fn a_leader_that_stops_hands_over_and_changes_no_member() {
    tell(|random| async move {
        let world = found(&random, 3, 0, true).await;
        let old = leader(&world).await;
        let node = old.identity().node;
        let others: Vec<NodeId> = world.ids().into_iter().filter(|id| *id != node).collect();
        // One of them cannot be reached, and looks well for a while yet.
        let deaf = *random.pick(&others);
        world.cut(node, deaf);
        let began = Instant::now();
        old.shutdown().await;
        assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
        world.crash(node);
        let new = leader(&world).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        new.read_barrier(soon()).await.unwrap();
        assert_eq!(voters(&world).await, set(1..=3));
    });
}

#[test]
fn a_leader_stops_in_time_when_nobody_answers() {
    tell(|random| async move {
        let world = found(&random, 3, 0, true).await;
        let old = leader(&world).await;
        for other in world.ids().into_iter().filter(|id| *id != old.identity().node) {
            world.crash(other);
        }
        time::sleep(random.millis(0, 3_000)).await;
        // A change that will never be decided holds nothing up.
        let other = NodeId(old.identity().node.0 % 3 + 1);
        let changing = tokio::spawn({
            let old = old.clone();
            async move { old.remove(other).await }
        });
        time::sleep(random.millis(0, 100)).await;
        let began = Instant::now();
        old.shutdown().await;
        assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(changing.await.unwrap().is_err());
    });
}

const SEEDS: u64 = 3;

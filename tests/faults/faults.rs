//! The faults, one by one: what each does to a cluster under load, and how it ends.

use std::time::Duration;

use conclave::clock::{Clock, SystemClock, rfc3339};
use tokio::time::sleep;

use crate::crew::eventually;
use crate::net::Fate;
use crate::site::Site;

/// A way in which a cluster can be ill-treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillLeader,
    KillFollower,
    KillAll,
    PauseLeader,
    PauseAny,
    IsolateLeader,
    IsolateFollower,
    OneWayMute,
    OneWayDeaf,
    Bridge,
    NoMajority,
    Loss,
    Resets,
    SlowSnapshot,
    ClockJumps,
    GrowShrink,
    WipedNode,
    RollingRestart,
    CpuStarved,
    NoDescriptors,
    Overlap,
    /// The same with five nodes, two of which may be down.
    OverlapFive,
}

/// What is special about a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) machines: usize,
    /// Lines of settings.
    pub(crate) settings: &'static str,
    pub(crate) has_faked_clock: bool,
    /// How often it happens to one cluster.
    pub(crate) rounds: usize,
    /// Of these, so many in the quick choice; 0 is not in it.
    pub(crate) quick: usize,
}

/// More than a node keeps of its log before its snapshot, by as much as it drops at a time.
const KEPT: u64 = 1_300;

/// So small that logs are cut off all the time.
const OFTEN: &str = "snapshot_every = 200\n";

impl Fault {
    pub(crate) const ALL: [Self; 22] = [
        Self::KillLeader,
        Self::PauseLeader,
        Self::IsolateLeader,
        Self::OneWayMute,
        Self::OneWayDeaf,
        Self::Overlap,
        Self::KillFollower,
        Self::KillAll,
        Self::PauseAny,
        Self::IsolateFollower,
        Self::Bridge,
        Self::NoMajority,
        Self::Loss,
        Self::Resets,
        Self::SlowSnapshot,
        Self::ClockJumps,
        Self::GrowShrink,
        Self::WipedNode,
        Self::RollingRestart,
        Self::CpuStarved,
        Self::NoDescriptors,
        Self::OverlapFive,
    ];

    pub(crate) fn plan(self) -> Plan {
        let plan = |name, rounds, quick| Plan {
            name,
            machines: 3,
            settings: "",
            has_faked_clock: false,
            rounds,
            quick,
        };
        match self {
            Self::KillLeader => plan("kill-leader", 10, 3),
            Self::KillFollower => plan("kill-follower", 5, 0),
            Self::KillAll => plan("kill-all", 4, 0),
            Self::PauseLeader => plan("pause-leader", 10, 3),
            Self::PauseAny => plan("pause-any", 12, 0),
            Self::IsolateLeader => plan("isolate-leader", 10, 3),
            Self::IsolateFollower => plan("isolate-follower", 5, 0),
            Self::OneWayMute => plan("one-way-mute", 10, 3),
            Self::OneWayDeaf => plan("one-way-deaf", 10, 0),
            Self::Bridge => plan("bridge", 5, 0),
            Self::NoMajority => plan("no-majority", 5, 0),
            Self::Loss => plan("loss", 3, 0),
            Self::Resets => plan("resets", 3, 0),
            Self::SlowSnapshot => Plan { settings: OFTEN, ..plan("slow-snapshot", 2, 0) },
            Self::ClockJumps => Plan { has_faked_clock: true, ..plan("clock-jumps", 6, 0) },
            Self::GrowShrink => Plan { settings: OFTEN, ..plan("grow-shrink", 1, 0) },
            Self::WipedNode => Plan { settings: OFTEN, ..plan("wiped-node", 2, 0) },
            Self::RollingRestart => plan("rolling-restart", 2, 0),
            Self::CpuStarved => plan("cpu-starved", 3, 0),
            Self::NoDescriptors => plan("no-descriptors", 3, 0),
            Self::OverlapFive => Plan { machines: 5, settings: OFTEN, ..plan("overlap-five", 1, 0) },
            Self::Overlap => Plan { settings: OFTEN, ..plan("overlap", 1, 1) },
        }
    }

    /// Does it once, and heals the cluster again.
    pub(crate) async fn happen(self, site: &mut Site) {
        let (leader, others) = site.leader_and_others().await;
        match self {
            Self::KillLeader => kill(site, leader).await,
            Self::KillFollower => kill(site, others[0]).await,
            Self::KillAll => kill_all(site).await,
            Self::PauseLeader => pause(site, leader, FOR).await,
            Self::PauseAny => {
                let machine = site.random.pick(&site.crew.running());
                let time = Duration::from_millis(site.random.between(200, 3000));
                pause(site, machine, time).await;
            }
            Self::IsolateLeader => cut(site, &around(leader, &others, true, true)).await,
            Self::IsolateFollower => {
                let rest = [leader, others[1]];
                cut(site, &around(others[0], &rest, true, true)).await;
            }
            Self::OneWayMute => cut(site, &around(leader, &others, true, false)).await,
            Self::OneWayDeaf => cut(site, &around(leader, &others, false, true)).await,
            Self::Bridge => cut(site, &around(leader, &others[..1], true, true)).await,
            Self::NoMajority => no_majority(site).await,
            Self::Loss => {
                let percent = u8::try_from(site.random.between(5, 31)).unwrap();
                everywhere(site, Fate::Lose(percent)).await;
            }
            Self::Resets => everywhere(site, Fate::Reset(3)).await,
            Self::SlowSnapshot => slow_snapshot(site, leader, others[0]).await,
            Self::ClockJumps => clock_jump(site).await,
            Self::GrowShrink => crate::membership::grow_and_shrink(site).await,
            Self::WipedNode => crate::membership::wipe(site, others[0]).await,
            Self::RollingRestart => rolling_restart(site, leader, &others).await,
            Self::CpuStarved => crate::limits::starve(site, leader, FOR).await,
            Self::NoDescriptors => crate::limits::no_descriptors(site, leader, FOR).await,
            Self::Overlap | Self::OverlapFive => crate::nemesis::rage(site).await,
        }
        site.settle().await;
    }
}

/// Long enough for an election and a while of writing, also on a machine that others use.
const FOR: Duration = Duration::from_millis(2500);

/// What happens to packets between a machine and others: to those from it, to those for it.
pub(crate) fn around(machine: usize, others: &[usize], from: bool, to: bool) -> Vec<(usize, usize, Fate)> {
    let outward = others.iter().filter(|_| from).map(|other| (machine, *other, Fate::Drop));
    let inward = others.iter().filter(|_| to).map(|other| (*other, machine, Fate::Drop));
    outward.chain(inward).collect()
}

async fn kill(site: &mut Site, machine: usize) {
    site.kill(machine);
    site.last(FOR).await;
    site.revive(machine).await;
}

async fn kill_all(site: &mut Site) {
    let all = site.crew.running();
    for machine in &all {
        site.kill(*machine);
    }
    let begun = site.begin();
    for machine in &all {
        site.crew.start(*machine);
    }
    for machine in &all {
        site.crew.ready(*machine).await;
        site.excuse(*machine, false);
    }
    sleep(FOR / 2).await;
    site.end(begun);
}

async fn pause(site: &mut Site, machine: usize, time: Duration) {
    site.pause(machine);
    site.last(time).await;
    site.resume(machine);
}

async fn cut(site: &mut Site, fates: &[(usize, usize, Fate)]) {
    site.crew.net.set(fates);
    site.last(FOR).await;
    site.crew.net.heal();
}

/// Nobody reaches anybody. What counts is how soon they write again afterwards.
async fn no_majority(site: &mut Site) {
    site.crew.net.set(&pairs(site, Fate::Drop));
    sleep(FOR / 2).await;
    site.crew.net.heal();
    site.last(FOR).await;
}

async fn everywhere(site: &mut Site, fate: Fate) {
    site.crew.net.set(&pairs(site, fate));
    site.last(FOR * 2).await;
    site.crew.net.heal();
}

pub(crate) fn pairs(site: &Site, fate: Fate) -> Vec<(usize, usize, Fate)> {
    let all = site.crew.running();
    let of = |from: usize| all.iter().filter(move |to| **to != from).map(move |to| (from, *to, fate));
    all.iter().flat_map(|from| of(*from)).collect()
}

/// A follower that was away for longer than the log reaches back gets a snapshot over a slow link.
async fn slow_snapshot(site: &mut Site, leader: usize, follower: usize) {
    let installed = |site: &Site| site.crew.log(follower).matches("installed a snapshot").count();
    let before = installed(site);
    let held = eventually("figures", async || site.crew.figures(follower).await).await.applied;
    site.kill(follower);
    site.last(FOR).await;
    eventually("a log that does not reach back", async || {
        let snapshot = site.crew.figures(leader).await?.snapshot;
        (snapshot > held + KEPT).then_some(())
    })
    .await;
    site.crew.net.limit(leader, Some(8_000));
    let begun = site.begin();
    site.revive(follower).await;
    site.end(begun);
    site.crew.net.limit(leader, None);
    assert!(installed(site) > before, "no snapshot was sent: this run shows nothing");
}

async fn clock_jump(site: &mut Site) {
    let machine = site.random.pick(&site.crew.running());
    let seconds = site.random.pick(&[-3600, 3600, -60, 60]);
    site.crew.set_clock(machine, seconds);
    site.last(FOR / 2).await;
    // Only ahead: the time in a reply never goes back.
    if seconds == 3600 {
        let true_time = rfc3339(SystemClock.now());
        let hour = site.crew.hour(machine).await;
        assert!(
            !true_time.contains(&format!("T{hour}")),
            "no faked clock: is the program linked statically?"
        );
    }
    site.crew.set_clock(machine, 0);
    site.last(FOR / 2).await;
}

/// Every node is stopped as an operator does it, and started again; the leader last.
async fn rolling_restart(site: &mut Site, leader: usize, others: &[usize]) {
    for machine in others.iter().copied().chain([leader]) {
        let begun = site.begin();
        site.excuse(machine, true);
        site.crew.stop(machine).await;
        site.revive(machine).await;
        site.end(begun);
        site.settle().await;
    }
}

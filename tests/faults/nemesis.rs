//! Faults that overlap, chosen by chance from the seed of the run.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::faults::{around, pairs};
use crate::net::Fate;
use crate::site::Site;

/// How many times something happens.
const STEPS: usize = 14;

/// What holds at the moment. At most a minority is down or paused at a time; the network may be as bad as it likes.
#[derive(Debug, Default)]
struct Trouble {
    killed: BTreeSet<usize>,
    paused: BTreeSet<usize>,
}

/// Kills, pauses and cuts, each while the others may still hold.
pub(crate) async fn rage(site: &mut Site) {
    let all: Vec<usize> = site.crew.running();
    let mut trouble = Trouble::default();
    for _ in 0..STEPS {
        let is_free = trouble.killed.len() + trouble.paused.len() < all.len() / 2;
        let up = site.crew.running();
        let machine = site.random.pick(&up);
        match site.random.between(0, 9) {
            0 | 1 if is_free => {
                site.kill(machine);
                trouble.killed.insert(machine);
            }
            2 | 3 if is_free => {
                site.pause(machine);
                trouble.paused.insert(machine);
            }
            4 => {
                let others: Vec<usize> = all.iter().copied().filter(|other| *other != machine).collect();
                let (from, to) = site.random.pick(&[(true, true), (true, false), (false, true)]);
                site.crew.net.set(&around(machine, &others, from, to));
            }
            5 => {
                let other = site.random.pick(&all);
                site.crew.net.set(&around(machine, &[other], true, true));
            }
            6 => {
                let percent = u8::try_from(site.random.between(5, 31)).unwrap();
                site.crew.net.set(&pairs(site, Fate::Lose(percent)));
            }
            7 => site.crew.net.set(&pairs(site, Fate::Reset(2))),
            _ => site.crew.net.heal(),
        }
        let time = Duration::from_millis(site.random.between(150, 1200));
        site.last(time).await;
        // Half of the time things get better too.
        if site.random.between(0, 2) == 0 {
            relieve(site, &mut trouble);
        }
    }
    site.crew.net.heal();
    relieve(site, &mut trouble);
    for machine in all {
        site.crew.ready(machine).await;
        site.excuse(machine, false);
    }
}

/// What was killed is started, what was paused goes on.
fn relieve(site: &mut Site, trouble: &mut Trouble) {
    for machine in std::mem::take(&mut trouble.killed) {
        site.crew.start(machine);
    }
    for machine in std::mem::take(&mut trouble.paused) {
        site.resume(machine);
    }
}

//! A cluster under load, and the time without acknowledged writes after each fault.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::check::{self, Violation};
use crate::crew::{Crew, Options};
use crate::history;
use crate::load::{Load, World};
use crate::random::Random;

/// Where faults happen.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) crew: Crew,
    pub(crate) random: Random,
    world: Arc<World>,
    load: Load,
    /// From a fault to its end, by the recorder's time.
    spans: Vec<(u64, u64)>,
    first_term: u64,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) operations: usize,
    pub(crate) acknowledged: usize,
    /// What was answered in a second, over the whole run with all its faults.
    pub(crate) rate: u64,
    /// Microseconds, one for each fault.
    pub(crate) gaps: Vec<u64>,
    pub(crate) terms: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) history: String,
}

impl Site {
    /// A cluster with its load.
    pub(crate) async fn open(owner: u32, machines: usize, options: Options, seed: u64) -> Self {
        let crew = Crew::grown(owner, machines, options).await;
        let world = World::open(crew.running()).await;
        let load = Load::start(&world).await;
        let first_term = term(&crew).await;
        sleep(Duration::from_millis(800)).await;
        Self { crew, random: Random::new(seed), world, load, spans: Vec::new(), first_term }
    }

    /// A fault that lasts so long and begins now: what is done between two calls of this belongs to the one before.
    pub(crate) async fn last(&mut self, time: Duration) {
        let from = self.world.recorder.now();
        sleep(time).await;
        self.spans.push((from, self.world.recorder.now()));
    }

    /// The same for a fault that does not last: how long nobody writes while this is done.
    pub(crate) fn begin(&self) -> u64 {
        self.world.recorder.now()
    }

    pub(crate) fn end(&mut self, from: u64) {
        self.spans.push((from, self.world.recorder.now()));
    }

    /// Kills a node, and lets nobody wonder that it is silent.
    pub(crate) fn kill(&mut self, machine: usize) {
        self.world.recorder.silence(machine);
        self.crew.kill(machine);
    }

    /// Starts it again and waits until it serves.
    pub(crate) async fn revive(&mut self, machine: usize) {
        self.crew.start(machine);
        self.crew.ready(machine).await;
        self.world.recorder.speak(machine);
    }

    pub(crate) fn pause(&mut self, machine: usize) {
        self.world.recorder.silence(machine);
        self.crew.pause(machine);
    }

    pub(crate) fn resume(&mut self, machine: usize) {
        self.crew.resume(machine);
        self.world.recorder.speak(machine);
    }

    /// A machine may not answer, or may again: for what is done to it outside of this.
    pub(crate) fn excuse(&self, machine: usize, is_silent: bool) {
        if is_silent {
            self.world.recorder.silence(machine);
        } else {
            self.world.recorder.speak(machine);
        }
    }

    pub(crate) fn ask_only(&self, machines: Vec<usize>) {
        self.world.ask_only(machines);
    }

    /// The leader, and all others that run.
    pub(crate) async fn leader_and_others(&self) -> (usize, Vec<usize>) {
        let leader = self.crew.leader().await;
        (leader, self.crew.running().into_iter().filter(|machine| *machine != leader).collect())
    }

    /// Waits until all that runs is well, and a little longer, so that the next fault meets a cluster that works.
    pub(crate) async fn settle(&mut self) {
        self.crew.net.heal();
        for machine in self.crew.running() {
            self.crew.ready(machine).await;
        }
        self.crew.voters(self.crew.running().len()).await;
        sleep(Duration::from_millis(500)).await;
    }

    /// Ends the load on a cluster that was healed, and judges what it saw.
    pub(crate) async fn close(mut self) -> Outcome {
        self.settle().await;
        let lasted = self.world.recorder.now();
        let names = self.load.end().await;
        self.crew.are_equal().await;
        let seen = self.world.recorder.seen();
        let acknowledged = seen.ops.iter().filter(|op| op.is_acknowledged_write()).count();
        let answered = seen.ops.iter().filter(|op| op.outcome == history::Outcome::Done).count();
        let answered = u64::try_from(answered).unwrap();
        let gaps = self.spans.iter().map(|(from, to)| check::gap(&seen.ops, *from, *to)).collect();
        Outcome {
            operations: seen.ops.len(),
            acknowledged,
            rate: answered * 1_000_000 / lasted,
            gaps,
            terms: term(&self.crew).await.saturating_sub(self.first_term),
            violations: check::all(&seen, &names),
            history: crate::recorder::text(&seen.ops),
        }
    }
}

async fn term(crew: &Crew) -> u64 {
    let mut term = 0;
    for machine in crew.running() {
        term = term.max(crew.figures(machine).await.map_or(0, |figures| figures.term));
    }
    term
}

/// Where a run keeps what it needs.
pub(crate) fn options(
    program: PathBuf,
    folder: PathBuf,
    settings: &str,
    environment: Vec<(String, String)>,
) -> Options {
    Options { program, folder, data: Vec::new(), settings: settings.to_owned(), environment }
}

//! Writes down what clients do, while they do it.

use std::fmt::Write as _;
use std::sync::Mutex;

use tokio::time::Instant;

use crate::history::{Op, Seen, Slow};

/// Writes down what all clients of a run do.
#[derive(Debug)]
pub(crate) struct Recorder {
    origin: Instant,
    seen: Mutex<Seen>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), seen: Mutex::default() }
    }

    /// The time now.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap()
    }

    pub(crate) fn add(&self, op: Op) {
        self.seen.lock().unwrap().ops.push(op);
    }

    pub(crate) fn add_slow(&self, slow: Slow) {
        self.seen.lock().unwrap().slow.push(slow);
    }

    /// A machine is silent from now on, and not by its own fault.
    pub(crate) fn silence(&self, machine: usize) {
        let now = self.now();
        self.seen.lock().unwrap().silences.entry(machine).or_default().push((now, u64::MAX));
    }

    /// A machine can answer again.
    pub(crate) fn speak(&self, machine: usize) {
        let now = self.now();
        let mut seen = self.seen.lock().unwrap();
        for silence in seen.silences.entry(machine).or_default() {
            silence.1 = silence.1.min(now);
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// A history as lines of text, for a person who looks into it.
pub(crate) fn text(ops: &[Op]) -> String {
    let mut text = String::new();
    for Op { what, machine, begun, ended, outcome } in ops {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{begun:>10} {ended:>10} machine {machine} {outcome:?} {what:?}");
    }
    text
}

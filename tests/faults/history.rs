//! What clients did and saw: who asked for what, when, and what came of it.

use std::collections::BTreeMap;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was acknowledged.
    Done,
    /// It was answered that nothing was done.
    Refused,
    /// Anything else: it may have been done, or may yet be.
    Unknown,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A value of its own into a register.
    Write { register: usize, value: u64 },
    /// What a register was seen to hold.
    Read { register: usize, value: u64 },
    /// A name that one alone can have.
    Create { name: String },
    /// The same request again, under the same idempotency key: acknowledged or not, it must not be told that somebody
    /// else was quicker.
    Repeat { name: String, is_taken: bool },
    /// A token is to be good no longer.
    Revoke { token: usize },
    /// Whether a token was accepted.
    Check { token: usize, granted: bool },
    /// A token that may be used once was used.
    Consume { token: usize },
}

/// One request, with all its repetitions under one idempotency key. Times are microseconds of the recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) what: What,
    pub(crate) machine: usize,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) outcome: Outcome,
}

impl Op {
    /// Whether it is a write that was acknowledged.
    pub(crate) fn is_acknowledged_write(&self) -> bool {
        let is_write = match self.what {
            What::Write { .. } | What::Create { .. } | What::Revoke { .. } | What::Consume { .. } => true,
            What::Read { .. } | What::Repeat { .. } | What::Check { .. } => false,
        };
        is_write && self.outcome == Outcome::Done
    }
}

/// An answer that took long, or did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) machine: usize,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
}

/// From when to when a machine could not answer, by what was done to it; by machine.
pub(crate) type Silences = BTreeMap<usize, Vec<(u64, u64)>>;

/// All that was written down in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) ops: Vec<Op>,
    pub(crate) slow: Vec<Slow>,
    pub(crate) silences: Silences,
}

//! What must hold of a history, whatever was done to the cluster. Pure: no network, no clock.

mod grants;
mod late;
mod names;
mod registers;

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Seen;

pub(crate) use late::{IN_TIME, gap};

/// What was promised and did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Acknowledged and not there.
    Lost,
    /// No order of the reads and writes of a register explains what was read.
    Stale,
    /// Done twice, or by two, where once and one was promised.
    Twice,
    /// Granted after its revocation was acknowledged.
    Granted,
    /// Answered later than promised.
    Late,
    /// Done, though it was answered that nothing was.
    Phantom,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) said: String,
}

impl Violation {
    fn new(kind: Kind, said: String) -> Self {
        Self { kind, said }
    }
}

/// The names that each machine shows at the end.
pub(crate) type Names = BTreeMap<usize, BTreeSet<String>>;

/// Everything that is wrong with a history.
pub(crate) fn all(seen: &Seen, names: &Names) -> Vec<Violation> {
    let mut found = registers::check(&seen.ops);
    found.extend(names::check(&seen.ops, names));
    found.extend(grants::check(&seen.ops));
    found.extend(late::check(&seen.slow, &seen.silences));
    found
}

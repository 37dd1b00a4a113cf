//! How long things take: every request has an end, and writes go on soon after a fault.

use super::{Kind, Violation};
use crate::history::{Op, Silences, Slow};

/// An answer comes within 5 s; the rest is for a busy machine and the way there and back.
pub(crate) const IN_TIME: u64 = 5_000_000 + 1_000_000;

pub(super) fn check(slow: &[Slow], silences: &Silences) -> Vec<Violation> {
    let is_late = |slow: &&Slow| {
        let silences = silences.get(&slow.machine).into_iter().flatten();
        let is_excused = silences.clone().any(|(from, to)| *from < slow.ended && slow.begun < *to);
        slow.ended - slow.begun > IN_TIME && !is_excused
    };
    let said = |slow: &Slow| Violation::new(Kind::Late, format!("no answer in time: {slow:?}"));
    slow.iter().filter(is_late).map(said).collect()
}

/// The longest time without an acknowledged write from `from` to `to`.
pub(crate) fn gap(ops: &[Op], from: u64, to: u64) -> u64 {
    let acknowledged = ops.iter().filter(|op| op.is_acknowledged_write()).map(|op| op.ended);
    let mut times: Vec<u64> = acknowledged.filter(|at| (from..to).contains(at)).chain([from, to]).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

//! Registers that everybody writes and reads on any machine are linearizable.
//!
//! # Why not by search
//! To find an order by search takes exponential time, and most where much is unknown, which is where faults are. Here no
//! value is written twice, so a read says which write it saw, and the question has a simple answer (P. Gibbons and
//! E. Korach, "Testing Shared Memories", SIAM J. Comput. 26(4), 1997, theorem 4.2). All operations of one value stand together in
//! the order that is sought. Such a group spans the time from its first end to its last begin: where the end comes
//! first, nothing else fits in between (*forward*); where the begin does, the whole group can be put at any moment from
//! that begin to that end (*backward*). An order exists when no two forward spans overlap and no backward one lies
//! within a forward one. `bad_histories.rs` compares it with a search on small histories.

use std::collections::BTreeMap;

use super::{Kind, Violation};
use crate::history::{Op, Outcome, What};

/// All operations of one value.
#[derive(Debug)]
struct Group {
    value: u64,
    begun: u64,
    outcome: Outcome,
    first_end: u64,
    last_begin: u64,
    reads: usize,
}

#[derive(Debug)]
struct Span {
    value: u64,
    from: u64,
    to: u64,
}

/// Looks at each register by itself, which is enough: linearizability is local.
pub(super) fn check(ops: &[Op]) -> Vec<Violation> {
    let mut registers: BTreeMap<usize, Vec<&Op>> = BTreeMap::new();
    for op in ops {
        if let What::Write { register, .. } | What::Read { register, .. } = op.what {
            registers.entry(register).or_default().push(op);
        }
    }
    registers.into_iter().flat_map(|(register, ops)| check_one(register, &ops)).collect()
}

fn check_one(register: usize, ops: &[&Op]) -> Vec<Violation> {
    let wrong = |said: String| Violation::new(Kind::Stale, format!("register {register}: {said}"));
    let mut found = Vec::new();
    let mut groups: BTreeMap<u64, Group> = BTreeMap::new();
    for op in ops {
        let What::Write { value, .. } = op.what else { continue };
        let first_end = if op.outcome == Outcome::Done { op.ended } else { u64::MAX };
        let group =
            Group { value, begun: op.begun, outcome: op.outcome, first_end, last_begin: op.begun, reads: 0 };
        assert!(groups.insert(value, group).is_none(), "each value is written once");
    }
    for op in ops.iter().filter(|op| op.outcome == Outcome::Done) {
        let What::Read { value, .. } = op.what else { continue };
        let Some(group) = groups.get_mut(&value) else {
            found.push(wrong(format!("{value} was read and never written: {op:?}")));
            continue;
        };
        if group.outcome == Outcome::Refused {
            let said = format!("register {register}: a write that was refused was read: {op:?}");
            found.push(Violation::new(Kind::Phantom, said));
        }
        if op.ended < group.begun {
            found.push(wrong(format!("{value} was read before it was written: {op:?}")));
        }
        group.first_end = group.first_end.min(op.ended);
        group.last_begin = group.last_begin.max(op.begun);
        group.reads += 1;
    }
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for group in groups.into_values() {
        // What was not acknowledged and never seen may not have been.
        if group.outcome != Outcome::Done && group.reads == 0 {
            continue;
        }
        let Group { value, first_end, last_begin, .. } = group;
        if first_end < last_begin {
            forward.push(Span { value, from: first_end, to: last_begin });
        } else {
            backward.push(Span { value, from: last_begin, to: first_end });
        }
    }
    forward.sort_by_key(|span| span.from);
    for pair in forward.windows(2) {
        if let [one, next] = pair
            && next.from < one.to
        {
            found.push(wrong(format!(
                "{} and {} were each seen around the other: {pair:?}",
                one.value, next.value
            )));
        }
    }
    for span in backward {
        // The forward spans are apart, so the last one that begins before this one is the only one it can lie in.
        let before = forward.partition_point(|other| other.from < span.from);
        let around = before.checked_sub(1).and_then(|index| forward.get(index));
        if let Some(around) = around.filter(|around| span.to < around.to) {
            found.push(wrong(format!(
                "{} came between and {} was read again: {span:?}",
                span.value, around.value
            )));
        }
    }
    found
}

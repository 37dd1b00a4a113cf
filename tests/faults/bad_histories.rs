//! The checkers see what they are there for: histories that are known to be bad, and for registers a search through all
//! orders of small histories.

use crate::check::{IN_TIME, Kind, Names, Violation, all, gap};
use crate::history::{Op, Outcome, Seen, Slow, What};

fn op(what: What, begun: u64, ended: u64, outcome: Outcome) -> Op {
    Op { what, machine: 0, begun, ended, outcome }
}

fn write(value: u64, begun: u64, ended: u64) -> Op {
    op(What::Write { register: 0, value }, begun, ended, Outcome::Done)
}

fn read(value: u64, begun: u64, ended: u64) -> Op {
    op(What::Read { register: 0, value }, begun, ended, Outcome::Done)
}

fn with(mut op: Op, outcome: Outcome) -> Op {
    op.outcome = outcome;
    op
}

fn create(name: &str, begun: u64, outcome: Outcome) -> Op {
    op(What::Create { name: name.to_owned() }, begun, begun + 5, outcome)
}

fn asked(granted: bool, begun: u64) -> Op {
    op(What::Check { token: 7, granted }, begun, begun + 5, Outcome::Done)
}

fn revoke(begun: u64, ended: u64, outcome: Outcome) -> Op {
    op(What::Revoke { token: 7 }, begun, ended, outcome)
}

fn shown(names: &[&str]) -> Names {
    (0..3).map(|machine| (machine, names.iter().map(|name| (*name).to_owned()).collect())).collect()
}

fn judge(ops: Vec<Op>, names: &Names) -> Vec<Violation> {
    all(&Seen { ops, ..Seen::default() }, names)
}

#[track_caller]
fn is_good(ops: Vec<Op>, names: &Names) {
    let found = judge(ops, names);
    assert!(found.is_empty(), "{found:?}");
}

#[track_caller]
fn is_bad(kind: Kind, ops: Vec<Op>, names: &Names) {
    let found = judge(ops, names);
    assert!(!found.is_empty() && found.iter().all(|each| each.kind == kind), "{kind:?}: {found:?}");
}

#[test]
fn a_stale_read_is_seen() {
    let none = Names::new();
    is_good(vec![write(1, 0, 10), write(2, 20, 30), read(2, 40, 50)], &none);
    is_good(vec![write(1, 0, 10), write(2, 20, 30), read(1, 25, 50)], &none);
    is_bad(Kind::Stale, vec![write(1, 0, 10), write(2, 20, 30), read(1, 40, 50)], &none);
    is_bad(Kind::Stale, vec![write(1, 0, 10), write(2, 20, 60), read(2, 22, 30), read(1, 40, 50)], &none);
    is_bad(Kind::Stale, vec![write(1, 0, 10), read(9, 20, 30)], &none);
    is_bad(Kind::Stale, vec![write(1, 0, 10), read(2, 20, 30), write(2, 40, 50)], &none);
}

#[test]
fn a_write_that_was_lost_or_refused_and_done_is_seen() {
    let none = Names::new();
    let unknown = || with(write(2, 20, 30), Outcome::Unknown);
    is_good(vec![write(1, 0, 10), unknown(), read(1, 40, 50)], &none);
    is_good(vec![write(1, 0, 10), unknown(), read(1, 40, 50), read(2, 60, 70)], &none);
    // Once it was seen, it cannot be undone.
    is_bad(Kind::Stale, vec![write(1, 0, 10), unknown(), read(2, 40, 50), read(1, 60, 70)], &none);
    is_bad(
        Kind::Phantom,
        vec![write(1, 0, 10), with(write(2, 20, 30), Outcome::Refused), read(2, 40, 50)],
        &none,
    );
    // Acted again by a late copy of the same request.
    is_bad(
        Kind::Stale,
        vec![write(1, 0, 10), read(1, 11, 12), write(2, 20, 30), read(2, 31, 32), read(1, 40, 50)],
        &none,
    );
}

#[test]
fn a_name_that_was_lost_or_given_twice_is_seen() {
    let made = || create("a", 0, Outcome::Done);
    is_good(vec![made(), create("b", 1, Outcome::Unknown)], &shown(&["a"]));
    is_good(vec![made(), create("b", 1, Outcome::Unknown)], &shown(&["a", "b"]));
    is_bad(Kind::Lost, vec![made()], &shown(&[]));
    let mut on_two = shown(&["a"]);
    on_two.get_mut(&1).unwrap().clear();
    is_bad(Kind::Lost, vec![made()], &on_two);
    is_bad(Kind::Twice, vec![made(), create("a", 3, Outcome::Done)], &shown(&["a"]));
    is_good(vec![create("a", 3, Outcome::Refused)], &shown(&[]));
    is_bad(Kind::Phantom, vec![create("a", 3, Outcome::Refused)], &shown(&["a"]));
    is_bad(Kind::Phantom, vec![], &shown(&["a"]));
    let repeat = |is_taken| op(What::Repeat { name: "a".to_owned(), is_taken }, 0, 9, Outcome::Refused);
    is_good(vec![made(), repeat(false)], &shown(&["a"]));
    is_bad(Kind::Twice, vec![made(), repeat(true)], &shown(&["a"]));
}

#[test]
fn a_token_that_is_used_twice_is_seen() {
    let consume = |token, outcome| op(What::Consume { token }, 0, 9, outcome);
    let (done, unknown) = (Outcome::Done, Outcome::Unknown);
    is_good(vec![consume(1, done), consume(1, unknown), consume(2, done)], &Names::new());
    is_bad(Kind::Twice, vec![consume(1, done), consume(2, done), consume(1, done)], &Names::new());
}

#[test]
fn a_grant_after_an_acknowledged_revocation_is_seen() {
    let none = Names::new();
    let revoked = || revoke(10, 20, Outcome::Done);
    is_good(vec![asked(true, 0), revoked(), asked(false, 21)], &none);
    // While it is under way either answer is right, also for who began before and waited long.
    is_good(vec![asked(false, 11), revoked(), asked(true, 12), asked(true, 19)], &none);
    is_good(vec![revoke(10, 20, Outcome::Unknown), asked(true, 50), asked(false, 60)], &none);
    is_bad(Kind::Granted, vec![revoked(), asked(true, 21)], &none);
    is_bad(Kind::Lost, vec![asked(false, 0), revoked()], &none);
    is_bad(Kind::Lost, vec![asked(false, 0)], &none);
}

#[test]
fn an_answer_that_is_late_is_seen_unless_its_machine_was_silenced() {
    let slow = Slow { machine: 1, begun: 100, ended: 101 + IN_TIME };
    let mut seen = Seen { slow: vec![slow], ..Seen::default() };
    assert_eq!(all(&seen, &Names::new()).len(), 1);
    seen.silences.insert(0, vec![(50, 60)]);
    seen.silences.insert(1, vec![(50, 60), (IN_TIME * 2, u64::MAX)]);
    assert_eq!(all(&seen, &Names::new())[0].kind, Kind::Late, "not at that time, and another machine");
    seen.silences.insert(1, vec![(50, 150)]);
    assert_eq!(all(&seen, &Names::new()), []);
    seen.slow[0].ended = 100 + IN_TIME;
    seen.silences.clear();
    assert_eq!(all(&seen, &Names::new()), []);
}

#[test]
fn a_gap_counts_from_the_fault_and_only_what_was_acknowledged() {
    let mut ops = vec![create("a", 0, Outcome::Done), create("b", 95, Outcome::Done)];
    ops.extend([create("c", 45, Outcome::Unknown), read(1, 50, 60), asked(true, 50)]);
    assert_eq!(gap(&ops, 10, 110), 90);
    assert_eq!(gap(&ops, 10, 400), 300);
    assert_eq!(gap(&ops, 99, 101), 1);
}

/// Whether there is an order of these operations on one register, found by trying.
fn has_order(ops: &[Op], done: &mut Vec<bool>, holds: Option<u64>) -> bool {
    let is_open = |index: usize, done: &[bool]| !done[index] && ops[index].outcome == Outcome::Done;
    if (0..ops.len()).all(|index| !is_open(index, done)) {
        return true;
    }
    for index in 0..ops.len() {
        // Whoever must be after another that is still to come is not next.
        let waits = |other: usize| is_open(other, done) && ops[other].ended < ops[index].begun;
        if done[index] || (0..ops.len()).any(waits) {
            continue;
        }
        let next = match ops[index].what {
            What::Write { value, .. } => Some(value),
            What::Read { value, .. } if holds == Some(value) => holds,
            What::Read { .. }
            | What::Create { .. }
            | What::Repeat { .. }
            | What::Revoke { .. }
            | What::Check { .. }
            | What::Consume { .. } => continue,
        };
        done[index] = true;
        if has_order(ops, done, next) {
            return true;
        }
        done[index] = false;
    }
    false
}

#[test]
fn registers_are_judged_as_a_search_judges_them() {
    let (mut good, mut bad) = (0, 0);
    let mut random = crate::random::Random::new(1);
    for _ in 0..20_000 {
        let mut times: Vec<u64> = (1..=14).collect();
        let mut take = || {
            let index = usize::try_from(random.between(0, times.len() as u64)).unwrap();
            times.remove(index)
        };
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for _ in 0..7 {
            let (one, other) = (take(), take());
            spans.push((one.min(other), one.max(other)));
        }
        let mut ops = Vec::new();
        for (index, (begun, ended)) in spans.into_iter().enumerate() {
            let number = u64::try_from(index).unwrap();
            if index < 3 {
                let outcome = random.pick(&[Outcome::Done, Outcome::Done, Outcome::Unknown]);
                ops.push(with(write(number, begun, ended), outcome));
            } else {
                ops.push(read(random.between(0, 3), begun, ended));
            }
        }
        let expected = has_order(&ops, &mut vec![false; ops.len()], None);
        let found = judge(ops.clone(), &Names::new());
        assert_eq!(found.is_empty(), expected, "{ops:#?}\n{found:?}");
        if expected {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good > 100 && bad > 100, "{good} good, {bad} bad: both must be tried");
}

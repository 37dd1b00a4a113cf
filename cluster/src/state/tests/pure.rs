//! What applying promises, over random logs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::image::Loader;
use super::super::{AsOfError, Key, Limits, Row, Space, State, View, snapshot};
use super::*;

fn all(view: &View) -> Vec<(Key, Row)> {
    view.scan(b"", None).collect()
}

/// The same records, meta and groups.
fn assert_same(left: &State, right: &State) {
    assert_eq!(left.meta(), right.meta());
    assert_eq!(left.records().collect::<Vec<_>>(), right.records().collect::<Vec<_>>());
    assert_eq!(left.groups, right.groups);
}

fn reloaded(state: &State) -> Option<State> {
    let mut loader = Loader::new(&Toy, state.limits);
    for record in state.records() {
        loader.add(record)?;
    }
    loader.finish(state.meta().clone())
}

proptest! {
    #[test]
    fn replicas_end_equal_and_changes_tell_everything(log in any_log()) {
        let (mut left, mut right) = (State::empty(small_limits()), State::empty(small_limits()));
        let mut copy = BTreeMap::new();
        for (index, line) in (0..).zip(&log) {
            let (said_left, changes) = apply(&mut left, index, line);
            let (said_right, _) = apply(&mut right, index, line);
            prop_assert_eq!(said_left, said_right);
            prop_assert_eq!(changes.meta(), left.meta());
            for (space, key, change) in changes.iter() {
                let name = (space, key.clone());
                let before = match &change.now {
                    Some(value) => copy.insert(name, value.clone()),
                    None => copy.remove(&name),
                };
                prop_assert!(change.was_bytes >= before.map_or(0, |value: super::super::Value| value.len()));
            }
        }
        assert_same(&left, &right);
        let records: BTreeMap<(Space, Key), super::super::Value> =
            left.records().map(|it| ((it.space, it.key), it.value.into())).collect();
        prop_assert_eq!(records, copy);
    }

    #[test]
    fn the_digest_kept_is_the_digest_computed(log in any_log()) {
        let mut state = State::empty(small_limits());
        for (index, line) in (0..).zip(&log) {
            apply(&mut state, index, line);
            let again = reloaded(&state).expect("the digest must be that of the records");
            assert_same(&state, &again);
            let mut sums: BTreeMap<Vec<u8>, u128> = BTreeMap::new();
            for record in state.records().filter(|it| it.space == Space::Rows) {
                if let Some(group) = Toy.group(&record.key) {
                    let sum = sums.entry(group.to_vec()).or_default();
                    *sum = sum.wrapping_add(record.hash());
                }
            }
            prop_assert_eq!(sums.len(), state.groups.len());
            for (group, sum) in sums {
                prop_assert_eq!(state.group_digest(&group), sum);
            }
        }
    }

    #[test]
    fn snapshot_and_tail_equal_full_replay(log in any_log(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(log.len());
        let (mut full, mut early) = (State::empty(small_limits()), State::empty(small_limits()));
        for (index, line) in (0..).zip(&log) {
            apply(&mut full, index, line);
            if index < cut as u64 {
                apply(&mut early, index, line);
            }
        }
        let mut bytes = Vec::new();
        snapshot::write(&early, &mut bytes).unwrap();
        let mut late = snapshot::read(&bytes[..], &Toy, small_limits()).unwrap();
        for (index, line) in (0..).zip(&log).skip(cut) {
            apply(&mut late, index, line);
        }
        assert_same(&full, &late);
    }

    #[test]
    fn a_repeated_request_changes_nothing(log in any_log()) {
        let limits = huge_limits();
        let mut state = State::empty(limits);
        let mut first = BTreeMap::new();
        for (index, line) in (0..).zip(&log) {
            let Line::Commands(at, proposals) = line else { continue };
            for (number, proposal) in proposals.iter().enumerate() {
                let before = state.clone();
                let one = std::slice::from_ref(proposal);
                let position = at_index(index * 10 + number as u64);
                let (said, _) = state.apply_entry(&Toy, position, LogTime(*at), one);
                let seen = first.get(&proposal.request).cloned();
                match (&said[0], seen) {
                    (Applied::Done { replayed: false, .. }, None) => {
                        first.insert(proposal.request, (proposal.fingerprint, said[0].clone()));
                        prop_assert_eq!(state.revision(), before.revision() + 1);
                        continue;
                    }
                    (Applied::Done { revision, at, reply, replayed: true }, Some((fingerprint, then))) => {
                        let (revision, at, reply) = (*revision, *at, reply.clone());
                        prop_assert_eq!(fingerprint, proposal.fingerprint);
                        prop_assert_eq!(Applied::Done { revision, at, reply, replayed: false }, then);
                    }
                    (Applied::Mismatch, Some((fingerprint, _))) => {
                        prop_assert_ne!(fingerprint, proposal.fingerprint);
                    }
                    (said, seen) => prop_assert!(false, "{:?} after {:?}", said, seen),
                }
                prop_assert_eq!(state.digest(), before.digest());
                prop_assert_eq!(state.revision(), before.revision());
                prop_assert_eq!(state.records().collect::<Vec<_>>(), before.records().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn as_of_shows_what_was(log in any_log(), limits in prop::sample::select(vec![small_limits(), huge_limits()])) {
        let mut state = State::empty(limits);
        let mut then = vec![all(&state.view())];
        // One command an entry, so that each revision can be looked at.
        let mut index = 0;
        for line in &log {
            let Line::Commands(at, proposals) = line else { continue };
            for proposal in proposals {
                let before = state.revision();
                state.apply_entry(&Toy, at_index(index), LogTime(*at), std::slice::from_ref(proposal));
                index += 1;
                if state.revision() > before {
                    then.push(all(&state.view()));
                }
            }
        }
        let view = state.view();
        prop_assert!(limits != huge_limits() || view.oldest() == 0);
        for (revision, rows) in (0..).zip(&then) {
            if revision < view.oldest() {
                let too_old = AsOfError::TooOld { oldest: view.oldest() };
                prop_assert_eq!(view.as_of(revision).unwrap_err(), too_old);
                continue;
            }
            let past = view.as_of(revision).unwrap();
            prop_assert_eq!(past.revision(), revision);
            prop_assert_eq!(&all(&past), rows);
            for (key, row) in rows {
                prop_assert_eq!(past.get(key), Some(row.clone()));
                let behind: Vec<_> = rows.iter().filter(|(k, _)| k > key && k.starts_with(b"a")).cloned().collect();
                prop_assert_eq!(past.scan(b"a", Some(key)).collect::<Vec<_>>(), behind);
            }
            for (key, _) in all(&view) {
                let row = rows.iter().find(|(it, _)| *it == key).map(|(_, row)| row.clone());
                prop_assert_eq!(past.get(&key), row);
            }
        }
        let newest = view.revision();
        prop_assert_eq!(view.as_of(newest + 1).unwrap_err(), AsOfError::NotYet { newest });
    }

    #[test]
    fn a_transaction_reads_as_its_own_writes_were_there(
        standing in prop::collection::vec((any_key(), any::<u8>()), 0..20),
        ops in prop::collection::vec(any_op(), 0..20),
        prefix in any_key(),
        after in prop::option::of(any_key()),
    ) {
        let mut state = State::empty(huge_limits());
        let puts = standing.into_iter().map(|(key, byte)| Op::Put(key, vec![byte])).collect();
        state.apply_entry(&Toy, at_index(0), LogTime(1), &[proposal(1, &Command { ops: puts, keep: true })]);
        let view = state.view();
        let mut model: BTreeMap<Vec<u8>, Row> =
            all(&view).into_iter().map(|(key, row)| (key.to_vec(), row)).collect();
        let mut rows = view.trial();
        for op in ops {
            match op {
                Op::Put(key, value) => {
                    rows.put(&key, value.clone());
                    model.insert(key, Row { revision: 2, value: value.into() });
                }
                Op::Delete(key) => {
                    rows.delete(&key);
                    model.remove(&key);
                }
                Op::Count(_, key) => prop_assert_eq!(rows.get(&key), model.get(&key).cloned()),
            }
            let seen: Vec<_> = rows.scan(&prefix, after.as_deref()).map(|(key, row)| (key.to_vec(), row)).collect();
            let wanted: Vec<_> = model
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after))
                .map(|(key, row)| (key.clone(), row.clone()))
                .collect();
            prop_assert_eq!(seen, wanted);
        }
    }

    #[test]
    fn coalesced_changes_are_the_last_word(log in any_log()) {
        let mut state = State::empty(small_limits());
        let mut together = Changes::new();
        for (index, line) in (0..).zip(&log) {
            together.follow(apply(&mut state, index, line).1);
        }
        let records: BTreeMap<_, _> = state.records().map(|it| ((it.space, it.key), it.value)).collect();
        let kept: BTreeMap<_, _> = together
            .iter()
            .filter_map(|(space, key, change)| Some(((space, key.clone()), change.now.as_ref()?.to_vec())))
            .collect();
        prop_assert_eq!(&records, &kept);
        prop_assert_eq!(together.meta(), state.meta());
        let bytes: usize = together.iter().map(|(_, key, it)| 64 + key.len() + it.now.as_ref().map_or(0, |v| v.len())).sum();
        prop_assert_eq!(together.bytes(), bytes);
    }
}

#[test]
fn forgetting_is_bounded_and_by_log_time() {
    let limits = Limits { history_ms: 10, requests_ms: 10, forget_per_command: 3, ..Limits::default() };
    let mut state = State::empty(limits);
    for number in 0..20 {
        state.apply_entry(&Toy, at_index(number), LogTime(1), &[put(number, "a", &[1])]);
    }
    assert_eq!((state.history.len(), state.requests.len()), (19, 20));
    state.apply_entry(&Toy, at_index(20), LogTime(11), &[put(20, "b", &[1])]);
    assert_eq!((state.history.len(), state.requests.len()), (19, 21), "nothing is over yet");
    state.apply_entry(&Toy, at_index(21), LogTime(12), &[put(21, "c", &[1])]);
    assert_eq!((state.history.len(), state.requests.len()), (16, 18));
    assert_eq!(state.view().oldest(), 4, "revisions 2, 3 and 4 ended what is forgotten");
    let (said, _) = state.apply_entry(&Toy, at_index(22), LogTime(12), &[put(0, "d", &[1])]);
    assert!(matches!(said[0], Applied::Done { revision: 23, replayed: false, .. }), "{said:?}");
}

#[test]
fn log_time_does_not_run_backwards() {
    let mut state = State::empty(Limits::default());
    state.apply_entry(&Toy, at_index(0), LogTime(9), &[put(0, "a", &[1])]);
    let (said, _) = state.apply_entry(&Toy, at_index(1), LogTime(5), &[put(1, "a", &[2])]);
    assert!(matches!(said[0], Applied::Done { at: LogTime(9), .. }), "{said:?}");
    assert_eq!(state.at(), LogTime(9));
}

#[test]
fn a_refusal_writes_nothing_and_is_remembered() {
    let mut state = State::empty(Limits::default());
    let refused = proposal(1, &Command { ops: vec![Op::Put(b"a".to_vec(), vec![1])], keep: false });
    state.apply_entry(&Toy, at_index(0), LogTime(1), std::slice::from_ref(&refused));
    assert_eq!(all(&state.view()), []);
    let (said, _) = state.apply_entry(&Toy, at_index(1), LogTime(2), &[refused]);
    let first = Applied::Done { revision: 1, at: LogTime(1), reply: "1 false".into(), replayed: true };
    assert_eq!(said, [first]);
}

#[test]
fn any_damaged_byte_of_a_snapshot_is_refused() {
    let mut state = State::empty(Limits::default());
    for number in 0..40 {
        let key = format!("{number}");
        state.apply_entry(&Toy, at_index(number), LogTime(1), &[put(number, &key, &[9; 30])]);
    }
    let mut good = Vec::new();
    let info = snapshot::write(&state, &mut good).unwrap();
    assert_eq!(info.bytes, good.len() as u64);
    assert_same(&snapshot::read(&good[..], &Toy, Limits::default()).unwrap(), &state);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(snapshot::verify(&bad[..]).is_err(), "byte {at}");
        assert!(snapshot::read(&bad[..], &Toy, Limits::default()).is_err(), "byte {at}");
        assert!(snapshot::verify(&good[..at]).is_err(), "cut at {at}");
    }
    good.push(0);
    assert!(snapshot::verify(&good[..]).is_err());
}

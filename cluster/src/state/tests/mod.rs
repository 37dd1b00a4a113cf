//! Tests of the state, over a toy machine whose commands are lists of row operations.

mod disk;
mod golden;
mod pure;
mod sealed;
mod store;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::clock::LogTime;
use crate::machine::{Applied, Machine, Proposal, RequestId, Verdict};

use super::{Changes, Limits, LogPosition, State, Transaction};

/// What the toy machine can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Op {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Writes how many rows have the prefix: reads its own writes.
    Count(Vec<u8>, Vec<u8>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Command {
    ops: Vec<Op>,
    keep: bool,
}

/// Rows as told; the group of a row is the first byte of its key, unless that is `x`.
struct Toy;

impl Machine for Toy {
    fn apply(&self, _: LogTime, revision: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
        let Ok(command) = postcard::from_bytes::<Command>(command) else {
            return Verdict { reply: Bytes::from_static(b"what?"), keep: false };
        };
        for op in command.ops {
            match op {
                Op::Put(key, value) => rows.put(&key, value),
                Op::Delete(key) => rows.delete(&key),
                Op::Count(prefix, key) => {
                    let count = rows.scan(&prefix, None).count() as u64;
                    rows.put(&key, count.to_le_bytes().to_vec());
                }
            }
        }
        Verdict { reply: format!("{revision} {}", command.keep).into(), keep: command.keep }
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.get(..1).filter(|group| *group != b"x")
    }
}

fn toy() -> Arc<dyn Machine> {
    Arc::new(Toy)
}

fn request(number: u64) -> RequestId {
    RequestId(u128::from(number).to_be_bytes())
}

fn proposal(number: u64, command: &Command) -> Proposal {
    let command = Bytes::from(postcard::to_stdvec(command).unwrap());
    Proposal { request: request(number), fingerprint: 7, command }
}

fn put(number: u64, key: &str, value: &[u8]) -> Proposal {
    let ops = vec![Op::Put(key.as_bytes().to_vec(), value.to_vec())];
    proposal(number, &Command { ops, keep: true })
}

fn at_index(index: u64) -> LogPosition {
    LogPosition { term: 1, node: 1, index }
}

fn small_limits() -> Limits {
    Limits { history_ms: 50, history_rows: 20, requests_ms: 80, requests: 15, forget_per_command: 2 }
}

fn huge_limits() -> Limits {
    Limits { history_ms: u64::MAX, requests_ms: u64::MAX, ..Limits::default() }
}

/// An entry of a random log.
#[derive(Clone, Debug)]
enum Line {
    Blank,
    Membership(Vec<u8>),
    Commands(u64, Vec<Proposal>),
}

fn apply(state: &mut State, index: u64, line: &Line) -> (Vec<Applied>, Changes) {
    match line {
        Line::Blank => (vec![], state.apply_blank(at_index(index))),
        Line::Membership(members) => (vec![], state.apply_membership(at_index(index), members)),
        Line::Commands(at, proposals) => state.apply_entry(&Toy, at_index(index), LogTime(*at), proposals),
    }
}

/// Keys that are often each other's prefixes.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"\0aabx\xff"[..]), 0..4)
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (any_key(), prop::collection::vec(any::<u8>(), 0..6)).prop_map(|(key, value)| Op::Put(key, value)),
        2 => any_key().prop_map(Op::Delete),
        1 => (any_key(), any_key()).prop_map(|(prefix, key)| Op::Count(prefix, key)),
    ]
}

/// A few ids, so that some come again: with the same fingerprint mostly.
fn any_proposal() -> impl Strategy<Value = Proposal> {
    let ops = prop::collection::vec(any_op(), 0..4);
    (0..60_u64, ops, prop::bool::weighted(0.8), prop::bool::weighted(0.05)).prop_map(
        |(number, ops, keep, other)| {
            let fingerprint = if other { 8 } else { 7 };
            Proposal { fingerprint, ..proposal(number, &Command { ops, keep }) }
        },
    )
}

fn any_log() -> impl Strategy<Value = Vec<Line>> {
    let line = prop_oneof![
        1 => Just((0, Line::Blank)),
        1 => any::<[u8; 3]>().prop_map(|members| (0, Line::Membership(members.to_vec()))),
        8 => (0..10_u64, prop::collection::vec(any_proposal(), 0..4))
            .prop_map(|(step, proposals)| (step, Line::Commands(0, proposals))),
    ];
    prop::collection::vec(line, 1..40).prop_map(|lines| {
        let mut now = 1_000;
        let stamp = |(step, line)| match line {
            Line::Commands(_, proposals) => {
                now += step;
                Line::Commands(now, proposals)
            }
            Line::Blank | Line::Membership(_) => line,
        };
        lines.into_iter().map(stamp).collect()
    })
}

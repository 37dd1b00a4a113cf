//! What stands in the log and in rows, and what nodes write to each other.

use bytes::Bytes;
use conclave_cluster::state::{Limits, LogPosition, State};
use conclave_cluster::{Applied, LogTime, Machine, Proposal, RequestId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{found, must};
use crate::app::nodes::letter;
use crate::domain::rows::is_row;
use crate::replica::{Rules, decode_command, decode_reply, encode_command};
use crate::tenants::orders;

/// A command of the log, and a reply to one.
pub(super) fn command(data: &[u8]) {
    if let Ok(command) = decode_command(data) {
        let written = must(encode_command(&command), "a command is written again");
        assert!(must(decode_command(&written), "and read again") == command, "a command is another one now");
    }
    drop(decode_reply(data));
}

/// A row, as a backup brings it.
pub(super) fn row(data: &[u8]) {
    let (key, value) = data.split_at(data.len().min(usize::from(data.first().copied().unwrap_or(0) % 40)));
    is_row(key, value);
    is_row(data, data.get(1..).unwrap_or_default());
    // Under the tag of each table.
    for tag in 0..=0x80 {
        is_row(&[tag], data);
    }
}

/// Commands one after the other, as entries of a log: length (2 bytes), command. All nodes do the same, a refusal
/// changes no row, and a repeated request nothing at all.
pub(super) fn rules(data: &[u8]) {
    let (mut one, mut other) = (State::empty(LIMITS), State::empty(LIMITS));
    let mut rest = data;
    for index in 0..MOST_COMMANDS {
        let Some((length, behind)) = rest.split_first_chunk::<2>() else { break };
        let (command, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)).min(behind.len()));
        rest = behind;
        let position = LogPosition { term: 1, node: 1, index };
        let at = LogTime(START_MS + index * 1000);
        let mut request = [0; 16];
        request[15] = u8::try_from(index).unwrap_or_default();
        let proposal = Proposal {
            request: RequestId(request),
            fingerprint: index,
            command: Bytes::copy_from_slice(command),
        };
        let before = one.clone();
        let (applied, _) = one.apply_entry(&Rules, position, at, std::slice::from_ref(&proposal));
        let (again, _) = other.apply_entry(&Rules, position, at, std::slice::from_ref(&proposal));
        assert!(applied == again && one.digest() == other.digest(), "two nodes differ");
        let Some(Applied::Done { reply, .. }) = applied.first() else { found("a command is not decided") };
        if decode_reply(reply).is_err() {
            let rows = |state: &State| state.view().scan(&[], None).collect::<Vec<_>>();
            assert!(rows(&before) == rows(&one), "a refusal has changed rows");
        }
        let rows = one.digest();
        let (replayed, _) = one.apply_entry(&Rules, position, at, &[proposal]);
        let is_replayed = matches!(replayed.first(), Some(Applied::Done { replayed: true, .. }));
        assert!(is_replayed && one.digest() == rows, "a repeated request is another one");
        other = one.clone();
    }
    // What the rows say by themselves.
    Rules.level(&one.view());
    for (key, _) in one.view().scan(&[], None) {
        Rules.group(&key);
    }
}

/// Enough for an account with everything in it.
const MOST_COMMANDS: u64 = 24;
const START_MS: u64 = 1_795_617_180_000;
const LIMITS: Limits =
    Limits { history_ms: 0, history_rows: 0, requests_ms: 60_000, requests: 64, forget_per_command: 64 };

/// What nodes say of nodes.
pub(super) fn letter(data: &[u8]) {
    fn of<T: Serialize + DeserializeOwned>(data: &[u8]) {
        let Some(read) = letter::decode::<T>(data) else { return };
        let written = letter::encode(&read);
        let Some(again) = letter::decode::<T>(&written) else {
            found("a letter is not read as it was written")
        };
        assert!(letter::encode(&again) == written, "a letter is another one now");
    }
    of::<letter::Knock>(data);
    of::<letter::Reply>(data);
    of::<letter::Errand>(data);
    of::<letter::Answer>(data);
}

/// What they forward to the leader, and what that answers.
pub(super) fn order(data: &[u8]) {
    if let Some((letter, _)) = orders::Letter::open(data) {
        let written = must(postcard::to_stdvec(&letter), "a letter is written again");
        let Some((again, trace)) = orders::Letter::open(&written) else { found("a letter does not open") };
        assert!(trace.is_none(), "a trace out of nothing");
        assert!(
            postcard::to_stdvec(&again).is_ok_and(|again| again == written),
            "a letter is another one now"
        );
        orders::count_in_passing(&letter);
    }
    if let Ok(answer) = postcard::from_bytes::<orders::Answer>(data) {
        let written = must(postcard::to_stdvec(&answer), "an answer is written again");
        let again: orders::Answer = must(postcard::from_bytes(&written), "and read again");
        assert!(postcard::to_stdvec(&again).is_ok_and(|again| again == written), "an answer is another one");
    }
}

//! What comes from the log and from snapshots.

use std::io::Write as _;

use bytes::Bytes;
use codeq::{Decode, Encode};

use super::must;
use crate::clock::LogTime;
use crate::log::LogEntry;
use crate::log::kinds::{Payload, Position, Vote};
use crate::machine::{Machine, Verdict};
use crate::raft::convert::{decode_entry, decode_membership, encode_entry, encode_membership};
use crate::state::meta::Meta;
use crate::state::snapshot::{self, crc, header, put_block, take_record};
use crate::state::{Limits, LogPosition, Transaction};

/// The records below raft-log's checksums.
pub(super) fn log_record(data: &[u8]) {
    if let Ok(position) = Position::decode(data) {
        written(&position, data, "a position");
    }
    if let Ok(payload) = Payload::decode(data) {
        written(&payload, data, "a payload");
    }
    if let Ok(vote) = Vote::decode(data) {
        let mut bytes = Vec::new();
        must(vote.encode(&mut bytes), "a vote is written again");
        assert!(must(Vote::decode(&bytes[..]), "and read again") == vote, "a vote is another one now");
    }
}

fn written(record: &impl Encode, data: &[u8], what: &str) {
    let mut bytes = Vec::new();
    must(record.encode(&mut bytes), what);
    assert!(data.starts_with(&bytes), "{what} is not written as it was read");
}

/// What an entry says once its payload was opened, and a membership as states keep it.
pub(super) fn log_entry(data: &[u8]) {
    let position = LogPosition { term: 1, node: 1, index: data.len() as u64 };
    let record = LogEntry { position, payload: Bytes::copy_from_slice(data) };
    if let Ok(entry) = decode_entry(&record) {
        let again = must(encode_entry(&entry), "an entry is written again");
        assert!(must(decode_entry(&again), "and read again") == entry, "an entry is another one now");
    }
    if let Ok(membership) = decode_membership(data) {
        let again = must(encode_membership(&membership), "a membership is written again");
        let again = must(decode_membership(&again), "and read again");
        assert!(again == membership, "a membership is another one now");
    }
}

/// What a state knows beside its rows: as it is, and with a hash that fits.
pub(super) fn state_meta(data: &[u8]) {
    if let Some(meta) = Meta::decode(data) {
        assert!(meta.encode().and_then(|bytes| Meta::decode(&bytes)) == Some(meta), "a meta is another one");
    }
    if let Some(meta) = postcard::from_bytes::<Meta>(data).ok().filter(|meta| meta.encode().is_some()) {
        let again = meta.encode().and_then(|bytes| Meta::decode(&bytes));
        assert!(again.as_ref() == Some(&meta), "a meta is another one now");
    }
}

/// A snapshot: the bytes as they are, and as the records of one whose checksums fit.
pub(super) fn snapshot(data: &[u8]) {
    drop(snapshot::verify(data));
    take(data);
    // Up to three blocks, so that records may stand at their borders.
    let third = data.len().div_ceil(3).max(1);
    take(&framed(data.chunks(third), data));
    take(&framed(std::iter::once(data), data));
}

fn take(bytes: &[u8]) {
    let Ok(state) = snapshot::read(bytes, &Keyless, Limits::default()) else { return };
    let mut written = Vec::new();
    let info = must(snapshot::write(&state, &mut written), "a state is written again");
    let again = must(snapshot::read(&written[..], &Keyless, Limits::default()), "and read again");
    assert!(again.len() == state.len() && again.meta() == state.meta(), "a state is another one now");
    assert!(info.bytes == written.len() as u64, "a snapshot knows its own length");
}

/// A snapshot of these blocks in which everything fits that can.
fn framed<'d>(blocks: impl Iterator<Item = &'d [u8]>, records: &[u8]) -> Vec<u8> {
    let (mut digest, mut count, mut rest) = (0_u128, 0_u64, records);
    while let Some((record, behind)) = take_record(rest) {
        digest = digest.wrapping_add(record.hash());
        (count, rest) = (count + 1, behind);
    }
    let mut out = must(header(&Meta { digest, ..Meta::default() }), "a header is written");
    let mut number = 0_u64;
    for block in blocks.filter(|block| !block.is_empty()) {
        must(put_block(&mut out, number, block), "a block is written");
        number += 1;
    }
    let trailer = [number.to_le_bytes(), count.to_le_bytes()].concat();
    let sum = crc(snapshot::TRAILER_SEED, &trailer).to_le_bytes();
    must(out.write_all(&[&[0; 4], &sum[..], &trailer].concat()), "a trailer is written");
    out
}

/// Decides nothing.
#[derive(Debug)]
struct Keyless;

impl Machine for Keyless {
    fn apply(&self, _: LogTime, _: u64, _: &mut Transaction<'_>, _: &[u8]) -> Verdict {
        Verdict { reply: Bytes::new(), keep: false }
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.get(..1)
    }
}

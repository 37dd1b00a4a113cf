//! Between openraft's types and the records that we store and send.
//!
//! A record starts with a version byte. Enums only grow, at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::impls::leader_id_adv::LeaderId;
use serde::{Deserialize, Serialize};

use super::{Batch, Entry, LogId, Member, Membership, Payload, StoredMembership, Vote, membership};
use crate::log::{LogEntry, VoteRecord};
use crate::state::LogPosition;

/// The payload of a log entry.
#[derive(Debug, Serialize, Deserialize)]
enum PayloadRecord {
    Blank,
    Batch(Batch),
    Membership(MembershipRecord),
}

/// A membership, and the entry that made it.
#[derive(Debug, Serialize, Deserialize)]
struct StoredMembershipRecord {
    at: Option<LogPosition>,
    membership: MembershipRecord,
}

#[derive(Debug, Serialize, Deserialize)]
struct MembershipRecord {
    voters: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, Member>,
}

pub(crate) fn position(id: LogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(crate) fn log_id(position: LogPosition) -> LogId {
    LogId { leader_id: LeaderId { term: position.term, node_id: position.node }, index: position.index }
}

pub(crate) fn vote_record(vote: &Vote) -> VoteRecord {
    VoteRecord { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn vote(record: VoteRecord) -> Vote {
    Vote { leader_id: LeaderId { term: record.term, node_id: record.node }, committed: record.committed }
}

pub(crate) fn encode_entry(entry: &Entry) -> io::Result<LogEntry> {
    let record = match &entry.payload {
        EntryPayload::Blank => PayloadRecord::Blank,
        // Cheap: commands are shared, not copied.
        EntryPayload::Normal(batch) => PayloadRecord::Batch(batch.clone()),
        EntryPayload::Membership(membership) => PayloadRecord::Membership(membership_record(membership)),
    };
    Ok(LogEntry { position: position(entry.log_id), payload: encode(&record)? })
}

pub(crate) fn decode_entry(entry: &LogEntry) -> io::Result<Entry> {
    let payload: Payload = match decode(&entry.payload)? {
        PayloadRecord::Blank => EntryPayload::Blank,
        PayloadRecord::Batch(batch) => EntryPayload::Normal(batch),
        PayloadRecord::Membership(record) => EntryPayload::Membership(to_membership(record)?),
    };
    Ok(Entry { log_id: log_id(entry.position), payload })
}

pub(crate) fn encode_membership(stored: &StoredMembership) -> io::Result<Bytes> {
    encode(&StoredMembershipRecord {
        at: stored.log_id().map(position),
        membership: membership_record(stored.membership()),
    })
}

/// The membership of a state; empty bytes mean that there was none yet.
pub(crate) fn decode_membership(bytes: &[u8]) -> io::Result<StoredMembership> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let record: StoredMembershipRecord = decode(bytes)?;
    Ok(StoredMembership::new(record.at.map(log_id), to_membership(record.membership)?))
}

fn membership_record(membership: &Membership) -> MembershipRecord {
    MembershipRecord {
        voters: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
    }
}

fn to_membership(record: MembershipRecord) -> io::Result<Membership> {
    if record.voters.is_empty() && record.nodes.is_empty() {
        return Ok(Membership::default());
    }
    membership(record.voters, record.nodes).map_err(|error| invalid(&error.to_string()))
}

/// Version byte and postcard.
pub(crate) fn encode<T: Serialize>(record: &T) -> io::Result<Bytes> {
    postcard::to_extend(record, vec![VERSION]).map(Bytes::from).map_err(|error| invalid(&error.to_string()))
}

pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((&VERSION, record)) => postcard::from_bytes(record).map_err(|error| invalid(&error.to_string())),
        Some((version, _)) => Err(invalid(&format!("record version {version} is not known to this program"))),
        None => Err(invalid("an empty record")),
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

const VERSION: u8 = 1;

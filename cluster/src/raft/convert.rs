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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::LogTime;
    use crate::machine::{Proposal, RequestId};

    /// How entries and memberships are written to the log and to snapshots. A program must read what an older one
    /// has written: append variants, or raise the version and keep reading the old one.
    #[test]
    fn records_are_written_as_ever() {
        let position = LogPosition { term: 3, node: 2, index: 300 };
        let proposal =
            Proposal { request: RequestId([5; 16]), fingerprint: 300, command: Bytes::from_static(b"ab") };
        let batch = Batch { at: LogTime(9), proposals: vec![proposal] };
        let members = BTreeMap::from([(2, Member { peer_addr: "h:1".to_owned(), api_url: "u".to_owned() })]);
        let membership = membership(vec![BTreeSet::from([2])], members).unwrap();
        let golden: [(Payload, &[u8]); 3] = [
            (EntryPayload::Blank, b"\x01\x00"),
            (
                EntryPayload::Normal(batch),
                b"\x01\x01\x09\x01\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\xac\x02\x02ab",
            ),
            (EntryPayload::Membership(membership.clone()), b"\x01\x02\x01\x01\x02\x01\x02\x03h:1\x01u"),
        ];
        for (payload, expected) in golden {
            let entry = Entry { log_id: log_id(position), payload };
            let record = encode_entry(&entry).unwrap();
            assert_eq!(record.payload, expected, "{entry:?}");
            assert_eq!(decode_entry(&record).unwrap(), entry);
        }
        let stored = StoredMembership::new(Some(log_id(position)), membership);
        let bytes = encode_membership(&stored).unwrap();
        assert_eq!(bytes, &b"\x01\x01\x03\x02\xac\x02\x01\x01\x02\x01\x02\x03h:1\x01u"[..]);
        assert_eq!(decode_membership(&bytes).unwrap(), stored);
        assert_eq!(decode_membership(&[]).unwrap(), StoredMembership::default());
    }
}

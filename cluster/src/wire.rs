//! What nodes say to each other. Records of ours only; enums grow at the end.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Unavailable;
use crate::identity::NodeId;
use crate::log::VoteRecord;
use crate::raft::Member;
use crate::state::LogPosition;

/// A request to another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Entries to append, or none: then it is a heartbeat.
    Append {
        vote: VoteRecord,
        prev: Option<LogPosition>,
        entries: Vec<(LogPosition, Bytes)>,
        committed: Option<LogPosition>,
    },
    Vote(Candidacy),
    PreVote(Candidacy),
    /// The leader hands over.
    Transfer {
        from: VoteRecord,
        to: NodeId,
        last: Option<LogPosition>,
    },
    /// A part of the snapshot `session`. Parts come in order; the one at 0 begins anew.
    SnapshotPart {
        session: u64,
        offset: u64,
        bytes: Bytes,
    },
    /// The snapshot has arrived whole: install it.
    SnapshotEnd {
        session: u64,
        length: u64,
        vote: VoteRecord,
        last: Option<LogPosition>,
        membership: Bytes,
    },
    /// Up to where must be applied, for a read that starts now to see everything acknowledged before?
    ReadIndex,
    /// From the layers above. `to_leader` says that only a leader may answer.
    Call {
        to_leader: bool,
        request: Bytes,
    },
    /// The sender wants to be a voter.
    Join {
        member: Member,
        is_fresh: bool,
    },
    /// Is it you, there?
    Ping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Candidacy {
    pub(crate) vote: VoteRecord,
    pub(crate) last: Option<LogPosition>,
    pub(crate) is_transfer: bool,
}

/// An answer. Which kind follows from the request; any request may also get `Failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Response {
    Append(AppendAnswer),
    Vote {
        vote: VoteRecord,
        is_granted: bool,
        last: Option<LogPosition>,
    },
    /// Why it will not lead, or nothing.
    Transfer(Option<String>),
    /// Go on with the part that begins here.
    SnapshotPart {
        next: u64,
    },
    Snapshot {
        vote: VoteRecord,
    },
    ReadIndex(Result<LogPosition, Unavailable>),
    Call(Result<Bytes, Unavailable>),
    Join(JoinAnswer),
    /// The request was not understood, or this node cannot answer any more.
    Failed(String),
    Pong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    Success,
    Partial(Option<LogPosition>),
    Conflict,
    HigherVote(VoteRecord),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JoinAnswer {
    /// It is a member, and a voter if those who join are made voters.
    Done,
    /// It is a learner; ask again.
    CatchingUp,
    /// Ask this one.
    Leader { node: NodeId, addr: String },
    /// Ask again later, here or elsewhere.
    NotNow(String),
    /// Never.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raft::convert::{decode, encode};

    fn position() -> LogPosition {
        LogPosition { term: 3, node: 2, index: 300 }
    }

    fn vote() -> VoteRecord {
        VoteRecord { term: 4, node: 1, committed: true }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// One of each, and how it is written. A change here is a change of what nodes of different releases say to
    /// each other while a cluster is upgraded: append variants, or raise the version.
    #[test]
    fn requests_are_written_as_ever() {
        let candidacy = Candidacy { vote: vote(), last: Some(position()), is_transfer: true };
        let member = Member { peer_addr: "h:1".to_owned(), api_url: "u".to_owned() };
        let bytes = Bytes::from_static(b"ab");
        let append = Request::Append {
            vote: vote(),
            prev: None,
            entries: vec![(position(), bytes.clone())],
            committed: Some(position()),
        };
        let end = Request::SnapshotEnd {
            session: 7,
            length: 2,
            vote: vote(),
            last: Some(position()),
            membership: bytes.clone(),
        };
        let golden = [
            (append, "010004010100010302ac020261620103 02ac02"),
            (Request::Vote(candidacy), "0101040101010302ac0201"),
            (Request::PreVote(candidacy), "0102040101010302ac0201"),
            (Request::Transfer { from: vote(), to: NodeId(9), last: None }, "01030401010900"),
            (Request::SnapshotPart { session: 7, offset: 300, bytes: bytes.clone() }, "010407ac02026162"),
            (end, "01050702040101010302ac02026162"),
            (Request::ReadIndex, "0106"),
            (Request::Call { to_leader: true, request: bytes }, "010701026162"),
            (Request::Join { member, is_fresh: true }, "010803683a31017501"),
            (Request::Ping, "0109"),
        ];
        for (request, expected) in golden {
            let bytes = encode(&request).unwrap();
            assert_eq!(hex(&bytes), expected.replace(' ', ""), "{request:?}");
            assert_eq!(decode::<Request>(&bytes).unwrap(), request);
        }
    }

    #[test]
    fn answers_are_written_as_ever() {
        let golden = [
            (Response::Join(JoinAnswer::Done), "010700"),
            (Response::Failed("no".to_owned()), "0108026e6f"),
            (Response::Pong, "0109"),
        ];
        for (response, expected) in golden {
            let bytes = encode(&response).unwrap();
            assert_eq!(hex(&bytes), expected, "{response:?}");
            assert_eq!(decode::<Response>(&bytes).unwrap(), response);
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = encode(&Request::ReadIndex).unwrap().to_vec();
        bytes[0] = 2;
        assert!(decode::<Request>(&bytes).unwrap_err().to_string().contains("version 2"));
        assert!(decode::<Request>(&[]).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_a_request(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if let Some(version) = bytes.first_mut() {
                *version = 1;
            }
            drop(decode::<Request>(&bytes));
            drop(decode::<Response>(&bytes));
        }
    }
}

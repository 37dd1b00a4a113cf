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
    Transfer { from: VoteRecord, to: NodeId, last: Option<LogPosition> },
    /// A part of the snapshot `session`. Parts come in order; the one at 0 begins anew.
    SnapshotPart { session: u64, offset: u64, bytes: Bytes },
    /// The snapshot has arrived whole: install it.
    SnapshotEnd { session: u64, length: u64, vote: VoteRecord, last: Option<LogPosition>, membership: Bytes },
    /// Up to where must be applied, for a read that starts now to see everything acknowledged before?
    ReadIndex,
    /// From the layers above. `to_leader` says that only a leader may answer.
    Call { to_leader: bool, request: Bytes },
    /// The sender wants to be a voter.
    Join { member: Member, is_fresh: bool },
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
    Vote { vote: VoteRecord, is_granted: bool, last: Option<LogPosition> },
    /// Why it will not lead, or nothing.
    Transfer(Option<String>),
    /// Go on with the part that begins here.
    SnapshotPart { next: u64 },
    Snapshot { vote: VoteRecord },
    ReadIndex(Result<LogPosition, Unavailable>),
    Call(Result<Bytes, Unavailable>),
    Join(JoinAnswer),
    /// The request was not understood, or this node cannot answer any more.
    Failed(String),
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
    /// It is a voter.
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

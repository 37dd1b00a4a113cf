//! Raft's requests from other nodes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use tokio::time;

use super::convert::{self, log_id, position, vote, vote_record};
use super::machine_store::SnapshotData;
use super::{Raft, Types};
use crate::identity::NodeId;
use crate::log::{LogEntry, VoteRecord};
use crate::state::{LogPosition, SnapshotWriter, Store};
use crate::wire::{AppendAnswer, Candidacy, Request, Response};

/// Answers for the Raft of this node.
pub(crate) struct RaftService {
    raft: Raft,
    store: Store,
    /// The snapshot that is arriving.
    arriving: Mutex<Option<Arriving>>,
}

struct Arriving {
    from: NodeId,
    session: u64,
    stage: Stage,
}

enum Stage {
    Parts(SnapshotWriter),
    /// All is here: its bytes, and what comes of it. It goes on when nobody waits.
    Whole(u64, Shared<BoxFuture<'static, Installed>>),
}

impl Stage {
    fn bytes(&self) -> u64 {
        match self {
            Self::Parts(writer) => writer.bytes(),
            Self::Whole(bytes, _) => *bytes,
        }
    }
}

/// What came of a snapshot.
type Installed = Result<VoteRecord, String>;

/// What a snapshot says of itself, from its sender.
pub(crate) struct SnapshotEnd {
    pub(crate) session: u64,
    pub(crate) length: u64,
    pub(crate) vote: VoteRecord,
    pub(crate) last: Option<LogPosition>,
    pub(crate) membership: bytes::Bytes,
}

impl RaftService {
    pub(crate) fn new(raft: Raft, store: Store) -> Arc<Self> {
        Arc::new(Self { raft, store, arriving: Mutex::new(None) })
    }

    /// `Err` says why there is no proper answer. The sender tries again later.
    pub(crate) async fn answer(&self, from: NodeId, request: Request) -> Result<Response, String> {
        match request {
            Request::Append { vote, prev, entries, committed } => {
                self.append(vote, prev, entries, committed).await
            }
            Request::Vote(candidacy) => {
                let answer = self.raft.vote(vote_request(candidacy)).await.map_err(text)?;
                Ok(vote_response(&answer))
            }
            Request::PreVote(candidacy) => {
                let answer = self.raft.pre_vote(vote_request(candidacy)).await.map_err(text)?;
                Ok(vote_response(&answer))
            }
            Request::Transfer { from, to, last } => self.transfer(from, to, last).await,
            Request::SnapshotPart { session, offset, bytes } => {
                self.snapshot_part(from, session, offset, &bytes)
            }
            Request::SnapshotEnd { session, length, vote, last, membership } => {
                self.snapshot_end(from, SnapshotEnd { session, length, vote, last, membership }).await
            }
            Request::ReadIndex | Request::Call { .. } | Request::Join { .. } | Request::Ping => {
                Err("not a request to Raft".to_owned())
            }
        }
    }

    async fn append(
        &self,
        leader: VoteRecord,
        prev: Option<LogPosition>,
        entries: Vec<(LogPosition, bytes::Bytes)>,
        committed: Option<LogPosition>,
    ) -> Result<Response, String> {
        // Raft relies on entries without gaps; it does not look.
        let first = prev.map_or(0, |prev| prev.index + 1);
        if !(first..).zip(&entries).all(|(index, (position, _))| position.index == index) {
            return Err("entries with a gap".to_owned());
        }
        let entries = entries
            .into_iter()
            .map(|(position, payload)| convert::decode_entry(&LogEntry { position, payload }).map_err(text));
        let request = AppendEntriesRequest {
            vote: vote(leader),
            prev_log_id: prev.map(log_id),
            entries: entries.collect::<Result<_, String>>()?,
            leader_commit: committed.map(log_id),
        };
        let answer = self.raft.append_entries(request).await.map_err(text)?;
        Ok(Response::Append(match answer {
            AppendEntriesResponse::Success => AppendAnswer::Success,
            AppendEntriesResponse::PartialSuccess(upto) => AppendAnswer::Partial(upto.map(position)),
            AppendEntriesResponse::Conflict => AppendAnswer::Conflict,
            AppendEntriesResponse::HigherVote(higher) => AppendAnswer::HigherVote(vote_record(&higher)),
        }))
    }

    async fn transfer(
        &self,
        from: VoteRecord,
        to: NodeId,
        last: Option<LogPosition>,
    ) -> Result<Response, String> {
        let request = TransferLeaderRequest::new(vote(from), to.0, last.map(log_id));
        let answer = self.raft.handle_transfer_leader(request).await.map_err(text)?;
        Ok(Response::Transfer(answer.err().map(text)))
    }

    fn snapshot_part(
        &self,
        from: NodeId,
        session: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Response, String> {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |arriving: &Arriving| arriving.from == from && arriving.session == session;
        if offset == 0 && !arriving.as_ref().is_some_and(is_known) {
            // A sender that began anew: what came of the last one goes.
            *arriving = None;
            let writer = self.store.receive_snapshot().map_err(text)?;
            *arriving = Some(Arriving { from, session, stage: Stage::Parts(writer) });
        }
        let Some(Arriving { stage, .. }) = arriving.as_mut().filter(|arriving| is_known(arriving)) else {
            return Err("this snapshot did not begin here".to_owned());
        };
        let next = offset.saturating_add(bytes.len() as u64);
        // Sent again because the answer was lost.
        if next <= stage.bytes() {
            return Ok(Response::SnapshotPart { next });
        }
        let Stage::Parts(writer) = stage else { return Err("this snapshot was whole".to_owned()) };
        if writer.bytes() != offset {
            return Err("a part of the snapshot is missing".to_owned());
        }
        if let Err(error) = writer.write(bytes) {
            *arriving = None;
            return Err(text(error));
        }
        Ok(Response::SnapshotPart { next })
    }

    /// Installs what has arrived. While that lasts, the sender is told so and asks again: so it need not wait long to
    /// learn that a message was lost.
    async fn snapshot_end(&self, from: NodeId, end: SnapshotEnd) -> Result<Response, String> {
        match time::timeout(INSTALL_STEP, self.installing(from, &end)?).await {
            Ok(installed) => Ok(Response::Snapshot { vote: installed? }),
            Err(_) => Ok(Response::SnapshotPart { next: end.length }),
        }
    }

    fn installing(
        &self,
        from: NodeId,
        end: &SnapshotEnd,
    ) -> Result<Shared<BoxFuture<'static, Installed>>, String> {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = arriving.take_if(|arriving| {
            arriving.from == from && arriving.session == end.session && arriving.stage.bytes() == end.length
        });
        let installing = match arrived.map(|arriving| arriving.stage) {
            None => return Err("this snapshot did not arrive whole".to_owned()),
            Some(Stage::Whole(_, installing)) => installing,
            Some(Stage::Parts(writer)) => {
                let meta = SnapshotMetaOf::<Types> {
                    last_log_id: end.last.map(log_id),
                    last_membership: convert::decode_membership(&end.membership).map_err(text)?,
                };
                let snapshot =
                    SnapshotOf::<Types, SnapshotData> { meta, snapshot: SnapshotData::Received(writer) };
                let (raft, leader) = (self.raft.clone(), vote(end.vote));
                let installing = tokio::spawn(async move {
                    let answer = raft.install_full_snapshot(leader, snapshot).await.map_err(text)?;
                    Ok(vote_record(&answer.vote))
                });
                installing.map(|ended| ended.unwrap_or_else(|error| Err(text(error)))).boxed().shared()
            }
        };
        let stage = Stage::Whole(end.length, installing.clone());
        *arriving = Some(Arriving { from, session: end.session, stage });
        Ok(installing)
    }
}

fn vote_request(candidacy: Candidacy) -> VoteRequest<Types> {
    VoteRequest {
        vote: vote(candidacy.vote),
        last_log_id: candidacy.last.map(log_id),
        leadership_transfer: candidacy.is_transfer,
    }
}

fn vote_response(answer: &VoteResponse<Types>) -> Response {
    Response::Vote {
        vote: vote_record(&answer.vote),
        is_granted: answer.vote_granted,
        last: answer.last_log_id.map(position),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

/// How long a sender waits for a snapshot to be installed, before it is told that this takes longer.
const INSTALL_STEP: Duration = Duration::from_secs(1);

//! openraft's requests to other nodes, over our [`Transport`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{self, Either};
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;

use super::convert::{self, log_id, position, vote, vote_record};
use super::machine_store::SnapshotData;
use super::{Member, SNAPSHOT_STEP, Types};
use crate::identity::NodeId;
use crate::network::{Channel, Peer, Transport, TransportError};
use crate::wire::{AppendAnswer, Candidacy, Request, Response};

/// Where members are now. openraft keeps a connection when a member's address changes, so a connection looks
/// here for each request.
#[derive(Clone, Default)]
pub(crate) struct AddressBook(Arc<Mutex<BTreeMap<u64, String>>>);

impl AddressBook {
    pub(crate) fn learn<'m>(&self, members: impl Iterator<Item = (&'m u64, &'m Member)>) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, member) in members {
            if book.get(id) != Some(&member.peer_addr) {
                book.insert(*id, member.peer_addr.clone());
            }
        }
    }

    fn peer(&self, id: u64, otherwise: &str) -> Peer {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Peer { node: Some(NodeId(id)), addr: book.get(&id).map_or(otherwise, String::as_str).to_owned() }
    }
}

/// Makes openraft's connections.
pub(crate) struct Network {
    node: NodeId,
    addresses: AddressBook,
    transport: Arc<dyn Transport>,
    /// The least time for an answer to entries: the follower syncs its disk meanwhile.
    append_ttl: Duration,
}

/// openraft's connection to one node, for one purpose.
pub(crate) struct Connection {
    node: NodeId,
    target: u64,
    addresses: AddressBook,
    /// Where the target was when the connection was made.
    addr: String,
    transport: Arc<dyn Transport>,
    append_ttl: Duration,
}

impl Network {
    pub(crate) fn new(
        node: NodeId,
        transport: Arc<dyn Transport>,
        addresses: AddressBook,
        append_ttl: Duration,
    ) -> Self {
        Self { node, addresses, transport, append_ttl }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, member: &Member) -> Connection {
        Connection {
            node: self.node,
            target,
            addresses: self.addresses.clone(),
            addr: member.peer_addr.clone(),
            transport: Arc::clone(&self.transport),
            append_ttl: self.append_ttl,
        }
    }
}

type RpcResult<T> = Result<T, RPCError<Types>>;

impl Connection {
    async fn ask(
        &self,
        channel: Channel,
        request: &Request,
        kind: RPCTypes,
        ttl: Duration,
    ) -> RpcResult<Response> {
        let bytes = convert::encode(request).map_err(|error| unreachable(&error.to_string()))?;
        let peer = self.addresses.peer(self.target, &self.addr);
        match self.transport.call(peer, channel, bytes, ttl).await {
            Ok(answer) => match convert::decode(&answer) {
                Ok(Response::Failed(reason)) => Err(unreachable(&reason)),
                Ok(response) => Ok(response),
                Err(error) => Err(unreachable(&error.to_string())),
            },
            Err(TransportError::TimedOut { within, .. }) => Err(RPCError::Timeout(Timeout {
                action: kind,
                id: self.node.0,
                target: self.target,
                timeout: within,
            })),
            Err(error @ (TransportError::NotSent { .. } | TransportError::NoAnswer { .. })) => {
                Err(unreachable(&error.to_string()))
            }
        }
    }

    async fn ask_vote(&self, request: Request, option: &RPCOption) -> RpcResult<VoteResponse<Types>> {
        let response = self.ask(Channel::Beat, &request, RPCTypes::Vote, option.soft_ttl()).await?;
        let Response::Vote { vote: answer, is_granted, last } = response else { return Err(unexpected()) };
        Ok(VoteResponse::new(vote(answer), last.map(log_id), is_granted))
    }

    async fn send_snapshot(
        &self,
        leader: &openraft::type_config::alias::VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotData>,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Sent(mut reader) = snapshot.snapshot else {
            return Err(unreachable("there is no snapshot to read").into());
        };
        let vote_of_leader = vote_record(leader);
        let session = session(vote_of_leader.term);
        let mut offset = 0;
        loop {
            let part = reader.next(SNAPSHOT_PART_BYTES).map_err(|error| unreachable(&error.to_string()))?;
            let Some(bytes) = part else { break };
            let length = bytes.len() as u64;
            let part = Request::SnapshotPart { session, offset, bytes };
            offset += length;
            let response = self.ask_again(&part).await?;
            if response != (Response::SnapshotPart { next: offset }) {
                return Err(unexpected().into());
            }
        }
        let end = Request::SnapshotEnd {
            session,
            length: offset,
            vote: vote_of_leader,
            last: snapshot.meta.last_log_id.map(position),
            membership: convert::encode_membership(&snapshot.meta.last_membership)
                .map_err(|error| unreachable(&error.to_string()))?,
        };
        loop {
            let response = self.ask_again(&end).await?;
            if let Response::Snapshot { vote: answer } = response {
                return Ok(SnapshotResponse::new(vote(answer)));
            }
            // Or it has everything, and is not through with it.
            if response != (Response::SnapshotPart { next: offset }) {
                return Err(unexpected().into());
            }
        }
    }

    /// Asks until an answer comes in time, because a whole snapshot would have to be sent again for one message that
    /// was lost. The receiver knows what it has had.
    async fn ask_again(&self, request: &Request) -> RpcResult<Response> {
        let mut ttl = SNAPSHOT_FIRST_STEP;
        loop {
            match self.ask(Channel::Snapshot, request, RPCTypes::InstallSnapshot, ttl).await {
                Err(RPCError::Timeout(_)) if ttl < SNAPSHOT_STEP => ttl *= 2,
                answered => return answered,
            }
        }
    }
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Types>> {
        let (channel, ttl) = if rpc.entries.is_empty() {
            (Channel::Beat, option.soft_ttl())
        } else {
            (Channel::Log, option.soft_ttl().max(self.append_ttl))
        };
        let entries = rpc.entries.iter().map(|entry| {
            let entry = convert::encode_entry(entry).map_err(|error| unreachable(&error.to_string()))?;
            Ok((entry.position, entry.payload))
        });
        let request = Request::Append {
            vote: vote_record(&rpc.vote),
            prev: rpc.prev_log_id.map(position),
            entries: entries.collect::<RpcResult<_>>()?,
            committed: rpc.leader_commit.map(position),
        };
        let response = self.ask(channel, &request, RPCTypes::AppendEntries, ttl).await?;
        let Response::Append(answer) = response else { return Err(unexpected()) };
        Ok(match answer {
            AppendAnswer::Success => AppendEntriesResponse::Success,
            AppendAnswer::Partial(upto) => AppendEntriesResponse::PartialSuccess(upto.map(log_id)),
            AppendAnswer::Conflict => AppendEntriesResponse::Conflict,
            AppendAnswer::HigherVote(higher) => AppendEntriesResponse::HigherVote(vote(higher)),
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> RpcResult<VoteResponse<Types>> {
        self.ask_vote(Request::Vote(candidacy(&rpc)), &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Types>> {
        self.ask_vote(Request::PreVote(candidacy(&rpc)), &option).await
    }

    async fn full_snapshot(
        &mut self,
        leader: openraft::type_config::alias::VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = std::pin::pin!(self.send_snapshot(&leader, snapshot));
        match future::select(sending, std::pin::pin!(cancel)).await {
            Either::Left((sent, _)) => sent,
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<Types>> {
        let request = Request::Transfer {
            from: vote_record(rpc.from_leader()),
            to: NodeId(*rpc.to_node_id()),
            last: rpc.last_log_id().copied().map(position),
        };
        match self.ask(Channel::Beat, &request, RPCTypes::TransferLeader, option.soft_ttl()).await? {
            Response::Transfer(None) => Ok(Ok(())),
            // openraft logs the reason and does nothing else with it.
            Response::Transfer(Some(refusal)) => Err(unreachable(&refusal)),
            Response::Append(_)
            | Response::Vote { .. }
            | Response::SnapshotPart { .. }
            | Response::Snapshot { .. }
            | Response::ReadIndex(_)
            | Response::Call(_)
            | Response::Join(_)
            | Response::Failed(_)
            | Response::Pong => Err(unexpected()),
        }
    }
}

fn candidacy(rpc: &VoteRequest<Types>) -> Candidacy {
    Candidacy {
        vote: vote_record(&rpc.vote),
        last: rpc.last_log_id.map(position),
        is_transfer: rpc.leadership_transfer,
    }
}

fn unreachable(reason: &str) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

fn unexpected() -> RPCError<Types> {
    unreachable("an answer of the wrong kind")
}

/// Numbers the snapshots that a node sends, so that parts of two are never mixed. After a restart it leads in another
/// term, if ever.
fn session(term: u64) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (term << SENT_IN_A_TERM_BITS) | (NEXT.fetch_add(1, Ordering::Relaxed) % (1 << SENT_IN_A_TERM_BITS))
}

/// A million snapshots in a term, then numbers come again.
const SENT_IN_A_TERM_BITS: u32 = 20;
const SNAPSHOT_PART_BYTES: usize = 256 << 10;
/// How long the first attempt to send a part waits for its answer, and each after it twice as long as the one before,
/// up to [`SNAPSHOT_STEP`].
const SNAPSHOT_FIRST_STEP: Duration = Duration::from_secs(2);

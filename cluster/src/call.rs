//! Calls of the layers above from node to node; what they say is not known here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{self, Instant};

use crate::core::{Asked, Core};
use crate::error::Unavailable;
use crate::identity::NodeId;
use crate::network::Peer;
use crate::wire::{Request, Response};

/// Answers calls from other nodes, and from this one.
pub trait CallHandler: Send + Sync + 'static {
    /// Answers `request` of node `from`.
    ///
    /// The same call may come twice: when its answer was lost, and the leader has changed meanwhile. So a call
    /// that changes something carries a request id.
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, Unavailable>>;
}

/// Answers a call here.
pub(crate) async fn answer(
    core: &Core,
    handler: Option<Arc<dyn CallHandler>>,
    from: NodeId,
    to_leader: bool,
    request: Bytes,
) -> Result<Bytes, Unavailable> {
    if core.is_stopping() {
        return Err(Unavailable::Stopping);
    }
    // At most one hop: a node that does not lead says who does, and does not ask on.
    if to_leader && !core.leads() {
        return Err(core.not_leader());
    }
    match handler {
        Some(handler) => handler.handle(from, request).await,
        // Still starting.
        None => Err(Unavailable::NoLeader),
    }
}

/// Calls the leader, whoever that is or becomes until the deadline.
pub(crate) async fn leader(
    core: &Core,
    handler: Option<Arc<dyn CallHandler>>,
    request: Bytes,
    deadline: Instant,
) -> Result<Bytes, Unavailable> {
    // A leader that loses its office while an entry is on its way says that it does not lead, and the next one
    // may keep the entry. So only "nobody to ask" is a certain no.
    let mut may_have_happened = false;
    for attempt in 0.. {
        let Some(leader) = core.leader() else {
            if core.pause(attempt, deadline).await {
                continue;
            }
            break;
        };
        let answer = if leader == core.node() {
            let answering = answer(core, handler.clone(), core.node(), true, request.clone());
            let late = Unavailable::Timeout { outcome_unknown: true };
            time::timeout_at(deadline, answering).await.unwrap_or(Err(late))
        } else {
            remote(core, leader, true, request.clone(), deadline).await
        };
        match answer {
            Err(
                again @ (Unavailable::NoLeader
                | Unavailable::NotLeader { .. }
                | Unavailable::Unreachable
                | Unavailable::Stopping),
            ) if !core.is_stopping() => may_have_happened |= again != Unavailable::NoLeader,
            decided => return decided,
        }
        if !core.pause(attempt, deadline).await {
            break;
        }
    }
    Err(if may_have_happened {
        Unavailable::Timeout { outcome_unknown: true }
    } else {
        Unavailable::NoLeader
    })
}

/// Calls one other node.
pub(crate) async fn remote(
    core: &Core,
    node: NodeId,
    to_leader: bool,
    request: Bytes,
    deadline: Instant,
) -> Result<Bytes, Unavailable> {
    let Some(member) = core.member_of(node) else { return Err(Unavailable::Unreachable) };
    let within = deadline.saturating_duration_since(Instant::now());
    if within < SHORTEST {
        return Err(Unavailable::Timeout { outcome_unknown: false });
    }
    let peer = Peer { node: Some(node), addr: member.peer_addr };
    let request = Request::Call { to_leader, request };
    match core.ask(peer, &request, within, to_leader.then_some(node)).await {
        Asked::Answered(Response::Call(answer)) => answer,
        Asked::Answered(_) | Asked::Unknown => Err(Unavailable::Unreachable),
        // Certainly not carried out.
        Asked::NotSent => Err(Unavailable::NoLeader),
        Asked::TimedOut => Err(Unavailable::Timeout { outcome_unknown: true }),
    }
}

/// Below this, a call is not worth sending.
const SHORTEST: Duration = Duration::from_millis(1);

//! From the node that was asked to the leader's actor of the account, and back.
//!
//! A command travels as typed bytes, never as raw HTTP and never by a redirect: real clients drop their
//! token on one. Nodes trust each other by certificate; what a command may do is decided in `domain::apply`
//! by the session it names, so a session that ended in the meantime is refused there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::{Applied, CallHandler, Cluster, NodeId, Proposal, RequestId, Unavailable};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Refused, Tenants};
use crate::domain::{Command, Rejection, Reply, Timestamp};
use crate::replica;

/// Has commands decided, wherever the leader is.
#[derive(Clone)]
pub struct Orders {
    cluster: Cluster,
}

/// A command that was decided and carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub revision: u64,
    pub at: Timestamp,
    pub reply: Reply,
    /// Whether it had been decided before, under the same request id.
    pub replayed: bool,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A rule says no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The request id names another request.
    #[error("the request id was used for another request")]
    Mismatch,
    /// Too much is waiting at the leader. Nothing was done.
    #[error("too much is waiting")]
    Busy { retry_after: Duration },
    /// Not now, or not known.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A node answered what cannot be read.
    #[error("a node answered what cannot be read")]
    Garbled,
}

/// How a command travels to the leader.
#[derive(Serialize, Deserialize)]
struct Letter {
    account: String,
    proposal: Proposal,
    /// How long the asking node still waits. A span, because clocks differ.
    remaining_ms: u64,
}

impl Orders {
    /// Gives orders through `cluster`, and answers those that reach this node while it leads.
    #[must_use]
    pub fn new(cluster: Cluster, tenants: Tenants) -> Self {
        cluster.set_call_handler(Arc::new(Desk { tenants }));
        Self { cluster }
    }

    /// Has a command decided.
    ///
    /// # Errors
    /// See [`OrderError`]; only [`Unavailable`] can leave it open whether it was carried out.
    pub async fn execute(
        &self,
        command: &Command,
        request: RequestId,
        fingerprint: u64,
        deadline: Instant,
    ) -> Result<Decided, OrderError> {
        let bytes = replica::encode_command(command)?;
        if bytes.len() > Proposal::MAX_COMMAND_BYTES {
            return Err(Rejection::invalid("body", "the command is too long").into());
        }
        let letter = Letter {
            account: command.account.to_string(),
            proposal: Proposal { request, fingerprint, command: bytes },
            remaining_ms: millis(deadline.saturating_duration_since(Instant::now())),
        };
        let letter = postcard::to_stdvec(&letter).map_err(|_| OrderError::Garbled)?;
        let answer = self.cluster.call_leader(letter.into(), deadline).await?;
        let answer: Result<Applied, Refused> = postcard::from_bytes(&answer).map_err(|_| OrderError::Garbled)?;
        match answer {
            Ok(Applied::Done { revision, at, reply, replayed }) => {
                let reply = replica::decode_reply(&reply)?;
                Ok(Decided { revision, at: Timestamp(at.0), reply, replayed })
            }
            Ok(Applied::Mismatch) => Err(OrderError::Mismatch),
            Err(Refused::Busy { retry_after }) => Err(OrderError::Busy { retry_after }),
            Err(Refused::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }
}

/// The leader's side.
struct Desk {
    tenants: Tenants,
}

impl CallHandler for Desk {
    async fn handle(&self, _from: NodeId, request: Bytes) -> Result<Bytes, Unavailable> {
        let Ok(letter) = postcard::from_bytes::<Letter>(&request) else {
            tracing::error!("a letter from another node does not decode");
            return Err(Unavailable::Overloaded);
        };
        let deadline = Instant::now() + Duration::from_millis(letter.remaining_ms);
        let answer = self.tenants.submit(&letter.account, letter.proposal, deadline).await;
        if let Err(Refused::Unavailable(unavailable @ Unavailable::NotLeader { .. })) = answer {
            // Nothing was done: the asking node looks for the new leader.
            return Err(unavailable);
        }
        let answer = postcard::to_stdvec(&answer).map_err(|_| Unavailable::Overloaded)?;
        Ok(answer.into())
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

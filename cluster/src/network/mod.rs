//! Getting a request to another node and its answer back. What requests say must not be known here.
//!
//! # Why
//!
//! The transport is a trait because it has two real kinds: TCP with mutual TLS ([`tls`], [`client`],
//! [`server`]), and the simulated network that delays, loses and cuts. Both carry the same bytes.
//!
//! Each [`Channel`] has a connection of its own: behind a megabyte of log, a heartbeat would be late, and
//! a late heartbeat is an election.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::identity::NodeId;

pub(crate) mod client;
#[cfg(test)]
mod door_tests;
pub(crate) mod doors;
pub(crate) mod frame;
pub(crate) mod server;
mod socket;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Channel {
    /// Entries of the log.
    Log,
    /// Heartbeats, votes, hand-over.
    Beat,
    /// Snapshots.
    Snapshot,
    /// Everything that the layers above ask of each other.
    Call,
}

/// Whom to ask, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    /// `None` when any member will do.
    pub(crate) node: Option<NodeId>,
    /// Host and port.
    pub(crate) addr: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransportError {
    /// The request was certainly not sent.
    #[error("cannot reach {addr}: {reason}")]
    NotSent { addr: String, reason: String },
    /// It was sent, or may have been, and no answer came.
    #[error("no answer from {addr}: {reason}")]
    NoAnswer { addr: String, reason: String },
    /// No answer within the time given.
    #[error("no answer from {addr} within {within:?}")]
    TimedOut { addr: String, within: Duration },
}

/// Carries requests to other nodes.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Sends a request and waits for its answer, for `within` at most.
    fn call(
        &self,
        to: Peer,
        channel: Channel,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Stops listening and drops all connections.
    fn close(&self);
}

/// Answers what other nodes ask. Whatever the bytes are, there is an answer and no panic.
pub(crate) trait Service: Send + Sync + 'static {
    /// `from` is who the peer has shown to be.
    fn answer(&self, from: NodeId, channel: Channel, request: Bytes) -> BoxFuture<'static, Bytes>;
}

/// The longest frame, in bytes: an entry of the largest size, with room around it.
pub(crate) const MOST_FRAME_BYTES: usize = 8 << 20;

//! Why the cluster does not do something: not now, or never again in this process.

use serde::{Deserialize, Serialize};

use crate::folder::FolderError;
use crate::identity::NodeId;
use crate::log::disk::LogError;
use crate::machine::NewerLevel;
use crate::seal::DataKeyError;

/// Not now. Worth trying again, here or at another node.
///
/// Sent between nodes: variants only grow, at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unavailable {
    /// Nobody leads at the moment. Nothing was done.
    #[error("no leader at the moment")]
    NoLeader,
    /// This node does not lead. Nothing was done.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The deadline passed.
    #[error("{}", if *outcome_unknown { "timed out; whether it was done is unknown" } else { "timed out" })]
    Timeout {
        /// Whether it may still happen, or has happened. Asking again with the same request id is safe.
        outcome_unknown: bool,
    },
    /// Too much is under way, or the disk is nearly full. Nothing was done.
    #[error("overloaded")]
    Overloaded,
    /// This node is stopping. Nothing was done.
    #[error("this node is stopping")]
    Stopping,
    /// It could not be reached. Whether it was done is unknown.
    #[error("the node cannot be reached")]
    Unreachable,
    /// A command is longer than [`crate::Proposal::MAX_COMMAND_BYTES`]. Trying again is of no use.
    #[error("the command is too long")]
    TooLong,
}

impl Unavailable {
    /// Whether the request may still have been, or yet be, carried out.
    #[must_use]
    pub fn is_outcome_unknown(self) -> bool {
        match self {
            Self::Timeout { outcome_unknown } => outcome_unknown,
            Self::Unreachable => true,
            Self::NoLeader | Self::NotLeader { .. } | Self::Overloaded | Self::Stopping | Self::TooLong => {
                false
            }
        }
    }
}

/// This process can do nothing more for the cluster: it must exit, with a status that is not zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fatal: {reason}")]
pub struct Fatal {
    /// What happened.
    pub reason: String,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The keys of what is sealed. Nothing was changed.
    #[error(transparent)]
    Key(#[from] DataKeyError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The durable state.
    #[error("the state in the data folder: {0}")]
    State(String),
    /// The data is of a level that this program does not know. Nothing was changed.
    #[error(transparent)]
    Newer(#[from] NewerLevel),
    /// Settings that contradict each other.
    #[error("configuration: {0}")]
    Config(String),
    /// The address to listen on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Certificates that TLS does not accept.
    #[error("certificates: {0}")]
    Tls(String),
    /// Raft refused to start, or stopped.
    #[error("raft: {0}")]
    Raft(String),
    /// The folder lost what it once held, and this node may have voted and acknowledged with it.
    #[error(
        "node {node} has lost its log or state. It must not come back as if it were new: remove it from the \
         cluster, and join with an empty folder under a new id"
    )]
    Lost {
        /// The node.
        node: NodeId,
    },
    /// The cluster refused to take the node in.
    #[error("the cluster refused this node: {0}")]
    Refused(String),
    /// None of the peers to join was of use in time.
    #[error("could not join: {0}")]
    NotJoined(String),
}

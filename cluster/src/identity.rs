//! Who a node is: the ids of nodes and clusters, and the names that certificates carry for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The number of a node within its cluster, from 1. Never given to another node, not even after the
/// first was removed: a node that lost its disk joins under a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one cluster for all time. Nodes of different clusters refuse to talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

impl ClusterId {
    /// A new id from 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The DNS name that the certificate of this one node carries.
    #[must_use]
    pub fn node_name(&self, node: NodeId) -> String {
        format!("node-{node}.{}.{DOMAIN}", self.0.as_hyphenated())
    }

    /// The DNS name that every node's certificate carries: asked for by a node that joins, because it
    /// knows its peers' addresses only.
    #[must_use]
    pub fn member_name(&self) -> String {
        format!("member.{}.{DOMAIN}", self.0.as_hyphenated())
    }

    /// The DNS name in the certificate of a machine that may ask to become a node, and is none yet.
    #[must_use]
    pub fn candidate_name(&self) -> String {
        format!("candidate.{}.{DOMAIN}", self.0.as_hyphenated())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for ClusterId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Which node of which cluster a data folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node within it.
    pub node: NodeId,
}

/// The `.internal` domain is reserved for private use, so these names never mean a public host.
const DOMAIN: &str = "conclave.internal";

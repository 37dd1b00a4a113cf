//! The cluster as one of its nodes sees it, for operators.

use reqwest::Method;
use serde::Deserialize;

use super::super::call::answer;
use super::super::path::Target;
use super::super::proof::Proof;
use super::{Answer, Call, Client, Read};
use crate::secret::Secret;

/// The cluster as the node that answered sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ClusterStatus {
    /// The cluster's id.
    pub cluster: String,
    /// The node that answered.
    pub node: u64,
    /// What it is in the cluster.
    pub role: NodeRole,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// Index of the last log entry that it shows.
    pub applied: u64,
    /// Revision of the last command that it shows.
    pub revision: u64,
    /// Digest of the whole state at that revision, in hex: equal on all nodes.
    pub digest: String,
    /// Up to here its disk needs no log.
    pub durable: u64,
    /// Everybody.
    pub members: Vec<MemberStatus>,
}

/// A node as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MemberStatus {
    /// Its number.
    pub node: u64,
    /// Whether it votes; a learner only follows.
    pub is_voter: bool,
    /// Where other nodes reach it.
    pub peer_addr: String,
    /// Where clients reach it.
    pub api_url: String,
}

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Follows without a vote.
    Learner,
    /// Follows.
    Follower,
    /// Asks to lead.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
    /// A role of a later version.
    #[serde(other)]
    Unknown,
}

impl Client {
    /// The cluster as one node sees it, with an operator's token. Of a client of one node it is that node.
    pub fn cluster_status(
        &self,
        operator_token: impl Into<Secret<String>>,
    ) -> Call<Answer<ClusterStatus>, Read> {
        let proof = Proof::Token(operator_token.into());
        Call::reading(self, &proof, Method::GET, Target::new("/v1/cluster/members"), answer)
    }
}

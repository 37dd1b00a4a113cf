//! How every node is, as it says itself. For operators.

use reqwest::Method;
use serde::Deserialize;

use super::super::call::answer;
use super::super::path::Target;
use super::super::proof::Proof;
use super::{Answer, Call, Client, Read};
use crate::secret::Secret;

/// What the nodes say of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reports {
    /// The node that asked the others.
    pub node: u64,
    /// Of every member.
    pub reports: Vec<NodeReport>,
}

/// A node as it sees itself; nothing but its number and the reason where it was silent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeReport {
    /// Its number.
    pub node: u64,
    /// Why there is nothing of it, where there is not.
    pub silent: Option<String>,
    /// Milliseconds until it had answered.
    pub round_trip_ms: u64,
    /// Milliseconds that its clock is ahead of that of the node that asked; negative when behind.
    pub clock_ahead_ms: Option<i64>,
    /// The release it runs.
    pub version: Option<String>,
    /// Seconds since it was started.
    pub uptime_s: Option<u64>,
    /// Index of the last log entry that it shows.
    pub applied: Option<u64>,
    /// Revision of the last command that it shows.
    pub revision: Option<u64>,
    /// Digest of its whole state at that revision, in hex: equal on all nodes.
    pub digest: Option<String>,
    /// How long the last sync of its log took, in microseconds.
    pub sync_us: Option<u64>,
    /// Bytes that its disk still takes.
    pub disk_free_bytes: Option<u64>,
    /// Bytes of its data.
    pub disk_used_bytes: Option<u64>,
    /// How many files and connections its process may have open.
    pub open_files: Option<u64>,
}

impl Client {
    /// How every node is, as it says itself: asked by the node that answers.
    pub fn node_reports(&self, operator_token: impl Into<Secret<String>>) -> Call<Answer<Reports>, Read> {
        let proof = Proof::Token(operator_token.into());
        Call::reading(self, &proof, Method::GET, Target::new("/v1/cluster/reports"), answer)
    }
}

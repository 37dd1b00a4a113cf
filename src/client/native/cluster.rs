//! The cluster as one of its nodes sees it, for operators.

use std::time::SystemTime;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::call::answer;
use super::super::path::Target;
use super::super::proof::Proof;
use super::super::wire;
use super::{Answer, AuditHead, AuditQuery, AuditRecord, Call, Client, Page, Read, Write};
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
    /// How many voters there are.
    #[serde(default)]
    pub voters: usize,
    /// How many voters more may be lost before the cluster stops; none while no leader can be asked.
    #[serde(default)]
    pub tolerance: Option<usize>,
    /// Why the node that answered is no member any more, when the others say so.
    #[serde(default)]
    pub refused: Option<String>,
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
    /// What it shall be: `voter` or `learner`.
    #[serde(default)]
    pub wanted: Option<String>,
    /// Whether it was removed and is on its way out.
    #[serde(default)]
    pub is_leaving: bool,
    /// The node that goes when this one has its place.
    #[serde(default)]
    pub replaces: Option<u64>,
    /// The release it runs, where it answers.
    #[serde(default)]
    pub version: Option<String>,
    /// Log entries that it has yet to confirm, as the leader knows.
    #[serde(default)]
    pub lag: Option<u64>,
    /// Milliseconds since it last answered the leader.
    #[serde(default)]
    pub last_contact_ms: Option<u64>,
    /// Whether it answers the leader and keeps up.
    #[serde(default)]
    pub is_healthy: Option<bool>,
    /// When its certificate ends, where it answers.
    #[serde(default, deserialize_with = "wire::maybe_time")]
    pub certificate_expires_at: Option<SystemTime>,
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

/// Which key seals what, as the node that answered sees it. Keys by their names; none is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KeyStatus {
    /// The one that seals first, then those that open, then those that the node misses.
    pub keys: Vec<SealingKey>,
    /// How many data keys and secrets are not sealed under the first key.
    pub outdated: u64,
}

/// A key-encryption key, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SealingKey {
    /// Its name, from which nothing follows.
    pub id: String,
    /// What it does.
    pub role: SealingRole,
    /// Data keys on the node's disk that it wraps.
    pub data_keys: u64,
    /// Secrets in the rows, which all nodes share, that it seals.
    pub secrets: u64,
}

/// What a key-encryption key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealingRole {
    /// Seals and opens.
    Seals,
    /// Opens what was sealed under it before.
    Opens,
    /// Is needed, and not in the node's key file.
    Missing,
    /// A role of a later version.
    #[serde(other)]
    Unknown,
}

/// What reading the key file again did.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReloadedKeys {
    /// Data keys on the node's disk that were wrapped again.
    pub data_keys: u64,
    /// Secrets in the rows that were sealed again.
    pub secrets: u64,
    /// How it is now. Repeat while [`KeyStatus::outdated`] is not 0.
    pub now: KeyStatus,
}

/// An account as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedAccount {
    /// Its id.
    pub id: String,
    /// Who may do everything in it: `root`, `key_holder` or `cluster`.
    pub owner: String,
    /// `open` or `closed`.
    pub state: String,
    /// When it was opened.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: SystemTime,
}

/// A new administrator of the default account.
#[derive(Clone, Debug, Serialize)]
pub struct NewAdmin {
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(serialize_with = "wire::exposed")]
    pub password: Secret<String>,
}

/// An administrator of the default account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Admin {
    /// Its user id.
    pub id: String,
    pub username: String,
    /// The default account.
    pub account: String,
}

/// For operators of one machine: with a client of one node, because each has a key file of its own.
impl Client {
    /// Which key seals what on a node.
    pub fn key_status(&self, operator_token: impl Into<Secret<String>>) -> Call<Answer<KeyStatus>, Read> {
        let proof = Proof::Token(operator_token.into());
        Call::reading(self, &proof, Method::GET, Target::new("/v1/cluster/keys"), answer)
    }

    /// Lets a node read its key file again and seal under the first key of it. The same twice is the same.
    pub fn reload_keys(
        &self,
        operator_token: impl Into<Secret<String>>,
    ) -> Call<Answer<ReloadedKeys>, Write> {
        let proof = Proof::Token(operator_token.into());
        Call::writing(self, &proof, Method::POST, Target::new("/v1/cluster/keys/reload"), answer)
    }

    /// A trail of the cluster itself: what concerns no account, such as tries to sign in to none.
    pub fn cluster_audit(
        &self,
        operator_token: impl Into<Secret<String>>,
        query: &AuditQuery,
    ) -> Call<Answer<Page<AuditRecord>>, Read> {
        let proof = Proof::Token(operator_token.into());
        Call::reading(self, &proof, Method::GET, query.ask(Target::new("/v1/cluster/audit")), answer)
    }

    /// Both ends of what was done to the cluster itself.
    pub fn cluster_audit_head(
        &self,
        operator_token: impl Into<Secret<String>>,
    ) -> Call<Answer<AuditHead>, Read> {
        let proof = Proof::Token(operator_token.into());
        Call::reading(self, &proof, Method::GET, Target::new("/v1/cluster/audit/head"), answer)
    }

    /// The accounts of the cluster behind a cursor, by their ids.
    pub fn accounts(
        &self,
        operator_token: impl Into<Secret<String>>,
        cursor: Option<&str>,
    ) -> Call<Answer<Page<ListedAccount>>, Read> {
        let proof = Proof::Token(operator_token.into());
        let target = Target::new("/v1/cluster/accounts").query("cursor", cursor);
        Call::reading(self, &proof, Method::GET, target, answer)
    }

    /// Makes an administrator of the default account, the first or another.
    pub fn create_admin(
        &self,
        operator_token: impl Into<Secret<String>>,
        new: &NewAdmin,
    ) -> Call<Answer<Admin>, Write> {
        let proof = Proof::Token(operator_token.into());
        Call::writing(self, &proof, Method::POST, Target::new("/v1/cluster/admins"), answer).json(new)
    }

    /// The cluster as one node sees it, with an operator's token. Of a client of one node it is that node.
    pub fn cluster_status(
        &self,
        operator_token: impl Into<Secret<String>>,
    ) -> Call<Answer<ClusterStatus>, Read> {
        let proof = Proof::Token(operator_token.into());
        Call::reading(self, &proof, Method::GET, Target::new("/v1/cluster/members"), answer)
    }
}

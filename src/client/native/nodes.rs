//! The nodes of the cluster, for operators: who may come in, who votes, what each shows the others.

use std::time::SystemTime;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::call::{answer, nothing};
use super::super::path::Target;
use super::super::proof::Proof;
use super::super::wire;
use super::{Answer, Call, Client, Read, Write};
use crate::secret::Secret;

/// How the cluster stands after a change of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ChangedMembership {
    /// Whether it was not so before.
    pub changed: bool,
    /// How many voters there are.
    pub voters: u64,
    /// How many voters may be lost now.
    pub tolerance: u64,
    /// The node that leads; 0 when the node that answers does not know, as one that was just removed.
    pub leader: u64,
}

/// A join token to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewJoinToken {
    /// How long it is good, in seconds, at most 7 days; an hour by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
    /// Whether the node never votes.
    pub learner: bool,
    /// The node that is taken out once the new one has its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
}

/// A join token that was made. Nobody can show it again.
#[derive(Debug, Deserialize)]
pub struct CreatedJoinToken {
    /// Names it.
    pub id: Uuid,
    /// What `conclave join` takes. Whoever has it can become a member, once.
    pub token: Secret<String>,
    /// When it ends.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: SystemTime,
    /// Where the new node will ask.
    pub addresses: Vec<String>,
}

/// A join token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct JoinToken {
    /// Names it.
    pub id: Uuid,
    /// How it is.
    pub state: JoinTokenState,
    /// What the node will be: `voter` or `learner`.
    pub role: String,
    /// The node that is taken out once the new one has its place.
    pub replaces: Option<u64>,
    /// The node that came with it.
    pub used_by: Option<u64>,
    /// When it was made.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: SystemTime,
    /// When it ends.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: SystemTime,
}

/// How a join token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinTokenState {
    /// It lets a node in.
    Open,
    /// A node came with it.
    Used,
    /// Its time is over.
    Expired,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// The join tokens that are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct JoinTokens {
    /// Used and expired ones too.
    pub tokens: Vec<JoinToken>,
}

/// A certificate that a node was given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeCertificate {
    /// The node.
    pub node: u64,
    /// Its serial number, in hex.
    pub serial: String,
    /// When it ends.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: SystemTime,
    /// Since when it is refused, if it is.
    #[serde(default, deserialize_with = "wire::maybe_time")]
    pub revoked_at: Option<SystemTime>,
}

/// The certificates of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeCertificates {
    /// Those that were written down and have not been forgotten since they ended.
    pub certificates: Vec<NodeCertificate>,
}

/// The certificate that a node shows now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RotatedCertificate {
    /// The node.
    pub node: u64,
    /// Its serial number, in hex.
    pub serial: String,
    /// When it ends.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: SystemTime,
}

/// What became of a node's certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RevokedCertificates {
    /// The node.
    pub node: u64,
    /// The certificate that it has now; none when it did not answer: it is shut out.
    pub kept: Option<String>,
}

/// A link by which the first administrator of a new cluster comes in.
#[derive(Debug, Deserialize)]
pub struct SetupOffer {
    /// For a browser; what follows `#` is the secret.
    pub url: Secret<String>,
    /// When it ends.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: SystemTime,
}

/// The first administrator, made by whoever has the link.
#[derive(Clone, Debug, Serialize)]
pub struct Setup {
    /// What follows `#` in the link.
    #[serde(serialize_with = "wire::exposed")]
    pub secret: Secret<String>,
    /// What the administrator signs in with.
    pub username: String,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Its password.
    #[serde(serialize_with = "wire::exposed")]
    pub password: Secret<String>,
}

#[derive(Serialize)]
struct Replacement {
    with: u64,
}

#[derive(Serialize)]
struct Successor {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
}

/// For operators: any node can be asked, and each change ordered again with the same outcome.
impl Client {
    /// Gives a learner a vote, once it has caught up.
    pub fn promote_member(
        &self,
        operator_token: impl Into<Secret<String>>,
        node: u64,
    ) -> Call<Answer<ChangedMembership>, Write> {
        let target = member(node).word("promote");
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer)
    }

    /// Makes a voter a learner for good.
    pub fn demote_member(
        &self,
        operator_token: impl Into<Secret<String>>,
        node: u64,
    ) -> Call<Answer<ChangedMembership>, Write> {
        let target = member(node).word("demote");
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer)
    }

    /// Gives the member `with` a vote, then takes `node` out for ever.
    pub fn replace_member(
        &self,
        operator_token: impl Into<Secret<String>>,
        node: u64,
        with: u64,
    ) -> Call<Answer<ChangedMembership>, Write> {
        let target = member(node).word("replace");
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer)
            .json(&Replacement { with })
    }

    /// Takes a node out for ever. Refused where the voters that are left could not go on.
    pub fn remove_member(
        &self,
        operator_token: impl Into<Secret<String>>,
        node: u64,
    ) -> Call<Answer<ChangedMembership>, Write> {
        Call::writing(self, &Proof::Token(operator_token.into()), Method::DELETE, member(node), answer)
    }

    /// Has another voter lead: that one, or the one that is furthest.
    pub fn step_down(
        &self,
        operator_token: impl Into<Secret<String>>,
        to: Option<u64>,
    ) -> Call<Answer<ChangedMembership>, Write> {
        let target = Target::new("/v1/cluster/step-down");
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer)
            .json(&Successor { to })
    }

    /// The certificates of all nodes.
    pub fn node_certificates(
        &self,
        operator_token: impl Into<Secret<String>>,
    ) -> Call<Answer<NodeCertificates>, Read> {
        let target = Target::new("/v1/cluster/certificates");
        Call::reading(self, &Proof::Token(operator_token.into()), Method::GET, target, answer)
    }

    /// Has a node make a new key and use a new certificate.
    pub fn rotate_node_certificate(
        &self,
        operator_token: impl Into<Secret<String>>,
        node: u64,
    ) -> Call<Answer<RotatedCertificate>, Write> {
        let target = member(node).word("certificates").word("rotate");
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer)
    }

    /// Refuses all certificates of a node but a new one, which it is given first if it answers.
    pub fn revoke_node_certificates(
        &self,
        operator_token: impl Into<Secret<String>>,
        node: u64,
    ) -> Call<Answer<RevokedCertificates>, Write> {
        let target = member(node).word("certificates").word("revoke");
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer)
    }

    /// The join tokens that are kept.
    pub fn join_tokens(&self, operator_token: impl Into<Secret<String>>) -> Call<Answer<JoinTokens>, Read> {
        let target = Target::new(JOIN_TOKENS);
        Call::reading(self, &Proof::Token(operator_token.into()), Method::GET, target, answer)
    }

    /// Makes a join token.
    pub fn create_join_token(
        &self,
        operator_token: impl Into<Secret<String>>,
        new: &NewJoinToken,
    ) -> Call<Answer<CreatedJoinToken>, Write> {
        let target = Target::new(JOIN_TOKENS);
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer).json(new)
    }

    /// Takes a join token back.
    pub fn revoke_join_token(
        &self,
        operator_token: impl Into<Secret<String>>,
        id: Uuid,
    ) -> Call<Answer<()>, Write> {
        let target = Target::new(JOIN_TOKENS).name(id);
        Call::writing(self, &Proof::Token(operator_token.into()), Method::DELETE, target, nothing)
    }

    /// Makes a setup link; one made before is void.
    pub fn offer_setup(&self, operator_token: impl Into<Secret<String>>) -> Call<Answer<SetupOffer>, Write> {
        let target = Target::new("/v1/cluster/setup");
        Call::writing(self, &Proof::Token(operator_token.into()), Method::POST, target, answer)
    }

    /// Makes the first administrator, by a setup link. Works once.
    pub fn set_up(&self, setup: &Setup) -> Call<Answer<super::Admin>, Write> {
        Call::writing(self, &Proof::Nobody, Method::POST, Target::new("/v1/setup"), answer).json(setup)
    }
}

fn member(node: u64) -> Target {
    Target::new("/v1/cluster/members").name(node)
}

const JOIN_TOKENS: &str = "/v1/cluster/join-tokens";

//! The cluster as this node sees it, for operators of this machine.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::http::problem::Problem;
use conclave_cluster::{MemberStatus, Role, Status};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/v1/cluster/members", members)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::local("GET /v1/cluster/members", "listMembers", "The cluster as this node sees it")
            .about("Answers without asking other nodes, also while there is no leader.")
            .operator()
            .stamped()
            .gives::<MembersView>(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Cluster)]
struct MembersView {
    cluster: String,
    /// The node that answers.
    node: u64,
    role: &'static str,
    leader: Option<u64>,
    term: u64,
    /// Index of the last log entry that this node shows.
    applied: u64,
    /// Of the last command that this node shows.
    revision: u64,
    /// Digest of the whole state at that revision, in hex: equal on all nodes.
    digest: String,
    /// Up to here the state on the disk needs no log.
    durable: u64,
    members: Vec<MemberView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    node: u64,
    is_voter: bool,
    peer_addr: String,
    api_url: String,
}

impl MemberView {
    fn new(member: &MemberStatus) -> Self {
        Self {
            node: member.node.0,
            is_voter: member.is_voter,
            peer_addr: member.member.peer_addr.clone(),
            api_url: member.member.api_url.clone(),
        }
    }
}

impl MembersView {
    fn new(status: &Status) -> Self {
        let role = match status.role {
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
        };
        Self {
            cluster: status.cluster.to_string(),
            node: status.node.0,
            role,
            leader: status.leader.as_ref().map(|leader| leader.node.0),
            term: status.term,
            applied: status.applied.map_or(0, |position| position.index),
            revision: status.revision,
            digest: format!("{:032x}", status.digest),
            durable: status.durable_index.unwrap_or_default(),
            members: status.members.iter().map(MemberView::new).collect(),
        }
    }
}

/// What this node knows now, without asking others: an operator asks most when there is no leader.
async fn members(api: &Api, call: &Call) -> Answer {
    operator_only(api, call)?;
    let status = api.app.cluster.status();
    Ok(reply::at(status.revision, StatusCode::OK, &MembersView::new(&status)))
}

/// Refuses whoever cannot read this node's keys.
pub(super) fn operator_only(api: &Api, call: &Call) -> Result<(), Problem> {
    if api.app.is_operator(call.bearer()?) {
        return Ok(());
    }
    Err(Problem::unauthenticated("not_operator", "This takes the token of an operator."))
}

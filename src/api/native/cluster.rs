//! The cluster as this node sees it, for operators of this machine.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply::{self, Page, PageQuery, time};
use crate::app::nodes::letter::Seen;
use crate::app::nodes::report::Reported;
use crate::clock::{LogTime, rfc3339};
use crate::domain::AccountId;
use crate::domain::account::{self, Account, AccountState, Owner};
use crate::domain::node::{self, Node, NodeNumber, Part};
use conclave_cluster::{MemberStatus, Role, Status};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/v1/cluster/members", members), route!(GET "/v1/cluster/accounts", list_accounts)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::local("GET /v1/cluster/members", "listMembers", "The cluster as this node sees it")
            .about("Answers also while there is no leader; what others did not tell within two seconds is absent.")
            .operator()
            .stamped()
            .gives::<MembersView>(),
        Operation::read("GET /v1/cluster/accounts", "listAccounts", "Lists all accounts, closed ones too")
            .operator()
            .query::<PageQuery>()
            .lists::<ListedAccount>(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Cluster)]
struct MembersView {
    cluster: String,
    /// The node that answers.
    node: u64,
    /// What that is now: `leader`, `follower`, `candidate`, `learner` or `stopped`.
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
    /// How many voters there are.
    voters: usize,
    /// How many voters more may be lost before the cluster stops, by what the leader knows of each; absent while
    /// there is none to ask.
    tolerance: Option<usize>,
    /// Why this node is no member any more, when the others say so.
    refused: Option<String>,
    members: Vec<MemberView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    node: u64,
    is_voter: bool,
    /// What it shall be: `voter` or `learner`; absent for one that is not written down yet.
    wanted: Option<&'static str>,
    /// Whether it was removed and is on its way out.
    is_leaving: bool,
    /// The node that goes when this one has its place.
    replaces: Option<u64>,
    peer_addr: String,
    api_url: String,
    /// The release it runs, where it answers.
    version: Option<String>,
    /// Log entries that it has yet to confirm, as the leader knows.
    lag: Option<u64>,
    /// Milliseconds since it last answered the leader.
    last_contact_ms: Option<u64>,
    /// Whether it answers the leader and keeps up.
    is_healthy: Option<bool>,
    /// When its certificate ends, where it answers.
    #[schema(format = DateTime)]
    certificate_expires_at: Option<String>,
}

/// What is known of the members besides the membership.
struct Known {
    seen: Option<Vec<Seen>>,
    reports: Vec<Reported>,
    rows: Vec<(NodeNumber, Node)>,
}

impl MemberView {
    fn new(member: &MemberStatus, leader: Option<u64>, known: &Known) -> Self {
        let node = member.node.0;
        let seen = known.seen.iter().flatten().find(|seen| seen.node == node);
        let report = known.reports.iter().find(|reported| reported.node == node);
        let report = report.and_then(|reported| reported.report.as_ref().ok());
        let row = known.rows.iter().find(|(number, _)| number.0 == node).map(|(_, row)| row);
        let is_leader = leader == Some(node);
        Self {
            node,
            is_voter: member.is_voter,
            wanted: row.map(|row| role_of(row.part)),
            is_leaving: row.is_some_and(Node::is_removed),
            replaces: row.and_then(|row| row.replaces).map(|node| node.0),
            peer_addr: member.member.peer_addr.clone(),
            api_url: member.member.api_url.clone(),
            version: report.map(|report| report.version.clone()),
            lag: if is_leader { Some(0) } else { seen.and_then(|seen| seen.lag) },
            last_contact_ms: if is_leader { Some(0) } else { seen.and_then(|seen| seen.contact_ms) },
            is_healthy: seen.and_then(|seen| seen.is_healthy),
            certificate_expires_at: report.map(|report| rfc3339(LogTime(report.certificate_expires_ms))),
        }
    }
}

impl MembersView {
    fn new(status: &Status, known: &Known) -> Self {
        let role = match status.role {
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
        };
        let leader = status.leader.as_ref().map(|leader| leader.node.0);
        let members: Vec<MemberView> =
            status.members.iter().map(|member| MemberView::new(member, leader, known)).collect();
        let voters = members.iter().filter(|member| member.is_voter).count();
        let healthy =
            members.iter().filter(|member| member.is_voter && member.is_healthy == Some(true)).count();
        Self {
            cluster: status.cluster.to_string(),
            node: status.node.0,
            role,
            leader,
            term: status.term,
            applied: status.applied.map_or(0, |position| position.index),
            revision: status.revision,
            digest: format!("{:032x}", status.digest),
            durable: status.durable_index.unwrap_or_default(),
            voters,
            tolerance: known.seen.is_some().then(|| healthy.saturating_sub(voters / 2 + 1)),
            refused: status.refused.clone(),
            members,
        }
    }
}

/// `voter` or `learner`.
pub(super) const fn role_of(part: Part) -> &'static str {
    match part {
        Part::Voter => "voter",
        Part::Learner => "learner",
    }
}

/// What this node knows, and what the others tell it within a second or two: an operator asks most when there is no
/// leader.
async fn members(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let deadline = call.context.deadline.min(Instant::now() + PATIENCE);
    let (seen, reports) = tokio::join!(api.app.seen_members(deadline), api.app.reports(deadline));
    let rows = node::list(&api.app.cluster.view())?;
    let status = api.app.cluster.status();
    let known = Known { seen, reports, rows };
    Ok(reply::at(status.revision, StatusCode::OK, &MembersView::new(&status, &known)))
}

const PATIENCE: Duration = Duration::from_secs(2);

/// An account as an operator sees it.
#[derive(Serialize, ToSchema)]
struct ListedAccount {
    id: String,
    /// Who may do everything in it: its `root` user, whoever has its key (`key_holder`), or nobody by birth
    /// (`cluster`: the default account).
    owner: &'static str,
    /// `open` or `closed`.
    state: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
}

impl ListedAccount {
    fn new(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            owner: match account.owner {
                Owner::Root(_) => "root",
                Owner::KeyHolder => "key_holder",
                Owner::Cluster { .. } => "cluster",
            },
            state: match account.state {
                AccountState::Open => "open",
                AccountState::Closed { .. } => "closed",
            },
            created_at: time(account.created_at),
        }
    }
}

async fn list_accounts(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let page: PageQuery = call.query()?;
    let (limit, after) = (page.limit()?, page.after::<String>()?);
    let after = after.map(|text| AccountId::parse(&text)).transpose()?;
    let rows = api.app.view(call.freshness()?, call.context.deadline).await?;
    let found = account::list(&rows, after, limit + 1)?;
    let page = Page::new(found, limit, |row| row.value.id.to_string(), |row| ListedAccount::new(&row.value));
    Ok(reply::at(rows.revision(), StatusCode::OK, &page))
}

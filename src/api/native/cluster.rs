//! The cluster as this node sees it, for operators of this machine.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply::{self, Page, PageQuery, time};
use crate::domain::AccountId;
use crate::domain::account::{self, Account, AccountState, Owner};
use conclave_cluster::{MemberStatus, Role, Status};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/v1/cluster/members", members), route!(GET "/v1/cluster/accounts", list_accounts)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::local("GET /v1/cluster/members", "listMembers", "The cluster as this node sees it")
            .about("Answers without asking other nodes, also while there is no leader.")
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
    api.operator(call)?;
    let status = api.app.cluster.status();
    Ok(reply::at(status.revision, StatusCode::OK, &MembersView::new(&status)))
}

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

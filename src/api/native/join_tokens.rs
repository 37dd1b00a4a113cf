//! Join tokens: what lets a new node in, once. For operators.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, bad_id, route};
use crate::api::reply::{self, time};
use crate::app::nodes::change::KeptToken;
use crate::clock::{LogTime, rfc3339};
use crate::domain::node::{JoinTokenId, Part};
use crate::domain::{AccountId, Lifetime};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/cluster/join-tokens", list),
        route!(POST "/v1/cluster/join-tokens", create),
        route!(DELETE "/v1/cluster/join-tokens/{token}", revoke),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read("GET /v1/cluster/join-tokens", "listJoinTokens", "Lists the join tokens that are kept")
            .about("Used and expired ones too. Nobody can show a token again.")
            .operator()
            .gives::<JoinTokens>(),
        Operation::write("POST /v1/cluster/join-tokens", "createJoinToken", "Makes a join token")
            .about("It lets one node in, once, until it expires. Whoever has it can become a member: hand it over as \
                    you would a key.")
            .operator()
            .takes::<NewJoinToken>(json!({"expires_in_s": 3600}))
            .hands_out::<CreatedToken>()
            .refuses(&[409]),
        Operation::write("DELETE /v1/cluster/join-tokens/{token}", "revokeJoinToken", "Takes a join token back")
            .operator()
            .refuses(&[404]),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewJoinToken {
    /// 1 s to 7 days; an hour by default.
    expires_in_s: Option<u64>,
    /// Whether the node never votes.
    #[serde(default)]
    learner: bool,
    /// The node that is taken out once the new one has its place.
    replaces: Option<u64>,
}

/// A join token, shown once.
#[derive(Serialize, ToSchema)]
struct CreatedToken {
    #[schema(format = Uuid)]
    id: String,
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
    addresses: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct JoinTokens {
    tokens: Vec<TokenView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = JoinToken)]
struct TokenView {
    #[schema(format = Uuid)]
    id: String,
    /// `open`, `used` or `expired`.
    state: &'static str,
    /// `voter` or `learner`.
    role: &'static str,
    replaces: Option<u64>,
    used_by: Option<u64>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl TokenView {
    fn new(kept: &KeptToken, now: LogTime) -> Self {
        let token = &kept.token;
        Self {
            id: kept.id.0.to_string(),
            state: match token.used_by {
                Some(_) => "used",
                None if token.expires_at.0 <= now.0 => "expired",
                None => "open",
            },
            role: super::cluster::role_of(token.part),
            replaces: token.replaces.map(|node| node.0),
            used_by: token.used_by.map(|node| node.0),
            created_at: time(token.created_at),
            expires_at: time(token.expires_at),
        }
    }
}

async fn list(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let (revision, kept) = api.app.join_tokens(call.freshness()?, call.context.deadline).await?;
    let now = api.app.clock_now();
    let tokens = kept.iter().map(|kept| TokenView::new(kept, now)).collect();
    Ok(reply::at(revision, StatusCode::OK, &JoinTokens { tokens }))
}

async fn create(api: &Api, call: &Call) -> Answer {
    let body: NewJoinToken = call.json()?;
    api.operator(call)?;
    let good_for = Lifetime::from_secs(body.expires_in_s.unwrap_or(DEFAULT_S));
    let part = if body.learner { Part::Learner } else { Part::Voter };
    let request = call.request(AccountId::CLUSTER.as_str(), "operator")?;
    let (token, revision) = api.app.create_join_token(good_for, part, body.replaces, &request).await?;
    let created = CreatedToken {
        id: token.id.to_string(),
        token: token.text().expose().clone(),
        expires_at: rfc3339(LogTime(token.expires_ms)),
        addresses: token.addresses.clone(),
    };
    Ok(reply::at(revision, StatusCode::CREATED, &created))
}

async fn revoke(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let id = Uuid::try_parse(call.parameter("token")).map_err(|_| bad_id())?;
    let request = call.request(AccountId::CLUSTER.as_str(), "operator")?;
    Ok(reply::empty(api.app.revoke_join_token(JoinTokenId(id), &request).await?))
}

const DEFAULT_S: u64 = 3600;

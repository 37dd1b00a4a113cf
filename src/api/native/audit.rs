//! Reading the audit trails: for those who may in an account, and for operators.

use conclave_cluster::state::View;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::record::{HeadView, RecordView, TrailName};
use crate::api::reply::{self, Page, PageQuery};
use crate::app::permit::ReadAudit;
use crate::clock::parse_rfc3339;
use crate::domain::audit::search::{By, Order, Pattern, Wanted, page};
use crate::domain::audit::{self, Chain, Observation};
use crate::domain::{
    AccountId, Actor, Noun, Principal, Rejection, ServiceId, SubjectId, Timestamp, UserId, UserName, account,
    service, subject, user,
};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/audit", list, account),
        route!(GET "/v1/accounts/{account}/audit/head", show_head, account),
        route!(GET "/v1/cluster/audit", list_for_operator),
        route!(GET "/v1/cluster/audit/head", show_head_for_operator),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read("GET /v1/accounts/{account}/audit", "listAudit", "Reads an audit trail")
            .about(
                "Each record's hash covers the one before, so that a gap shows. A page looks at 2000 records at \
                 most: with a filter it may be short or empty and still have a `next`. Records of the trail \
                 `checks` come about 0.2 s after the question.",
            )
            .query::<AuditQuery>()
            .lists::<RecordView>(),
        Operation::read(
            "GET /v1/accounts/{account}/audit/head",
            "getAuditHead",
            "Shows both ends of an audit trail",
        )
        .query::<HeadQuery>()
        .gives::<HeadView>(),
        Operation::read("GET /v1/cluster/audit", "listClusterAudit", "Reads an audit trail, as an operator")
            .about("That of the cluster itself, which holds what belongs to no account, or that of an account.")
            .operator()
            .query::<OperatorAuditQuery>()
            .lists::<RecordView>()
            .refuses(&[404]),
        Operation::read(
            "GET /v1/cluster/audit/head",
            "getClusterAuditHead",
            "Shows both ends of an audit trail, to an operator",
        )
        .operator()
        .query::<OperatorHeadQuery>()
        .gives::<HeadView>()
        .refuses(&[404]),
    ]
}

/// Which records, from which end.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// `acts` (the default) or `checks`.
    #[param(inline)]
    trail: Option<TrailName>,
    /// An action, such as `user.create`; a final `*` stands for every ending.
    action: Option<String>,
    /// What it was done to, such as `user/<id>`; a final `*` stands for every ending.
    target: Option<String>,
    /// Who did it: the id, name or e-mail address of a user or service account, the name of a subject, or one of
    /// `anonymous`, `system`, `key-holder`.
    by: Option<String>,
    /// Whether it was done, or the question answered with yes.
    success: Option<bool>,
    /// Not before this moment (RFC 3339, UTC).
    #[param(format = DateTime)]
    since: Option<String>,
    /// Before this moment (RFC 3339, UTC).
    #[param(format = DateTime)]
    until: Option<String>,
    /// `asc` (the default) begins with the oldest, `desc` with the newest.
    #[param(inline)]
    order: Option<OrderName>,
    /// Adds to each record the bytes that are hashed.
    raw: Option<bool>,
    /// 1 to 200; 50 by default.
    limit: Option<usize>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
    /// Instead of a cursor: the sequence number behind which to go on.
    after: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OrderName {
    #[default]
    Asc,
    Desc,
}

/// The same for an operator, of any account.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct OperatorAuditQuery {
    /// Without it, the trail of the cluster itself.
    account: Option<String>,
    /// `acts` (the default) or `checks`.
    #[param(inline)]
    trail: Option<TrailName>,
    /// An action, such as `account.create`; a final `*` stands for every ending.
    action: Option<String>,
    /// What it was done to; a final `*` stands for every ending.
    target: Option<String>,
    /// Who did it, as in the account's own list.
    by: Option<String>,
    /// Whether it was done, or the question answered with yes.
    success: Option<bool>,
    /// Not before this moment (RFC 3339, UTC).
    #[param(format = DateTime)]
    since: Option<String>,
    /// Before this moment (RFC 3339, UTC).
    #[param(format = DateTime)]
    until: Option<String>,
    /// `asc` (the default) begins with the oldest, `desc` with the newest.
    #[param(inline)]
    order: Option<OrderName>,
    /// Adds to each record the bytes that are hashed.
    raw: Option<bool>,
    /// 1 to 200; 50 by default.
    limit: Option<usize>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
    /// Instead of a cursor: the sequence number behind which to go on.
    after: Option<u64>,
}

impl OperatorAuditQuery {
    fn split(self) -> (Option<String>, AuditQuery) {
        let Self {
            account,
            trail,
            action,
            target,
            by,
            success,
            since,
            until,
            order,
            raw,
            limit,
            cursor,
            after,
        } = self;
        let query =
            AuditQuery { trail, action, target, by, success, since, until, order, raw, limit, cursor, after };
        (account, query)
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct HeadQuery {
    /// `acts` (the default) or `checks`.
    #[param(inline)]
    trail: Option<TrailName>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct OperatorHeadQuery {
    /// Without it, the trail of the cluster itself.
    account: Option<String>,
    /// `acts` (the default) or `checks`.
    #[param(inline)]
    trail: Option<TrailName>,
}

async fn list(api: &Api, call: &Call, account: &str) -> Answer {
    let query: AuditQuery = call.query()?;
    let asked = query.asked()?;
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadAudit>(&signed.now, &signed.rows)?;
    let found = query.find(permit.rows(), permit.account(), &asked)?;
    api.saw(call, signed.caller.asks(), "audit.read", query.trail().text().to_owned(), true);
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &found))
}

async fn show_head(api: &Api, call: &Call, account: &str) -> Answer {
    let trail = call.query::<HeadQuery>()?.trail.unwrap_or_default();
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadAudit>(&signed.now, &signed.rows)?;
    let head = audit::head(permit.rows(), permit.account(), trail.into())?;
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &HeadView::new(permit.account(), trail, &head)))
}

async fn list_for_operator(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let (account, query) = call.query::<OperatorAuditQuery>()?.split();
    let asked = query.asked()?;
    let rows = api.app.view(call.freshness()?, call.context.deadline).await?;
    let account = existing(&rows, account.as_deref())?;
    let found = query.find(&rows, account, &asked)?;
    let seen = call.seen(Actor::System, "audit.read", query.trail().text().to_owned(), true);
    api.app.observe(account, Observation { detail: "by an operator".to_owned(), ..seen });
    Ok(reply::at(rows.revision(), StatusCode::OK, &found))
}

async fn show_head_for_operator(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let query: OperatorHeadQuery = call.query()?;
    let trail = query.trail.unwrap_or_default();
    let rows = api.app.view(call.freshness()?, call.context.deadline).await?;
    let account = existing(&rows, query.account.as_deref())?;
    let head = audit::head(&rows, account, trail.into())?;
    Ok(reply::at(rows.revision(), StatusCode::OK, &HeadView::new(account, trail, &head)))
}

/// The account that an operator names, open or closed.
fn existing(rows: &View, text: Option<&str>) -> Result<AccountId, Problem> {
    let missing = || Problem::from(Rejection::NotFound(Noun::Account));
    let Some(text) = text else { return Ok(AccountId::CLUSTER) };
    let id = AccountId::parse(text).map_err(|_| missing())?;
    if id != AccountId::CLUSTER && account::find(rows, id)?.is_none() {
        return Err(missing());
    }
    Ok(id)
}

/// What a query says, but for what only rows can tell.
struct Asked {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    order: Order,
    after: Option<u64>,
    limit: usize,
}

impl AuditQuery {
    fn trail(&self) -> TrailName {
        self.trail.unwrap_or_default()
    }

    /// What can be wrong with a query is said before anybody is known.
    fn asked(&self) -> Result<Asked, Problem> {
        let paging = PageQuery { limit: self.limit, cursor: self.cursor.clone() };
        let cursor = paging.after()?;
        if cursor.is_some() && self.after.is_some() {
            return Err(Problem::bad_request("invalid_value", "Give cursor or after, not both."));
        }
        Ok(Asked {
            since: moment("since", self.since.as_deref())?,
            until: moment("until", self.until.as_deref())?,
            order: match self.order.unwrap_or_default() {
                OrderName::Asc => Order::OldestFirst,
                OrderName::Desc => Order::NewestFirst,
            },
            after: cursor.or(self.after),
            limit: paging.limit()?,
        })
    }

    fn find(&self, rows: &View, account: AccountId, asked: &Asked) -> Result<Page<RecordView>, Problem> {
        let wanted = Wanted {
            action: self.action.as_deref().map(Pattern::parse),
            target: self.target.as_deref().map(Pattern::parse),
            by: self.by.as_deref().map(|text| by(rows, account, text)).transpose()?,
            success: self.success,
            since: asked.since,
            until: asked.until,
        };
        let at = (asked.order, asked.after);
        let found = page(rows, account, self.trail().into(), &wanted, at, asked.limit)?;
        let chain = Chain { account, trail: self.trail().into() };
        let is_raw = self.raw == Some(true);
        let view = |record| if is_raw { RecordView::whole(chain, record) } else { RecordView::new(record) };
        let items = found.records.into_iter().map(view).collect();
        Ok(Page { items, next: found.next.map(reply::cursor) })
    }
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let at = parse_rfc3339(text).ok_or_else(|| {
        let rule = format!("{name} is a moment in UTC, such as 2026-01-31T12:00:00Z.");
        Problem::bad_request("invalid_value", rule)
    })?;
    Ok(Some(Timestamp(at.0)))
}

/// Whoever is meant: by an id, which may be that of somebody who was deleted, or by a name that somebody has.
fn by(rows: &View, account: AccountId, text: &str) -> Result<By, Rejection> {
    match text {
        "anonymous" => return Ok(By::Anonymous),
        "system" => return Ok(By::System),
        "key-holder" => return Ok(By::KeyHolder),
        _ => {}
    }
    let id = text.rsplit_once('/').map_or(text, |(_, id)| id);
    if let Ok(id) = id.parse::<Uuid>() {
        return Ok(By::Principals(vec![
            Principal::User(UserId::new(id)),
            Principal::Service(ServiceId::new(id)),
            Principal::Subject(SubjectId::new(id)),
        ]));
    }
    let user = user::find_by_login(rows, account, text)?.map(Principal::User);
    let service = service::find_by_name(rows, account, text)?.map(Principal::Service);
    let subject = UserName::parse(text).ok().map(|name| Principal::Subject(subject::id_of(&name)));
    Ok(By::Principals(user.into_iter().chain(service).chain(subject).collect()))
}

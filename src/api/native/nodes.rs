//! Changes of the membership, and the nodes' certificates. For operators.
//!
//! Each can be ordered at any node and again, with the same outcome: the leader carries it out, looks first whether it is
//! safe, and says why when it is not.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::app::nodes::letter::{Change, Changed};
use crate::clock::rfc3339;
use crate::domain::node;
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/v1/cluster/members/{node}/promote", promote),
        route!(POST "/v1/cluster/members/{node}/demote", demote),
        route!(POST "/v1/cluster/members/{node}/replace", replace),
        route!(DELETE "/v1/cluster/members/{node}", remove),
        route!(POST "/v1/cluster/step-down", step_down),
        route!(GET "/v1/cluster/certificates", list_certificates),
        route!(POST "/v1/cluster/members/{node}/certificates/rotate", rotate),
        route!(POST "/v1/cluster/members/{node}/certificates/revoke", revoke),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let change = |route, id, summary| {
        Operation::local(route, id, summary)
            .operator()
            .stamped()
            .gives::<ChangedView>()
            .refuses(&[400, 409, 503])
    };
    vec![
        change("POST /v1/cluster/members/{node}/promote", "promoteMember", "Gives a learner a vote")
            .about("It must have caught up."),
        change("POST /v1/cluster/members/{node}/demote", "demoteMember", "Makes a voter a learner for good")
            .about("It goes on to get the log and to answer reads."),
        change("POST /v1/cluster/members/{node}/replace", "replaceMember", "Puts another member in a node's place")
            .about("Gives the other one a vote, then takes the node out.")
            .takes::<Replacement>(json!({"with": 4})),
        change("DELETE /v1/cluster/members/{node}", "removeMember", "Takes a node out for ever")
            .about("Its id is never used again. Refused where the voters that are left could not go on."),
        change("POST /v1/cluster/step-down", "stepDown", "Has another voter lead")
            .about("That which is named, or the one that is furthest.")
            .may_take::<Successor>(json!({"to": 2})),
        Operation::read("GET /v1/cluster/certificates", "listCertificates", "Lists the nodes' certificates")
            .about("Those that were written down when they were given out, and have not been forgotten since they ended.")
            .operator()
            .gives::<Certificates>(),
        Operation::local(
            "POST /v1/cluster/members/{node}/certificates/rotate",
            "rotateCertificate",
            "Has a node make a new key and use a new certificate",
        )
        .operator()
        .stamped()
        .gives::<Rotated>()
        .refuses(&[400, 409, 503]),
        Operation::local(
            "POST /v1/cluster/members/{node}/certificates/revoke",
            "revokeCertificates",
            "Refuses all certificates of a node but a new one",
        )
        .about("A node that answers is given the new one first, and goes on; one that does not is shut out.")
        .operator()
        .stamped()
        .gives::<Revoked>()
        .refuses(&[400, 404, 409, 503]),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Replacement {
    /// The member that takes its place.
    with: u64,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Successor {
    /// A voter; the one that is furthest by default.
    to: Option<u64>,
}

/// How the cluster stands after a change.
#[derive(Serialize, ToSchema)]
#[schema(as = ChangedMembership)]
struct ChangedView {
    /// Whether it was not so before.
    changed: bool,
    voters: u64,
    /// How many voters may be lost now.
    tolerance: u64,
    /// 0 when the node that answers does not know, as one that was just removed.
    leader: u64,
}

#[derive(Serialize, ToSchema)]
struct Certificates {
    certificates: Vec<CertificateView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Certificate)]
struct CertificateView {
    node: u64,
    serial: String,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RotatedCertificate)]
struct Rotated {
    node: u64,
    serial: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RevokedCertificates)]
struct Revoked {
    node: u64,
    /// The certificate that the node has now; none when it did not answer.
    kept: Option<String>,
}

fn node_of(call: &Call) -> Result<u64, Problem> {
    let bad = || Problem::bad_request("invalid_node", "A node is named by its number, from 1.");
    call.parameter("node").parse().ok().filter(|node| *node > 0).ok_or_else(bad)
}

async fn change(api: &Api, call: &Call, change: Change) -> Answer {
    let Changed { is_changed, voters, tolerance, leader } =
        api.app.change_members(change, call.context.deadline).await?;
    let view = ChangedView { changed: is_changed, voters, tolerance, leader };
    Ok(reply::at(api.app.cluster.status().revision, StatusCode::OK, &view))
}

async fn promote(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    change(api, call, Change::Promote { node: node_of(call)? }).await
}

async fn demote(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    change(api, call, Change::Demote { node: node_of(call)? }).await
}

async fn replace(api: &Api, call: &Call) -> Answer {
    let body: Replacement = call.json()?;
    api.operator(call)?;
    change(api, call, Change::Replace { old: node_of(call)?, new: body.with }).await
}

async fn remove(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    change(api, call, Change::Remove { node: node_of(call)? }).await
}

async fn step_down(api: &Api, call: &Call) -> Answer {
    let body: Successor = call.json_or_default()?;
    api.operator(call)?;
    change(api, call, Change::StepDown { to: body.to }).await
}

async fn list_certificates(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let rows = api.app.view(call.freshness()?, call.context.deadline).await?;
    let mut certificates = Vec::new();
    for (number, node) in node::list(&rows)? {
        certificates.extend(node.certificates.iter().map(|issued| CertificateView {
            node: number.0,
            serial: issued.serial.clone(),
            expires_at: reply::time(issued.expires_at),
            revoked_at: issued.revoked_at.map(reply::time),
        }));
    }
    Ok(reply::at(rows.revision(), StatusCode::OK, &Certificates { certificates }))
}

async fn rotate(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let node = node_of(call)?;
    let done = api.app.rotate_certificate_of(node, call.context.deadline).await?;
    let view = Rotated { node, serial: done.serial, expires_at: rfc3339(done.expires) };
    Ok(reply::at(api.app.cluster.status().revision, StatusCode::OK, &view))
}

async fn revoke(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let node = node_of(call)?;
    let done = api.app.revoke_certificates(node, &call.request("", "operator")?).await?;
    Ok(reply::at(done.revision, StatusCode::OK, &Revoked { node, kept: done.kept }))
}

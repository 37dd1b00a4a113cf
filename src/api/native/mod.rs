//! `/v1`: the native API. Everything the cluster can do, and everything KatamariIAM does (contract part 2).
//!
//! A thing is named in paths by its id, or by the name people know it by; `me` is the caller. What belongs
//! to another account is as missing as what does not exist.

mod accounts;
mod admins;
mod audit;
mod backups;
mod checks;
mod cluster;
mod join_tokens;
mod keys;
mod lockout;
mod memberships;
mod nodes;
mod passwords;
mod reports;
mod roles;
mod service_accounts;
mod sessions;
mod settings;
mod setup;
mod sign_in;
mod tokens;
mod transactions;
mod users;
mod workflows;

pub(super) use backups::takes_upload;
use conclave_cluster::state::View;

use super::call::{Call, bad_id};
use super::docs::{Group, Operation};
use super::signed::Signed;
use super::{Answer, Api, Route, route};
use crate::app::Caller;
use crate::domain::policy::PasswordPolicy;
use crate::domain::{AccountId, Principal, ServiceId, UserId, service, user};
use crate::http::problem::Problem;

/// What its passwords must be, in accounts that have no policy of their own.
const PASSWORDS: PasswordPolicy = PasswordPolicy::MODERN;

/// All routes below `/v1`.
#[must_use]
pub fn routes() -> Vec<Route> {
    [
        accounts::routes(),
        admins::routes(),
        audit::routes(),
        backups::routes(),
        checks::routes(),
        cluster::routes(),
        join_tokens::routes(),
        keys::routes(),
        lockout::routes(),
        memberships::routes(),
        nodes::routes(),
        passwords::routes(),
        reports::routes(),
        roles::routes(),
        service_accounts::routes(),
        sessions::routes(),
        settings::routes(),
        setup::routes(),
        sign_in::routes(),
        tokens::routes(),
        transactions::routes(),
        users::routes(),
        workflows::routes(),
    ]
    .concat()
}

/// The same for the API document, by what they are about.
pub(super) fn operations() -> Vec<Group> {
    let group = |tag, about, operations| Group { tag, about, operations };
    vec![
        group("Accounts", "Open an account; its signing keys.", accounts::operations()),
        group("Settings", "What an account decides for itself.", settings::operations()),
        group("Signing in", "With a password or an API key.", sign_in::operations()),
        group("Passwords", "How good one is; change one without a token.", passwords::operations()),
        group("Users", "People, by id, name, e-mail address or `me`.", users::operations()),
        group("Lockout", "Who guessed too many passwords.", lockout::operations()),
        group("Service accounts", "Programs, and their API keys.", service_accounts::operations()),
        group("Roles", "Named sets of permissions.", roles::operations()),
        group("Memberships", "Who has which role.", memberships::operations()),
        group("Checks", "Who may do what.", checks::operations()),
        group("Workflows", "Who may do all of it.", workflows::operations()),
        group("Sessions", "Look at them, end them.", sessions::operations()),
        group("Tokens", "Refresh, validate, introspect, revoke.", tokens::operations()),
        group("Transactions", "Several changes at once.", transactions::operations()),
        group("Audit", "Who did what, when.", audit::operations()),
        group(
            "Cluster",
            "For operators.",
            [
                cluster::operations(),
                nodes::operations(),
                reports::operations(),
                join_tokens::operations(),
                setup::operations(),
                admins::operations(),
                backups::operations(),
                keys::operations(),
            ]
            .concat(),
        ),
    ]
}

/// A user of the account by id, name, e-mail address or `me`.
fn find_user(view: &View, caller: &Caller, text: &str) -> Result<UserId, Problem> {
    let id = match (text, caller.principal()) {
        ("me", Principal::User(id)) => Some(id),
        ("me", Principal::Service(_) | Principal::Subject(_)) => None,
        _ => match text.parse() {
            Ok(id) => Some(id),
            Err(_) => user::find_by_login(view, caller.account(), text)?,
        },
    };
    id.ok_or_else(bad_id)
}

/// A service account by id, name or `me`.
fn find_service(view: &View, caller: &Caller, text: &str) -> Result<ServiceId, Problem> {
    let id = match (text, caller.principal()) {
        ("me", Principal::Service(id)) => Some(id),
        ("me", Principal::User(_) | Principal::Subject(_)) => None,
        _ => match text.parse() {
            Ok(id) => Some(id),
            Err(_) => service::find_by_name(view, caller.account(), text)?,
        },
    };
    id.ok_or_else(bad_id)
}

/// A principal by the collection it is found in, as paths have it.
fn find_principal(view: &View, caller: &Caller, collection: &str, text: &str) -> Result<Principal, Problem> {
    match collection {
        "users" => find_user(view, caller, text).map(Principal::User),
        "service-accounts" => find_service(view, caller, text).map(Principal::Service),
        _ => Err(bad_id()),
    }
}

/// Fails with 404 where there is no such principal, as an id in a path may say.
fn must_exist(rows: &View, caller: &Caller, about: &Principal) -> Result<(), Problem> {
    if about.exists(rows, caller.account())? { Ok(()) } else { Err(bad_id()) }
}

/// As [`find_principal`], for writing: what this node does not know by name yet, the leader may.
async fn find_for_writing(
    api: &Api,
    call: &Call,
    caller: &Caller,
    collection: &str,
    text: &str,
) -> Result<Principal, Problem> {
    let request = call.request(caller.account().as_str(), &caller.principal().to_string())?;
    let find = |view: &View| {
        let first = api.app.rows_found_first(view, &request);
        find_principal(first.as_ref().unwrap_or(view), caller, collection, text)
    };
    if let Ok(found) = find(&api.app.cluster.view()) {
        return Ok(found);
    }
    find(&api.app.view(crate::replica::Freshness::Linearizable, call.context.deadline).await?)
}

/// Where a thing of an account is.
fn location(account: AccountId, collection: &str, id: &dyn std::fmt::Display) -> String {
    format!("/v1/accounts/{account}/{collection}/{id}")
}

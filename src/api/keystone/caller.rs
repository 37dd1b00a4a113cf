//! Who asks, in which account, and with which scope.

use warp::http::header::HeaderName;

use super::Call;
use super::error::of_token;
use crate::api::Api;
use crate::api::signed::{Signed, account_id};
use crate::app::terms::scopes_of;
use crate::app::{Caller, Failure, Request};
use crate::domain::AccountId;
use crate::domain::session::Family;
use crate::http::problem::Problem;
use crate::replica::Freshness;

/// The account that a request is about, where it is not the default one.
const ACCOUNT: HeaderName = HeaderName::from_static("x-account-id");

/// The account of a request without a token. `None` for what is no account id: such an account does not exist.
pub(super) fn account(call: &Call) -> Result<Option<AccountId>, Problem> {
    match call.one(&ACCOUNT)? {
        None => Ok(Some(AccountId::DEFAULT)),
        Some(text) => Ok(AccountId::parse(text).ok().filter(|id| *id != AccountId::CLUSTER)),
    }
}

/// Whether the account that a token says it is of is the one that the request names, if it names one.
pub(super) fn agrees(call: &Call, account: AccountId) -> Result<bool, Problem> {
    Ok(match call.one(&ACCOUNT)? {
        None => true,
        Some(text) => AccountId::parse(text).is_ok_and(|named| named == account),
    })
}

/// Somebody with a good token of this surface, a person or a client.
///
/// # Errors
/// 401 without one; 404 where the request names another account than the token's, as anywhere else.
pub(super) async fn anyone(api: &Api, call: &Call) -> Result<Signed, Problem> {
    let token = call.bearer()?;
    let freshness = call.freshness()?;
    let now_freshness = match freshness {
        Freshness::AsOf(_) => Freshness::Linearizable,
        Freshness::Linearizable | Freshness::Bounded(_) | Freshness::AtLeast(_) => freshness,
    };
    let now = api.app.view(now_freshness, call.context.deadline).await?;
    let caller = api.app.judge(&now, Family::Keystone, token)?.map_err(of_token)?;
    call.comes_from(caller.account(), caller.actor());
    if let Some(named) = call.one(&ACCOUNT)? {
        caller.must_be_of(account_id(named)?)?;
    }
    let rows = match freshness {
        Freshness::AsOf(revision) => now.as_of(revision).map_err(Failure::from)?,
        Freshness::Linearizable | Freshness::Bounded(_) | Freshness::AtLeast(_) => now.clone(),
    };
    Ok(Signed { caller, now, rows })
}

/// A person with a good token.
///
/// # Errors
/// As [`anyone`]; the token of a client is 401 here (contract part 4.1).
pub(super) async fn person(api: &Api, call: &Call) -> Result<Signed, Problem> {
    let signed = anyone(api, call).await?;
    if signed.caller.is_client() {
        return Err(Problem::unauthenticated("invalid_token", "This takes the access token of a user."));
    }
    Ok(signed)
}

/// A person whose token has that scope, and who still holds it.
///
/// # Errors
/// As [`person`]; 403 without the scope.
pub(super) async fn reader(api: &Api, call: &Call, scope: &'static str) -> Result<Signed, Problem> {
    let signed = person(api, call).await?;
    must_have(&signed, scope)?;
    Ok(signed)
}

/// The same for writing. Unlike in the native API the rows of this node are not enough for a yes: of a scope the
/// log does not know.
///
/// # Errors
/// As [`reader`].
pub(super) async fn writer(
    api: &Api,
    call: &Call,
    scope: &'static str,
) -> Result<(Signed, Request), Problem> {
    let signed = reader(api, call, scope).await?;
    let request = named(call, &signed.caller)?;
    Ok((signed, request))
}

/// A request of somebody who is known.
pub(super) fn named(call: &Call, caller: &Caller) -> Result<Request, Problem> {
    call.request(caller.account().as_str(), &caller.principal().to_string())
}

/// Refuses a token without that scope, or whose owner no longer holds it.
pub(super) fn must_have(signed: &Signed, scope: &'static str) -> Result<(), Problem> {
    if has(signed, scope)? {
        return Ok(());
    }
    Err(Problem::forbidden("insufficient_scope", format!("This takes the scope {scope}."))
        .with("scope", scope))
}

/// Whether the token has that scope and its owner still holds it.
pub(super) fn has(signed: &Signed, scope: &str) -> Result<bool, Problem> {
    let caller = &signed.caller;
    let in_token = caller.claims().scopes.iter().flatten().any(|granted| granted == scope);
    if !in_token {
        return Ok(false);
    }
    let held = scopes_of(&signed.now, caller.account(), &caller.principal())?;
    Ok(held.iter().any(|permission| permission.as_str() == scope))
}

//! A request with a good token: who asks, and the rows to answer from.

use conclave_cluster::state::View;

use super::Api;
use super::call::Call;
use crate::app::{Caller, Failure, Request};
use crate::domain::{AccountId, Action, Command, Expectation, Rejection, Resource};
use crate::http::problem::Problem;
use crate::replica::Freshness;

/// A caller and two views: rights are judged by `now`, the answer is read from `rows`, which differ when the
/// client asks for the past.
#[derive(Debug)]
pub struct Signed {
    pub caller: Caller,
    pub now: View,
    pub rows: View,
}

impl Api {
    /// For reading in the account that the path names.
    ///
    /// # Errors
    /// 401 without a good token, 404 for an account that is not the caller's, 503 when the rows cannot be as
    /// fresh as asked.
    pub async fn reader(&self, call: &Call, account: &str) -> Result<Signed, Problem> {
        let token = call.bearer()?;
        let freshness = call.freshness()?;
        let now_freshness = match freshness {
            Freshness::AsOf(_) => Freshness::Linearizable,
            Freshness::Linearizable | Freshness::Bounded(_) | Freshness::AtLeast(_) => freshness,
        };
        let now = self.app.view(now_freshness, call.context.deadline).await?;
        let caller = self.app.authenticate(&now, token)?;
        call.comes_from(caller.account(), caller.actor());
        caller.must_be_of(account_id(account)?)?;
        let rows = match freshness {
            Freshness::AsOf(revision) => now.as_of(revision).map_err(Failure::from)?,
            Freshness::Linearizable | Freshness::Bounded(_) | Freshness::AtLeast(_) => now.clone(),
        };
        Ok(Signed { caller, now, rows })
    }

    /// For writing in the account that the path names. What this node has at hand is enough for a yes, since
    /// the session is judged again in log order; a no is only given after asking the leader.
    ///
    /// # Errors
    /// As [`Api::reader`].
    pub async fn writer(&self, call: &Call, account: &str) -> Result<(Caller, Request), Problem> {
        let caller = self.known(call, call.bearer()?).await?;
        caller.must_be_of(account_id(account)?)?;
        let request = call.request(caller.account().as_str(), &caller.principal().to_string())?;
        Ok((caller, request))
    }

    /// For an operator of this machine.
    ///
    /// # Errors
    /// 401 without an operator's token.
    pub fn operator(&self, call: &Call) -> Result<(), Problem> {
        if self.app.is_operator(call.bearer()?) {
            return Ok(());
        }
        Err(Problem::unauthenticated("not_operator", "This takes the token of an operator."))
    }

    /// Whoever the token belongs to, for writing.
    ///
    /// # Errors
    /// 401 without a good token, 503 when that cannot be known in time.
    pub async fn known(&self, call: &Call, token: &str) -> Result<Caller, Problem> {
        let caller = match self.app.authenticate(&self.app.cluster.view(), token) {
            Err(Failure::Rejected(Rejection::Unauthenticated)) => {
                let view = self.app.view(Freshness::Linearizable, call.context.deadline).await?;
                self.app.authenticate(&view, token)?
            }
            other => other?,
        };
        call.comes_from(caller.account(), caller.actor());
        Ok(caller)
    }
}

/// The account in a path; what is no account id is an account that does not exist.
///
/// # Errors
/// 404.
pub fn account_id(text: &str) -> Result<AccountId, Problem> {
    let missing = Rejection::NotFound(crate::domain::Noun::Account);
    AccountId::parse(text).ok().filter(|id| *id != AccountId::CLUSTER).ok_or_else(|| missing.into())
}

/// An order about one thing, held back if the thing is no longer as `If-Match` says.
///
/// # Errors
/// When `If-Match` is malformed.
pub fn order(
    call: &Call,
    caller: &Caller,
    request: &Request,
    about: Option<Resource>,
    action: Action,
) -> Result<Command, Problem> {
    Ok(caller.orders(request, expected(call, about)?, action))
}

/// What `If-Match` asks of `about`.
///
/// # Errors
/// When it is malformed, or given where nothing has a tag.
pub fn expected(call: &Call, about: Option<Resource>) -> Result<Vec<Expectation>, Problem> {
    match (call.if_match()?, about) {
        (None, _) => Ok(Vec::new()),
        (Some(revision), Some(resource)) => Ok(vec![Expectation { resource, revision }]),
        (Some(_), None) => {
            Err(Problem::bad_request("invalid_if_match", "If-Match has no meaning here: this has no tag."))
        }
    }
}

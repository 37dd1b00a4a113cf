//! What may be tried only so often, whichever nodes are asked: signing in, refreshing, signing up.
//!
//! A step that strangers may take asks here first, before any hash is computed, in one line:
//! `self.admit(Gate::SignIn, Some(login), request).await?`.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::idempotency::first_half;
use super::sign_in::Who;
use super::{App, Failure, Request};
use crate::config::RateLimits;
use crate::domain::{AccountId, account};
use crate::rate::{Allowance, Rate};
use crate::tenants::Gate;
use crate::tenants::orders::{Attempt, Login};

/// Whose credentials are tried: a name, and its account where one is said.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'t> {
    pub account: Option<AccountId>,
    pub login: &'t str,
}

impl Who {
    /// The name that is tried.
    pub(super) fn tried(&self) -> Tried<'_> {
        match self {
            Self::Root(email) => Tried { account: None, login: email.as_str() },
            Self::Anyone(account, login) | Self::NotRoot(account, login) => {
                Tried { account: Some(*account), login }
            }
        }
    }
}

/// What a request has left of the limit that it was counted against, for the headers of its reply. Clones share
/// it; the first limit that is noted stands.
#[derive(Clone, Debug, Default)]
pub struct Left(Arc<OnceLock<Allowance>>);

impl Left {
    /// What is left, if the request was counted.
    #[must_use]
    pub fn get(&self) -> Option<Allowance> {
        self.0.get().copied()
    }

    fn note(&self, allowance: Allowance) {
        // A request that passes two gates is told of the first.
        let _ = self.0.set(allowance);
    }
}

impl App {
    /// Counts a try at the leader: against its source, and against the login where one is tried. A request
    /// without a source is the node's own, and not counted.
    ///
    /// # Errors
    /// [`Failure::Limited`] when it was tried too often; [`Failure::Unavailable`] when the leader cannot say, in
    /// which case the step itself could not be taken either.
    pub async fn admit(
        &self,
        gate: Gate,
        tried: Option<Tried<'_>>,
        request: &Request,
    ) -> Result<(), Failure> {
        let rate = rate_of(&self.settings().limits, gate);
        let (Some(rate), Some(source)) = (rate, request.source()) else { return Ok(()) };
        let login = tried.map(|tried| self.login(tried)).transpose()?;
        let attempt = Attempt { gate, rate, source, login };
        match self.orders.admit(attempt, request.deadline).await? {
            Ok(left) => {
                request.left().note(left);
                Ok(())
            }
            Err(exceeded) => {
                request.left().note(exceeded.allowance);
                self.counts.limited(gate.name());
                tracing::debug!(limit = gate.name(), %source, "tried too often");
                Err(Failure::Limited(exceeded))
            }
        }
    }

    /// A login of an account that does not exist is counted with the cluster's own: no actor is started for
    /// what a stranger makes up, and the answers do not tell which accounts there are.
    fn login(&self, tried: Tried<'_>) -> Result<Login, Failure> {
        let view = self.cluster.view();
        let known = match tried.account {
            Some(id) if account::find(&view, id)?.is_some() => id,
            Some(_) | None => AccountId::CLUSTER,
        };
        let mut digest = Sha256::new();
        digest.update(tried.account.unwrap_or(AccountId::CLUSTER).as_str());
        digest.update([0]);
        // As names are compared; or another spelling would be another allowance.
        digest.update(tried.login.to_lowercase());
        Ok(Login { account: known, digest: first_half(&digest.finalize()) })
    }
}

fn rate_of(limits: &RateLimits, gate: Gate) -> Option<Rate> {
    match gate {
        Gate::SignIn => limits.login,
        Gate::Refresh => limits.refresh,
        Gate::Service => limits.service,
        Gate::Register => limits.register,
    }
}

//! Who is asking: a token, checked against the rows of this moment.

use std::sync::Arc;

use conclave_cluster::state::View;

use super::terms::KEYSTONE;
use super::{AUDIENCE, App, Failure, Request};
use crate::auth::claims::Claims;
use crate::auth::verifier::{self, Expected};
use crate::domain::session::Family;
use crate::domain::{
    AccountId, Action, Actor, Command, Expectation, Principal, Rejection, SessionId, session,
};
use conclave_cluster::LogTime;

/// Somebody whose token and session were good when the request came.
#[derive(Clone, Debug)]
pub struct Caller {
    account: AccountId,
    principal: Principal,
    session: SessionId,
    is_root: bool,
    name: String,
    claims: Arc<Claims>,
}

impl App {
    /// Checks an access token by the rows of `view`, which must be fresh enough for what follows. The
    /// signature may be remembered; expiry, session, principal and account are looked at every time.
    ///
    /// # Errors
    /// [`Rejection::Unauthenticated`] whatever is the reason.
    pub fn authenticate(&self, view: &View, token: &str) -> Result<Caller, Failure> {
        self.authenticate_as(view, Family::Native, token)
    }

    /// The same for the tokens of a family: those of another are nothing to it.
    ///
    /// # Errors
    /// [`Rejection::Unauthenticated`] whatever is the reason.
    pub fn authenticate_as(&self, view: &View, family: Family, token: &str) -> Result<Caller, Failure> {
        let claimed = verifier::unverified_account(token).and_then(|id| AccountId::parse(&id).ok());
        let account = claimed.ok_or(Rejection::Unauthenticated)?;
        let now = self.now(view);
        let keys = self.key_set(view, account, now).map_err(|failure| {
            let is_missing = matches!(failure, Failure::Rejected(Rejection::NotFound(_)));
            if is_missing { Rejection::Unauthenticated.into() } else { failure }
        })?;
        let expected = Expected {
            keys: keys.set(),
            issuer: &self.issuer_of(family, account),
            audience: match family {
                Family::Native => Some(AUDIENCE),
                // Its clients choose whom their tokens are for.
                Family::Keystone => None,
            },
            now: LogTime(now.0),
        };
        let claims = self.verifier.verify(token, &expected).map_err(|error| {
            tracing::debug!(%account, %error, "token refused");
            Rejection::Unauthenticated
        })?;
        let session: SessionId = claims.sid.parse().map_err(|_| Rejection::Unauthenticated)?;
        let live = session::live(view, account, session, now)?;
        if live.session.principal.id() != claims.sub || live.session.grant.family != family {
            return Err(Rejection::Unauthenticated.into());
        }
        Ok(Caller {
            account,
            principal: live.session.principal,
            session,
            is_root: live.standing.is_root,
            name: live.standing.name,
            claims,
        })
    }

    /// The issuer of an account's tokens (RFC 9068): its own, so that a token of one account is nothing in
    /// another.
    #[must_use]
    pub fn issuer(&self, account: AccountId) -> String {
        format!("{}:{account}", self.settings().issuer)
    }

    /// The issuer of an account's tokens of a family.
    #[must_use]
    pub fn issuer_of(&self, family: Family, account: AccountId) -> String {
        match family {
            Family::Native => self.issuer(account),
            Family::Keystone => KEYSTONE.to_owned(),
        }
    }
}

impl Caller {
    /// The account it belongs to.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    #[must_use]
    pub const fn principal(&self) -> Principal {
        self.principal
    }

    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.is_root
    }

    /// As records and orders name it.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        Actor::SignedIn { principal: self.principal, session: self.session }
    }

    /// Who asks, where.
    #[must_use]
    pub const fn asks(&self) -> (AccountId, Actor) {
        (self.account, self.actor())
    }

    /// What it signs in with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its token says.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Refuses a caller of another account as if that account did not exist: an answer that differs would
    /// tell which accounts there are.
    ///
    /// # Errors
    /// [`Rejection::NotFound`].
    pub fn must_be_of(&self, account: AccountId) -> Result<(), Failure> {
        if self.account == account {
            Ok(())
        } else {
            Err(Rejection::NotFound(crate::domain::Noun::Account).into())
        }
    }

    /// An order in the caller's own name. The only way to give one that is signed by somebody.
    #[must_use]
    pub fn orders(&self, request: &Request, expect: Vec<Expectation>, action: Action) -> Command {
        let by = self.actor();
        Command { account: self.account, by, origin: request.origin.clone(), expect, action }
    }
}

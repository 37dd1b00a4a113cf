//! Who is asking: a token, checked against the rows of this moment.

use std::sync::Arc;

use conclave_cluster::state::View;

use super::terms::KEYSTONE;
use super::tokens::{SERVICE, subject};
use super::{AUDIENCE, App, Failure, Request};
use crate::auth::claims::Claims;
use crate::auth::verifier::{self, Expected, TokenError};
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

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// Nothing that this cluster signed for this use.
    NotOurs,
    /// Genuine, and its time is over.
    Expired,
    /// Genuine and in time, and taken back: its session has ended, or its owner may not act any more.
    Ended,
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
        self.judge(view, family, token)?.map_err(|_| Rejection::Unauthenticated.into())
    }

    /// The same, saying what is wrong to surfaces that tell the holder of a genuine token.
    ///
    /// # Errors
    /// Only what keeps this node from knowing.
    pub fn judge(
        &self,
        view: &View,
        family: Family,
        token: &str,
    ) -> Result<Result<Caller, BadToken>, Failure> {
        let claimed = verifier::unverified_account(token).and_then(|id| AccountId::parse(&id).ok());
        let Some(account) = claimed else { return Ok(Err(BadToken::NotOurs)) };
        let now = self.now(view);
        let keys = match self.key_set(view, account, now) {
            Ok(keys) => keys,
            Err(Failure::Rejected(Rejection::NotFound(_))) => return Ok(Err(BadToken::NotOurs)),
            Err(failure) => return Err(failure),
        };
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
        let claims = match self.verifier.verify(token, &expected) {
            Ok(claims) => claims,
            Err(error) => {
                tracing::debug!(%account, %error, "token refused");
                let is_expired = error == TokenError::Expired;
                return Ok(Err(if is_expired { BadToken::Expired } else { BadToken::NotOurs }));
            }
        };
        let Ok(session) = claims.sid.parse() else { return Ok(Err(BadToken::NotOurs)) };
        let live = match session::live(view, account, session, now) {
            Ok(live) => live,
            Err(Rejection::Unauthenticated) => return Ok(Err(BadToken::Ended)),
            Err(rejection) => return Err(rejection.into()),
        };
        let principal = live.session.principal;
        let name = live.standing.name;
        if subject(family, &principal, &name) != claims.sub || live.session.grant.family != family {
            return Ok(Err(BadToken::NotOurs));
        }
        Ok(Ok(Caller { account, principal, session, is_root: live.standing.is_root, name, claims }))
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

    /// Whether its token is one that a client of Keystone got for its own secret.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.claims.token_type.as_deref() == Some(SERVICE)
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

//! Access tokens: given within a session, looked into, taken back.

use conclave_cluster::state::View;

use super::{App, AUDIENCE, Caller, Done, Failure, Request};
use crate::auth::claims::Claims;
use crate::auth::keys::Jwks;
use crate::auth::mint::Mint;
use crate::auth::token::SecretHash as TokenHash;
use crate::domain::{
    AccountId, Action, Actor, Command, Noun, Principal, Rejection, Reply, SecretHash, Timestamp, membership, session,
    user,
};
use crate::secret::Secret;

/// What a client gets for its proof.
#[derive(Debug)]
pub struct Tokens {
    pub access: Secret<String>,
    /// A new one, where there is one to give.
    pub refresh: Option<Secret<String>>,
    /// How long the access token is good, in seconds.
    pub expires_in: u64,
    pub account: AccountId,
    pub session: session::Session,
    /// The revision at which this holds.
    pub revision: u64,
}

impl App {
    /// Signs an access token for a session, dated `at`.
    pub(super) fn issue(
        &self,
        view: &View,
        account: AccountId,
        session: session::Session,
        at: Timestamp,
        mint: &mut Mint,
    ) -> Result<Tokens, Failure> {
        let expires_at = at.plus(self.settings().access_token).min(session.expires_at);
        let standing = session.principal.standing(view, account).map_err(gone)?;
        let roles = membership::roles_of(view, account, &session.principal)?;
        let person = match session.principal {
            Principal::User(id) => user::find(view, account, id)?.map(|row| row.value),
            Principal::Service(_) => None,
        };
        let kind = match session.principal {
            Principal::User(_) if standing.is_root => "root",
            Principal::User(_) => "user",
            Principal::Service(_) => "service-account",
        };
        let claims = Claims {
            iss: self.issuer(account),
            aud: AUDIENCE.to_owned(),
            sub: session.principal.id(),
            exp: expires_at.seconds(),
            nbf: at.seconds(),
            iat: at.seconds(),
            jti: mint.jti()?.to_string(),
            sid: session.id.to_string(),
            acct: account.to_string(),
            kind: kind.to_owned(),
            roles: roles.iter().take(MAX_ROLES_IN_TOKEN).map(ToString::to_string).collect(),
            username: Some(standing.name),
            email: person.and_then(|user| user.email).map(String::from),
        };
        let keys = self.key_set(view, account, at)?;
        let access = self
            .signing_key(&keys)?
            .sign(&claims)
            .map_err(|_| Failure::Internal("a token could not be signed"))?;
        let expires_in = claims.exp.saturating_sub(claims.iat);
        Ok(Tokens { access, refresh: None, expires_in, account, session, revision: view.revision() })
    }

    /// The public keys of an account (RFC 7517).
    ///
    /// # Errors
    /// [`Rejection::NotFound`] where there is no such account.
    pub fn jwks(&self, view: &View, account: AccountId) -> Result<Jwks, Failure> {
        Ok(self.key_set(view, account, self.now(view))?.set().jwks())
    }

    /// Whether an access token is good, and whose it is; `None` for all others (RFC 7662 section 2.2).
    ///
    /// # Errors
    /// Only what keeps this node from knowing.
    pub fn introspect(&self, view: &View, account: AccountId, token: &str) -> Result<Option<Caller>, Failure> {
        match self.authenticate(view, token) {
            Ok(caller) if caller.account() == account => Ok(Some(caller)),
            Ok(_) | Err(Failure::Rejected(Rejection::Unauthenticated)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Ends the session that a token belongs to, so that no token of it is good any more. Whoever holds the
    /// token may do so. Gives `None` where nothing was to be ended (RFC 7009 section 2.2: no error).
    ///
    /// # Errors
    /// Only what keeps the cluster from doing it now.
    pub async fn revoke_token(
        &self,
        view: &View,
        account: AccountId,
        token: &str,
        request: &Request,
    ) -> Result<Option<Done>, Failure> {
        let Some(session) = self.session_of_token(view, account, token)? else { return Ok(None) };
        let by = Actor::SignedIn { principal: session.principal, session: session.id };
        let action = Action::EndSession { session: session.id };
        let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
        match self.execute(&command, request).await {
            Ok(done) => Ok(Some(done)),
            Err(Failure::Rejected(Rejection::Unauthenticated | Rejection::NotFound(Noun::Session))) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn session_of_token(
        &self,
        view: &View,
        account: AccountId,
        token: &str,
    ) -> Result<Option<session::Session>, Failure> {
        let now = self.now(view);
        let id = match self.introspect(view, account, token)? {
            Some(caller) => Some(caller.session()),
            None => session::pointer(view, account, &stored_hash(token))?.map(|pointer| pointer.session),
        };
        let live = id.and_then(|id| session::live(view, account, id, now).ok());
        Ok(live.map(|live| live.session))
    }
}

/// Tokens name so many roles; a principal with more is told them by the API.
const MAX_ROLES_IN_TOKEN: usize = 100;

/// What is stored for a secret.
pub(super) fn stored_hash(secret: &str) -> SecretHash {
    SecretHash::new(*TokenHash::of(secret).as_bytes())
}

/// The session that a command opened or refreshed.
pub(super) fn opened(done: &Done, account: AccountId) -> Result<session::Session, Failure> {
    match done.reply {
        Reply::SessionOpened { session, .. } => {
            let found = session::find(&done.view, account, session)?;
            Ok(found.ok_or(Rejection::Unauthenticated)?.value)
        }
        Reply::ReuseEndedSession { .. } => Err(Rejection::BadRefreshToken.into()),
        Reply::Done | Reply::Changed(_) => Err(Failure::Internal("a reply of another command")),
    }
}

/// Gone between the check and the signature.
fn gone(rejection: Rejection) -> Failure {
    if matches!(rejection, Rejection::NotFound(_)) { Rejection::Unauthenticated.into() } else { rejection.into() }
}

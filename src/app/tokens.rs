//! Access tokens: given within a session, looked into, taken back.

use conclave_cluster::state::View;

use super::terms::{KEYSTONE, scopes_of};
use super::{AUDIENCE, App, Caller, Done, Failure, Request};
use crate::auth::claims::{Audience, Claims};
use crate::auth::keys::Jwks;
use crate::auth::mint::Mint;
use crate::auth::refresh::{self, RefreshClaims};
use crate::auth::token::SecretHash as TokenHash;
use crate::domain::session::Family;
use crate::domain::{
    AccountId, Action, Actor, Command, Noun, Permission, Principal, Rejection, Reply, SecretHash, Timestamp,
    membership, session, user,
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
    /// The name of the access token.
    pub jti: String,
    /// What the access token may be used for, in families whose tokens say so.
    pub scope: Vec<Permission>,
    pub account: AccountId,
    pub session: session::Session,
    /// The revision at which this holds.
    pub revision: u64,
}

impl App {
    /// Signs an access token for a session, dated `at`, in the words of the session's family. `narrower` are
    /// fewer scopes than the session has; `refresh` is the refresh token that goes with it.
    #[expect(clippy::too_many_arguments, reason = "what a token is made of")]
    pub(super) fn issue(
        &self,
        view: &View,
        account: AccountId,
        session: session::Session,
        narrower: Option<Vec<Permission>>,
        at: Timestamp,
        refresh: Option<Secret<String>>,
        mint: &mut Mint,
    ) -> Result<Tokens, Failure> {
        let grant = &session.grant;
        let expires_at = at.plus(grant.access).min(session.expires_at);
        let standing = session.principal.standing(view, account).map_err(gone)?;
        let roles = membership::roles_of(view, account, &session.principal)?;
        let person = match session.principal {
            Principal::User(id) => user::find(view, account, id)?.map(|row| row.value),
            Principal::Service(_) | Principal::Subject(_) => None,
        };
        let kind = match session.principal {
            Principal::User(_) if standing.is_root => "root",
            Principal::User(_) => "user",
            Principal::Service(_) => "service-account",
            Principal::Subject(_) => "subject",
        };
        let scope = match narrower {
            Some(scope) => scope,
            None => still_owned(view, account, &session)?,
        };
        let is_keystone = grant.family == Family::Keystone;
        let is_client = is_keystone && matches!(session.principal, Principal::Service(_));
        let claims = Claims {
            iss: self.issuer_of(grant.family, account),
            aud: audience_of(grant),
            sub: subject(grant.family, &session.principal, &standing.name),
            exp: expires_at.seconds(),
            nbf: at.seconds(),
            iat: at.seconds(),
            jti: mint.jti()?.to_string(),
            sid: session.id.to_string(),
            acct: account.to_string(),
            kind: kind.to_owned(),
            roles: (!is_client)
                .then(|| roles.iter().take(MAX_ROLES_IN_TOKEN).map(ToString::to_string).collect()),
            username: (!is_client).then(|| standing.name.clone()),
            email: person.and_then(|user| user.email).map(String::from),
            scopes: is_keystone.then(|| scope.iter().map(ToString::to_string).collect()),
            token_type: is_keystone.then(|| if is_client { SERVICE } else { "access" }.to_owned()),
            client_id: if is_client {
                Some(standing.name)
            } else {
                grant.client.as_ref().map(ToString::to_string)
            },
        };
        let keys = self.key_set(view, account, at)?;
        let key = self.signing_key(&keys)?;
        let unsigned = |_| Failure::Internal("a token could not be signed");
        let access = key.sign(&claims).map_err(unsigned)?;
        let refresh = match refresh {
            Some(token) if is_keystone => {
                let dress = RefreshClaims {
                    iss: &claims.iss,
                    aud: Audience::Many(vec![KEYSTONE.to_owned()]),
                    sub: &claims.sub,
                    exp: session.expires_at.seconds(),
                    iat: claims.iat,
                    acct: &claims.acct,
                    client_id: claims.client_id.as_deref(),
                };
                Some(refresh::dress(&token, &dress, key).map_err(unsigned)?)
            }
            other => other,
        };
        let expires_in = claims.exp.saturating_sub(claims.iat);
        let (jti, revision) = (claims.jti, view.revision());
        Ok(Tokens { access, refresh, expires_in, jti, scope, account, session, revision })
    }

    /// The public keys of an account (RFC 7517).
    ///
    /// # Errors
    /// [`Rejection::NotFound`] where there is no such account.
    pub fn jwks(&self, view: &View, account: AccountId) -> Result<Jwks, Failure> {
        Ok(self.key_set(view, account, self.now(view))?.set().jwks())
    }

    /// Whether an access token of a family is good, and whose it is; `None` for all others (RFC 7662 section
    /// 2.2).
    ///
    /// # Errors
    /// Only what keeps this node from knowing.
    pub fn introspect(
        &self,
        view: &View,
        account: AccountId,
        family: Family,
        token: &str,
    ) -> Result<Option<Caller>, Failure> {
        match self.authenticate_as(view, family, token) {
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
        family: Family,
        token: &str,
        request: &Request,
    ) -> Result<Option<Done>, Failure> {
        let Some(session) = self.session_of_token(view, account, family, token)? else { return Ok(None) };
        let by = Actor::SignedIn { principal: session.principal, session: session.id };
        let action = Action::EndSession { session: session.id };
        let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
        match self.execute(&command, request).await {
            Ok(done) => Ok(Some(done)),
            Err(Failure::Rejected(Rejection::Unauthenticated | Rejection::NotFound(Noun::Session))) => {
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// The live session that an access or refresh token of a family belongs to.
    ///
    /// # Errors
    /// Only what keeps this node from knowing.
    pub fn session_of_token(
        &self,
        view: &View,
        account: AccountId,
        family: Family,
        token: &str,
    ) -> Result<Option<session::Session>, Failure> {
        let now = self.now(view);
        let id = match self.introspect(view, account, family, token)? {
            Some(caller) => Some(caller.session()),
            None => session::pointer(view, account, &stored_hash(token))?.map(|pointer| pointer.session),
        };
        let live = id.and_then(|id| session::live(view, account, id, now).ok());
        Ok(live.map(|live| live.session).filter(|session| session.grant.family == family))
    }
}

/// The scopes of a session that its principal still has.
fn still_owned(
    view: &View,
    account: AccountId,
    session: &session::Session,
) -> Result<Vec<Permission>, Failure> {
    if session.grant.scope.is_empty() {
        return Ok(Vec::new());
    }
    let owned = scopes_of(view, account, &session.principal)?;
    Ok(session.grant.scope.iter().filter(|scope| owned.contains(scope)).cloned().collect())
}

/// Whom a token says that it is of: the id, or for clients of Keystone the name that they know themselves by
/// (contract part 4.1). No user's id is ever a client's name: those are no UUIDs.
pub(super) fn subject(family: Family, principal: &Principal, name: &str) -> String {
    match (family, principal) {
        (Family::Keystone, Principal::Service(_)) => name.to_owned(),
        (Family::Native | Family::Keystone, _) => principal.id(),
    }
}

/// The `type` of a program's token.
pub(super) const SERVICE: &str = "service";

/// Whom a token of that grant is for.
fn audience_of(grant: &session::Grant) -> Audience {
    match grant.family {
        Family::Native => Audience::One(AUDIENCE.to_owned()),
        Family::Keystone if grant.audience.is_empty() => Audience::Many(vec![KEYSTONE.to_owned()]),
        Family::Keystone => Audience::Many(grant.audience.iter().map(ToString::to_string).collect()),
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
        Reply::SignInRefused { .. } => Err(Rejection::BadCredentials.into()),
        Reply::SignInLocked { until } => Err(Failure::Locked { until }),
        Reply::Done | Reply::Changed(_) => Err(Failure::Internal("a reply of another command")),
    }
}

/// Gone between the check and the signature.
fn gone(rejection: Rejection) -> Failure {
    if matches!(rejection, Rejection::NotFound(_)) {
        Rejection::Unauthenticated.into()
    } else {
        rejection.into()
    }
}

//! Signing in, with a password or an API key.
//!
//! Whatever is wrong (account, name, password, a disabled user) the answer is the same and took the same
//! work: an unknown name costs a hash as well.

use std::sync::Arc;

use conclave_cluster::state::View;

use super::admit::Tried;
use super::tokens::{Tokens, opened, stored_hash};
use super::{App, Failure, Request};
use crate::auth::hasher::Checked;
use crate::auth::password::Password;
use crate::domain::session::{NewRefresh, NewSession, Proof};
use crate::domain::{
    AccountId, Action, Actor, Command, Email, Expectation, PasswordHash, Principal, Rejection, Resource,
    SessionId, UserId, account, service, user,
};
use crate::replica::Freshness;
use crate::tenants::Gate;

/// Which refresh token a sign-in gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshStyle {
    /// Good until its session ends (seed 000).
    Fixed,
    /// Good once (RFC 9700).
    Rotating,
}

/// Who signs in.
#[derive(Clone, Debug)]
pub enum Who {
    /// The root user with that e-mail address, of whichever account.
    Root(Email),
    /// The user of an account with that name or e-mail address, root or not.
    Anyone(AccountId, String),
    /// As `Anyone`, but not the root user.
    NotRoot(AccountId, String),
}

/// A password race with a change of it is tried again so often.
const ATTEMPTS: u32 = 3;

impl App {
    /// Checks a password and opens a session.
    ///
    /// # Errors
    /// [`Rejection::BadCredentials`] for everything that is wrong with them; [`Failure::Limited`] beyond
    /// `rate_limit_login`.
    pub async fn sign_in(
        self: &Arc<Self>,
        who: &Who,
        password: Password,
        style: RefreshStyle,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        self.admit(Gate::SignIn, Some(who.tried()), request).await?;
        let tokens = self.try_password(who, password, style, request).await;
        self.counts.tried(&tokens);
        tokens
    }

    async fn try_password(
        self: &Arc<Self>,
        who: &Who,
        password: Password,
        style: RefreshStyle,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        for attempt in 0..ATTEMPTS {
            let view = self.view(Freshness::Linearizable, request.deadline).await?;
            let Some((account, id, stored)) = find(&view, who)? else {
                self.hasher.verify_unknown(password).await?;
                return Err(Rejection::BadCredentials.into());
            };
            let Checked::Right { needs_rehash } =
                self.hasher.verify(password.clone(), stored.value.phc()).await?
            else {
                return Err(Rejection::BadCredentials.into());
            };
            let proof = Proof::Password { user: id, revision: stored.revision };
            match self.open_session(account, proof, Some(style), &request.step(attempt)).await {
                // The password row changed meanwhile: by a rehash of another sign-in, or by a new password.
                Err(Failure::Rejected(Rejection::BadCredentials)) if attempt + 1 < ATTEMPTS => {}
                Ok(tokens) => {
                    if needs_rehash {
                        self.rehash(account, id, stored.revision, password, request);
                    }
                    return Ok(tokens);
                }
                Err(other) => return Err(other),
            }
        }
        Err(Rejection::BadCredentials.into())
    }

    /// Refuses who cannot exist, after as much work as for somebody who does: the time taken tells nothing.
    ///
    /// # Errors
    /// Always; [`Rejection::BadCredentials`] unless it could not even do that.
    pub async fn sign_in_nobody(&self, password: Password, request: &Request) -> Result<Tokens, Failure> {
        self.admit(Gate::SignIn, None, request).await?;
        let work = self.hasher.verify_unknown(password).await;
        let refused = work.map_err(Failure::from).and(Err(Rejection::BadCredentials.into()));
        self.counts.tried(&refused);
        refused
    }

    /// Checks an API key and opens a session without a refresh token. `name`, where the client gives one,
    /// must be the name of the key's service account.
    ///
    /// # Errors
    /// [`Rejection::BadCredentials`] for everything that is wrong with it.
    pub async fn sign_in_with_key(
        &self,
        account: AccountId,
        name: Option<&str>,
        key: &str,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let tried = name.map(|login| Tried { account: Some(account), login });
        self.admit(Gate::Service, tried, request).await?;
        let tokens = self.try_key(account, name, key, request).await;
        self.counts.tried(&tokens);
        tokens
    }

    async fn try_key(
        &self,
        account: AccountId,
        name: Option<&str>,
        key: &str,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let hash = stored_hash(key);
        let found = service::find_key(&view, account, &hash)?.ok_or(Rejection::BadCredentials)?;
        if let Some(name) = name
            && service::find_by_name(&view, account, name)? != Some(found.0)
        {
            return Err(Rejection::BadCredentials.into());
        }
        self.open_session(account, Proof::ApiKey { hash }, None, request).await
    }

    async fn open_session(
        &self,
        account: AccountId,
        proof: Proof,
        style: Option<RefreshStyle>,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let mut mint = self.mint(request)?;
        let id = SessionId::new(mint.session_id()?);
        let token = style.map(|_| mint.refresh_token()).transpose()?;
        let refresh = match (style, token.as_ref().map(|token| stored_hash(token.expose()))) {
            (Some(RefreshStyle::Fixed), Some(hash)) => NewRefresh::Fixed(hash),
            (Some(RefreshStyle::Rotating), Some(hash)) => NewRefresh::Rotating(hash),
            (None, _) | (_, None) => NewRefresh::None,
        };
        let lifetime = match style {
            Some(_) => self.settings().refresh_token,
            None => self.settings().access_token,
        };
        let action = Action::OpenSession(NewSession { id, proof, refresh, lifetime });
        let by = Actor::Anonymous;
        let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
        let done = self.execute(&command, request).await?;
        let session = opened(&done, account)?;
        let mut tokens = self.issue(&done.view, account, session, done.at, &mut mint)?;
        tokens.refresh = token;
        Ok(tokens)
    }

    /// Stores the same password under newer parameters, behind the caller's back: a sign-in does not wait
    /// for it, and if it fails the next one tries again.
    fn rehash(
        self: &Arc<Self>,
        account: AccountId,
        id: UserId,
        revision: u64,
        password: Password,
        from: &Request,
    ) {
        let app = Arc::clone(self);
        let request = Request::once(from.deadline, from.origin.clone());
        tokio::spawn(async move {
            let Ok(phc) = app.hasher.hash(password).await else { return };
            let action = Action::RehashPassword { user: id, password: PasswordHash::new(phc) };
            let expect = vec![Expectation { resource: Resource::Password(id), revision }];
            let command =
                Command { account, by: Actor::System, origin: request.origin.clone(), expect, action };
            if let Err(failure) = app.execute(&command, &request).await {
                tracing::debug!(%account, %failure, "a password keeps its old parameters for now");
            }
        });
    }
}

type Found = (AccountId, UserId, crate::domain::Stored<PasswordHash>);

/// The user and its password, if it could sign in: looked at before the hash is checked, so that a refusal
/// tells nothing by the time it took.
fn find(view: &View, who: &Who) -> Result<Option<Found>, Rejection> {
    let (account, id) = match who {
        Who::Root(email) => match account::find_by_root_email(view, email)? {
            Some(account) => (account, account::find(view, account)?.map(|row| row.value.root)),
            None => return Ok(None),
        },
        Who::Anyone(account, login) | Who::NotRoot(account, login) => {
            (*account, user::find_by_login(view, *account, login)?)
        }
    };
    let Some(id) = id else { return Ok(None) };
    let may_try = match Principal::User(id).standing(view, account) {
        Ok(standing) => !(standing.is_root && matches!(who, Who::NotRoot(..))),
        Err(Rejection::NotFound(_)) => false,
        Err(other) => return Err(other),
    };
    let password = user::find_password(view, account, id)?;
    Ok(password.filter(|_| may_try).map(|stored| (account, id, stored)))
}

//! Signing in, with a password or an API key.
//!
//! Whatever is wrong (account, name, password, a disabled user) the answer is the same and took the same
//! work: an unknown name costs a hash and an entry in the log as well.
//!
//! # Why a refusal is a command
//! A try is counted and written down in log order before its answer is given, so that several nodes together
//! answer no more guesses than one would: see [`crate::domain::lockout`].

use std::sync::Arc;

use conclave_cluster::state::View;

use super::admit::Tried;
use super::terms::{Terms, grant};
use super::tokens::{Tokens, opened, stored_hash};
use super::{App, Failure, Request};
use crate::auth::hasher::Checked;
use crate::auth::password::Password;
use crate::domain::lockout::{RefusedSignIn, Why};
use crate::domain::session::{Family, NewRefresh, NewSession, Proof};
use crate::domain::user::UserStatus;
use crate::domain::{
    AccountId, Action, Actor, Command, Email, Expectation, Lifetime, PasswordHash, Principal, Rejection,
    Reply, Resource, SessionId, Stored, UserId, account, service, settings, user,
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
/// The step of a request that writes a refusal down; those before it are tries to open a session.
const REFUSAL: u32 = 100;

impl App {
    /// Checks a password and opens a session.
    ///
    /// # Errors
    /// [`Rejection::BadCredentials`] for everything that is wrong with them; [`Failure::Disabled`],
    /// [`Failure::PasswordExpired`] and [`Failure::Locked`] only when the password is right;
    /// [`Failure::Limited`] beyond `rate_limit_login`.
    pub async fn sign_in(
        self: &Arc<Self>,
        who: &Who,
        password: Password,
        terms: &Terms,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        self.admit(Gate::SignIn, Some(who.tried()), request).await?;
        let tokens = self.try_password(who, password, terms, Purpose::Stay, request).await;
        self.counts.tried(&tokens);
        tokens
    }

    /// The same for a change of that password and no more: an expired one is good for it. No client ever sees
    /// the token, which is good for a minute.
    pub(super) async fn sign_in_to_change(
        self: &Arc<Self>,
        who: &Who,
        password: Password,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        self.admit(Gate::SignIn, Some(who.tried()), request).await?;
        let terms = Terms { access: Lifetime::from_secs(60), ..self.native_key_terms() };
        let tokens = self.try_password(who, password, &terms, Purpose::Change, request).await;
        self.counts.guessed(&tokens);
        tokens
    }

    async fn try_password(
        self: &Arc<Self>,
        who: &Who,
        password: Password,
        terms: &Terms,
        purpose: Purpose,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        for attempt in 0..ATTEMPTS {
            let view = match purpose {
                Purpose::Stay => self.view(Freshness::Linearizable, request.deadline).await?,
                // A retry gives the password that the first one has replaced.
                Purpose::Change => self.rows_for(request).await?,
            };
            let Some(found) = find(&view, who)? else {
                self.hasher.verify_unknown(password).await?;
                let refused = RefusedSignIn::new(None, who.login(), Why::Unknown);
                return Err(self.refuse(&view, who.account(), refused, request).await);
            };
            let Found { account, user, stored, is_active } = found;
            let phc = stored.value.hash.phc();
            let Checked::Right { needs_rehash } = self.hasher.verify(password.clone(), phc).await? else {
                let refused = RefusedSignIn::new(Some(user), who.login(), Why::WrongPassword);
                return Err(self.refuse(&view, Some(account), refused, request).await);
            };
            if !is_active {
                let refused = RefusedSignIn::new(Some(user), who.login(), Why::Disabled);
                return Err(self.refuse(&view, Some(account), refused, request).await);
            }
            let passwords = settings::of(&view, account)?.passwords;
            if purpose == Purpose::Stay && passwords.has_expired(stored.value.set_at, self.now(&view)) {
                let refused = RefusedSignIn::new(Some(user), who.login(), Why::PasswordExpired);
                return Err(self.refuse(&view, Some(account), refused, request).await);
            }
            let proof = Proof::Password { user, revision: stored.revision };
            let principal = Principal::User(user);
            match self.open_session(&view, account, &principal, proof, terms, &request.step(attempt)).await {
                // The password row changed meanwhile: by a rehash of another sign-in, or by a new password.
                Err(Failure::Rejected(Rejection::BadCredentials)) if attempt + 1 < ATTEMPTS => {}
                Ok(None) => return Err(Rejection::BadCredentials.into()),
                Ok(Some(tokens)) => {
                    if needs_rehash && purpose == Purpose::Stay {
                        self.rehash(account, user, stored.revision, password, request);
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
        let refused = match self.hasher.verify_unknown(password).await {
            Ok(_) => {
                let view = self.view(Freshness::Linearizable, request.deadline).await?;
                self.refuse(&view, None, RefusedSignIn::new(None, "", Why::Unknown), request).await
            }
            Err(error) => error.into(),
        };
        let refused = Err(refused);
        self.counts.tried(&refused);
        refused
    }

    /// Checks an API key and opens a session without a refresh token. `name`, where the client gives one,
    /// must be the name of the key's service account.
    ///
    /// # Errors
    /// [`Rejection::BadCredentials`] for everything that is wrong with it; [`Failure::Disabled`] only when the
    /// key is right.
    pub async fn sign_in_with_key(
        &self,
        account: AccountId,
        name: Option<&str>,
        key: &str,
        terms: &Terms,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let tried = name.map(|login| Tried { account: Some(account), login });
        self.admit(Gate::Service, tried, request).await?;
        let tokens = self.try_key(account, name, key, terms, request).await;
        self.counts.tried(&tokens);
        tokens
    }

    async fn try_key(
        &self,
        account: AccountId,
        name: Option<&str>,
        key: &str,
        terms: &Terms,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let hash = stored_hash(key);
        let login = name.unwrap_or_default();
        let found = service::find_key(&view, account, &hash)?;
        let named = name.map(|name| service::find_by_name(&view, account, name)).transpose()?;
        // The name becomes the `sub` of a token of that family, where users have their ids.
        let is_users = terms.family == Family::Keystone && login.parse::<UserId>().is_ok();
        let found = found.filter(|(id, key)| {
            key.is_good(self.now(&view)) && named.is_none_or(|named| named == Some(*id)) && !is_users
        });
        let Some((id, _)) = found else {
            let refused = RefusedSignIn::new(None, login, Why::WrongKey);
            return Err(self.refuse(&view, Some(account), refused, request).await);
        };
        let is_active = service::find(&view, account, id)?.is_some_and(|row| row.value.is_active);
        if !is_active {
            let refused = RefusedSignIn::new(None, login, Why::Disabled);
            self.refuse(&view, Some(account), refused, request).await;
            return Err(Failure::Disabled);
        }
        let proof = Proof::ApiKey { hash };
        let opened =
            self.open_session(&view, account, &Principal::Service(id), proof, terms, request).await?;
        opened.ok_or_else(|| Rejection::BadCredentials.into())
    }

    /// `None` when the lock has the last word, and it is no. Trying that again would cost more than a wrong password
    /// does, and so tell that this one is right.
    async fn open_session(
        &self,
        view: &View,
        account: AccountId,
        principal: &Principal,
        proof: Proof,
        terms: &Terms,
        request: &Request,
    ) -> Result<Option<Tokens>, Failure> {
        let mut mint = self.mint(request)?;
        let id = SessionId::new(mint.session_id()?);
        let token = terms.refresh.map(|_| mint.refresh_token()).transpose()?;
        let refresh = match (terms.refresh, token.as_ref().map(|token| stored_hash(token.expose()))) {
            (Some(RefreshStyle::Fixed), Some(hash)) => NewRefresh::Fixed(hash),
            (Some(RefreshStyle::Rotating), Some(hash)) => NewRefresh::Rotating(hash),
            (None, _) | (_, None) => NewRefresh::None,
        };
        let grant = grant(view, account, principal, terms)?;
        // A session without a refresh token lasts as long as its one access token.
        let lifetime = if terms.refresh.is_some() { terms.session } else { grant.access };
        let action = Action::OpenSession(NewSession { id, proof, refresh, lifetime, grant });
        let by = Actor::Anonymous;
        let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
        let done = self.execute(&command, request).await?;
        if matches!(done.reply, Reply::SignInRefused { .. }) {
            return Ok(None);
        }
        let session = opened(&done, account)?;
        self.issue(&done.view, account, session, None, done.at, token, &mut mint).map(Some)
    }

    /// Writes a refusal down and says what the client may learn of it. What concerns no account that there is
    /// is written down in the cluster's own trail.
    pub(super) async fn refuse(
        &self,
        view: &View,
        account: Option<AccountId>,
        refused: RefusedSignIn,
        request: &Request,
    ) -> Failure {
        let why = refused.why;
        let account = match account.map(|id| account::find(view, id).map(|found| found.map(|_| id))) {
            Some(Ok(Some(id))) => id,
            Some(Ok(None)) | None => AccountId::CLUSTER,
            Some(Err(rejection)) => return rejection.into(),
        };
        let action = Action::RefuseSignIn(refused);
        let by = Actor::Anonymous;
        let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
        match self.execute(&command, &request.guess(REFUSAL)).await {
            Ok(done) => match done.reply {
                Reply::SignInLocked { until } => Failure::Locked { until },
                Reply::SignInRefused { locked_until: None } if why == Why::Disabled => Failure::Disabled,
                Reply::SignInRefused { locked_until: None } if why == Why::PasswordExpired => {
                    Failure::PasswordExpired { account }
                }
                Reply::Done
                | Reply::Changed(_)
                | Reply::SessionOpened { .. }
                | Reply::ReuseEndedSession { .. }
                | Reply::SignInRefused { .. } => match why {
                    Why::BadRefreshToken => Rejection::BadRefreshToken.into(),
                    Why::WrongPassword
                    | Why::Unknown
                    | Why::Disabled
                    | Why::WrongKey
                    | Why::PasswordExpired => Rejection::BadCredentials.into(),
                },
            },
            Err(failure) => failure,
        }
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

/// What somebody signs in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Stay,
    /// To change the password that it gives.
    Change,
}

/// A user that could be meant, with its password.
struct Found {
    account: AccountId,
    user: UserId,
    stored: Stored<user::Password>,
    is_active: bool,
}

impl Who {
    fn account(&self) -> Option<AccountId> {
        match self {
            Self::Root(_) => None,
            Self::Anyone(account, _) | Self::NotRoot(account, _) => Some(*account),
        }
    }

    fn login(&self) -> &str {
        match self {
            Self::Root(email) => email.as_str(),
            Self::Anyone(_, login) | Self::NotRoot(_, login) => login,
        }
    }
}

/// The user and its password. Whether it may act is looked at after the password was checked, so that a
/// refusal tells nothing by the time it took.
fn find(view: &View, who: &Who) -> Result<Option<Found>, Rejection> {
    let (account, id) = match who {
        Who::Root(email) => match account::find_by_root_email(view, email)? {
            Some(account) => (account, account::find(view, account)?.and_then(|row| row.value.root())),
            None => return Ok(None),
        },
        Who::Anyone(account, login) | Who::NotRoot(account, login) => {
            (*account, user::find_by_login(view, *account, login)?)
        }
    };
    let Some(user) = id else { return Ok(None) };
    let Some(row) = user::find(view, account, user)? else { return Ok(None) };
    let is_meant = row.value.status != UserStatus::Deleted
        && !(row.value.is_root && matches!(who, Who::NotRoot(..)))
        && account::open_account(view, account).is_ok();
    let password = user::find_password(view, account, user)?;
    Ok(password.filter(|_| is_meant).map(|stored| Found {
        account,
        user,
        stored,
        is_active: row.value.is_active(),
    }))
}

//! A session that keeps its access token fresh.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::call::new_key;
use super::flight::Flight;
use super::native::{Account, Tokens};
use super::{Client, Error};
use crate::secret::Secret;

/// Somebody who is signed in. Clones are the same session.
///
/// The access token is renewed when a fifth of its life is left, with the refresh token or, for a service
/// account, with its API key, while calls go on with the token they have. Only when that has expired do calls
/// wait, all of them for the one renewal; so a cluster without a leader for a moment stops nobody whose token
/// is still good.
///
/// A renewal runs to its end even when whoever needed it has gone away, and is repeated under the same
/// idempotency key when its outcome is not known: a refresh token that is good only once is not lost with an
/// answer, and never shown twice as if it were stolen.
///
/// When it is over, by [`Session::sign_out`], by its time or by somebody else, calls in its name are refused with
/// 401.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    client: Client,
    account: String,
    id: Uuid,
    renewal: Flight<Arc<Held>>,
    ask: Ask,
    state: Mutex<State>,
}

/// Asks for the next tokens, under a key: a call to the cluster, or what a test has instead.
type Ask = Box<dyn Fn(With, String) -> BoxFuture<'static, Result<Tokens, Error>> + Send + Sync>;

struct State {
    held: Arc<Held>,
    with: With,
    /// Names the next renewal, however often it is tried.
    key: String,
    /// After a renewal that failed, not before this.
    not_before: Option<Instant>,
}

/// The token in use.
struct Held {
    access: Secret<String>,
    renew_at: Instant,
    expires_at: Instant,
}

/// What the next token is asked for with.
#[derive(Clone)]
enum With {
    Nothing,
    RefreshToken(Secret<String>),
    ApiKey(Secret<String>),
}

impl With {
    async fn ask(self, account: Account, key: String) -> Result<Tokens, Error> {
        let call = match self {
            Self::Nothing => return Err(Error::Invalid("the session cannot be renewed".to_owned())),
            Self::RefreshToken(token) => account.tokens().refresh(token),
            Self::ApiKey(api_key) => account.sign_in_with_key(None, api_key),
        };
        Ok(call.idempotency_key(key).await?.value)
    }
}

/// How long after a renewal that failed the next one is tried, while the token is still good.
const PUT_OFF: Duration = Duration::from_secs(2);

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("account", &self.0.account)
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// The session that a sign-in opened, renewed with its refresh token. Without one it ends with its access
    /// token.
    #[must_use]
    pub fn new(client: &Client, mut tokens: Tokens) -> Self {
        let with = tokens.refresh_token.take().map_or(With::Nothing, With::RefreshToken);
        Self::renewed_with(client, tokens, with)
    }

    /// Signs a service account in, and again with its key whenever that is needed.
    ///
    /// # Errors
    /// As the sign-in.
    pub async fn with_api_key(
        client: &Client,
        account: impl Into<String>,
        api_key: impl Into<Secret<String>>,
    ) -> Result<Self, Error> {
        let key = api_key.into();
        let tokens = client.account(account).sign_in_with_key(None, key.clone()).await?;
        Ok(Self::renewed_with(client, tokens.value, With::ApiKey(key)))
    }

    /// The account, asked in this session's name.
    #[must_use]
    pub fn account(&self) -> Account {
        self.0.client.account(&*self.0.account).with_session(self)
    }

    /// Its id. Of a service account that signs in again and again, the first one.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// Ends it: no node takes any of its tokens afterwards.
    ///
    /// # Errors
    /// When that could not be done. That it is over already is none.
    pub async fn sign_out(&self) -> Result<(), Error> {
        match self.account().sessions().end_own().await {
            Ok(_) => Ok(()),
            // It is over: before, or by a try of ours whose answer was lost.
            Err(Error::Refused(refusal)) if refusal.status == 401 => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// The access token, renewed where it must be, by `until`.
    pub(super) async fn token(&self, until: Instant) -> Result<Secret<String>, Error> {
        let now = Instant::now();
        let held = {
            let state = self.0.lock();
            let is_put_off = state.not_before.is_some_and(|at| now < at) && now < state.held.expires_at;
            if now < state.held.renew_at || is_put_off || matches!(state.with, With::Nothing) {
                return Ok(state.held.access.clone());
            }
            Arc::clone(&state.held)
        };
        let inner = Arc::clone(&self.0);
        let renewal = self.0.renewal.join(async move { inner.renew().await });
        if now < held.expires_at {
            return Ok(held.access.clone());
        }
        let late = |_| Error::Transport {
            reason: "the access token was not renewed in time".to_owned(),
            outcome_unknown: false,
        };
        Ok(timeout_at(until, renewal).await.map_err(late)??.access.clone())
    }

    /// Another token than this one, which the cluster has refused: expired by its clock, if not by ours, which
    /// stands still while a machine sleeps; or of a session that somebody has ended, where an API key opens the
    /// next. `None` where there is no other.
    pub(super) async fn token_after(
        &self,
        refused: &Secret<String>,
        until: Instant,
    ) -> Option<Secret<String>> {
        {
            let mut state = self.0.lock();
            if matches!(state.with, With::Nothing) {
                return None;
            }
            // Both are ours, so there is nobody to learn from how long this takes. If they differ, another call
            // was here before.
            if state.held.access.expose() == refused.expose() {
                let now = Instant::now();
                let access = refused.clone();
                state.held = Arc::new(Held { access, renew_at: now, expires_at: now });
            }
        }
        self.token(until).await.ok()
    }

    fn renewed_with(client: &Client, tokens: Tokens, with: With) -> Self {
        let account = client.account(&*tokens.account);
        let ask = Box::new(move |with: With, key| -> BoxFuture<'static, _> {
            Box::pin(with.ask(account.clone(), key))
        });
        Self::renewed_by(client, tokens, with, ask)
    }

    fn renewed_by(client: &Client, tokens: Tokens, with: With, ask: Ask) -> Self {
        let state = State {
            held: Arc::new(Held::new(tokens.received_at, tokens.expires_in, tokens.access_token)),
            with,
            key: new_key(),
            not_before: None,
        };
        Self(Arc::new(Inner {
            client: client.clone(),
            account: tokens.account,
            id: tokens.session,
            renewal: Flight::default(),
            ask,
            state: Mutex::new(state),
        }))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) -> Result<Arc<Held>, Error> {
        let (with, key) = {
            let state = self.lock();
            // The one before ended while somebody was about to join it.
            if Instant::now() < state.held.renew_at {
                return Ok(Arc::clone(&state.held));
            }
            (state.with.clone(), state.key.clone())
        };
        let asked_at = Instant::now();
        let answer = (self.ask)(with, key).await;
        let mut state = self.lock();
        match answer {
            Ok(mut tokens) => {
                if let Some(next) = tokens.refresh_token.take() {
                    state.with = With::RefreshToken(next);
                }
                state.held = Arc::new(Held::new(asked_at, tokens.expires_in, tokens.access_token));
                state.key = new_key();
                state.not_before = None;
                Ok(Arc::clone(&state.held))
            }
            Err(error) => {
                tracing::warn!(account = self.account, %error, "an access token was not renewed");
                state.not_before = Some(Instant::now() + PUT_OFF);
                // What was refused would be refused again under the same key.
                if !error.is_retryable() {
                    state.key = new_key();
                }
                Err(error)
            }
        }
    }
}

impl Held {
    fn new(at: Instant, life: Duration, access: Secret<String>) -> Self {
        Self { access, renew_at: at + life * 4 / 5, expires_at: at + life }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

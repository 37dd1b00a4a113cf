//! The public keys of an account, fetched when they are needed and kept for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use jsonwebtoken::DecodingKey;
use reqwest::Method;
use tokio::time::Instant;

use crate::client::call::success;
use crate::client::flight::Flight;
use crate::client::native::{Account, Jwk, Jwks};
use crate::client::path::Target;
use crate::client::proof::Proof;
use crate::client::transport::Raw;
use crate::client::{Call, Error, LONGEST, wire};

/// How the keys sign that are taken.
pub(super) const ALGORITHM: &str = "EdDSA";

/// How long keys are kept.
#[derive(Clone, Copy, Debug)]
pub struct Caching {
    /// Keys are fetched anew after this, unless the answer that brought them says how long it may be kept
    /// (`Cache-Control: max-age`). Tokens are checked by the old ones meanwhile. 5 minutes by default.
    pub fresh: Duration,
    /// Keys are used no longer than this, also when no node answers. 24 hours by default.
    pub stale: Duration,
    /// Keys are not fetched more often than this, whatever `kid` tokens name. 10 s by default.
    pub pause: Duration,
}

impl Default for Caching {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self { fresh: 5 * minute, stale: 24 * 60 * minute, pause: Duration::from_secs(10) }
    }
}

/// What looking for a key gave.
pub(super) enum Found {
    Key(Arc<DecodingKey>),
    /// The account has no such key.
    Unknown,
    /// It is not known which keys the account has.
    NoKeys(Error),
}

/// Keys as they came.
pub(super) struct Fetched {
    jwks: Jwks,
    max_age: Option<Duration>,
}

/// Fetches them: a call to the cluster, or what a test has instead.
type Fetch = Arc<dyn Fn() -> BoxFuture<'static, Result<Fetched, Error>> + Send + Sync>;

/// The keys of one account. Clones share them.
#[derive(Clone)]
pub(super) struct Keys {
    fetch: Fetch,
    caching: Caching,
    state: Arc<Mutex<State>>,
    flight: Flight<()>,
}

#[derive(Default)]
struct State {
    set: Option<Set>,
    asked_at: Option<Instant>,
    failure: Option<Error>,
}

struct Set {
    keys: BTreeMap<String, Arc<DecodingKey>>,
    fresh_until: Instant,
    usable_until: Instant,
}

impl Keys {
    /// Those that the cluster publishes for this account.
    pub(super) fn of_account(account: &Account) -> Self {
        let (client, id) = (account.client().clone(), account.id().to_owned());
        Self::fetched_by(Arc::new(move || {
            let target = Target::new("/v1/accounts").name(&id).word("jwks.json");
            let call = Call::reading(&client, &Proof::Nobody, Method::GET, target, read);
            Box::pin(call.deadline(FETCH_DEADLINE).into_future())
        }))
    }

    pub(super) fn fetched_by(fetch: Fetch) -> Self {
        Self { fetch, caching: Caching::default(), state: Arc::default(), flight: Flight::default() }
    }

    /// The same, kept otherwise.
    pub(super) fn kept(self, caching: Caching) -> Self {
        let [fresh, stale, pause] =
            [caching.fresh, caching.stale, caching.pause].map(|time| time.min(LONGEST));
        Self { caching: Caching { fresh, stale, pause }, ..Self::fetched_by(self.fetch) }
    }

    /// The key of that name. Waits for the cluster only where there is no answer without.
    pub(super) async fn find(&self, kid: &str) -> Found {
        let joined = {
            let mut state = self.lock();
            let now = Instant::now();
            let is_due = state.asked_at.is_none_or(|at| at + self.caching.pause <= now);
            let known = state.find(kid, now);
            let is_fresh = state.set.as_ref().is_some_and(|set| now < set.fresh_until);
            let is_needed = !is_fresh || !matches!(known, Found::Key(_));
            if is_needed && is_due {
                state.asked_at = Some(now);
                let keys = self.clone();
                let joined = self.flight.join(async move { keys.renew().await });
                drop(state);
                if let Found::Key(key) = known {
                    return Found::Key(key);
                }
                joined
            } else if let Some(joined) = self.flight.under_way().filter(|_| !matches!(known, Found::Key(_))) {
                joined
            } else {
                return known;
            }
        };
        // Whether it worked shows in what is there now.
        let _ = joined.await;
        self.lock().find(kid, Instant::now())
    }

    async fn renew(&self) -> Result<(), Error> {
        let fetched = (self.fetch)().await;
        let now = Instant::now();
        let mut state = self.lock();
        match fetched {
            Ok(Fetched { jwks, max_age }) => {
                let keys = jwks.keys.iter().filter_map(|jwk| Some((jwk.kid.clone(), Arc::new(decode(jwk)?))));
                let fresh = max_age.unwrap_or(self.caching.fresh).min(self.caching.stale);
                state.set = Some(Set {
                    keys: keys.collect(),
                    fresh_until: now + fresh,
                    usable_until: now + self.caching.stale,
                });
                state.failure = None;
            }
            Err(error) => {
                tracing::warn!(%error, "the keys that check tokens were not fetched");
                state.failure = Some(error);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long fetching may take, with all tries: whoever brings the first token waits for it.
const FETCH_DEADLINE: Duration = Duration::from_secs(5);

impl State {
    fn find(&self, kid: &str, now: Instant) -> Found {
        match self.set.as_ref().filter(|set| now < set.usable_until) {
            Some(set) => set.keys.get(kid).map_or(Found::Unknown, |key| Found::Key(Arc::clone(key))),
            None => Found::NoKeys(self.failure.clone().unwrap_or_else(|| Error::Transport {
                reason: "the keys were not fetched yet".to_owned(),
                outcome_unknown: false,
            })),
        }
    }
}

/// An Ed25519 key that is there to check signatures. Other kinds are passed over: a later version of the
/// cluster may have some.
fn decode(jwk: &Jwk) -> Option<DecodingKey> {
    let is_ours = jwk.kty == "OKP"
        && jwk.crv == "Ed25519"
        && ["", ALGORITHM].contains(&jwk.alg.as_str())
        && ["", "sig"].contains(&jwk.r#use.as_str());
    let public = URL_SAFE_NO_PAD.decode(&jwk.x).ok().filter(|public| public.len() == 32 && is_ours)?;
    Some(DecodingKey::from_ed_der(&public))
}

fn read(raw: Raw) -> Result<Fetched, Error> {
    let raw = success(raw)?;
    let max_age = raw.header("cache-control").and_then(max_age);
    Ok(Fetched { jwks: wire::parse(&raw)?, max_age })
}

/// `max-age` of `Cache-Control` (RFC 9111 section 5.2.2.1), unless it is not to be kept at all, which says
/// nothing to who must keep it to be of use.
fn max_age(header: &str) -> Option<Duration> {
    let mut directives = header.split(',').map(str::trim);
    let age = directives.find_map(|directive| directive.strip_prefix("max-age="))?;
    age.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;

//! One call: a request that is being put together, and its answer.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use super::failover::Repeat;
use super::path::Target;
use super::proof::Proof;
use super::transport::{CONSISTENCY, IDEMPOTENCY_KEY, Outgoing, Raw};
use super::{Client, Error, LONGEST, Refusal, wire};

/// How fresh the answer of a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It holds everything that was acknowledged before it was asked, anywhere. The default.
    #[default]
    Linearizable,
    /// It may be so old, at most a second; the node answers by itself.
    Bounded(Duration),
    /// It holds everything up to this revision: that of an answer one has.
    AtLeast(u64),
    /// It is of exactly this revision, as far back as history is kept.
    AsOf(u64),
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::Bounded(age) => write!(f, "bounded={}", age.as_millis()),
            Self::AtLeast(revision) => write!(f, "at-least={revision}"),
            Self::AsOf(revision) => write!(f, "as-of={revision}"),
        }
    }
}

/// What a call gives, and the revision that it holds at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// The revision of the whole state that the answer holds at.
    pub revision: u64,
    /// The revision that the thing itself was last changed at, for [`Call::if_match`]. Only things have one.
    pub tag: Option<u64>,
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A call that changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Read;

/// A call that may change something.
#[derive(Clone, Copy, Debug)]
pub struct Write;

/// A call to the cluster. `.await` sends it, to as many nodes as it takes.
#[must_use = "a call is sent when it is awaited"]
pub struct Call<T, K> {
    client: Client,
    proof: Proof,
    request: Result<Outgoing, &'static str>,
    repeat: Repeat,
    deadline: Option<Duration>,
    read: fn(Raw) -> Result<T, Error>,
    kind: PhantomData<K>,
}

impl<T, K> fmt::Debug for Call<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.request.as_ref();
        let method = request.map_or("invalid", |request| request.method.as_str());
        f.debug_struct("Call").field("method", &method).finish_non_exhaustive()
    }
}

impl<T, K> Call<T, K> {
    /// How long the call may take with all its tries.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline.min(LONGEST));
        self
    }

    /// With this JSON body.
    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.and_then(|request| Ok(request.json(wire::body(body)?)));
        self
    }

    fn new(
        client: &Client,
        proof: &Proof,
        method: Method,
        target: Target,
        read: fn(Raw) -> Result<T, Error>,
    ) -> Self {
        let request = target.finish().map(|target| Outgoing::new(method, target));
        let (client, proof) = (client.clone(), proof.clone());
        Self { client, proof, request, repeat: Repeat::Safe, deadline: None, read, kind: PhantomData }
    }

    fn header(mut self, name: reqwest::header::HeaderName, value: &str, wrong: &'static str) -> Self {
        self.request = self.request.and_then(|mut request| {
            request.headers.insert(name, HeaderValue::from_str(value).map_err(|_| wrong)?);
            Ok(request)
        });
        self
    }

    async fn send(self) -> Result<T, Error> {
        let until = Instant::now() + self.deadline.unwrap_or(self.client.deadline());
        let invalid = |wrong: &str| Error::Invalid(wrong.to_owned());
        let request = self.request.map_err(invalid)?;
        let Some(token) = self.proof.token(until).await? else {
            return (self.read)(self.client.ask(request, self.repeat, until).await?);
        };
        let signed = request.clone().bearing(&token).map_err(invalid)?;
        let answer = self.client.ask(signed, self.repeat, until).await?;
        // A token that is refused did nothing, so the same call may be made with another one.
        if is_token_refused(&answer)
            && let Some(token) = self.proof.token_after(&token, until).await
        {
            let signed = request.bearing(&token).map_err(invalid)?;
            return (self.read)(self.client.ask(signed, self.repeat, until).await?);
        }
        (self.read)(answer)
    }
}

fn is_token_refused(raw: &Raw) -> bool {
    raw.status == reqwest::StatusCode::UNAUTHORIZED && Refusal::read(raw).code == "invalid_token"
}

impl<T> Call<T, Read> {
    /// A call that changes nothing, whatever its method.
    pub(super) fn reading(
        client: &Client,
        proof: &Proof,
        method: Method,
        target: Target,
        read: fn(Raw) -> Result<T, Error>,
    ) -> Self {
        Self::new(client, proof, method, target, read)
    }

    /// How fresh the answer must be; [`Consistency::Linearizable`] otherwise.
    pub fn consistency(self, consistency: Consistency) -> Self {
        self.header(CONSISTENCY, &consistency.to_string(), "no consistency")
    }
}

impl<T> Call<T, Write> {
    /// A call that may change something. It gets a key, so that it is done once however often it is sent.
    pub(super) fn writing(
        client: &Client,
        proof: &Proof,
        method: Method,
        target: Target,
        read: fn(Raw) -> Result<T, Error>,
    ) -> Self {
        Self::new(client, proof, method, target, read).idempotency_key(new_key())
    }

    /// For a surface where keys have no meaning, and twice is two times.
    pub(super) fn only_if_not_done(mut self) -> Self {
        self.repeat = Repeat::OnlyIfNotDone;
        self
    }

    /// Names the call, instead of the random name that it has: for a caller that may make the same call again
    /// after it was restarted. 1 to 255 visible ASCII characters. The cluster remembers a key for a while,
    /// per caller and route.
    pub fn idempotency_key(self, key: impl AsRef<str>) -> Self {
        self.header(IDEMPOTENCY_KEY, key.as_ref(), "an idempotency key has 1 to 255 visible ASCII characters")
    }

    /// Only if the thing was last changed at this revision: the [`Answer::tag`] of what one has read. Otherwise
    /// it is refused with `precondition_failed`, and nothing is done.
    pub fn if_match(mut self, tag: u64) -> Self {
        self.request = self.request.map(|request| request.if_match(tag));
        self
    }
}

impl<T: Send + 'static, K: Send + 'static> IntoFuture for Call<T, K> {
    type Output = Result<T, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A random name for a request.
#[expect(clippy::disallowed_methods, reason = "it names a request of a client, not a thing of the cluster")]
pub(super) fn new_key() -> String {
    Uuid::new_v4().to_string()
}

/// Reads an answer with a body and a revision.
pub(super) fn answer<T: DeserializeOwned>(raw: Raw) -> Result<Answer<T>, Error> {
    let raw = success(raw)?;
    stamped(&raw, wire::parse(&raw)?)
}

/// Reads an answer whose body says nothing.
pub(super) fn nothing(raw: Raw) -> Result<Answer<()>, Error> {
    let raw = success(raw)?;
    stamped(&raw, ())
}

/// Sorts out refusals and faults.
pub(super) fn success(raw: Raw) -> Result<Raw, Error> {
    if raw.status.is_success() {
        return Ok(raw);
    }
    let refusal = Box::new(Refusal::read(&raw));
    if raw.status.is_client_error() {
        Err(Error::Refused(refusal))
    } else if raw.status.is_server_error() {
        Err(Error::Fault(refusal))
    } else {
        let reason = "it is neither a success nor a refusal".to_owned();
        Err(Error::BadAnswer { status: raw.status.as_u16(), reason })
    }
}

fn stamped<T>(raw: &Raw, value: T) -> Result<Answer<T>, Error> {
    let revision = raw.header("conclave-revision").and_then(|text| text.parse().ok());
    let tag = raw.header("etag").and_then(|tag| tag.trim_matches('"').parse().ok());
    let reason = "it does not say at which revision it holds".to_owned();
    let revision = revision.ok_or_else(|| Error::BadAnswer { status: raw.status.as_u16(), reason })?;
    Ok(Answer { value, revision, tag })
}

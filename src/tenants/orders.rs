//! From the node that was asked to the leader's actor of the account, and back.
//!
//! A command travels as typed bytes, never as raw HTTP and never by a redirect: real clients drop their
//! token on one. Nodes trust each other by certificate; what a command may do is decided in `domain::apply`
//! by the session it names, so a session that ended in the meantime is refused there.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::{Applied, CallHandler, Cluster, NodeId, Proposal, RequestId, Unavailable};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::Instrument;

use super::throttle::{Budget, Whose};
use super::{AccountKey, Gate, Refused, Tenants};
use crate::domain::{AccountId, Command, Rejection, Reply, Timestamp};
use crate::rate::{Allowance, Exceeded, Rate, source_of};
use crate::replica;
use crate::telemetry::trace::{self, Trace};
use futures_util::future::BoxFuture;

/// Does for other nodes what only the layer above can. What is asked and answered is its affair.
pub trait Errands: Send + Sync + 'static {
    /// Answers by `deadline`. The same errand may come twice.
    fn run(&self, from: NodeId, request: Vec<u8>, deadline: Instant) -> BoxFuture<'static, Vec<u8>>;
}

/// Has commands decided, wherever the leader is.
#[derive(Clone)]
pub struct Orders {
    cluster: Cluster,
    desk: Arc<Desk>,
    times: Family<To, Histogram>,
}

/// Whom a letter goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    to: &'static str,
}

const SELF: &str = "self";
const ANOTHER: &str = "another";

/// Upper bounds in seconds, from a packed write on a fast disk to a caller's whole patience.
const BOUNDS_S: [f64; 12] = [0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1.0, 2.5, 5.0];

/// A command that was decided and carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub revision: u64,
    pub at: Timestamp,
    pub reply: Reply,
    /// Whether it had been decided before, under the same request id.
    pub replayed: bool,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A rule says no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The request id names another request.
    #[error("the request id was used for another request")]
    Mismatch,
    /// Too much is waiting at the leader. Nothing was done.
    #[error("too much is waiting")]
    Busy { retry_after: Duration },
    /// Not now, or not known.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A node answered what cannot be read.
    #[error("a node answered what cannot be read")]
    Garbled,
}

/// Something that is about to be tried, such as a sign-in.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub gate: Gate,
    /// How often, from one source.
    pub rate: Rate,
    pub source: IpAddr,
    /// Whose credentials are tried, where that is said.
    pub login: Option<Login>,
}

/// A name that somebody signs in with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Login {
    /// Its account; that of the cluster where there is none or it is not known.
    pub account: AccountId,
    /// A digest of the name, equal on all nodes: the name itself is nothing that the leader needs.
    pub digest: [u8; 16],
}

/// Sources that may each use up their own allowance on one login before the login itself is closed.
///
/// # Why not one
/// Then anybody who knows a name could keep its owner out, from anywhere, without knowing a password. As it is,
/// one source cannot; and a crowd of sources still guesses at most so often.
const SOURCES_PER_LOGIN: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// What travels to the leader. Grows at the end only: nodes of two versions may talk.
#[derive(Serialize, Deserialize)]
pub(crate) enum Letter {
    Submit { account: String, proposal: Proposal, remaining_ms: u64 },
    Admit { attempt: Attempt, remaining_ms: u64 },
    Errand { request: Vec<u8>, remaining_ms: u64 },
}

impl Letter {
    /// The letter, and behind it what names the request that it is about. A release that knows nothing of the latter reads
    /// the letter and leaves the rest.
    fn seal(&self) -> Result<Bytes, OrderError> {
        let letter = postcard::to_stdvec(self).map_err(|_| OrderError::Garbled)?;
        let sealed = match trace::current() {
            Some(trace) => postcard::to_extend(&trace, letter).map_err(|_| OrderError::Garbled)?,
            None => letter,
        };
        Ok(sealed.into())
    }

    /// What was sealed. A release that names no request, and a node that asks by itself, put nothing behind it.
    pub(crate) fn open(sealed: &[u8]) -> Option<(Self, Option<Trace>)> {
        let (letter, rest) = postcard::take_from_bytes(sealed).ok()?;
        Some((letter, postcard::from_bytes(rest).ok()))
    }

    /// How long the asking node still waits. A span, because clocks differ.
    fn remaining(&self) -> Duration {
        match self {
            Self::Submit { remaining_ms, .. }
            | Self::Admit { remaining_ms, .. }
            | Self::Errand { remaining_ms, .. } => Duration::from_millis(*remaining_ms),
        }
    }
}

/// What the leader counts, before anything else is done: for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn count_in_passing(letter: &Letter) {
    if let Letter::Admit { attempt: Attempt { gate, rate, source, .. }, .. } = letter {
        let budget = Budget { gate: *gate, whose: Whose::Source(source_of(*source)) };
        for rate in [*rate, rate.times(SOURCES_PER_LOGIN)] {
            let taken = super::throttle::Throttle::default().take(budget, rate, Instant::now());
            assert!(taken.is_ok(), "the first try is one too many");
        }
    }
}

impl Orders {
    /// Gives orders through `cluster`, and answers those that reach this node while it leads.
    #[must_use]
    pub fn new(cluster: Cluster, tenants: Tenants) -> Self {
        let desk = Arc::new(Desk { tenants, errands: OnceLock::new() });
        cluster.set_call_handler(Arc::<Desk>::clone(&desk));
        let times = Family::new_with_constructor(Self::histogram as fn() -> Histogram);
        for to in [SELF, ANOTHER] {
            drop(times.get_or_create(&To { to }));
        }
        Self { cluster, desk, times }
    }

    /// Has the errands of other nodes, and of this one, done by `errands`. Only the first call counts.
    pub fn serve(&self, errands: Arc<dyn Errands>) {
        let _ = self.desk.errands.set(errands);
    }

    /// Sends the layer above on `node`, or on the leader, an errand.
    ///
    /// # Errors
    /// When it cannot be asked in time; it may have been done all the same where that says so.
    pub async fn errand(
        &self,
        node: Option<NodeId>,
        request: Vec<u8>,
        deadline: Instant,
    ) -> Result<Vec<u8>, OrderError> {
        let letter = Letter::Errand { request, remaining_ms: remaining_ms(deadline) };
        let answer = match node {
            None => self.send(&letter, deadline).await?,
            Some(node) => {
                let asking = self.cluster.call_node(node, letter.seal()?, deadline);
                let answer = asking.instrument(tracing::debug_span!("forward", to = node.0)).await?;
                postcard::from_bytes(&answer).map_err(|_| OrderError::Garbled)?
            }
        };
        match answer {
            Answer::Ran(answer) => Ok(answer),
            Answer::Applied(_)
            | Answer::Busy { .. }
            | Answer::NotDone
            | Answer::Unknown
            | Answer::Admitted(_) => Err(OrderError::Garbled),
        }
    }

    fn histogram() -> Histogram {
        Histogram::new(BOUNDS_S)
    }

    /// Makes the times known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "conclave_forward_duration_seconds",
            "Time until the leader has answered an order, by whether that is this node",
            self.times.clone(),
        );
    }

    /// Has a command decided.
    ///
    /// # Errors
    /// See [`OrderError`]; only [`Unavailable`] can leave it open whether it was carried out.
    pub async fn execute(
        &self,
        command: &Command,
        request: RequestId,
        fingerprint: u64,
        deadline: Instant,
    ) -> Result<Decided, OrderError> {
        let bytes = replica::encode_command(command)?;
        if bytes.len() > Proposal::MAX_COMMAND_BYTES {
            return Err(Rejection::invalid("body", "the command is too long").into());
        }
        let letter = Letter::Submit {
            account: command.account.to_string(),
            proposal: Proposal { request, fingerprint, command: bytes },
            remaining_ms: remaining_ms(deadline),
        };
        match self.send(&letter, deadline).await? {
            Answer::Applied(Applied::Done { revision, at, reply, replayed }) => {
                let reply = replica::decode_reply(&reply)?;
                Ok(Decided { revision, at: Timestamp(at.0), reply, replayed })
            }
            Answer::Applied(Applied::Mismatch) => Err(OrderError::Mismatch),
            Answer::Busy { retry_after_ms } => {
                Err(OrderError::Busy { retry_after: Duration::from_millis(retry_after_ms) })
            }
            Answer::NotDone => Err(Unavailable::Timeout { outcome_unknown: false }.into()),
            Answer::Unknown => Err(Unavailable::Timeout { outcome_unknown: true }.into()),
            Answer::Admitted(_) | Answer::Ran(_) => Err(OrderError::Garbled),
        }
    }

    /// Asks whether something may be tried, and counts it: against its source, then, when that may, against its
    /// login. What is counted holds for all nodes, until another leads.
    ///
    /// # Errors
    /// When the leader cannot be asked in time. A try may have been counted all the same.
    pub async fn admit(
        &self,
        attempt: Attempt,
        deadline: Instant,
    ) -> Result<Result<Allowance, Exceeded>, OrderError> {
        let letter = Letter::Admit { attempt, remaining_ms: remaining_ms(deadline) };
        match self.send(&letter, deadline).await {
            Ok(Answer::Admitted(result)) => Ok(result),
            Ok(Answer::Busy { retry_after_ms }) => {
                Err(OrderError::Busy { retry_after: Duration::from_millis(retry_after_ms) })
            }
            Ok(Answer::Applied(_) | Answer::Ran(_)) => Err(OrderError::Garbled),
            // Nothing that the caller asked for was done, whatever was counted.
            Ok(Answer::NotDone | Answer::Unknown)
            | Err(OrderError::Unavailable(Unavailable::Timeout { .. } | Unavailable::Unreachable)) => {
                Err(Unavailable::Timeout { outcome_unknown: false }.into())
            }
            Err(other) => Err(other),
        }
    }

    async fn send(&self, letter: &Letter, deadline: Instant) -> Result<Answer, OrderError> {
        let (to, begun) = (if self.cluster.is_leader() { SELF } else { ANOTHER }, Instant::now());
        let asking =
            async { self.cluster.call_leader(letter.seal()?, deadline).await.map_err(OrderError::from) };
        let answer = asking.instrument(tracing::debug_span!("forward", to)).await;
        self.times.get_or_create(&To { to }).observe(begun.elapsed().as_secs_f64());
        let answer = answer?;
        postcard::from_bytes(&answer).map_err(|_| OrderError::Garbled)
    }
}

/// What the leader's side writes back. Grows at the end only: nodes of two versions may talk.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Applied(Applied),
    Busy { retry_after_ms: u64 },
    NotDone,
    Unknown,
    Admitted(Result<Allowance, Exceeded>),
    Ran(Vec<u8>),
}

/// The leader's side.
struct Desk {
    tenants: Tenants,
    errands: OnceLock<Arc<dyn Errands>>,
}

impl CallHandler for Desk {
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, Unavailable>> {
        let tenants = self.tenants.clone();
        let errands = self.errands.get().cloned();
        let Some((letter, trace)) = Letter::open(&request) else {
            tracing::error!(node = from.0, "a letter from another node does not decode");
            return Box::pin(std::future::ready(Err(Unavailable::Overloaded)));
        };
        let answering = answer(tenants, errands, from, letter);
        let Some(Trace { request, parent }) = trace else { return Box::pin(answering) };
        // In the name of the request, here too: as the node that was asked by its caller does.
        let span = tracing::error_span!("order", request, from = from.0);
        if let Some(parent) = parent {
            trace::adopt(&span, &parent);
        }
        Box::pin(trace::of_request(request.into(), answering.instrument(span)))
    }
}

async fn answer(
    tenants: Tenants,
    errands: Option<Arc<dyn Errands>>,
    from: NodeId,
    letter: Letter,
) -> Result<Bytes, Unavailable> {
    let deadline = Instant::now() + letter.remaining();
    let outcome = match letter {
        Letter::Submit { account, proposal, .. } => {
            let (account, begun) = (AccountKey::new(account), Instant::now());
            // From its place in the queue until a majority has it and this node shows it.
            let proposing = tenants.submit(&account, proposal, deadline);
            let outcome = proposing.instrument(tracing::debug_span!("propose", %account)).await;
            let ms = begun.elapsed().as_secs_f64() * 1000.0;
            match &outcome {
                Ok(_) => tracing::debug!(%account, ms, "the command was decided"),
                Err(refused) => tracing::debug!(%account, ms, %refused, "the command was not decided"),
            }
            outcome.map(Answer::Applied)
        }
        Letter::Admit { attempt, .. } => count(&tenants, attempt, deadline).await.map(Answer::Admitted),
        Letter::Errand { request, .. } => match errands {
            Some(errands) => Ok(Answer::Ran(errands.run(from, request, deadline).await)),
            // Still starting, or stopping.
            None => Err(Refused::NotLeader),
        },
    };
    let answer = match outcome {
        Ok(answer) => answer,
        // Nothing was done: the asking node looks for the new leader.
        Err(Refused::NotLeader) => return Err(Unavailable::NotLeader { leader: None }),
        Err(Refused::Busy { retry_after }) => Answer::Busy { retry_after_ms: millis(retry_after) },
        Err(Refused::TooLong | Refused::TooLate | Refused::NotDone) => Answer::NotDone,
        Err(Refused::Unknown) => Answer::Unknown,
    };
    postcard::to_stdvec(&answer).map(Bytes::from).map_err(|_| Unavailable::Overloaded)
}

/// Sources are counted in one place for all accounts, or each account would give them another allowance.
async fn count(
    tenants: &Tenants,
    attempt: Attempt,
    deadline: Instant,
) -> Result<Result<Allowance, Exceeded>, Refused> {
    let Attempt { gate, rate, source, login } = attempt;
    let budget = Budget { gate, whose: Whose::Source(source_of(source)) };
    let everybody = AccountKey::new(AccountId::CLUSTER.as_str());
    let left = match tenants.admit(&everybody, budget, rate, deadline).await? {
        Ok(left) => left,
        Err(exceeded) => return Ok(Err(exceeded)),
    };
    let Some(Login { account, digest }) = login else { return Ok(Ok(left)) };
    let budget = Budget { gate, whose: Whose::Login(digest) };
    let shared = rate.times(SOURCES_PER_LOGIN);
    let all = tenants.admit(&AccountKey::new(account.as_str()), budget, shared, deadline).await?;
    // A caller is told of its own allowance. How many others try a name is none of its business.
    let own = |exceeded: Exceeded| Exceeded {
        allowance: Allowance { limit: left.limit, remaining: 0, ..exceeded.allowance },
        ..exceeded
    };
    Ok(all.map(|_| left).map_err(own))
}

fn remaining_ms(deadline: Instant) -> u64 {
    millis(deadline.saturating_duration_since(Instant::now()))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    fn written(value: &impl Serialize) -> String {
        hex(&postcard::to_stdvec(value).unwrap())
    }

    /// As nodes of all releases write them: append variants, change none.
    #[test]
    fn letters_and_answers_are_written_as_ever() {
        let proposal =
            Proposal { request: RequestId([5; 16]), fingerprint: 300, command: Bytes::from_static(b"ab") };
        let attempt = Attempt {
            gate: Gate::Service,
            rate: "5/minute".parse().unwrap(),
            source: IpAddr::from([127, 0, 0, 1]),
            login: Some(Login { account: AccountId::CLUSTER, digest: [7; 16] }),
        };
        let letters = [
            (
                Letter::Submit { account: "a".to_owned(), proposal, remaining_ms: 300 },
                "00016105050505050505050505050505050505ac02026162ac02",
            ),
            (
                Letter::Admit { attempt, remaining_ms: 300 },
                "0102053c00007f000001010c30303030303030303030303007070707070707070707070707070707ac02",
            ),
            (Letter::Errand { request: vec![1, 2], remaining_ms: 300 }, "02020102ac02"),
        ];
        for (letter, golden) in letters {
            assert_eq!(written(&letter), golden);
        }
        let second = Duration::from_secs(1);
        let allowance = Allowance { limit: 5, remaining: 0, reset_after: second };
        let done = Applied::Done {
            revision: 300,
            at: conclave_cluster::LogTime(9),
            reply: Bytes::from_static(b"ok"),
            replayed: true,
        };
        let answers = [
            (Answer::Applied(done), "0000ac0209026f6b01"),
            (Answer::Applied(Applied::Mismatch), "0001"),
            (Answer::Busy { retry_after_ms: 300 }, "01ac02"),
            (Answer::NotDone, "02"),
            (Answer::Unknown, "03"),
            (Answer::Admitted(Ok(allowance)), "0400050001 00"),
            (Answer::Admitted(Err(Exceeded { allowance, retry_after: second })), "04010500010 00100"),
            (Answer::Ran(vec![1, 2]), "05020102"),
        ];
        for (answer, golden) in answers {
            assert_eq!(written(&answer), golden.replace(' ', ""));
        }
    }

    #[tokio::test]
    async fn a_letter_names_its_request_behind_its_end() {
        let letter = || Letter::Errand { request: vec![1, 2, 3], remaining_ms: 7 };
        let plain = letter().seal().unwrap();
        let named = trace::of_request("abc".into(), async { letter().seal().unwrap() }).await;
        for (sealed, request) in [(&plain, None), (&named, Some("abc".to_owned()))] {
            let (opened, trace) = Letter::open(sealed).unwrap();
            assert!(matches!(opened, Letter::Errand { request, remaining_ms: 7 } if request == [1, 2, 3]));
            assert_eq!(trace.map(|trace| trace.request), request);
            // As releases read it that know only the letter.
            assert!(postcard::from_bytes::<Letter>(sealed).is_ok());
        }
        assert!(named.starts_with(&plain) && named.len() > plain.len());
        assert!(Letter::open(&[99]).is_none());
    }
}

//! Why a call did not give what was asked.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::transport::Raw;

/// What a call ends with when it does not end with an answer.
///
/// No variant holds a token, a password or an address with a name in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The cluster says no, and says no again when it is asked again (4xx).
    #[error("refused: {0}")]
    Refused(Box<Refusal>),
    /// Not now: no leader, too much waiting, too many requests (429, 502, 503, 504), until the deadline.
    #[error("not now: {reason}")]
    NotNow {
        /// What the last node said.
        reason: Box<Refusal>,
        /// Whether one of the tries may have been carried out.
        outcome_unknown: bool,
    },
    /// No node answered before the deadline.
    #[error("no answer: {reason}")]
    Transport {
        /// What the last try ended with.
        reason: String,
        /// Whether one of the tries may have been carried out.
        outcome_unknown: bool,
    },
    /// The node that was asked broke on it (500) or does not know it (501). The cause is in the log of that
    /// node under the request id; whether anything was done is not known.
    #[error("the node failed: {0}")]
    Fault(Box<Refusal>),
    /// An answer that the API does not give: there is something else at that address.
    #[error("an answer with status {status} that is none of this API: {reason}")]
    BadAnswer {
        /// Its HTTP status.
        status: u16,
        /// What is wrong with it. Does not quote it.
        reason: String,
    },
    /// It cannot be asked, so nothing was sent.
    #[error("not sent: {0}")]
    Invalid(String),
}

/// An answer that is a refusal (RFC 9457 on the native API).
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Stable, for programs: `email_taken`. `http_404` and the like where the answer names none.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
    /// Names the request in the log of the node that answered.
    pub request_id: Option<String>,
    /// After how long the node thinks it worth asking again.
    pub retry_after: Option<Duration>,
    /// All members of the body, such as `field`, `permission` or `revision`.
    pub members: Map<String, Value>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.detail)
    }
}

impl Refusal {
    /// Reads an answer that is no success. What is not JSON is told by its status alone: a page of some
    /// proxy in between is nothing for logs.
    pub(super) fn read(raw: &Raw) -> Self {
        let status = raw.status.as_u16();
        let members = match serde_json::from_slice(&raw.body) {
            Ok(Value::Object(members)) => members,
            Ok(_) | Err(_) => Map::new(),
        };
        let text = |names: &[&str]| names.iter().find_map(|name| members.get(*name)?.as_str());
        // `message` and `reason` are what the surface of seed 003 says (contract part 3.1 and 3.4).
        let detail = text(&["detail", "message", "hint", "reason", "error_description"]);
        let detail = detail.or_else(|| raw.status.canonical_reason()).unwrap_or_default().to_owned();
        let code = text(&["code", "reason", "error"]).map_or_else(|| format!("http_{status}"), str::to_owned);
        let request_id = text(&["request_id"]).or_else(|| raw.header("x-request-id")).map(str::to_owned);
        let seconds = raw.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        let retry_after = seconds.map(|seconds| Duration::from_secs(seconds.into()));
        Self { status, code, detail, request_id, retry_after, members }
    }

    /// Whether it may have been carried out all the same. Only a node says for sure that it was not: 429, or
    /// a 503 of its own. Of an answer without a code, as proxies give, nothing is known.
    pub(super) fn is_outcome_unknown(&self) -> bool {
        match self.members.get("outcome_unknown").and_then(Value::as_bool) {
            Some(unknown) => unknown,
            None if self.status == 429 => false,
            None => !self.members.get("code").is_some_and(Value::is_string),
        }
    }
}

impl Error {
    /// The stable code of a refusal, a fault or a "not now".
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.code.as_str())
    }

    /// The HTTP status of the answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::BadAnswer { status, .. } => Some(*status),
            Self::Refused(_)
            | Self::NotNow { .. }
            | Self::Fault(_)
            | Self::Transport { .. }
            | Self::Invalid(_) => self.refusal().map(|refusal| refusal.status),
        }
    }

    /// What the cluster said, where it said something.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) | Self::NotNow { reason: refusal, .. } | Self::Fault(refusal) => {
                Some(refusal)
            }
            Self::Transport { .. } | Self::BadAnswer { .. } | Self::Invalid(_) => None,
        }
    }

    /// Whether the same call may work later. Make it under the same idempotency key where
    /// [`Error::is_outcome_unknown`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotNow { .. } | Self::Transport { .. } => true,
            Self::Refused(_) | Self::Fault(_) | Self::BadAnswer { .. } | Self::Invalid(_) => false,
        }
    }

    /// Whether it may have been carried out although there is no answer that says so.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::NotNow { outcome_unknown, .. } | Self::Transport { outcome_unknown, .. } => {
                *outcome_unknown
            }
            Self::Fault(_) | Self::BadAnswer { .. } => true,
            Self::Refused(_) | Self::Invalid(_) => false,
        }
    }
}

//! Why a step did not do what was asked. The surfaces give each a status and a shape.

use std::time::Duration;

use conclave_cluster::Unavailable;
use conclave_cluster::state::AsOfError;

use crate::auth::hasher::HashError;
use crate::auth::mint::NoRandomness;
use crate::auth::password::PasswordError;
use crate::auth::policy::Breach;
use crate::domain::{AccountId, Rejection, Timestamp};
use crate::rate::Exceeded;
use crate::replica::ReadError;
use crate::tenants::OrderError;

/// Not done: by a rule, for now, or by a fault of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A rule says no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The password breaks the rule for its length.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A new password breaks these rules of the policy that counts for it; at least one.
    #[error("the password breaks a rule")]
    WeakPassword(Vec<Breach>),
    /// The password is right, and too old to sign in with: it must be changed first.
    #[error("the password has expired")]
    PasswordExpired { account: AccountId },
    /// The password is right, and too many wrong ones came before. Most surfaces do not tell.
    #[error("locked for the time being")]
    Locked { until: Timestamp },
    /// The credentials are right, and their owner may not act. Most surfaces do not tell.
    #[error("disabled")]
    Disabled,
    /// Of the scopes or audiences that a client asks for it has none.
    #[error("nothing of what is asked for can be given")]
    NothingGranted,
    /// Not now, or not known.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Too much is waiting already. Nothing was done.
    #[error("too much is waiting")]
    Busy { retry_after: Duration },
    /// It was tried too often. Nothing was done.
    #[error(transparent)]
    Limited(#[from] Exceeded),
    /// An operator has switched it off for strangers, with this setting. Nothing was done.
    #[error("{setting} is off")]
    SwitchedOff { setting: &'static str },
    /// It would endanger the cluster. Says why, and what to do; for operators only.
    #[error("{0}")]
    Endangers(String),
    /// Not every node knows this yet: says which does not. Nothing was done.
    #[error("the cluster is being upgraded: {0}")]
    Upgrading(String),
    /// The idempotency key names another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The revision asked for is not here.
    #[error(transparent)]
    Revision(#[from] AsOfError),
    /// This node has not opened the cluster's secrets yet.
    #[error("this node is not ready yet")]
    NotReady,
    /// A bug or damage: the log says more, the client does not learn it.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            ReadError::AsOf(revision) => Self::Revision(revision),
        }
    }
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Rejected(rejection) => Self::Rejected(rejection),
            OrderError::Mismatch => Self::KeyReused,
            OrderError::Busy { retry_after } => Self::Busy { retry_after },
            OrderError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            OrderError::Garbled => Self::Internal("a node answered what cannot be read"),
        }
    }
}

impl From<HashError> for Failure {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy { retry_after } => Self::Busy { retry_after },
            HashError::Malformed => Self::Internal("a stored password hash is malformed"),
            HashError::Unavailable => Self::Internal("the password hasher stopped"),
        }
    }
}

impl From<NoRandomness> for Failure {
    fn from(NoRandomness: NoRandomness) -> Self {
        Self::Internal("no randomness")
    }
}

//! What is done to the data folder of a node that does not run: a new cluster made from the rows of a backup, and
//! a cluster gone on with from one node alone, when the majority is lost for ever.
//!
//! What must never be known here: what a row means, where the key-encryption key lies.
//!
//! # Why
//!
//! - **Both end in a folder that any start simply opens**: a snapshot, a durable copy, and a log that begins
//!   behind them. There is no second way of starting.
//! - **Both make a new cluster**: new id, new authority. The id is a part of every name that a certificate
//!   carries, so nodes of the old cluster can neither talk to the new one nor take it for theirs, and two
//!   histories that parted never meet again.
//! - **The folder is made aside and moved in by renames**, see `swap`. Until then nothing of the old one has
//!   changed; from then on the same command again, or nothing, is left to do. A start refuses a folder that is in
//!   between, because half a folder would pass for an empty one, and found an empty cluster.
//! - **Rows are changed by the caller, in one transaction at a revision of its own.** Which rows belong to the old
//!   cluster only the machine's owner knows, and several must change together; a function from row to row could
//!   not do that.

mod recover;
mod seed;
pub(crate) mod swap;

use std::path::PathBuf;

pub(crate) use recover::BEFORE_RECOVERY;
pub use recover::{LastKnown, Recovered, Stopped};
pub use seed::{Seed, seed};
pub use swap::finish;

use crate::error::StartError;
use crate::files::FileError;
use crate::folder::FolderError;
use crate::log::disk::LogError;
use crate::pki::PkiError;
use crate::seal::DataKeyError;

/// Why a folder was not made, or not gone on with. Nothing was changed then that the next try does not clean up.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError<E> {
    /// A new cluster needs an empty folder.
    #[error("{}: the folder is not empty: a restore makes a new cluster in an empty one", .0.display())]
    NotEmpty(PathBuf),
    /// The node has never been a member, so there is nothing to go on with.
    #[error("{}: this node has never been a member of a cluster: there is nothing to recover", .0.display())]
    NeverStarted(PathBuf),
    /// Log, state or certificates of the old folder.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An entry of the log does not decode.
    #[error("an entry of the log cannot be read: {0}")]
    Entry(std::io::Error),
    /// The state could not be read or written.
    #[error("the state: {0}")]
    State(String),
    /// The caller's change of the rows, or the rows themselves.
    #[error(transparent)]
    Rows(E),
}

macro_rules! from_start {
    ($($error:ty)*) => {$(
        impl<E> From<$error> for OfflineError<E> {
            fn from(error: $error) -> Self {
                Self::Start(error.into())
            }
        }
    )*};
}
from_start!(FolderError DataKeyError LogError);

impl<E> From<FileError> for OfflineError<E> {
    fn from(error: FileError) -> Self {
        FolderError::from(error).into()
    }
}

impl<E> From<PkiError> for OfflineError<E> {
    fn from(error: PkiError) -> Self {
        FolderError::from(error).into()
    }
}

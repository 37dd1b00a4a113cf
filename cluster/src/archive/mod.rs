//! Backups: the rows of one revision as a sealed stream, and the check that it is whole.
//!
//! ```text
//! magic 8, version u8, header length u32, header, wrapped key length u16, wrapped key, CRC u32 of all that
//! a sealed stream (`seal::stream`), in which:
//!   row:  1, key length u32, length of the rest u32, key, revision u64, value
//!   end:  0, number of rows u64, digest of the rows u128; then the end
//! ```
//! Numbers are little endian. Rows are in the order of their keys.
//!
//! What must never be known here: files, HTTP, what a row means.
//!
//! # Why
//!
//! - **A view is the backup.** It shows one revision however long it is read, so a backup holds up nobody and is
//!   of one moment. Only standing rows are in it: history and remembered requests belong to the cluster that
//!   made them.
//! - **A key for each backup**, wrapped like the data keys of a folder: a backup opens wherever the key-encryption
//!   key is, and nowhere else. The place that it is wrapped for is the hash of the header, so a header of which a
//!   bit was changed opens no backup, and none opens under another's header.
//! - **The header is plain**, because an operator has to find the right file without any key. It tells which
//!   cluster, when and how far, and nothing of anybody.
//! - **Blocks are sealed by their number and the last is marked** (`seal::stream`): what was flipped, cut, moved
//!   or left out does not open. The end counts the rows once more, against faults of our own.

pub(crate) mod format;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::io;

pub use format::Header;
pub use reader::{Archive, Contents, read_header, verify};
pub use writer::{Origin, Part, write};

use crate::seal::WrapError;

/// Why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not begin as a backup does.
    #[error("this is not a backup")]
    NotABackup,
    /// Written by a newer release.
    #[error("the backup has format {found}, and this program knows formats up to {known}: use a newer one")]
    NewerFormat {
        /// The format it states.
        found: u8,
        /// The newest format that this program knows.
        known: u8,
    },
    /// Its key is wrapped under a key-encryption key that is not at hand. The backup may be fine.
    #[error("the backup is sealed with key {id}: give the key file that holds that key")]
    WrongKey {
        /// The name of that key.
        id: String,
    },
    /// It is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// It could not be read.
    #[error("the backup cannot be read: {0}")]
    Io(io::Error),
}

impl ArchiveError {
    fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// An error of reading where `what` stands: some are about the content, and not about the reading.
    fn reading(what: &str, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidData {
            Self::Damaged(what.to_owned())
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Damaged(format!("it ends within {what}"))
        } else {
            Self::Io(error)
        }
    }

    fn wrapped(error: &WrapError) -> Self {
        match error {
            WrapError::UnknownKey { id } => Self::WrongKey { id: id.clone() },
            WrapError::Damaged | WrapError::NoRandomness => Self::damaged("its header"),
        }
    }
}

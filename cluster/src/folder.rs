//! A node's data folder: whose it is, that one process at a time uses it, and where each part lies.
//!
//! | file | what |
//! |---|---|
//! | `identity.toml` | format version, cluster, node, and whether it was ever a member; written last, so a folder without it is empty |
//! | `lock` | held by the running process |
//! | `ca.pem`, `node.pem`, `node.key` | certificates, see [`crate::pki`] |
//! | `ca.key` | the authority's key, on the node that founded the cluster (unless moved to a safer place) |
//! | `log/` | the Raft log, its entries sealed under `log.dek` |
//! | `log.dek` | the log's data key, wrapped; see [`crate::seal`] |
//! | `state/` | durable state and snapshots, sealed, each folder with its own wrapped key `dek` |

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::LogTime;
use crate::files::{self, FileError};
use crate::identity::{ClusterId, Identity, NodeId};
use crate::offline::swap;
use crate::pki::{Authority, NodeCertificate, PkiError};

/// A data folder that this process holds the lock of.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    certificate: NodeCertificate,
    was_started: bool,
    // Held for its lock, which ends with the process even when that is killed.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process uses it.
    #[error("{}: another process is using this data folder", .0.display())]
    InUse(PathBuf),
    /// Written by a newer release.
    #[error("{}: format {found} is newer than this program, which knows format {known}", path.display())]
    NewerFormat {
        /// The folder's identity file.
        path: PathBuf,
        /// The format it states.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// The identity file is damaged.
    #[error("{}: not an identity file: {reason}", path.display())]
    BadIdentity {
        /// The folder's identity file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Holds data, but no identity: it was never one of ours, or lost its identity file.
    #[error("{}: the folder holds data but no identity.toml; refusing to start a new node over it", .0.display())]
    NoIdentity(PathBuf),
    /// Already belongs to a node.
    #[error("{}: already belongs to node {} of cluster {}", path.display(), owner.node, owner.cluster)]
    Taken {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: Identity,
    },
    /// The certificate in it is for another node or cluster.
    #[error("{}: the certificate is not for node {} of cluster {}: {reason}", path.display(), expected.node, expected.cluster)]
    ForeignCertificate {
        /// The folder.
        path: PathBuf,
        /// Whom the identity file names.
        expected: Identity,
        /// What the check said.
        reason: String,
    },
    /// Neither the old folder nor the new one.
    #[error(
        "{}: a restore or a recovery of this folder was interrupted: run the same command again, and it goes on. \
         Nothing of the old folder is lost",
        .0.display()
    )]
    Interrupted(PathBuf),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate could not be made, read or written.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl DataFolder {
    /// The file that says whose folder it is.
    pub const IDENTITY_FILE: &'static str = "identity.toml";
    /// The format that this program writes.
    pub const FORMAT: u32 = 1;
    pub(crate) const LOG: &'static str = "log";
    pub(crate) const STATE: &'static str = "state";

    /// Makes `path` the folder of `node`, with a certificate from `authority`. Used by whoever sets up
    /// several nodes at once; a node that founds a cluster does it by itself when it first starts.
    ///
    /// # Errors
    /// When the folder belongs to another node, or a file cannot be written.
    pub fn prepare(
        path: &Path,
        authority: &Authority,
        node: NodeId,
        now: LogTime,
    ) -> Result<(), FolderError> {
        let identity = Identity { cluster: authority.cluster(), node };
        files::create_folder(path)?;
        match read_identity(path)? {
            Some(owner) if owner == identity => return Ok(()),
            Some(owner) => return Err(FolderError::Taken { path: path.to_owned(), owner }),
            None => {}
        }
        authority.issue(node, now)?.save(path)?;
        write_identity(path, identity, false)
    }

    /// Makes an empty `path` the folder of the first node of a new cluster, with the authority's key.
    ///
    /// # Errors
    /// When the folder belongs to a node already, holds other data, or a file cannot be written.
    pub fn found(path: &Path, now: LogTime) -> Result<Identity, FolderError> {
        swap::check(path)?;
        files::create_folder(path)?;
        if let Some(owner) = read_identity(path)? {
            return Err(FolderError::Taken { path: path.to_owned(), owner });
        }
        for part in [Self::LOG, Self::STATE] {
            if path.join(part).exists() {
                return Err(FolderError::NoIdentity(path.to_owned()));
            }
        }
        let authority = Authority::create(now)?;
        authority.save(path)?;
        Self::prepare(path, &authority, NodeId(1), now)?;
        Ok(Identity { cluster: authority.cluster(), node: NodeId(1) })
    }

    /// Whose folder `path` is; `None` when it is nobody's.
    ///
    /// # Errors
    /// When the identity file is damaged, too new, or unreadable.
    pub fn owner(path: &Path) -> Result<Option<Identity>, FolderError> {
        read_identity(path)
    }

    /// Takes the lock and reads identity and certificates.
    ///
    /// # Errors
    /// When another process holds the lock, the folder is nobody's, or its certificate is not for the node
    /// that it names.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let lock = take_lock(path)?;
        swap::check(path)?;
        let file = read_file(path)?.ok_or_else(|| FolderError::NoIdentity(path.to_owned()))?;
        let identity = file.identity();
        let certificate = NodeCertificate::load(path)?;
        certificate.check(identity).map_err(|reason| FolderError::ForeignCertificate {
            path: path.to_owned(),
            expected: identity,
            reason,
        })?;
        Ok(Self { path: path.to_owned(), identity, certificate, was_started: file.started, _lock: lock })
    }

    /// Whether the node has been a member before: then an empty log is a lost one.
    #[must_use]
    pub fn was_started(&self) -> bool {
        self.was_started
    }

    /// Remembers that the node has become a member.
    ///
    /// # Errors
    /// When the identity file cannot be written.
    pub fn mark_started(&self) -> Result<(), FolderError> {
        if self.was_started { Ok(()) } else { write_identity(&self.path, self.identity, true) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose folder it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The node's certificate.
    #[must_use]
    pub fn certificate(&self) -> &NodeCertificate {
        &self.certificate
    }

    /// The folder of the Raft log; whether it exists tells a node that has run from a new one.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(Self::LOG)
    }

    /// The folder of durable state and snapshots.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path.join(Self::STATE)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    format: u32,
    cluster: ClusterId,
    node: NodeId,
    started: bool,
}

impl IdentityFile {
    fn identity(&self) -> Identity {
        Identity { cluster: self.cluster, node: self.node }
    }
}

fn write_identity(path: &Path, identity: Identity, started: bool) -> Result<(), FolderError> {
    let path = path.join(DataFolder::IDENTITY_FILE);
    let Identity { cluster, node } = identity;
    let file = IdentityFile { format: DataFolder::FORMAT, cluster, node, started };
    let text = toml::to_string(&file)
        .map_err(|error| FolderError::BadIdentity { path: path.clone(), reason: error.to_string() })?;
    files::write(&path, text.as_bytes())?;
    Ok(())
}

fn read_identity(path: &Path) -> Result<Option<Identity>, FolderError> {
    Ok(read_file(path)?.map(|file| file.identity()))
}

fn read_file(path: &Path) -> Result<Option<IdentityFile>, FolderError> {
    let path = path.join(DataFolder::IDENTITY_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = files::read_text(&path)?;
    let bad = |reason: String| FolderError::BadIdentity { path: path.clone(), reason };
    // The format comes first: a newer one may have other fields.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| bad(error.to_string()))?;
    let format = table.get("format").and_then(toml::Value::as_integer).and_then(|n| u32::try_from(n).ok());
    match format {
        Some(DataFolder::FORMAT) => {}
        Some(found) if found > DataFolder::FORMAT => {
            return Err(FolderError::NewerFormat { path: path.clone(), found, known: DataFolder::FORMAT });
        }
        Some(_) | None => return Err(bad("no known format number".to_owned())),
    }
    table.try_into().map(Some).map_err(|error: toml::de::Error| bad(error.to_string()))
}

pub(crate) fn take_lock(path: &Path) -> Result<File, FolderError> {
    if !path.is_dir() {
        return Err(FolderError::NoIdentity(path.to_owned()));
    }
    let name = path.join("lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(files::at(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(FileError { path: name, source }.into()),
    }
}

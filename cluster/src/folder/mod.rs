//! A node's data folder: whose it is, that one process at a time uses it, and where each part lies.
//!
//! | file | what |
//! |---|---|
//! | `identity.toml` | format version, cluster, node, whether it was ever a member, until then whom to ask, and which level a program must know; written last, so a folder without it is empty
//! | `lock` | held by the running process |
//! | `node.key` | the node's certificate with its key, sealed under `node.dek`; before the first start the plain key |
//! | `node.pem`, `ca.pem` | the certificates of node and authority, for anyone to read; see [`crate::pki`] |
//! | `ca.key` | the authority's key, on the node that founded the cluster until it is kept elsewhere |
//! | `log/` | the Raft log, its entries sealed under `log.dek` |
//! | `log.dek` | the log's data key, wrapped; see [`crate::seal`] |
//! | `state/` | durable state and snapshots, sealed, each folder with its own wrapped key `dek` |
//!
//! # Why the level stands in a file of its own kind
//! A program that does not know a level must not touch what was written at it: it would take a state in a newer
//! format for a damaged one, and an entry that it does not know for nonsense. So the level is in the first file
//! that is read, in the clear. Format 2 is format 1 with a level: programs from before levels refuse it.

mod certificate;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::LogTime;
use crate::files::{self, FileError};
use crate::identity::{ClusterId, Identity, NodeId};
use crate::machine::FIRST_LEVEL;
use crate::offline::swap;
use crate::pki::{Authority, NodeCertificate, PkiError};
use crate::seal::{DataKeyError, Vault};

/// A data folder that this process holds the lock of.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    was_started: bool,
    peers: Vec<String>,
    level: u32,
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
    /// The node's sealed certificate is not what was written.
    #[error(
        "{}: the file is damaged, and with it this node cannot show who it is. Put it back from a copy; or remove \
         the node from its cluster, and join with an empty data folder under a new id",
        .0.display()
    )]
    DamagedKey(PathBuf),
    /// The key of the node's sealed certificate.
    #[error(transparent)]
    Key(#[from] DataKeyError),
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
    /// The newest format that this program reads, and writes where it must.
    pub const FORMAT: u32 = 2;
    /// The format of a folder that programs from before levels can use.
    const FORMAT_WITHOUT_LEVEL: u32 = 1;
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
        IdentityFile::new(identity).write(path)
    }

    /// Makes an empty `path` the folder of a node that the cluster has given a certificate. `peers`, as
    /// `host:port`, are remembered until the node is a member: a start that is told no others asks them for
    /// admission. May be repeated after it was cut short.
    ///
    /// # Errors
    /// When the folder belongs to a node already, holds other data, the certificate is not for `identity`, or a
    /// file cannot be written.
    pub fn adopt(
        path: &Path,
        identity: Identity,
        certificate: &NodeCertificate,
        peers: &[String],
    ) -> Result<(), FolderError> {
        check_empty(path)?;
        check_certificate(path, identity, certificate)?;
        certificate.save(path)?;
        IdentityFile { peers: peers.to_vec(), ..IdentityFile::new(identity) }.write(path)
    }

    /// Makes an empty `path` the folder of the first node of a new cluster, with the authority's key.
    ///
    /// # Errors
    /// When the folder belongs to a node already, holds other data, or a file cannot be written.
    pub fn found(path: &Path, now: LogTime) -> Result<Identity, FolderError> {
        check_empty(path)?;
        Self::found_with(path, &Authority::create(now)?, now)
    }

    /// As [`DataFolder::found`], with an authority that is there already. Its key is written into the folder too.
    ///
    /// # Errors
    /// As [`DataFolder::found`].
    pub fn found_with(path: &Path, authority: &Authority, now: LogTime) -> Result<Identity, FolderError> {
        check_empty(path)?;
        authority.save(path)?;
        Self::prepare(path, authority, NodeId(1), now)?;
        Ok(Identity { cluster: authority.cluster(), node: NodeId(1) })
    }

    /// Whose folder `path` is; `None` when it is nobody's.
    ///
    /// # Errors
    /// When the identity file is damaged, too new, or unreadable.
    pub fn owner(path: &Path) -> Result<Option<Identity>, FolderError> {
        read_identity(path)
    }

    /// Takes the lock and reads the identity.
    ///
    /// # Errors
    /// When another process holds the lock, the folder is nobody's, or its certificate, if that is not sealed,
    /// is not for the node that it names.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let lock = take_lock(path)?;
        swap::check(path)?;
        let file = read_file(path)?.ok_or_else(|| FolderError::NoIdentity(path.to_owned()))?;
        let identity = file.identity();
        if !certificate::is_sealed(path)? {
            check_certificate(path, identity, &NodeCertificate::load(path)?)?;
        }
        Ok(Self {
            path: path.to_owned(),
            identity,
            was_started: file.started,
            peers: file.peers,
            level: file.level.unwrap_or(FIRST_LEVEL),
            _lock: lock,
        })
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
        if self.was_started {
            return Ok(());
        }
        let file = read_file(&self.path)?.unwrap_or_else(|| IdentityFile::new(self.identity));
        IdentityFile { started: true, peers: Vec::new(), ..file }.write(&self.path)
    }

    /// The level that a program must know to use the folder.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Keeps all programs out, from now on, that do not know `level`. A lower one than before changes nothing.
    ///
    /// # Errors
    /// When the identity file cannot be written.
    pub fn require_level(&mut self, level: u32) -> Result<(), FolderError> {
        if level <= self.level {
            return Ok(());
        }
        let file = read_file(&self.path)?.unwrap_or_else(|| IdentityFile::new(self.identity));
        IdentityFile { format: Self::FORMAT, level: Some(level), ..file }.write(&self.path)?;
        self.level = level;
        Ok(())
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

    /// Whom a node that was never a member may ask for admission, as `host:port`; see [`DataFolder::adopt`].
    #[must_use]
    pub fn peers(&self) -> &[String] {
        &self.peers
    }

    /// Whether the folder's certificate is that of the node which the identity file names.
    ///
    /// # Errors
    /// When it is another's, damaged or sealed with another key.
    pub(crate) fn check_certificate(&self, vault: &Vault) -> Result<(), FolderError> {
        check_certificate(&self.path, self.identity, &certificate::read(&self.path, vault)?)
    }

    /// The node's certificate. One that lies there plain is sealed by this, unless the folder may yet be given back
    /// to a program from before levels, which reads no other.
    pub(crate) fn certificate(&self, vault: &Vault) -> Result<NodeCertificate, FolderError> {
        let certificate = certificate::read(&self.path, vault)?;
        check_certificate(&self.path, self.identity, &certificate)?;
        let is_for_older = self.was_started && self.level == FIRST_LEVEL;
        if !is_for_older && !certificate::is_sealed(&self.path)? {
            certificate::write(&self.path, vault, &certificate)?;
        }
        Ok(certificate)
    }

    /// Puts another certificate into the place of the node's, whole or not at all.
    pub(crate) fn install(&self, certificate: &NodeCertificate, vault: &Vault) -> Result<(), FolderError> {
        check_certificate(&self.path, self.identity, certificate)?;
        certificate::write(&self.path, vault, certificate)?;
        if let Err(error) = certificate.save_public(&self.path) {
            // They are copies, and written again at the next start.
            tracing::warn!(%error, "the new certificate is in use, but its readable copy was not written");
        }
        Ok(())
    }

    /// The authority, if its key lies here.
    pub(crate) fn authority(&self) -> Result<Option<Authority>, FolderError> {
        if !self.path.join(Authority::KEY_FILE).exists() {
            return Ok(None);
        }
        Ok(Some(Authority::load(&self.path, self.identity.cluster)?))
    }

    /// Removes the authority's key, if it lies here.
    pub(crate) fn forget_authority_key(&self) -> Result<(), FolderError> {
        Ok(files::erase(&self.path.join(Authority::KEY_FILE))?)
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
pub(crate) struct IdentityFile {
    format: u32,
    cluster: ClusterId,
    node: NodeId,
    started: bool,
    // Only until the node is a member, so that a folder in use is what releases up to 0.1 know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    peers: Vec<String>,
    /// Only in format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<u32>,
}

impl IdentityFile {
    fn new(identity: Identity) -> Self {
        let Identity { cluster, node } = identity;
        Self {
            format: DataFolder::FORMAT_WITHOUT_LEVEL,
            cluster,
            node,
            started: false,
            peers: Vec::new(),
            level: None,
        }
    }

    fn identity(&self) -> Identity {
        Identity { cluster: self.cluster, node: self.node }
    }

    fn write(&self, folder: &Path) -> Result<(), FolderError> {
        let path = folder.join(DataFolder::IDENTITY_FILE);
        let text = toml::to_string(self)
            .map_err(|error| FolderError::BadIdentity { path: path.clone(), reason: error.to_string() })?;
        files::write(&path, text.as_bytes())?;
        Ok(())
    }
}

/// Makes the folder if need be. Nobody's data may lie in it.
fn check_empty(path: &Path) -> Result<(), FolderError> {
    swap::check(path)?;
    files::create_folder(path)?;
    if let Some(owner) = read_identity(path)? {
        return Err(FolderError::Taken { path: path.to_owned(), owner });
    }
    for part in [DataFolder::LOG, DataFolder::STATE] {
        if path.join(part).exists() {
            return Err(FolderError::NoIdentity(path.to_owned()));
        }
    }
    Ok(())
}

fn check_certificate(
    path: &Path,
    identity: Identity,
    certificate: &NodeCertificate,
) -> Result<(), FolderError> {
    certificate.check(identity).map_err(|reason| FolderError::ForeignCertificate {
        path: path.to_owned(),
        expected: identity,
        reason,
    })
}

fn read_identity(path: &Path) -> Result<Option<Identity>, FolderError> {
    Ok(read_file(path)?.map(|file| file.identity()))
}

fn read_file(path: &Path) -> Result<Option<IdentityFile>, FolderError> {
    let path = path.join(DataFolder::IDENTITY_FILE);
    if !path.exists() {
        return Ok(None);
    }
    parse_file(&path, &files::read_text(&path)?).map(Some)
}

/// What an identity file says.
pub(crate) fn parse_file(path: &Path, text: &str) -> Result<IdentityFile, FolderError> {
    let bad = |reason: String| FolderError::BadIdentity { path: path.to_owned(), reason };
    // The format comes first: a newer one may have other fields.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| bad(error.to_string()))?;
    let format = table.get("format").and_then(toml::Value::as_integer).and_then(|n| u32::try_from(n).ok());
    match format {
        Some(DataFolder::FORMAT_WITHOUT_LEVEL | DataFolder::FORMAT) => {}
        Some(found) if found > DataFolder::FORMAT => {
            return Err(FolderError::NewerFormat { path: path.to_owned(), found, known: DataFolder::FORMAT });
        }
        Some(_) | None => return Err(bad("no known format number".to_owned())),
    }
    table.try_into().map_err(|error: toml::de::Error| bad(error.to_string()))
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

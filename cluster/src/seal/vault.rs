//! The data keys of one data folder: made, opened, wrapped again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::data_key::DataKey;
use super::header::{self, Header, Kind};
use super::{KeyWrapper, WrapError};
use crate::files;
use crate::identity::Identity;
use crate::offline::BEFORE_RECOVERY;

/// The data keys below one folder, and the wrapper that opens them.
///
/// One thing at a time is done to their files, so that none is made under a key that is being replaced
/// without the replacement seeing it.
#[derive(Debug)]
pub struct Vault {
    root: PathBuf,
    /// Whose folder it is: what is wrapped for one node opens on no other.
    owner: Identity,
    wrapper: Arc<dyn KeyWrapper>,
    writing: Mutex<()>,
}

/// What is known of a data key's file without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKeyStatus {
    /// The file, below the data folder.
    pub file: PathBuf,
    /// The name of the key that wraps it; `None` when the file is damaged.
    pub key: Option<String>,
    /// Whether that is not the key that wraps now.
    pub is_outdated: bool,
}

/// Why a data key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataKeyError {
    /// Wrapped under a key-encryption key that this node was not given. The data is fine.
    #[error(
        "{} was sealed with key {id}, and does not open with this node's key file: give the node the key file \
         that holds that key. Nothing was changed",
        file.display()
    )]
    WrongKey {
        /// The data key's file.
        file: PathBuf,
        /// The name of the key that it needs.
        id: String,
    },
    /// There is data and no key to it.
    #[error(
        "{} is missing: without it nothing that it seals can be read. Put it back, or, if an earlier program \
         wrote this folder unsealed, join with an empty one",
        .0.display()
    )]
    Missing(PathBuf),
    /// The file is not what was written.
    #[error("{} is damaged, or of another node", .0.display())]
    Damaged(PathBuf),
    /// The file could not be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// The data key's file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataKeyError {
    /// Whether what the key seals is lost, as far as this disk is concerned.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Damaged(_) => true,
            Self::WrongKey { .. } | Self::Io { .. } => false,
        }
    }
}

impl Vault {
    /// The data keys below `root`, the data folder of `owner`. Reads nothing yet.
    pub fn new(root: impl Into<PathBuf>, owner: Identity, wrapper: Arc<dyn KeyWrapper>) -> Self {
        Self { root: root.into(), owner, wrapper, writing: Mutex::new(()) }
    }

    /// Whether anything below a data folder has been sealed: then its key must be given, not made.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn holds_anything(root: &Path) -> io::Result<bool> {
        Ok(!files_below(root)?.is_empty())
    }

    /// Looks whether every data key can be unwrapped, and changes nothing. Damaged files pass: what they seal
    /// heals as all damage does.
    ///
    /// # Errors
    /// [`DataKeyError::WrongKey`] for the first that cannot.
    pub fn check(&self) -> Result<(), DataKeyError> {
        for file in self.files()? {
            match read(&file).and_then(|header| self.unwrap(&file, &header)) {
                Err(DataKeyError::Damaged(_) | DataKeyError::Missing(_)) | Ok(_) => {}
                Err(error @ (DataKeyError::WrongKey { .. } | DataKeyError::Io { .. })) => return Err(error),
            }
        }
        Ok(())
    }

    /// The data keys, by file.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn status(&self) -> Result<Vec<DataKeyStatus>, DataKeyError> {
        let mut all = Vec::new();
        for path in self.files()? {
            let file = path.strip_prefix(&self.root).unwrap_or(&path).to_owned();
            all.push(match read(&path) {
                Ok(Header { wrapped, .. }) => DataKeyStatus {
                    file,
                    key: self.wrapper.key_of(&wrapped),
                    is_outdated: self.wrapper.is_outdated(&wrapped),
                },
                Err(DataKeyError::Damaged(_)) => DataKeyStatus { file, key: None, is_outdated: false },
                // A copy that was replaced meanwhile.
                Err(DataKeyError::Missing(_)) => continue,
                Err(error @ (DataKeyError::WrongKey { .. } | DataKeyError::Io { .. })) => return Err(error),
            });
        }
        Ok(all)
    }

    /// Wraps again what is not wrapped under the key that wraps now, file by file, each whole or as it was.
    /// Says how many. What is sealed is not touched.
    ///
    /// # Errors
    /// When one cannot be unwrapped or written. The others before it are done.
    pub fn rewrap(&self) -> Result<usize, DataKeyError> {
        let _writing = self.hold();
        let mut count = 0;
        for file in self.files()? {
            let header = match read(&file) {
                Ok(header) => header,
                Err(DataKeyError::Damaged(_) | DataKeyError::Missing(_)) => continue,
                Err(error @ (DataKeyError::WrongKey { .. } | DataKeyError::Io { .. })) => return Err(error),
            };
            if !header.is_worn && !self.wrapper.is_outdated(&header.wrapped) {
                continue;
            }
            let key = match self.unwrap(&file, &header) {
                Err(DataKeyError::Damaged(_)) => continue,
                other => other?,
            };
            self.write(&file, header.kind, &key)?;
            count += 1;
        }
        if count > 0 {
            tracing::info!(count, "data keys are wrapped again");
        }
        Ok(count)
    }

    /// While it is held, no data key's file is made or written.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file below the data folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Opens the data key in `file`.
    pub(crate) fn open(&self, file: &Path, kind: Kind) -> Result<DataKey, DataKeyError> {
        let header = read(file)?;
        if header.kind != kind {
            return Err(DataKeyError::Damaged(file.to_owned()));
        }
        let key = self.unwrap(file, &header)?;
        DataKey::new(&key).map_err(at(file))
    }

    /// Makes a new data key in `file`, durable, in the place of what may be there.
    pub(crate) fn create(&self, file: &Path, kind: Kind) -> Result<DataKey, DataKeyError> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut key[..]).map_err(|_| at(file)(no_randomness()))?;
        let _writing = self.hold();
        self.write(file, kind, &key)?;
        DataKey::new(&key).map_err(at(file))
    }

    fn write(&self, file: &Path, kind: Kind, key: &Zeroizing<[u8; 32]>) -> Result<(), DataKeyError> {
        let wrapped = self.wrapper.wrap(&self.place(kind), key);
        let wrapped = wrapped.map_err(|error| at(file)(io::Error::other(error)))?;
        let bytes = header::encode(kind, &wrapped);
        let bytes = bytes.ok_or_else(|| at(file)(io::Error::other("the wrapped key is too long")))?;
        files::write_secret(file, &bytes).map_err(|error| at(file)(error.source))
    }

    fn unwrap(&self, file: &Path, header: &Header) -> Result<Zeroizing<[u8; 32]>, DataKeyError> {
        self.wrapper.unwrap(&self.place(header.kind), &header.wrapped).map_err(|error| match error {
            WrapError::UnknownKey { id } => DataKeyError::WrongKey { file: file.to_owned(), id },
            WrapError::Damaged => DataKeyError::Damaged(file.to_owned()),
            WrapError::NoRandomness => at(file)(no_randomness()),
        })
    }

    fn place(&self, kind: Kind) -> String {
        format!("cluster {} node {} {}", self.owner.cluster, self.owner.node, kind.name())
    }

    fn files(&self) -> Result<Vec<PathBuf>, DataKeyError> {
        files_below(&self.root).map_err(at(&self.root))
    }
}

fn read(file: &Path) -> Result<Header, DataKeyError> {
    match fs::read(file) {
        Ok(bytes) => header::decode(&bytes).ok_or_else(|| DataKeyError::Damaged(file.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DataKeyError::Missing(file.to_owned())),
        Err(source) => Err(at(file)(source)),
    }
}

/// Every data key's file, but those of copies that were given up, and of the cluster before a recovery.
fn files_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            // A copy that was replaced meanwhile, or a folder that was not made yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                if depth < DEEPEST && !name.starts_with(GIVEN_UP) && !name.starts_with(BEFORE_RECOVERY) {
                    folders.push((entry.path(), depth + 1));
                }
            } else if name == DATA_KEY_FILE || name.ends_with(".dek") {
                found.push(entry.path());
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn at(file: &Path) -> impl Fn(io::Error) -> DataKeyError {
    let file = file.to_owned();
    move |source| DataKeyError::Io { file: file.clone(), source }
}

fn no_randomness() -> io::Error {
    io::Error::other("no randomness")
}

pub(crate) const DATA_KEY_FILE: &str = "dek";
pub(crate) const GIVEN_UP: &str = "bad-";
/// `state/copy-<n>/dek`.
const DEEPEST: usize = 2;

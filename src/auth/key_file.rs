//! Where a node has its key-encryption keys from: a file, or a setting.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::kek::Kek;
use super::seal::Sealer;
use crate::config::Config;
use crate::secret::Secret;

/// Where a node has its keys from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file, which is read again when the node is told to.
    File(PathBuf),
    /// The setting `encryption_key`, which takes a restart to change.
    Setting(Secret<String>),
}

impl KeySource {
    /// The source that the settings name.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        match &config.encryption_key {
            Some(keys) => Self::Setting(keys.clone()),
            None => Self::File(config.key_file.clone()),
        }
    }

    /// Reads the keys that are there.
    ///
    /// # Errors
    /// As [`Kek::read_file`].
    pub fn read(&self) -> Result<Sealer, KekError> {
        match self {
            Self::File(path) => Kek::read_file(path),
            Self::Setting(keys) => parse_setting(keys),
        }
    }

    /// The file, where it is one that is missing.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn missing(&self) -> Result<Option<&Path>, KekError> {
        match self {
            Self::Setting(_) => Ok(None),
            Self::File(path) => match path.try_exists() {
                Ok(exists) => Ok((!exists).then_some(path)),
                Err(source) => Err(KekError::Io { path: path.clone(), source }),
            },
        }
    }
}

/// What is wrong with a key file. Names the file and the remedy, never its content.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// It cannot be read or made.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is missing, and must not be made.
    #[error("key file {path} is missing, and {reason}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why no new one is made, and what to do.
        reason: &'static str,
    },
    /// The setting does not hold keys.
    #[error("encryption_key: expected 1 to {max} keys, 32 bytes in base64 each, with commas between", max = Kek::MAX_KEYS)]
    Setting,
    /// Others than its owner have rights on it.
    #[error("key file {path} has mode {mode:03o}: others may use it; run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold keys.
    #[error("key file {path}, line {line}: expected 32 bytes in base64 (44 characters)")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// It holds no key, or too many.
    #[error("key file {path} holds {count} keys; expected 1 to {max}", max = Kek::MAX_KEYS)]
    Count {
        /// The file.
        path: PathBuf,
        /// How many keys it holds.
        count: usize,
    },
}

/// A step of replacing a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEdit {
    /// A new key, last: it opens, and seals nothing yet.
    Add,
    /// The last key becomes the first: it seals from now on.
    Promote,
    /// All but the first go.
    DropOthers,
}

impl Kek {
    /// The most keys in a file: one that seals, the others on their way in or out.
    pub const MAX_KEYS: usize = 8;

    /// Opens a key file: one key a line, the first one seals.
    ///
    /// # Errors
    /// When there is none, when others than its owner have rights on it, or when it holds anything but keys.
    pub fn read_file(path: &Path) -> Result<Sealer, KekError> {
        parse(path, &Self::read_file_text(path)?)
    }

    /// The text of a key file, not looked at yet.
    ///
    /// # Errors
    /// When there is none, or when others than its owner have rights on it.
    pub fn read_file_text(path: &Path) -> Result<Zeroizing<String>, KekError> {
        let failed = |source| KekError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        // Asked of the open file, so that it is the one that is read.
        let metadata = file.metadata().map_err(failed)?;
        if is_exposed(metadata.mode(), metadata.uid(), own_user()) {
            return Err(KekError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o777 });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
        Ok(text)
    }

    /// Writes the key file that a cluster gave to a node that had none. A file that is there is left alone.
    ///
    /// # Errors
    /// When the text is no key file, there is one already, or it cannot be written.
    pub fn write_new_file(path: &Path, text: &str) -> Result<(), KekError> {
        parse(path, text)?;
        link_beside(path, text, true).map_err(|source| KekError::Io { path: path.to_owned(), source })
    }

    /// Opens a key file, and makes one with a fresh key when there is none. Only for the first start of a
    /// cluster: a node that joins needs the cluster's own file.
    ///
    /// # Errors
    /// As [`Kek::read_file`], or when it cannot be made.
    pub fn read_or_create_file(path: &Path) -> Result<Sealer, KekError> {
        if !path.try_exists().map_err(|source| KekError::Io { path: path.to_owned(), source })? {
            create(path).map_err(|source| KekError::Io { path: path.to_owned(), source })?;
        }
        Self::read_file(path)
    }

    /// Changes the order or number of the keys in a file, as a whole or not at all; gives the keys as they are then.
    ///
    /// # Errors
    /// When the file cannot be read or written, or would hold too many keys.
    pub fn edit_file(path: &Path, edit: KeyEdit) -> Result<Sealer, KekError> {
        let before = Self::read_file(path)?;
        let mut keys: Vec<&Self> = before.keys().collect();
        let new;
        match edit {
            KeyEdit::Add if keys.len() == Self::MAX_KEYS => {
                return Err(KekError::Count { path: path.to_owned(), count: keys.len() + 1 });
            }
            KeyEdit::Add => {
                let made = random_key().map_err(|source| KekError::Io { path: path.to_owned(), source })?;
                new = Self(made);
                keys.push(&new);
            }
            KeyEdit::Promote => keys.rotate_right(1),
            KeyEdit::DropOthers => keys.truncate(1),
        }
        let mut text = Zeroizing::new(String::new());
        for Self(key) in keys {
            STANDARD.encode_string(key.expose(), &mut text);
            text.push('\n');
        }
        write_beside(path, &text)
            .and_then(|beside| fs::rename(beside, path))
            .and_then(|()| sync_folder_of(path))
            .map_err(|source| KekError::Io { path: path.to_owned(), source })?;
        Self::read_file(path)
    }
}

/// More than any key file needs.
const MAX_FILE_BYTES: u64 = 4096;

pub(crate) fn parse(path: &Path, text: &str) -> Result<Sealer, KekError> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let malformed = || KekError::Malformed { path: path.to_owned(), line: index + 1 };
        keys.push(parse_key(line).ok_or_else(malformed)?);
    }
    let count = keys.len();
    sealer(keys).ok_or_else(|| KekError::Count { path: path.to_owned(), count })
}

pub(crate) fn parse_setting(keys: &Secret<String>) -> Result<Sealer, KekError> {
    let keys = keys.expose().split(',').map(|key| parse_key(key.trim()));
    keys.collect::<Option<Vec<Kek>>>().and_then(sealer).ok_or(KekError::Setting)
}

fn parse_key(text: &str) -> Option<Kek> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    Some(Kek::from_bytes(Secret::new(bytes.as_slice().try_into().ok()?)))
}

/// Of keys in their order; `None` when they are none or too many.
fn sealer(keys: Vec<Kek>) -> Option<Sealer> {
    let is_few = keys.len() <= Kek::MAX_KEYS;
    let mut keys = keys.into_iter();
    keys.next().filter(|_| is_few).map(|current| Sealer::new(current, keys.collect()))
}

/// Writes a fresh key, and gives it the name unless another process was first.
fn create(path: &Path) -> io::Result<()> {
    let line = Zeroizing::new(STANDARD.encode(random_key()?.expose()) + "\n");
    link_beside(path, &line, false)
}

fn link_beside(path: &Path, text: &str, must_be_new: bool) -> io::Result<()> {
    let beside = write_beside(path, text)?;
    // Unlike a rename, a link never replaces a key that is there already.
    let linked = match fs::hard_link(&beside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !must_be_new => Ok(()),
        other => other,
    };
    fs::remove_file(&beside)?;
    linked?;
    sync_folder_of(path)
}

/// Whether others than its owner may use a file. A group may read what belongs to root: so orchestrators hand
/// secrets to processes that are not root.
const fn is_exposed(mode: u32, owner: u32, user: Option<u32>) -> bool {
    let is_handed_over = owner == 0 && matches!(user, Some(user) if user != 0);
    let allowed = if is_handed_over { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

/// The user this process runs as, as the system shows it.
fn own_user() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

fn random_key() -> io::Result<Secret<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| io::Error::other("no randomness"))?;
    Ok(Secret::new(*key))
}

/// Writes and syncs a file of another name in the same folder, for its owner only.
fn write_beside(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(beside)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::seal::Place;

    const HERE: Place<'_> = Place { account: "a", record: "r", purpose: "p" };

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_file_and_the_next_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        assert!(matches!(Kek::read_file(&path), Err(KekError::Io { .. })), "never made by reading");
        let sealed = Kek::read_or_create_file(&path).unwrap().seal(&HERE, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = Kek::read_or_create_file(&path).unwrap();
        assert_eq!(again.open(&HERE, &sealed).unwrap().expose(), b"secret");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let other = Kek::read_or_create_file(&folder.path().join("other")).unwrap();
        assert!(!other.is_operator(again.operator_token().expose()), "each file has its own key");
        assert!(again.is_operator(again.operator_token().expose()));
    }

    #[test]
    fn only_a_file_can_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("kek"), folder.path().join("other"));
        Kek::read_or_create_file(&path).unwrap();
        assert_eq!(KeySource::File(path.clone()).missing().unwrap(), None);
        assert_eq!(KeySource::File(other.clone()).missing().unwrap(), Some(other.as_path()));
        assert_eq!(KeySource::Setting(Secret::new(String::new())).missing().unwrap(), None);
        // Below a file there is nothing to look into.
        let unknown = KeySource::File(path.join("kek"));
        assert!(matches!(unknown.missing(), Err(KekError::Io { .. })));
    }

    #[test]
    fn a_key_that_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        let (one, two) = (STANDARD.encode([1; 32]) + "\n", STANDARD.encode([2; 32]) + "\n");
        Kek::write_new_file(&path, &one).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), one);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(
            matches!(Kek::write_new_file(&path, &two), Err(KekError::Io { .. })),
            "the cluster's is lost"
        );
        create(&path).expect("whoever starts a cluster takes the key that another process was first to make");
        assert_eq!(fs::read_to_string(&path).unwrap(), one);
        // No file may have a name that ends like a folder's.
        assert!(create(&folder.path().join("other/")).is_err());
        assert!(matches!(
            Kek::write_new_file(&folder.path().join("new"), "no key"),
            Err(KekError::Malformed { .. })
        ));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_folder_of_a_bare_name_is_the_current_one() {
        sync_folder_of(Path::new("kek")).unwrap();
        sync_folder_of(Path::new("/kek")).unwrap();
        assert!(sync_folder_of(Path::new("no-such-folder/kek")).is_err());
    }

    #[test]
    fn what_this_process_makes_belongs_to_its_user() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(own_user(), Some(file.path().metadata().unwrap().uid()));
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        Kek::read_or_create_file(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o622, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Kek::read_or_create_file(&path).unwrap_err();
            assert!(matches!(error, KekError::Exposed { mode: seen, .. } if seen == mode), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(Kek::read_file(&path).is_ok());
    }

    #[test]
    fn a_group_may_read_what_root_hands_over() {
        for (mode, owner, user, is) in [
            (0o100_600, 7, Some(7), false),
            (0o100_440, 7, Some(7), true),
            (0o100_440, 0, Some(7), false),
            (0o100_640, 0, Some(7), false),
            (0o100_640, 0, Some(0), true),
            (0o100_640, 0, None, true),
            (0o100_660, 0, Some(7), true),
            (0o100_644, 0, Some(7), true),
        ] {
            assert_eq!(is_exposed(mode, owner, user), is, "{mode:o} {owner} {user:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_refused_without_quoting_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        let good = STANDARD.encode([1; 32]);
        let short = STANDARD.encode([1; 31]);
        let long = STANDARD.encode([1; 33]);
        for (text, line) in [
            (short.clone(), 1),
            (long, 1),
            ("hunter2".to_owned(), 1),
            (format!("{good}\n{short}\n"), 2),
            (format!("{good} {good}"), 1),
        ] {
            write(&path, &text, 0o600);
            let error = Kek::read_or_create_file(&path).unwrap_err();
            assert!(matches!(error, KekError::Malformed { line: seen, .. } if seen == line), "{error}");
            assert!(!text.split_whitespace().any(|word| error.to_string().contains(word)), "{error}");
        }
        for (text, count) in [(String::new(), 0), ("\n\n".to_owned(), 0), (format!("{good}\n").repeat(9), 9)]
        {
            write(&path, &text, 0o600);
            let error = Kek::read_file(&path).unwrap_err();
            assert!(matches!(error, KekError::Count { count: seen, .. } if seen == count), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 9, "a bad file is never replaced");
    }

    #[test]
    fn the_first_line_seals_and_the_others_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        let (one, two) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        write(&path, &format!("{one}\n"), 0o600);
        let sealed = Kek::read_file(&path).unwrap().seal(&HERE, b"secret").unwrap();
        write(&path, &format!("{two}\r\n\n{one}"), 0o600);
        let rotated = Kek::read_file(&path).unwrap();
        assert_eq!(rotated.open(&HERE, &sealed).unwrap().expose(), b"secret");
        assert!(rotated.is_outdated(&sealed));
    }

    #[test]
    fn a_setting_holds_keys_too_and_is_not_quoted() {
        let (one, two) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let read = |text: &str| KeySource::Setting(Secret::new(text.to_owned())).read();
        let sealed = read(&one).unwrap().seal(&HERE, b"secret").unwrap();
        let rotated = read(&format!("{two}, {one}")).unwrap();
        assert_eq!(rotated.open(&HERE, &sealed).unwrap().expose(), b"secret");
        assert!(rotated.is_outdated(&sealed));
        for bad in ["", "hunter2", &one[1..], &format!("{one},"), &[&one[..]; 9].join(",")] {
            let error = read(bad).unwrap_err();
            assert!(matches!(error, KekError::Setting) && !error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_is_edited_step_by_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        let ids = |sealer: &Sealer| sealer.key_ids().collect::<Vec<_>>();
        let old = ids(&Kek::read_or_create_file(&path).unwrap())[0];
        let both = ids(&Kek::edit_file(&path, KeyEdit::Add).unwrap());
        assert_eq!((both.len(), both[0]), (2, old));
        assert_eq!(ids(&Kek::edit_file(&path, KeyEdit::Promote).unwrap()), [both[1], old]);
        assert_eq!(ids(&Kek::read_file(&path).unwrap()), [both[1], old]);
        assert_eq!(ids(&Kek::edit_file(&path, KeyEdit::DropOthers).unwrap()), [both[1]]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        for _ in 1..Kek::MAX_KEYS {
            Kek::edit_file(&path, KeyEdit::Add).unwrap();
        }
        let full = fs::read(&path).unwrap();
        assert!(matches!(Kek::edit_file(&path, KeyEdit::Add), Err(KekError::Count { count: 9, .. })));
        assert_eq!(fs::read(&path).unwrap(), full);
    }
}

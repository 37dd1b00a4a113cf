//! A folder made aside, and its way into the place of the old one.
//!
//! ```text
//! unfinished/           the new parts, while they are made
//! unfinished/ready      all of them are there and durable; holds the name of the folder for the old ones
//! before-…/             the old parts, once they were moved out
//! ```
//!
//! # Why
//! A data folder may be a mount point, which cannot be renamed, so its parts move and not the folder. With
//! `ready` everything is decided: each part is moved out and in by a rename, and which of them were moved can be
//! seen, so that whoever comes after a crash goes on. `identity.toml` moves last: without it no start succeeds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{self, FileError};
use crate::folder::{DataFolder, FolderError, take_lock};

/// The new parts of a folder.
pub(super) struct Unfinished {
    data: PathBuf,
}

impl Unfinished {
    /// Begins anew; what an earlier try left goes. The folder's lock is held by the caller.
    pub(super) fn begin(data: &Path) -> Result<Self, FileError> {
        let path = data.join(UNFINISHED);
        if path.try_exists().map_err(files::at(&path))? {
            fs::remove_dir_all(&path).map_err(files::at(&path))?;
        }
        files::create_folder(&path)?;
        Ok(Self { data: data.to_owned() })
    }

    /// Where the new parts are made.
    pub(super) fn path(&self) -> PathBuf {
        self.data.join(UNFINISHED)
    }

    /// All parts are durable: from here on they are the folder. The old ones go to `aside`.
    pub(super) fn settle(self, aside: Option<&str>) -> Result<Option<PathBuf>, FileError> {
        files::write(&self.path().join(READY), aside.unwrap_or_default().as_bytes())?;
        files::sync_folder(&self.data)?;
        move_in(&self.data)
    }
}

/// Ends a restore or recovery that was interrupted after all was decided; says where the old parts are, or
/// nothing when there was nothing to end.
///
/// # Errors
/// When another process uses the folder, or a part cannot be moved: trying again goes on.
pub fn finish(data: &Path) -> Result<Option<PathBuf>, FolderError> {
    if !data.join(UNFINISHED).join(READY).exists() {
        return Ok(None);
    }
    let _lock = take_lock(data)?;
    Ok(move_in(data)?)
}

/// Refuses a folder that is neither the old one nor the new one.
pub(crate) fn check(data: &Path) -> Result<(), FolderError> {
    let unfinished = data.join(UNFINISHED);
    let is_decided = unfinished.join(READY).exists();
    let is_nobodys = unfinished.exists() && !data.join(DataFolder::IDENTITY_FILE).exists();
    if is_decided || is_nobodys { Err(FolderError::Interrupted(data.to_owned())) } else { Ok(()) }
}

/// Whether it is a name that these commands give.
pub(super) fn is_ours(name: &str) -> bool {
    name == UNFINISHED
}

fn move_in(data: &Path) -> Result<Option<PathBuf>, FileError> {
    let new = data.join(UNFINISHED);
    let aside = Some(files::read_text(&new.join(READY))?).filter(|name| !name.is_empty());
    let aside = aside.map(|name| data.join(name));
    if let Some(aside) = &aside {
        files::create_folder(aside)?;
    }
    for name in parts(&new)? {
        let (from, to) = (new.join(&name), data.join(&name));
        if let Some(aside) = aside.as_ref().filter(|_| to.exists()) {
            rename(&to, &aside.join(&name))?;
            files::sync_folder(aside)?;
            files::sync_folder(data)?;
        }
        rename(&from, &to)?;
        files::sync_folder(data)?;
    }
    fs::remove_dir_all(&new).map_err(files::at(&new))?;
    files::sync_folder(data)?;
    Ok(aside)
}

/// The parts that have not been moved in yet, the identity last.
fn parts(new: &Path) -> Result<Vec<String>, FileError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(new)? {
            names.extend(entry?.file_name().into_string().ok().filter(|name| name != READY));
        }
        Ok(names)
    };
    let mut names = read().map_err(files::at(new))?;
    names.sort_by_key(|name| (name == DataFolder::IDENTITY_FILE, name.clone()));
    Ok(names)
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(files::at(from))
}

const UNFINISHED: &str = "unfinished";
const READY: &str = "ready";

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(folder: &Path, content: &str) {
        fs::create_dir_all(folder.join("state/inner")).unwrap();
        for name in ["identity.toml", "ca.key", "state/inner/file"] {
            fs::write(folder.join(name), content).unwrap();
        }
    }

    fn content(folder: &Path) -> Vec<String> {
        ["identity.toml", "ca.key", "state/inner/file"]
            .map(|name| fs::read_to_string(folder.join(name)).unwrap_or_else(|_| "none".to_owned()))
            .to_vec()
    }

    /// Interrupted between any two renames, it goes on from there, and no start succeeds meanwhile.
    #[test]
    fn a_swap_goes_on_wherever_it_was_interrupted() {
        for stop in 0..=6 {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path();
            fill(data, "old");
            fs::write(data.join("other"), "kept").unwrap();
            let unfinished = Unfinished::begin(data).unwrap();
            fill(&unfinished.path(), "new");
            check(data).unwrap();
            files::write(&unfinished.path().join(READY), b"before-1").unwrap();
            files::create_folder(&data.join("before-1")).unwrap();
            // What `move_in` does, as far as the power lasts.
            let mut left = stop;
            for name in ["ca.key", "state", "identity.toml"] {
                for (from, to) in [("", "before-1"), (UNFINISHED, "")] {
                    if left > 0 {
                        fs::rename(data.join(from).join(name), data.join(to).join(name)).unwrap();
                        left -= 1;
                    }
                }
            }
            assert!(matches!(check(data), Err(FolderError::Interrupted(_))), "{stop}");
            let aside = finish(data).unwrap().unwrap();
            assert_eq!(content(data), ["new"; 3], "{stop}");
            assert_eq!(content(&aside), ["old"; 3], "{stop}");
            assert_eq!(fs::read_to_string(data.join("other")).unwrap(), "kept");
            check(data).unwrap();
            assert_eq!(finish(data).unwrap(), None);
        }
    }

    #[test]
    fn before_it_is_decided_an_old_folder_is_as_it_was_and_a_new_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fill(&Unfinished::begin(dir.path()).unwrap().path(), "new");
        assert!(matches!(check(dir.path()), Err(FolderError::Interrupted(_))));
        fill(dir.path(), "old");
        check(dir.path()).unwrap();
        assert_eq!(finish(dir.path()).unwrap(), None);
        let again = Unfinished::begin(dir.path()).unwrap();
        assert_eq!(fs::read_dir(again.path()).unwrap().count(), 0);
        assert_eq!(content(dir.path()), ["old"; 3]);
    }
}

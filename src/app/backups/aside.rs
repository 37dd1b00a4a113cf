//! A backup's file on its way: beside its place first, and there once it is whole.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file on its way. Dropped before it is kept, it leaves nothing, and what has its name stays as it was.
#[derive(Debug)]
pub struct Aside {
    to: PathBuf,
    path: PathBuf,
    file: fs::File,
    is_kept: bool,
}

impl Aside {
    /// Begins a file that only its owner may read.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(to: &Path) -> io::Result<Self> {
        let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        let mut aside = to.file_name().ok_or_else(no_file)?.to_os_string();
        aside.push(format!(".{}{PART}", std::process::id()));
        let path = to.with_file_name(aside);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path)?;
        Ok(Self { to: to.to_owned(), path, file, is_kept: false })
    }

    /// Where it is meanwhile.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Takes the place of what had the name before.
    ///
    /// # Errors
    /// When it cannot be moved there.
    pub fn keep(mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.to)?;
        self.is_kept = true;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is named so that it is known as what it is.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// How the names of files end that are no backups yet.
pub(super) const PART: &str = ".part";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_not_kept_leaves_an_earlier_one_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        fs::write(&file, "earlier").unwrap();
        let mut aside = Aside::create(&file).unwrap();
        aside.write_all(b"half of").unwrap();
        drop(aside);
        assert_eq!(names(folder.path()), ["backup"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "earlier");
        let mut aside = Aside::create(&file).unwrap();
        aside.write_all(b"all").unwrap();
        aside.sync().unwrap();
        aside.keep().unwrap();
        assert_eq!(names(folder.path()), ["backup"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "all");
        assert!(Aside::create(&folder.path().join("none/backup")).is_err());
        assert!(Aside::create(Path::new("/")).is_err());
    }
}

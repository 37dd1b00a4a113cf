//! What is done to a file of a stopped node: one bit flipped, the end cut off or overwritten, a block of zeros.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The same numbers for the same seed, so that a failure can be looked at.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flip,
    Cut,
    Garbled,
    Zeros,
    Missing,
}

/// What was done, and where.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) file: PathBuf,
    pub(super) kind: Kind,
    #[expect(dead_code, reason = "shown when a test fails")]
    pub(super) at: usize,
}

impl Damage {
    /// Whether a crash can leave the file so: the end of the log is missing. What it held is then gone from this
    /// disk, and nothing on it can tell that it was ever acknowledged.
    pub(super) fn looks_torn(&self) -> bool {
        let is_log = self.file.extension().is_some_and(|extension| extension == "wal");
        is_log && matches!(self.kind, Kind::Cut | Kind::Zeros)
    }
}

/// Damages one file below `folder`, which the seed chooses: mostly by one bit.
pub(super) fn inflict(folder: &Path, seed: u64) -> Damage {
    let mut random = Random::new(seed);
    // The first numbers of near seeds are near each other.
    for _ in 0..8 {
        random.below(1);
    }
    let files = files(folder);
    let large: Vec<&PathBuf> = files.iter().filter(|file| is_large(file)).collect();
    let file = if random.below(10) < 6 {
        large[random.below(large.len())]
    } else {
        &files[random.below(files.len())]
    };
    let path = folder.join(file);
    let mut bytes = fs::read(&path).unwrap();
    let kind = match random.below(20) {
        0..14 => Kind::Flip,
        14..16 => Kind::Cut,
        16..18 => Kind::Garbled,
        18 => Kind::Zeros,
        _ => Kind::Missing,
    };
    // sled's file is long and mostly empty: where there is nothing, there is nothing to be seen.
    let full = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut at = random.below(full);
    // Most of that is what later batches have replaced: every other time nearer to the end.
    if file.ends_with("sled/db") && random.below(2) == 0 {
        at = full - 1 - at / 16;
    }
    match kind {
        Kind::Flip if bytes.is_empty() => bytes.push(1),
        Kind::Flip => bytes[at] ^= 1 << random.below(8),
        Kind::Cut => bytes.truncate(at),
        Kind::Garbled => {
            at = full.saturating_sub(1 + random.below(300));
            bytes[at..full].iter_mut().for_each(|byte| *byte ^= u8::try_from(random.below(255)).unwrap() + 1);
        }
        Kind::Zeros => {
            at = at / BLOCK * BLOCK;
            bytes.iter_mut().skip(at).take(BLOCK).for_each(|byte| *byte = 0);
        }
        Kind::Missing => {}
    }
    match kind {
        Kind::Missing => fs::remove_file(&path).unwrap(),
        Kind::Flip | Kind::Cut | Kind::Garbled | Kind::Zeros => fs::write(&path, bytes).unwrap(),
    }
    Damage { file: file.clone(), kind, at }
}

fn is_large(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default();
    extension == "wal" || extension == "snapshot" || file.ends_with("sled/db")
}

/// Whether a start found something damaged, and moved it aside.
pub(super) fn moved_aside(folder: &Path) -> bool {
    let is_aside = |file: &PathBuf| {
        file.starts_with("state/snapshots") && file.extension().is_some_and(|it| it == "bad")
    };
    files(folder).iter().any(|file| is_aside(file) || file.to_string_lossy().starts_with("state/bad-"))
}

/// All files below a folder, in order, named from there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

pub(super) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder).into_iter().map(|file| (file.clone(), fs::read(folder.join(file)).unwrap())).collect()
}

/// Removes the durable copies of a node's state.
pub(super) fn remove_copies(folder: &Path) {
    for entry in fs::read_dir(folder.join("state")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("copy-") {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

const BLOCK: usize = 4096;

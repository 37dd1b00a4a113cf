//! What can be seen in the sources and beside them.

use std::fs;
use std::path::{Path, PathBuf};

/// All files below a folder of the repository, but those that are built and those of the tool that keeps versions.
fn files(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["target", ".git", "node_modules", "__pycache__"].contains(&name.as_str()) {
                folders.push(path);
            } else if path.is_file()
                && let Ok(bytes) = fs::read(&path)
            {
                found.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
            }
        }
    }
    found
}

#[test]
fn c5_no_key_lies_in_the_repository() {
    // The data of a cluster of the first release, which was made for the test that reads it and never served anybody.
    let is_fixture = |path: &Path| path.starts_with("tests/data/release-0.1");
    // In two parts, or this file would be found.
    let signs = [["PRIVATE ", "KEY-----"], ["AKIA", "IOSFODNN"], ["ghp", "_"], ["xox", "b-"]]
        .map(|parts| parts.concat());
    let mut seen = 0;
    for (path, bytes) in files(".") {
        seen += 1;
        let has = |sign: &str| bytes.windows(sign.len()).any(|window| window == sign.as_bytes());
        let is_key =
            path.extension().is_some_and(|end| ["kek", "key", "p12", "pfx"].iter().any(|key| end == *key));
        let found = signs.iter().find(|sign| has(sign));
        // Sources may look for keys, or say how one begins.
        let is_source =
            path.extension().is_some_and(|end| ["rs", "sh", "py"].iter().any(|kind| end == *kind));
        let is_whole = has(&["-----END ", "PRIVATE ", "KEY-----"].concat());
        assert!(is_fixture(&path) || !is_key, "{} is a key", path.display());
        assert!(
            is_fixture(&path) || found.is_none() || (is_source && !is_whole),
            "{}: {found:?}",
            path.display()
        );
    }
    assert!(seen > 300, "{seen}");
}

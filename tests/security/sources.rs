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

/// The lines of the program itself, without comments and test modules.
fn lines() -> Vec<(PathBuf, String)> {
    let sources = files("src").into_iter().chain(files("cluster/src"));
    let mut lines = Vec::new();
    for (path, bytes) in sources.filter(|(path, _)| path.extension().is_some_and(|end| end == "rs")) {
        let name = path.to_string_lossy().into_owned();
        if name.contains("test") || name.contains("/golden") {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        let mut rest = text.lines().peekable();
        while let Some(line) = rest.next() {
            let opens = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
            if line.starts_with("#[cfg(test)]") && rest.peek().is_some_and(opens) {
                break;
            }
            lines.push((path.clone(), line.split("//").next().unwrap_or_default().to_owned()));
        }
    }
    assert!(lines.len() > 20_000, "{}", lines.len());
    lines
}

/// Why a line of the program compares a secret in a time that tells of it.
fn compares_a_secret(line: &str) -> bool {
    let shows = ["expose()", ".phc()", "as_bytes()"];
    let is_secret =
        ["secret", "token", "password", "hash", "key"].iter().any(|word| line.to_lowercase().contains(word));
    let compares = [" == ", " != ", ".eq(", ".ne("].iter().any(|sign| line.contains(sign));
    let exposed = line.contains("expose()") || (is_secret && shows.iter().any(|shown| line.contains(shown)));
    exposed && compares && !line.contains(".len()") && !line.contains("is_empty()")
}

/// Where both texts are of one caller: nothing is told that it does not know.
const BOTH_GIVEN: [&str; 3] = [
    "new.expose() == current.expose()",
    "body.new.expose() != body.confirmed.expose()",
    "state.held.access.expose() == refused.expose()",
];

#[test]
fn t11_secrets_are_compared_in_constant_time() {
    assert!(compares_a_secret("if given.expose() == stored.expose() {"));
    assert!(compares_a_secret("secret.as_bytes() != other"));
    assert!(!compares_a_secret("if text.expose().len() == 3 {") && !compares_a_secret("if a == b {"));
    let wrong: Vec<String> = lines()
        .into_iter()
        .filter(|(_, line)| compares_a_secret(line) && !BOTH_GIVEN.iter().any(|known| line.contains(known)))
        .map(|(path, line)| format!("{}: {}", path.display(), line.trim()))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Maps of ours are ordered, or hash with a key that is drawn at the start.
#[test]
fn h10_no_map_of_ours_hashes_without_a_key() {
    let unkeyed =
        ["FxHash", "fxhash", "ahash", "BuildHasherDefault", "FnvHash", "DefaultHasher::new", "foldhash"];
    let wrong: Vec<String> = lines()
        .into_iter()
        .filter(|(_, line)| unkeyed.iter().any(|name| line.contains(name)))
        .map(|(path, line)| format!("{}: {}", path.display(), line.trim()))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
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

//! What clippy does not see: secrets compared byte by byte (T11), hashes that callers can make collide (H10).

use std::fs;
use std::path::{Path, PathBuf};

/// Where a comparison may stand that looks like one of a secret: file, what the line holds, why.
const COMPARED: [(&str, &str, &str); 12] = [
    ("auth/cache.rs", "entry.token", "digests of whole tokens, which nobody can steer"),
    ("domain/audit/chain.rs", "", "the chain is shown to its readers"),
    ("cli/audit/verify.rs", "", "the chain is shown to its readers"),
    (
        "domain/node.rs",
        "token.secret == *secret",
        "digests of random secrets, in the log's order and not in a reply's time",
    ),
    ("domain/restore/merge.rs", "value.hash == key.hash", "digests, both of them from rows"),
    ("domain/properties", "", "tests of the rules"),
    ("dev/", "", "a machine's own files"),
    ("cli/keys.rs", "data_keys + done.secrets == 0", "numbers"),
    ("fuzzing", "", "targets of fuzzing"),
    ("client/", "", "what a client holds is its own"),
    (
        "auth/join_token.rs",
        "check_of(content) != check",
        "the check of a text against slips of the pen, not a proof",
    ),
    (
        "auth/token.rs",
        "given == checksum(prefix, body)",
        "the check of a text against slips of the pen, not a proof",
    ),
];

/// Words for what must be compared in constant time.
const SECRETS: [&str; 9] =
    ["secret", "token", "password", "hash", "mac", "signature", "verifier", "proof", "api_key"];

/// Hashes without a key, or with one that everybody knows.
const UNKEYED: [&str; 7] =
    ["DefaultHasher", "FxHash", "fxhash", "ahash", "AHasher", "BuildHasherDefault", "std::collections::Hash"];

#[test]
fn secrets_are_compared_in_constant_time() {
    let mut wrong = Vec::new();
    for (path, line, code) in code() {
        let is_known = |(file, text, _): &(&str, &str, &str)| path.contains(file) && code.contains(text);
        if compares_a_secret(&code) && !COMPARED.iter().any(is_known) {
            wrong.push(format!("{path}:{line}: {}", code.trim()));
        }
    }
    assert!(wrong.is_empty(), "use SecretHash::is or verify_slices_are_equal:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_that_callers_choose_is_hashed_without_a_key() {
    let mut wrong = Vec::new();
    for (path, line, code) in code() {
        if UNKEYED.iter().any(|name| code.contains(name)) {
            wrong.push(format!("{path}:{line}: {}", code.trim()));
        }
    }
    assert!(wrong.is_empty(), "BTreeMap, or a RandomState of one's own:\n{}", wrong.join("\n"));
}

/// These checks see what they are there for.
#[test]
fn such_lines_are_seen() {
    for seen in [
        "if stored.secret == given.secret {",
        "    token.expose() != other",
        "let same = left.hash() == right;",
        "a.map(|row| row.password) == Some(wanted.password)",
        "self.refresh_token == token",
    ] {
        assert!(compares_a_secret(seen), "{seen}");
    }
    for passed in [
        "if secret.len() == 32 {",
        "secret: a => b",
        "token_type == \"refresh\"",
        "(name, secret) => x",
        "hashes == 7",
    ] {
        assert!(!compares_a_secret(passed), "{passed}");
    }
}

/// Whether a side of a comparison is a secret: a path whose last name, calls that show the value aside, is one.
fn compares_a_secret(code: &str) -> bool {
    let sides = |operator: &str| {
        let parts: Vec<&str> = code.split(operator).collect();
        let mut sides = Vec::new();
        for pair in parts.windows(2) {
            let left = pair[0].rsplit(|c: char| " ,|{".contains(c)).find(|word| !word.is_empty());
            let right = pair[1].split(|c: char| " ,|&{;".contains(c)).find(|word| !word.is_empty());
            sides.push((left.unwrap_or_default().to_owned(), right.unwrap_or_default().to_owned()));
        }
        sides
    };
    let all = sides(" == ").into_iter().chain(sides(" != "));
    all.into_iter().any(|(left, right)| {
        // A number or a text that is written there is no secret.
        let is_plain = |side: &str| side.starts_with(|c: char| c == '"' || c == '\'' || c.is_ascii_digit());
        !is_plain(&right) && !is_plain(&left) && (is_secret(&left) || is_secret(&right))
    })
}

fn is_secret(side: &str) -> bool {
    let mut side = side.trim_matches(|c: char| "*&()?".contains(c));
    for shown in [".expose", ".as_bytes", ".as_slice", ".as_ref", ".as_str", "()"] {
        side = side.trim_end_matches("()").trim_end_matches(shown);
    }
    let name = side.rsplit(['.', ':', '(']).next().unwrap_or_default();
    SECRETS.iter().any(|secret| name == *secret || name.ends_with(&format!("_{secret}")))
}

/// Every line of code that is no test, with its file and number.
fn code() -> Vec<(String, usize, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut lines) = (vec![root.join("src"), root.join("cluster/src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let is_test = ["tests", "testing", "_tests.rs", "tests.rs", "golden", "/script"]
                .iter()
                .any(|part| name.contains(part));
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let text = fs::read_to_string(&path).unwrap();
                let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
                let code = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
                lines.extend((1..).zip(code).map(|(at, code)| (name.clone(), at, code.to_owned())));
            }
        }
    }
    assert!(lines.len() > 20_000, "the sources were not found");
    lines
}

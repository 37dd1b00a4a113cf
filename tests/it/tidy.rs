//! Reads the sources and fails where one knows what it must not know, or has grown too long.
//!
//! A module imports only what stands to its right in [`LAYERS`], and [`LEAVES`]. Test modules (behind
//! `#[cfg(test)]`) may look anywhere: they do not run on a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the outside in.
const LAYERS: [&str; 10] =
    ["main", "cli", "node", "api", "http", "app", "tenants", "auth", "replica", "domain"];

/// A command of the command line that is a folder of its own: both are one layer.
const DEV: (&str, &str) = ("dev", "cli");

/// What programs of others use: it knows the wire and nothing of the server, and the server nothing of it.
const CLIENT: &str = "client";
const CLIENT_MAY: [&str; 2] = ["clock", "secret"];

/// What anybody may import, but the domain, and what imports nothing but each other.
const LEAVES: [&str; 5] = ["config", "clock", "rate", "secret", "telemetry"];

/// Who may name the crate that replicates.
const CLUSTER_USERS: [&str; 8] = ["main", "node", "dev", "cli", "clock", "app", "tenants", "replica"];

/// What of that crate is only read, and so may be named by whoever answers a caller: no command can be
/// given with it.
const READ_ONLY: [&str; 8] = [
    "conclave_cluster::LogTime",
    "conclave_cluster::MemberStatus",
    "conclave_cluster::Proposal::MAX_COMMAND_BYTES",
    "conclave_cluster::Role",
    "conclave_cluster::Status",
    "conclave_cluster::Unavailable",
    "conclave_cluster::state::AsOfError",
    "conclave_cluster::state::View",
];

/// What the domain is made of.
const PURE: [&str; 8] = ["std", "core", "crate", "serde", "postcard", "uuid", "thiserror", "sha2"];

/// What is in `std` and still not pure.
const IMPURE: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "std::sync::atomic",
    "std::sync::Mutex",
];

/// Named in `cluster/` and nowhere else.
const REPLICATION: [&str; 4] = ["openraft", "openraft_rt", "raft_log", "sled"];

const MAX_LINES: usize = 500;

/// A source file.
struct Source {
    /// Below the folder of the workspace.
    path: PathBuf,
    text: String,
    is_test: bool,
}

#[test]
fn arrows_point_inwards() {
    let sources = below("src");
    assert!(sources.len() > 20, "the sources were not found");
    report(sources.iter().flat_map(wrong_arrows).collect());
}

#[test]
fn every_file_says_what_lives_in_it() {
    let sources = below("src").into_iter().chain(below("cluster/src")).chain(below("tests"));
    // What is two lines long says it all by itself.
    let is_silent = |source: &Source| !source.text.starts_with("//!") && source.text.lines().count() > 2;
    let silent = sources.filter(|source| !source.is_test && is_silent(source));
    report(silent.map(|source| format!("{}: no //! at its head", source.path.display())).collect());
}

#[test]
fn no_file_is_too_long() {
    let sources = below("src").into_iter().chain(below("cluster/src")).chain(below("tests"));
    let long =
        sources.map(|source| (source.text.lines().count(), source)).filter(|(lines, _)| *lines > MAX_LINES);
    report(long.map(|(lines, source)| format!("{}: {lines} lines", source.path.display())).collect());
}

/// These checks see what they are there for.
#[test]
fn wrong_arrows_are_seen() {
    let faults = |path: &str, text: &str| {
        wrong_arrows(&Source { path: PathBuf::from(path), text: text.to_owned(), is_test: false }).len()
    };
    for (path, text) in [
        ("src/domain/user.rs", "use crate::auth::hasher::Hasher;"),
        ("src/domain/user.rs", "use tokio::time::Instant;"),
        ("src/domain/user.rs", "use std::{fmt,\n    time::Instant};"),
        ("src/domain/user.rs", "fn now() { std::time::Instant::now() }"),
        ("src/domain/user.rs", "use std::collections::HashMap;"),
        ("src/domain/user.rs", "use super::super::replica::Replica;"),
        ("src/domain/mod.rs", "use crate::secret::Secret;"),
        ("src/domain/mod.rs", "pub async fn late() {}"),
        ("src/replica.rs", "use super::tenants::Orders;"),
        ("src/auth/mod.rs", "use crate::{domain::UserId, app::{Caller, x::Y}};"),
        ("src/auth/mod.rs", "use conclave_cluster::Cluster;"),
        ("src/tenants/mod.rs", "fn f() { crate::http::router::go() }"),
        ("src/config/mod.rs", "use crate::domain::Lifetime;"),
        ("src/http/mod.rs", "use conclave_cluster::Cluster;"),
        ("src/node.rs", "use crate::dev::folder;"),
        ("src/node.rs", "use sled::Db;"),
        ("src/node.rs", "use openraft::Raft;"),
        ("src/surprise.rs", "use crate::domain::UserId;"),
        ("src/client/native/users.rs", "use crate::domain::UserId;"),
        ("src/client/mod.rs", "use super::config::Config;"),
        ("src/client/mod.rs", "use conclave_cluster::LogTime;"),
        ("src/cli/ask.rs", "use crate::client::Client;"),
        ("src/secret.rs", "use crate::client::Error;"),
    ] {
        assert_eq!(faults(path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/domain/user.rs", "use super::{Rejection, rows::tables};\nuse serde::Serialize;\nuse std::fmt;"),
        ("src/domain/mod.rs", "mod user;\npub use user::User;\n// use tokio::time;"),
        ("src/auth/mod.rs", "use conclave_cluster::LogTime;\nuse crate::secret::Secret;"),
        ("src/main.rs", "use conclave::cli;"),
        ("src/dev/mod.rs", "use crate::cli::Stop;"),
        (
            "src/client/verify.rs",
            "use super::native::Account;\nuse crate::clock::Clock;\nuse crate::secret::Secret;",
        ),
        ("src/replica.rs", "#[cfg(test)]\nmod tests {\n    use crate::api::x;\n}"),
    ] {
        assert_eq!(faults(path, text), 0, "{path}: {text}");
    }
}

fn report(mut wrong: Vec<String>) {
    wrong.sort();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn wrong_arrows(source: &Source) -> Vec<String> {
    if source.is_test {
        return Vec::new();
    }
    let module = module_of(&source.path);
    let top = module.first().map_or("lib", String::as_str);
    let code = code_of(&source.text);
    let mut wrong: BTreeSet<String> = BTreeSet::new();
    for path in paths(&code, &module) {
        if let Some(why) = refusal(top, &path) {
            wrong.insert(why);
        }
    }
    if top == "domain" && code.split_whitespace().any(|word| word == "async") {
        wrong.insert("the domain waits for nothing".to_owned());
    }
    wrong.into_iter().map(|why| format!("{}: {why}", source.path.display())).collect()
}

/// Why a module below `top` must not name `path`.
fn refusal(top: &str, path: &str) -> Option<String> {
    let mut parts = path.split("::");
    let (root, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if REPLICATION.contains(&root) {
        return Some(format!("{root} is named in cluster/ only"));
    }
    let may_read = ["api", "auth"].contains(&top) && READ_ONLY.contains(&path);
    if root == "conclave_cluster" && !may_read && !CLUSTER_USERS.contains(&top) {
        return Some(format!("{top} must not know {path}"));
    }
    if top == "domain" {
        let is_impure = IMPURE.iter().any(|name| path.starts_with(name)) || path.contains("::Hash");
        if is_impure || !PURE.contains(&root) {
            return Some(format!("the domain must not know {path}"));
        }
    }
    let is_ours = (root == "crate" || root == "conclave") && !second.is_empty() && second != top;
    (is_ours && !may_import(top, second)).then(|| format!("{top} must not import {second}"))
}

fn may_import(top: &str, other: &str) -> bool {
    if top == CLIENT || other == CLIENT {
        return top == "lib" || CLIENT_MAY.contains(&other);
    }
    let rank = |name: &str| {
        let name = if name == DEV.0 { DEV.1 } else { name };
        LAYERS.iter().position(|layer| *layer == name)
    };
    match (rank(top), rank(other)) {
        // The list of modules itself.
        _ if top == "lib" => true,
        // A macro or a type of the crate's root, not a module.
        (_, None) if !LEAVES.contains(&other) => rank(top).is_some(),
        (Some(from), Some(to)) => from < to || (from == to && top != other),
        (Some(_), None) => top != "domain",
        (None, Some(_)) => false,
        (None, None) => LEAVES.contains(&top),
    }
}

/// `src/a/b.rs` is `a::b`, as is `src/a/b/mod.rs`.
fn module_of(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    let parts = parts.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.skip(1).filter(|part| part != "mod" && part != "lib").collect()
}

/// The text without comments and without a test module at its end.
fn code_of(text: &str) -> String {
    let mut code = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_test_module = line.starts_with("#[cfg(test)]")
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if is_test_module {
            break;
        }
        code.push(line.split("//").next().unwrap_or_default());
    }
    code.join("\n")
}

/// Every path that the code names: those of its `use` lines, and others that start at a crate.
fn paths(code: &str, module: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code.to_owned();
    for line in code.split(';') {
        let statement = line.rsplit_once("use ").filter(|(before, _)| {
            let before = before.rsplit(['\n', '}', '{']).next().unwrap_or_default().trim();
            before.is_empty() || before.starts_with("pub")
        });
        if let Some((_, tree)) = statement {
            rest = rest.replace(&format!("use {tree};"), "");
            let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
            expand("", &tree, &mut found);
        }
    }
    let local: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name))
        .collect();
    found.retain(|path| {
        let root = path.split("::").next().unwrap_or_default();
        root != "self" && !local.contains(&root) && !root.starts_with(char::is_uppercase)
    });
    let mut found: Vec<String> = found.iter().map(|path| absolute(path, module)).collect();
    let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
    let roots = ["crate::", "conclave::", "conclave_cluster::", "std::", "tokio::", "sled::", "openraft::"];
    found.extend(
        rest.split(ends).filter(|word| roots.iter().any(|root| word.starts_with(root))).map(str::to_owned),
    );
    found
}

/// `a::{b, c::{d}}` stands for `a::b` and `a::c::d`.
fn expand(head: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((before, group)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        found.extend(Some(format!("{head}{name}")).filter(|_| !name.is_empty()));
        return;
    };
    let head = format!("{head}{}", before.trim());
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&head, &group[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&head, &group[start..], found);
}

/// The path from the crate's root: `super::x` in `a::b` is `crate::a::x`.
fn absolute(path: &str, module: &[String]) -> String {
    let mut base = module.to_vec();
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix("super::") {
        base.pop();
        rest = shorter;
    }
    if rest.len() == path.len() {
        return path.to_owned();
    }
    base.insert(0, "crate".to_owned());
    base.push(rest.to_owned());
    base.join("::")
}

/// Every Rust file below a folder of the workspace.
fn below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = BTreeMap::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                texts.insert(path, text);
            }
        }
    }
    let tests: Vec<PathBuf> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let source = |(path, text): (PathBuf, String)| {
        let is_test = tests.iter().any(|test| path == test.with_extension("rs") || path.starts_with(test));
        Source { path: path.strip_prefix(root).unwrap().to_owned(), text, is_test }
    };
    texts.into_iter().map(source).collect()
}

/// The modules in files of their own that a file declares for tests only, as paths without extension.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_root = ["mod", "lib", "main"].contains(&name.as_ref());
    let folder = if is_root { path.parent().unwrap_or(path).to_owned() } else { path.with_extension("") };
    let mut modules = Vec::new();
    let (mut is_test, mut renamed) = (false, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[cfg(") && line.contains("test") && !line.contains("not(test") {
            is_test = true;
        } else if let Some(file) = line.strip_prefix("#[path = \"") {
            let beside = path.parent().unwrap_or(path);
            renamed = file.strip_suffix("\"]").map(|file| beside.join(file).with_extension(""));
        } else if !line.starts_with("#[") {
            let module = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
            if let (true, Some((_, name))) = (is_test, module) {
                modules.push(renamed.take().unwrap_or_else(|| folder.join(name)));
            }
            (is_test, renamed) = (false, None);
        }
    }
    modules
}

//! What the program is built of: where it comes from, under which licences, and what must not be in it.
//!
//! The short of what `scripts/supply.sh` checks with cargo-deny, for every change: reading two files takes no time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// What a licence may ask for; as in `.deny.toml`.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not be there, with the only one that may ask for it, and why.
const BANNED: [(&str, Option<&str>, &str); 7] = [
    ("bincode", None, "unmaintained; postcard is the one encoding"),
    ("rsa", None, "its timing tells the private key"),
    ("native-tls", None, "rustls is the one TLS"),
    ("openssl", None, "rustls is the one TLS"),
    ("openssl-sys", None, "rustls is the one TLS"),
    ("fxhash", Some("sled"), "callers could make keys collide"),
    ("ahash", None, "callers could make keys collide"),
];

/// Part of what we promise: a new version passes the storage suite and the simulation first.
const PINNED: [&str; 4] = ["openraft", "openraft-rt", "openraft-rt-tokio", "sled"];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn everything_comes_from_the_registry_with_a_checksum() {
    let wrong = sources(&lock());
    assert!(wrong.is_empty(), "{wrong:?}");
    let elsewhere = lock().replacen(REGISTRY, "git+https://example.com/x", 1);
    assert_eq!(sources(&elsewhere).len(), 1, "another source is seen");
}

#[test]
fn nothing_banned_is_in_it() {
    let wrong = banned(&lock());
    assert!(wrong.is_empty(), "{wrong:?}");
    for more in [
        "\n[[package]]\nname = \"rsa\"\nversion = \"0.9.6\"\n",
        "\n[[package]]\nname = \"mine\"\nversion = \"1.0.0\"\ndependencies = [\"fxhash\"]\n",
    ] {
        assert_eq!(banned(&(lock() + more)).len(), 1, "{more}");
    }
}

#[test]
fn what_we_promise_with_is_pinned() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let declared = &manifest["workspace"]["dependencies"];
    for name in PINNED {
        let version = declared[name].as_str().or_else(|| declared[name]["version"].as_str()).unwrap();
        assert!(version.starts_with('='), "{name} is {version}, and not one exact version");
    }
    // CVE-2026-25537: before it a claim of the wrong type counted as absent.
    let versions: Vec<(u64, u64)> = packages(&lock()).iter().filter_map(jwt_version).collect();
    assert!(!versions.is_empty() && versions.iter().all(|version| *version >= (10, 3)), "{versions:?}");
}

#[test]
fn all_licences_are_of_the_kind_that_we_accept() {
    let mut wrong = BTreeSet::new();
    let packages = metadata();
    assert!(packages.len() > 200, "{} packages", packages.len());
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_accepted(licence) {
            wrong.insert(format!("{name}: {licence:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    for (licence, accepted) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("(MIT AND GPL-3.0) OR AGPL-3.0", false),
        ("MPL-2.0+", true),
        ("", false),
    ] {
        assert_eq!(is_accepted(licence), accepted, "{licence}");
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn lock() -> String {
    read("Cargo.lock")
}

fn packages(lock: &str) -> Vec<toml::Value> {
    let lock: toml::Table = lock.parse().unwrap();
    lock["package"].as_array().unwrap().clone()
}

/// What neither is ours nor comes from the registry as it was.
fn sources(lock: &str) -> Vec<String> {
    let is_good = |package: &toml::Value| {
        let (source, checksum) = (package.get("source"), package.get("checksum"));
        let is_ours = ["conclave", "conclave-cluster"].contains(&package["name"].as_str().unwrap());
        if is_ours {
            return source.is_none();
        }
        source.and_then(toml::Value::as_str) == Some(REGISTRY) && checksum.is_some()
    };
    let packages = packages(lock);
    packages.iter().filter(|package| !is_good(package)).map(|package| package["name"].to_string()).collect()
}

fn banned(lock: &str) -> Vec<String> {
    let packages = packages(lock);
    let mut asked_for: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &packages {
        let all = package.get("dependencies").and_then(toml::Value::as_array);
        for other in all.into_iter().flatten().filter_map(toml::Value::as_str) {
            let other = other.split(' ').next().unwrap_or_default();
            asked_for.entry(other).or_default().insert(package["name"].as_str().unwrap());
        }
    }
    let mut wrong = Vec::new();
    for (name, only, why) in BANNED {
        let is_there = packages.iter().any(|package| package["name"].as_str() == Some(name));
        let by = asked_for.get(name).cloned().unwrap_or_default();
        if is_there && (only.is_none() || by.iter().any(|by| Some(*by) != only)) {
            wrong.push(format!("{name}, by {by:?}: {why}"));
        }
    }
    wrong
}

fn jwt_version(package: &toml::Value) -> Option<(u64, u64)> {
    let version = package["version"].as_str().filter(|_| package["name"].as_str() == Some("jsonwebtoken"))?;
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().unwrap());
    Some((numbers.next()?, numbers.next()?))
}

/// The packages that are built in on this platform, tests aside, as Cargo knows them.
fn metadata() -> Vec<Value> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
    // Of others Cargo has nothing at hand.
    command.args(["--filter-platform", &format!("{}-unknown-linux-gnu", env::consts::ARCH)]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    all["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met with what we accept. `/` is how older crates write `OR`.
fn is_accepted(expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) && rest.is_empty()
}

fn either(rest: &mut &[&str]) -> bool {
    let mut is_met = both(rest);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        is_met |= both(rest);
    }
    is_met
}

fn both(rest: &mut &[&str]) -> bool {
    let mut is_met = one(rest);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        is_met &= one(rest);
    }
    is_met
}

fn one(rest: &mut &[&str]) -> bool {
    let Some((first, behind)) = rest.split_first() else { return false };
    *rest = behind;
    if *first == "(" {
        let is_met = either(rest);
        *rest = rest.get(1..).unwrap_or_default();
        return is_met;
    }
    let mut name = first.trim_end_matches('+').to_owned();
    if let ["WITH", exception, ..] = rest {
        name = format!("{name} WITH {exception}");
        *rest = &rest[2..];
    }
    LICENCES.contains(&name.as_str())
}

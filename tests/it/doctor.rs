//! `conclave doctor`, with a cluster that is well, with one that is not, and with none.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::processes::{Processes, program};

/// What it finds with these settings, and its exit code.
fn doctor(settings: &Path) -> (Value, i32) {
    let output = program().args(["doctor", "--json", "--config"]).arg(settings).output().unwrap();
    let findings = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (findings, output.status.code().unwrap())
}

/// How a check of that name ended, at its worst, with its figure.
#[track_caller]
fn found(findings: &Value, name: &str) -> (String, String) {
    let checks = findings["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
    let rank = |check: &Value| {
        let all = ["ok", "unknown", "warn", "fail"];
        all.iter().position(|health| check["health"] == *health).expect("a known word")
    };
    let worst = checks.max_by_key(|check| rank(check)).unwrap_or_else(|| panic!("no {name}: {findings}"));
    if worst["health"] != "ok" {
        assert!(worst["remedy"].as_str().is_some_and(|remedy| remedy.len() > 5), "no remedy: {worst}");
    }
    (worst["health"].as_str().unwrap().to_owned(), worst["figure"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn it_says_what_is_well_and_what_is_not() {
    let mut processes = Processes::start("").await;
    let (findings, code) = doctor(processes.settings(0));
    // How fast and how full the disk of this machine is, is not ours to judge.
    let of_disk = ["disk sync", "disk room"];
    for check in findings["checks"].as_array().unwrap() {
        assert!(check["health"] != "fail" || of_disk.iter().any(|name| check["name"] == *name), "{check}");
    }
    let failed = of_disk.iter().any(|name| found(&findings, name).0 == "fail");
    assert_eq!((code, findings["node_answers"].as_bool()), (i32::from(failed), Some(true)));
    for name in ["settings", "data folder", "keys", "node", "nodes", "clocks", "releases", "states"] {
        assert_eq!(found(&findings, name).0, "ok", "{findings}");
    }
    assert_eq!(found(&findings, "membership"), ("ok".to_owned(), "3 voters, can lose 1".to_owned()));
    assert!(found(&findings, "data folder").1.starts_with("of node 1 of cluster "));

    // One is gone: found from another.
    processes.kill(2);
    let (findings, code) = doctor(processes.settings(0));
    let (health, figure) = found(&findings, "nodes");
    assert!(health == "fail" && figure.contains("node 3") && code == 1, "{findings}");

    // No node answers: the machine is looked at all the same.
    processes.kill(1);
    processes.kill(0);
    let (findings, _) = doctor(processes.settings(0));
    assert_eq!(findings["node_answers"].as_bool(), Some(false));
    assert_eq!((found(&findings, "node").0.as_str(), found(&findings, "keys").0.as_str()), ("unknown", "ok"));

    // A key that opens nothing.
    let key_file = processes.data(0).with_file_name("conclave.kek");
    let (own, other) = (fs::read(&key_file).unwrap(), processes.data(0).with_file_name("other.kek"));
    drop(conclave::auth::kek::Kek::read_or_create_file(&other).unwrap());
    fs::copy(&other, &key_file).unwrap();
    let (findings, code) = doctor(processes.settings(0));
    assert!(found(&findings, "keys").0 == "fail" && code == 1, "{findings}");
    fs::write(&key_file, own).unwrap();

    // Settings that do not load.
    let settings = processes.data(0).with_file_name("wrong.toml");
    fs::write(&settings, "dta = 'x'\n").unwrap();
    let (findings, code) = doctor(&settings);
    let (health, figure) = found(&findings, "settings");
    assert!(health == "fail" && figure.contains("did you mean `data`?") && code == 1, "{findings}");
}

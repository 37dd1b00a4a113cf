//! Nodes that were given the same files form one cluster, in whatever order they come.

use std::fs;

use serde_json::json;

use super::{Crew, write};
use crate::harness::{Account, eventually};
use crate::processes::program;

/// Machines with the same secrets and the same list of addresses.
fn machines(count: usize) -> Crew {
    let mut crew = Crew::new(0, "");
    let secrets = crew.folder.path().join("secrets");
    let output = program().arg("secrets").arg(&secrets).output().unwrap();
    assert!(output.status.success(), "{}", super::said(&output));
    for _ in 0..count {
        crew.add(&format!("key_file = '{}'\n", secrets.join("conclave.kek").display()));
    }
    let addresses: Vec<String> = (0..count).map(|machine| crew.peer(machine)).collect();
    for machine in 0..count {
        let text = fs::read_to_string(crew.settings(machine)).unwrap();
        let more = format!(
            "discover = {addresses:?}\nauthority_file = '{}'\n",
            secrets.join("authority.pem").display()
        );
        fs::write(crew.settings(machine), text + &more).unwrap();
    }
    crew
}

async fn form_one(crew: &mut Crew) {
    for machine in 0..3 {
        crew.ready(machine).await;
    }
    let mut clusters = Vec::new();
    for machine in 0..3 {
        clusters.push(crew.voters(machine, 3).await["cluster"].clone());
    }
    assert!(clusters.iter().all(|cluster| *cluster == clusters[0]), "{clusters:?}");
}

#[tokio::test]
async fn three_that_start_at_once_form_one_cluster_and_one_that_was_emptied_comes_back() {
    let mut crew = machines(3);
    for machine in 0..3 {
        crew.start(machine);
    }
    form_one(&mut crew).await;
    let client = crew.client();
    let account = Account::open(&client).await;
    for machine in 0..3 {
        write(&client, &account, machine, &format!("role-{machine}")).await;
    }
    // All down, and all up again, in the other order.
    for machine in 0..3 {
        crew.kill(machine);
    }
    for machine in [2, 1, 0] {
        crew.start(machine);
    }
    form_one(&mut crew).await;
    account.ask(&client, 2, "GET", "/roles/role-0").await.is(200);

    // One comes with an empty disk: under a new id, and the old one is dead until it is removed.
    let old = crew.node(1);
    crew.kill(1);
    fs::remove_dir_all(crew.data(1)).unwrap();
    crew.start(1);
    crew.ready(1).await;
    let new = crew.node(1);
    assert_eq!(new, 4);
    crew.insist(0, &["remove", &old.to_string()]).await;
    crew.voters(1, 3).await;
    account.ask(&client, 1, "GET", "/roles/role-0").await.is(200);
}

#[tokio::test]
async fn fewer_than_all_found_nothing_also_when_one_is_killed_while_it_looks() {
    let mut crew = machines(3);
    crew.start(1);
    crew.start(0);
    for machine in [0, 1] {
        crew.says(machine, "looking for the other nodes").await;
    }
    // They know of each other, and wait for the third: a cluster may be running there.
    for machine in [0, 1] {
        crew.says(machine, "seen=2 expect=3").await;
    }
    for machine in [0, 1] {
        assert!(!crew.data(machine).join("identity.toml").exists(), "machine {machine} founded a cluster");
    }
    crew.kill(1);
    crew.start(2);
    crew.says(2, "looking for the other nodes").await;
    crew.start(1);
    // Killed while they may be promising each other who founds it.
    eventually("all three look", async || {
        crew.log(1).matches("looking for the other nodes").nth(1).map(drop)
    })
    .await;
    crew.kill(0);
    crew.start(0);
    form_one(&mut crew).await;
    for machine in 0..3 {
        assert!(!crew.data(machine).join("seeking.toml").exists());
    }
    let all = crew.members(0).unwrap();
    assert_eq!(all["tolerance"], json!(1));
}

#[tokio::test]
async fn settings_that_cannot_lead_anywhere_are_refused() {
    let crew = machines(1);
    let text = fs::read_to_string(crew.settings(0)).unwrap();
    let without = |name: &str| {
        let lines = text.lines().filter(|line| !line.starts_with(name));
        fs::write(crew.settings(0), lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    };
    without("authority_file");
    crew.refuses(0, &["start"], 2, "authority_file");
    without("discover");
    crew.refuses(0, &["start"], 2, "discover");
    fs::write(crew.settings(0), &text).unwrap();
    let authority = crew.folder.path().join("secrets/authority.pem");
    let pem = fs::read_to_string(&authority).unwrap();
    fs::write(&authority, pem.replace("PRIVATE", "BROKEN")).unwrap();
    crew.refuses(0, &["start"], 1, "authority.pem");
    fs::remove_file(&authority).unwrap();
    crew.refuses(0, &["start"], 1, "authority.pem");
}

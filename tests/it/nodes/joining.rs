//! Machines come in by a token, once each; whatever is wrong changes nothing.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use conclave::app::nodes::{NotEnrolled, Ticket, enrol};
use conclave::auth::join_token::JoinToken;
use conclave::auth::key_file::KeySource;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Crew, said, write};
use crate::clock::Forward;
use crate::harness::{Account, eventually};

#[tokio::test]
async fn one_command_starts_a_cluster_and_one_a_machine_makes_it_grow() {
    let mut crew = Crew::new(3, "");
    crew.start(0);
    crew.ready(0).await;
    let mut tokens = Vec::new();
    for machine in 1..3 {
        let token = crew.token(0, &[]);
        crew.join(machine, &token);
        crew.ready(machine).await;
        tokens.push(token);
    }
    let all = crew.voters(2, 3).await;
    assert_eq!((&all["tolerance"], &all["voters"]), (&json!(1), &json!(3)));
    for member in all["members"].as_array().unwrap() {
        assert_eq!(member["version"], env!("CARGO_PKG_VERSION"), "{member}");
        assert_eq!((&member["wanted"], &member["is_healthy"]), (&json!("voter"), &json!(true)));
        assert!(member["certificate_expires_at"].is_string(), "{member}");
    }
    assert!(crew.must(1, &["members"]).contains("3 voters, can lose 1"));
    crew.says(2, "node 3 is a voter: 3 voters, can lose 1").await;
    let client = crew.client();
    let account = Account::open(&client).await;
    for machine in 0..3 {
        write(&client, &account, machine, &format!("role-{machine}")).await;
    }
    // The cluster's key came with the token, so each node reads what the others have sealed.
    let key = |machine: usize| fs::read_to_string(crew.settings(machine).with_file_name("own.kek")).unwrap();
    assert!(key(0) == key(1) && key(1) == key(2));
    for machine in 0..3 {
        for secret in tokens.iter().chain([&key(0).trim().to_owned()]) {
            assert!(!crew.log(machine).contains(secret.as_str()), "machine {machine} logged a secret");
        }
    }
    let listed: Value = serde_json::from_str(&crew.must(1, &["token", "list", "--json"])).unwrap();
    let listed = listed["tokens"].as_array().unwrap();
    assert!(listed.iter().all(|token| token["state"] == "used"), "{listed:?}");

    // The same command again, after it has done its work, is a start.
    crew.kill(1);
    crew.join(1, &tokens[0]);
    crew.ready(1).await;
    assert_eq!(crew.node(1), 2);
    // And all of them come back after all were killed.
    for machine in 0..3 {
        crew.kill(machine);
    }
    for machine in 0..3 {
        crew.start(machine);
    }
    for machine in 0..3 {
        crew.ready(machine).await;
    }
    write(&client, &account, 1, "after").await;
}

/// Tries to join with a token, and gives the exit code and what is said.
fn try_join(crew: &Crew, machine: usize, token: &str) -> (Option<i32>, String) {
    let mut command = crew.command(machine, &["join", "--no-start"]);
    let output = command.env("CONCLAVE_JOIN_TOKEN", token).output().unwrap();
    (output.status.code(), said(&output))
}

#[tokio::test]
async fn a_token_that_is_not_good_lets_nobody_in_and_changes_nothing() {
    let mut crew = Crew::new(4, "");
    crew.start(0);
    crew.ready(0).await;

    // One that was used: by the first it lets in, and nobody else.
    let used = crew.token(0, &[]);
    assert_eq!(try_join(&crew, 1, &used).0, Some(0));
    let (code, text) = try_join(&crew, 2, &used);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("was used by another node") && text.contains("conclave token create"), "{text}");
    assert_eq!(try_join(&crew, 1, &used).0, Some(0), "the same machine again");

    let revoked = crew.token(0, &[]);
    let id = JoinToken::parse(&revoked).unwrap().id.to_string();
    crew.must(0, &["token", "revoke", &id]);
    let (code, text) = try_join(&crew, 2, &revoked);
    assert!(code == Some(1) && text.contains("was revoked"), "{text}");
    crew.refuses(0, &["token", "revoke", &id], 1, "");
    crew.refuses(0, &["token", "revoke", "nonsense"], 2, "");

    let short = crew.token(0, &["--expires", "1s"]);
    eventually("the token is over", async || {
        crew.must(0, &["token", "list"]).contains(" expired ").then_some(())
    })
    .await;
    let (code, text) = try_join(&crew, 2, &short);
    // By its own clock, or by the cluster's where it has begun before: that answer may have been lost.
    assert!(code == Some(1) && text.contains("the join token") && text.contains("expired"), "{text}");
    for (life, code) in [("8d", 1), ("0s", 1), ("soon", 2)] {
        crew.refuses(0, &["token", "create", "--expires", life], code, "");
    }

    let good = crew.token(0, &[]);
    let mut changed = good.clone().into_bytes();
    let at = good.len() / 2;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for damaged in [changed.as_str(), &good[..good.len() - 3], "cj1_", "rubbish", ""] {
        let (code, text) = try_join(&crew, 2, damaged);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("join token"), "{text}");
        assert!(!text.contains(&good[10..40]), "{text}");
    }
    let mut none = crew.command(2, &["join", "--no-start"]);
    let output = none.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("no join token"), "{}", said(&output));

    // A token that says another cluster is at this address, and one of a cluster that is elsewhere.
    let mut other = Crew::new(1, "");
    other.start(0);
    other.ready(0).await;
    let mut foreign = JoinToken::parse(&other.token(0, &[])).unwrap();
    foreign.addresses = vec![crew.peer(0)];
    let (code, text) = try_join(&crew, 2, foreign.text().expose());
    assert!(code == Some(1) && text.contains("cluster"), "{text}");
    assert_eq!(try_join(&other, 0, &good).0, Some(1), "a folder that belongs to another cluster's node");
    let (_, text) = try_join(&other, 0, &good);
    assert!(text.contains("belongs to node 1 of cluster"), "{text}");
    // A machine that has another cluster's key.
    let key = crew.settings(2).with_file_name("own.kek");
    fs::copy(other.settings(0).with_file_name("own.kek"), &key).unwrap();
    let (code, text) = try_join(&crew, 2, &good);
    assert!(code == Some(1) && text.contains("key-encryption key of its own"), "{text}");
    fs::remove_file(&key).unwrap();

    // An address that leads nowhere among others does no harm; the token was not used by all this.
    let mut token = JoinToken::parse(&good).unwrap();
    token.addresses.insert(0, "127.0.0.1:1".to_owned());
    token.addresses.insert(1, "no-such-host.invalid:9080".to_owned());
    let (code, text) = try_join(&crew, 2, token.text().expose());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(crew.nodes(0), [1], "who does not run is no member");
    crew.start(2);
    crew.ready(2).await;
    assert_eq!(crew.nodes(0), [1, 3]);
    crew.start(1);
    crew.ready(1).await;
    crew.voters(0, 3).await;
}

#[tokio::test]
async fn of_many_machines_with_one_token_one_gets_in() {
    let mut crew = Crew::new(4, "");
    crew.start(0);
    crew.ready(0).await;
    let token = crew.token(0, &[]);
    let trying: Vec<_> = (1..4)
        .map(|machine| {
            let mut command = crew.command(machine, &["join", "--no-start"]);
            command.env("CONCLAVE_JOIN_TOKEN", &token);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ended: Vec<_> = trying.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let won = ended.iter().filter(|output| output.status.success()).count();
    assert_eq!(won, 1, "{:?}", ended.iter().map(said).collect::<Vec<_>>());
    for output in ended.iter().filter(|output| !output.status.success()) {
        assert!(said(output).contains("was used by another node"), "{}", said(output));
        assert!(!said(output).contains(&token), "a secret is said");
    }
}

#[tokio::test]
async fn an_address_where_nobody_answers_never_touches_the_quorum() {
    let mut crew = Crew::new(2, "");
    crew.start(0);
    crew.ready(0).await;
    let token = crew.token(0, &[]);
    crew.spawn(1, &["join", "--peer-advertise", "127.0.0.1:1"], Some(&token));
    crew.says(1, "cannot be reached at 127.0.0.1:1 from node 1").await;
    assert!(crew.log(1).contains("is --peer-advertise right?"));
    let before = crew.members(0).unwrap();
    assert_eq!((&before["voters"], &before["members"].as_array().unwrap().len()), (&json!(1), &1));
    let client = crew.client();
    let account = Account::open(&crate::client::Client::new(vec![crew.machines[0].http])).await;
    write(&client, &account, 0, "alone").await;
    crew.kill(1);
    crew.join(1, &token);
    crew.ready(1).await;
    assert_eq!(crew.node(1), 2, "under the same id");
    crew.voters(0, 2).await;

    // Nor does one that changes when a member comes back.
    crew.kill(1);
    crew.spawn(1, &["start", "--peer-advertise", "127.0.0.1:1"], None);
    crew.says(1, "cannot be reached at 127.0.0.1:1 from node 1").await;
    let kept = crew.members(0).unwrap()["members"][1]["peer_addr"].clone();
    assert_eq!(kept, json!(crew.peer(1)));
    crew.kill(1);
    crew.start(1);
    crew.ready(1).await;
    write(&client, &account, 1, "together").await;
    // An address that nobody can reach from elsewhere is refused before anything is asked.
    let third = crew.add("");
    let listen = format!("0.0.0.0:{}", crew.peer(third).rsplit(':').next().unwrap());
    let token = crew.token(0, &[]);
    let mut command = crew.command(third, &["join", "--no-start", "--peer-listen", &listen]);
    let output = command.env("CONCLAVE_JOIN_TOKEN", &token).output().unwrap();
    assert!(said(&output).contains("--peer-advertise HOST:PORT"), "{}", said(&output));
}

#[tokio::test]
async fn a_join_that_is_killed_at_any_moment_is_repeated_under_one_id() {
    let mut crew = Crew::new(2, "");
    crew.start(0);
    crew.ready(0).await;
    let token = crew.token(0, &[]);
    for round in 0..12_u32 {
        crew.join(1, &token);
        // Nothing is waited for: this is the moment of the kill, another one each time.
        sleep(Duration::from_millis(40) * round).await;
        crew.kill(1);
    }
    crew.join(1, &token);
    crew.ready(1).await;
    assert_eq!(crew.node(1), 2);
    crew.voters(0, 2).await;
    assert!(!crew.data(1).join("joining.pem").exists());
    let client = crew.client();
    let account = Account::open(&client).await;
    write(&client, &account, 1, "in").await;
}

#[tokio::test]
async fn a_wrong_clock_is_told_and_the_token_stays_good() {
    let mut crew = Crew::new(2, "");
    crew.start(0);
    crew.ready(0).await;
    let text = crew.token(0, &[]);
    let token = JoinToken::parse(&text).unwrap();
    let keys = KeySource::File(crew.settings(1).with_file_name("own.kek"));
    let minutes = |minutes: u64| {
        let clock = Forward::default();
        clock.pass(Duration::from_secs(60 * minutes));
        clock
    };
    let join = async |clock: Forward| {
        let patience = Duration::from_secs(20);
        enrol(&crew.data(1), &keys, Ticket::Token(&token), &clock, patience).await.unwrap_err()
    };
    let over = join(minutes(90)).await;
    assert!(matches!(over, NotEnrolled::Expired { .. }), "{over}");
    let refused = join(minutes(5)).await;
    let NotEnrolled::Refused { code, reason } = &refused else { panic!("{refused}") };
    assert_eq!(code, "clock_skew");
    assert!(reason.contains("ahead of") && reason.contains("the token is still good"), "{reason}");
    crew.join(1, &text);
    crew.ready(1).await;
    assert_eq!(crew.node(1), 2);
}

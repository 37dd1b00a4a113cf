//! Members that die are replaced, those that are removed stay out, and nothing takes the quorum away.

use std::fs;

use conclave::auth::join_token::JoinToken;
use serde_json::{Value, json};

use super::{Crew, Writing, said, write};
use crate::client::Client;
use crate::harness::{Account, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced_and_never_comes_back() {
    let mut crew = Crew::grown(3, "").await;
    let client = crew.client();
    let account = Account::open(&client).await;
    let leader = crew.leader(0).await;
    let dead = (leader + 1) % 3;
    let (gone, alive) = (crew.node(dead), (leader + 2) % 3);
    crew.kill(dead);
    let writing = Writing::start(client.clone(), account.clone(), vec![leader, alive]);
    let made = crew.must(alive, &["replace", &gone.to_string(), "--no-wait", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let new = crew.add("");
    crew.join(new, made["token"].as_str().unwrap());
    crew.ready(new).await;
    eventually("the new one has its place and the old one is gone", async || {
        let nodes = crew.nodes(alive);
        (!nodes.contains(&gone) && nodes.contains(&4)).then_some(())
    })
    .await;
    let all = crew.voters(new, 3).await;
    assert_eq!(all["tolerance"], json!(1), "{all}");
    // Twice is the same.
    crew.must(alive, &["remove", &gone.to_string()]);
    writing.end(&client, &account, alive).await;
    let (everywhere, number) = (Client::new(vec![crew.machines[new].http]), gone.to_string());
    account.ask(&everywhere, 0, "GET", "/roles/meanwhile-0").await.is(200);

    // The old one is told so, says so, and ends.
    crew.start(dead);
    let status = crew.ends(dead).await;
    let log = crew.log(dead);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("its id is never used again"), "{log}");
    // With its disk emptied it comes under a new id.
    fs::remove_dir_all(crew.data(dead)).unwrap();
    let token = crew.token(new, &[]);
    crew.join(dead, &token);
    crew.ready(dead).await;
    assert_eq!(crew.node(dead), 5);
    crew.voters(leader, 4).await;
    crew.refuses(new, &["promote", &number], 1, "");
    crew.refuses(new, &["replace", &number, "--with", "5"], 1, "not a member");
}

#[tokio::test]
async fn what_would_endanger_the_quorum_is_refused() {
    let mut crew = Crew::grown(3, "").await;
    let client = crew.client();
    let account = Account::open(&client).await;
    let leader = crew.leader(0).await;
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let number = |machine: usize| (machine + 1).to_string();
    crew.kill(dead);
    eventually("the dead one is seen as such", async || {
        let all = crew.members(leader)?;
        let members = all["members"].as_array()?.clone();
        members.iter().any(|member| member["is_healthy"] == false).then_some(())
    })
    .await;
    for endangering in ["remove", "demote"] {
        crew.refuses(other, &[endangering, &number(other)], 1, "");
        crew.refuses(leader, &[endangering, &number(leader)], 1, "");
    }
    crew.refuses(leader, &["step-down", "--to", &number(dead)], 1, "");
    crew.refuses(leader, &["certs", "rotate", &number(dead)], 1, "");
    write(&client, &account, other, "still").await;

    // Two at once, at different nodes: one of them may be done, and never both, nor one that takes the quorum.
    let both = [(leader, number(other)), (other, number(leader))];
    let running: Vec<_> = both
        .iter()
        .map(|(at, node)| {
            crew.command(*at, &["remove", node])
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    }
    write(&client, &account, leader, "and-still").await;
    // The dead one may go: the two that are left can decide alone.
    crew.must(other, &["remove", &number(dead)]);
    let all = crew.voters(other, 2).await;
    assert_eq!(all["tolerance"], json!(0));
    // Down to the last, which leads then, and cannot go.
    crew.insist(other, &["remove", &number(leader)]).await;
    let status = crew.ends(leader).await;
    assert!(!status.success() && crew.log(leader).contains("never used again"), "{}", crew.log(leader));
    crew.voters(other, 1).await;
    for last in ["remove", "demote"] {
        crew.refuses(other, &[last, &number(other)], 1, "last");
    }
    write(&Client::new(vec![crew.machines[other].http]), &account, 0, "alone").await;
    crew.refuses(other, &["step-down"], 1, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_removed_under_writes_and_nothing_acknowledged_is_lost() {
    let mut crew = Crew::grown(4, "").await;
    let client = crew.client();
    let account = Account::open(&client).await;
    let leader = crew.leader(0).await;
    let others: Vec<usize> = (0..4).filter(|machine| *machine != leader).collect();
    let writing = Writing::start(client.clone(), account.clone(), others.clone());
    // Asked at the very node that is to go. It says that it was done, however little it hears from the others after it.
    let said = crew.must(leader, &["remove", &(leader + 1).to_string()]);
    assert!(said.contains("is removed for ever; 3 voters"), "{said}");
    crew.ends(leader).await;
    crew.voters(others[0], 3).await;
    // Another one, asked elsewhere.
    let second = crew.leader(others[0]).await;
    let rest: Vec<usize> = others.iter().copied().filter(|machine| *machine != second).collect();
    writing.end(&client, &account, rest[1]).await;
    let writing = Writing::start(client.clone(), account.clone(), rest.clone());
    crew.insist(rest[0], &["remove", &(second + 1).to_string()]).await;
    crew.voters(rest[1], 2).await;
    writing.end(&client, &account, rest[0]).await;
    // A token from before names removed nodes first, and still leads to the others.
    let token = JoinToken::parse(&crew.token(rest[0], &[])).unwrap();
    assert_eq!(token.addresses.len(), 2);
}

#[tokio::test]
async fn a_member_that_is_dead_for_long_goes_by_itself_down_to_a_floor() {
    let mut crew = Crew::grown(4, "remove_dead_after = '8s'\nmin_voters = 3\n").await;
    let leader = crew.leader(0).await;
    let first = (leader + 1) % 4;
    let gone = crew.node(first);
    crew.kill(first);
    eventually("the dead one is gone", async || (!crew.nodes(leader).contains(&gone)).then_some(())).await;
    crew.voters(leader, 3).await;
    // Those that are left are as few as there may be.
    let second = (leader + 2) % 4;
    crew.kill(second);
    eventually("it has been dead for longer than the first one was", async || {
        let all = crew.members(leader)?;
        let members = all["members"].as_array()?.clone();
        let contact = |member: &Value| member["last_contact_ms"].as_u64().unwrap_or_default();
        members.iter().any(|member| contact(member) > 14_000).then_some(())
    })
    .await;
    assert_eq!(crew.nodes(leader).len(), 3);
}

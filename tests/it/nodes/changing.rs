//! Who votes and who leads, as operators want it.

use serde_json::{Value, json};

use super::{Crew, write};
use crate::client::Client;
use crate::harness::{Account, eventually};

fn member(all: &Value, node: u64) -> &Value {
    let members = all["members"].as_array().unwrap();
    members.iter().find(|member| member["node"] == node).unwrap()
}

#[tokio::test]
async fn a_read_replica_serves_and_never_votes_until_it_is_promoted() {
    let mut crew = Crew::grown(2, "").await;
    let third = crew.add("");
    let token = crew.token(1, &["--learner"]);
    crew.join(third, &token);
    crew.ready(third).await;
    crew.says(third, "is a learner for good").await;
    let client = crew.client();
    let account = Account::open(&client).await;
    write(&client, &account, third, "through-the-replica").await;
    // It stays one when it comes back.
    crew.kill(third);
    crew.start(third);
    crew.ready(third).await;
    account.ask(&client, third, "GET", "/roles/through-the-replica").await.is(200);
    let all = crew.members(third).unwrap();
    assert_eq!((&all["voters"], &all["role"]), (&json!(2), &json!("learner")));
    assert_eq!(member(&all, 3)["wanted"], "learner");
    assert!(crew.must(third, &["members"]).contains("2 voters, can lose 0"));
    crew.refuses(0, &["step-down", "--to", "3"], 1, "");

    // With a vote; twice is the same, at any node.
    crew.insist(third, &["promote", "3"]).await;
    crew.voters(0, 3).await;
    assert!(crew.must(1, &["promote", "3"]).contains("can lose 1"));
    // And without one again, also if it leads.
    crew.insist(0, &["step-down", "--to", "3"]).await;
    assert_eq!(crew.leader(0).await, third);
    crew.insist(third, &["demote", "3"]).await;
    let all = crew.voters(0, 2).await;
    assert_eq!(
        (&member(&all, 3)["is_voter"], &member(&all, 3)["wanted"]),
        (&json!(false), &json!("learner"))
    );
    write(&client, &account, third, "after").await;
    crew.kill(third);
    crew.start(third);
    crew.ready(third).await;
    crew.voters(0, 2).await;
}

#[tokio::test]
async fn leadership_goes_where_it_is_told() {
    let crew = Crew::grown(3, "").await;
    for to in ["2", "3", "1"] {
        // Another one may be faster where the machine is busy, and then it is said.
        eventually(&format!("node {to} leads"), async || {
            let output = crew.run(0, &["step-down", "--to", to]);
            (output.status.success() && crew.leader(1).await + 1 == to.parse::<usize>().unwrap())
                .then_some(())
        })
        .await;
    }
    // Each try by itself: on a busy machine an election may come between, or one that failed may have been carried out.
    eventually("another one leads", async || {
        let before = crew.leader(2).await;
        let output = crew.run(2, &["step-down"]);
        (output.status.success() && crew.leader(2).await != before).then_some(())
    })
    .await;
    eventually("whoever leads may be told to", async || {
        let now = (crew.leader(2).await + 1).to_string();
        let output = crew.run(1, &["step-down", "--to", &now]);
        let said = String::from_utf8_lossy(&output.stdout).contains(&format!("node {now} leads"));
        (output.status.success() && said).then_some(())
    })
    .await;
    crew.refuses(0, &["step-down", "--to", "9"], 1, "9");
}

#[tokio::test]
async fn commands_that_name_nobody_or_nonsense_say_so() {
    let mut crew = Crew::grown(1, "").await;
    for verb in ["promote", "demote"] {
        crew.refuses(0, &[verb, "9"], 1, "node 9 is not a member");
        crew.refuses(0, &[verb, "0"], 2, "");
        crew.refuses(0, &[verb, "one"], 2, "");
        crew.refuses(0, &[verb], 2, "");
    }
    crew.refuses(0, &["remove", "9"], 1, "");
    crew.refuses(0, &["remove", "1"], 1, "last");
    crew.refuses(0, &["demote", "1"], 1, "last");
    crew.refuses(0, &["replace", "9"], 1, "");
    crew.refuses(0, &["replace", "9", "--with", "1"], 1, "node 9 is not a member");
    crew.refuses(0, &["replace", "1", "--with", "1"], 1, "a node cannot take its own place");
    crew.refuses(0, &["replace", "1", "--with", "9"], 1, "node 9 is not a member");
    crew.refuses(0, &["token", "create", "--replaces", "9"], 1, "");
    crew.refuses(0, &["certs", "rotate", "9"], 1, "");
    crew.refuses(0, &["certs", "revoke", "9"], 1, "");
    crew.refuses(0, &["certs", "revoke", "x"], 2, "");
    crew.refuses(0, &["token", "revoke", "00000000-0000-4000-8000-000000000000"], 1, "");
    let client = Client::new(vec![crew.machines[0].http]);
    let account = Account::open(&client).await;
    // None of it is for those who only have an account.
    for (method, path) in [("POST", "/v1/cluster/step-down"), ("DELETE", "/v1/cluster/members/1")] {
        let body = json!({});
        client.ask(0, method, path).by(&account.token).json(&body).await.says(401, "not_operator");
    }
    // A folder with another key is that of another operator.
    let stranger = crew.add("");
    let text = std::fs::read_to_string(crew.settings(stranger)).unwrap();
    let (own, theirs) = (crew.machines[0].http.to_string(), crew.machines[stranger].http.to_string());
    std::fs::write(crew.settings(stranger), text.replace(&theirs, &own)).unwrap();
    crew.refuses(stranger, &["members"], 1, "own.kek");
    drop(conclave::auth::kek::Kek::read_or_create_file(&crew.settings(stranger).with_file_name("own.kek")));
    crew.refuses(stranger, &["members"], 1, "401");

    // Nobody is there to ask.
    crew.kill(0);
    for command in [
        &["members"][..],
        &["token", "create"],
        &["token", "list"],
        &["promote", "1"],
        &["demote", "1"],
        &["remove", "1"],
        &["replace", "1"],
        &["step-down"],
        &["certs", "list"],
        &["certs", "rotate"],
        &["certs", "revoke", "1"],
        &["setup"],
        &["health"],
    ] {
        crew.refuses(0, command, 1, &own);
    }
}

#[tokio::test]
async fn without_a_majority_every_change_is_refused_in_time_and_members_still_answers() {
    let mut crew = Crew::grown(3, "").await;
    crew.kill(1);
    crew.kill(2);
    eventually("it says that it can do nothing", async || {
        crew.must(0, &["members"]).contains("nothing is written or read").then_some(())
    })
    .await;
    for command in [
        &["remove", "2"][..],
        &["promote", "2"],
        &["demote", "2"],
        &["step-down"],
        &["token", "create"],
        &["token", "list"],
        &["certs", "rotate", "1"],
        &["certs", "revoke", "2"],
    ] {
        let began = tokio::time::Instant::now();
        crew.refuses(0, command, 1, "");
        assert!(began.elapsed().as_secs() < 8, "{command:?} took {:?}", began.elapsed());
    }
    crew.refuses(0, &["health"], 1, "not ready");
    crew.start(1);
    crew.ready(1).await;
    crew.ready(0).await;
    let all = crew.members(0).unwrap();
    assert_eq!(all["voters"], json!(3), "nothing of it was carried out later: {all}");
}

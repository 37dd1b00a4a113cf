//! The leader is killed, and the others go on; a node that is alone grants nothing.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::client::Client;
use crate::harness::{Account, PASSWORD, eventually};
use crate::processes::Processes;

/// Creates a role, under a key that makes trying again safe, until it is acknowledged.
async fn write(client: &Client, account: &Account, node: usize, name: &str) {
    let body = json!({"name": name, "permissions": ["x"]});
    eventually("a write is acknowledged", async || {
        let sent = account.ask(client, node, "POST", "/roles").key(name).json(&body).send().await.ok()?;
        assert!(matches!(sent.status, 201 | 503), "{}", sent.json);
        (sent.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_and_writes_outlive_the_leader_and_nothing_acknowledged_is_lost() {
    let mut processes = Processes::start("").await;
    let client = processes.client();
    let leader = processes.leader(&[0, 1, 2]).await;
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let account = Account::open(&client).await;
    let ann = account.user(&client, "ann", &[]).await;
    write(&client, &account, leader, "before").await;
    account.ask(&client, others[0], "PUT", "/users/ann/roles/before").await.is(200);

    // Two clients write through the survivors while the leader dies under them.
    let writing = join_all(others.iter().map(async |node| {
        for index in 0..20 {
            write(&client, &account, *node, &format!("during-{node}-{index}")).await;
        }
    }));
    let killing = async {
        eventually("the writers are at it", async || {
            let role = account.ask(&client, others[0], "GET", &format!("/roles/during-{}-1", others[1]));
            (role.send().await.ok()?.status == 200).then_some(())
        })
        .await;
        processes.kill(leader);
        let killed = Instant::now();
        for node in &others {
            let check = client.get(*node, account.at("/check?permission=x")).by(&ann.token);
            eventually("the token works", async || {
                let reply = check.clone().send().await.ok()?;
                assert!(matches!(reply.status, 200 | 503), "a good token was refused: {}", reply.json);
                (reply.status == 200).then(|| assert_eq!(reply.json, json!({"allowed": true})))
            })
            .await;
        }
        killed.elapsed()
    };
    let (_, took) = tokio::join!(writing, killing);
    // The aim is 2 s; scripts/smoke.sh looks at that. Here others use the machine as well.
    assert!(took < Duration::from_secs(15), "{took:?}");
    processes.spawn(leader);
    processes.ready(leader).await;
    for node in 0..3 {
        let roles = account.ask(&client, node, "GET", "/roles?limit=200").await.is(200);
        assert_eq!(roles.items().len(), 1 + 2 * 20, "each write is there once");
        client.get(node, account.at("/users/me")).by(&ann.token).await.is(200);
    }
    account.sign_in(&client, leader, "ann", PASSWORD).await.is(200);
    account.ask(&client, leader, "DELETE", "/users/ann/sessions").await.is(204);
    for node in 0..3 {
        client.get(node, account.at("/users/me")).by(&ann.token).await.is(401);
    }
    processes.are_equal().await;
    for node in 0..3 {
        assert!(processes.stop(node).await.success());
    }
}

#[tokio::test]
async fn a_node_that_is_alone_says_so_and_grants_nothing() {
    let mut processes = Processes::start("").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    let ann = account.user(&client, "ann", &[]).await;
    let told = client.get(2, account.at("/users/me")).by(&ann.token).await.is(200).revision();
    processes.kill(0);
    processes.kill(1);
    let as_of = format!("as-of={told}");
    let at_least = format!("at-least={told}");
    for how in ["linearizable", "bounded", "bounded=1", "at-least=0", &at_least, &as_of] {
        let read = client.get(2, account.at("/users/me")).by(&ann.token).header("conclave-consistency", how);
        let refused = eventually("it knows that it is alone", async || {
            let reply = read.clone().await;
            assert!(matches!(reply.status, 200 | 503), "{how}: {}", reply.json);
            (reply.status == 503).then_some(reply)
        })
        .await;
        assert!(refused.header("retry-after").is_some());
        // From now on, and not only now and then.
        read.await.is(503);
    }
    // The account has lost nothing and can do nothing: no sign-in, no write, no check of a token.
    let started = Instant::now();
    account.sign_in(&client, 2, "ann", PASSWORD).await.is(503);
    account.send(&client, 2, "POST", "/roles", json!({"name": "r"})).await.is(503);
    client.post(2, account.at("/tokens/validate")).json(&json!({"token": ann.token})).await.is(503);
    client.get(2, "/ready").await.is(503);
    assert!(started.elapsed() < Duration::from_secs(4 * 5), "every request ends in time");
    client.get(2, "/health").await.is(200);
    assert_eq!(processes.members(2).unwrap()["members"].as_array().unwrap().len(), 3);
    for node in 0..2 {
        processes.spawn(node);
    }
    for node in 0..3 {
        processes.ready(node).await;
        client.get(node, account.at("/users/me")).by(&ann.token).await.is(200);
    }
}

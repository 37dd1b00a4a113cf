//! One-time secrets and rights, raced over three nodes, and again after a failover and a restart.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::harness::{Account, Member, PASSWORD, World, eventually};
use crate::processes::Processes;

/// How many run at once.
const RUNNERS: usize = 9;

async fn refresh(client: &Client, account: &Account, token: &str, nodes: &[usize]) -> Vec<Reply> {
    let body = json!({"refresh_token": token});
    let path = account.at("/tokens/refresh");
    let asks = (0..RUNNERS).map(|n| client.post(nodes[n % nodes.len()], &path).json(&body).into_future());
    join_all(asks).await
}

/// The new token of the only one that won.
#[track_caller]
fn winner(replies: &[Reply]) -> String {
    let won: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 401)));
    won[0].text("refresh_token")
}

/// A user with a refresh token that was spent by one of many, and what that one got.
async fn spent(client: &Client, account: &Account, name: &str, nodes: &[usize]) -> (Member, String) {
    let user = account.user(client, name, &[]).await;
    let next = winner(&refresh(client, account, &user.refresh, nodes).await);
    (user, next)
}

#[tokio::test]
async fn t9_a_spent_token_stays_spent_through_a_restart_of_all_nodes() {
    let mut processes = Processes::start("").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    let (ann, after_ann) = spent(&client, &account, "ann", &[0, 1, 2]).await;
    let bob = account.user(&client, "bob", &[]).await;
    let eve = account.user(&client, "eve", &[]).await;
    let robot = account.service(&client, "robot", &[]).await;
    // Taken back before the leader dies.
    client.delete(1, account.at(&format!("/sessions/{}", bob.session))).by(&account.token).await.is(204);
    account.ask(&client, 2, "POST", "/users/eve/disable").await.is(200);
    let (key, secret) = robot.key.clone().unwrap();
    let path = account.at(&format!("/service-accounts/{}/keys/{key}", robot.id));
    client.delete(0, path).by(&account.token).await.is(204);

    // The leader dies; the next race has one winner as well.
    let leader = processes.leader(&[0, 1, 2]).await;
    processes.kill(leader);
    let left: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    eventually("the others go on", async || {
        let reply = account.ask(&client, left[0], "GET", "").send().await.ok()?;
        (reply.status == 200).then_some(())
    })
    .await;
    let again = winner(&refresh(&client, &account, &after_ann, &left).await);

    // All of them end, and come back from their disks.
    for node in &left {
        processes.kill(*node);
    }
    for node in 0..3 {
        processes.spawn(node);
    }
    for node in 0..3 {
        processes.ready(node).await;
    }
    for node in 0..3 {
        for (name, token) in [("bob", &bob.token), ("eve", &eve.token), ("robot", &robot.token)] {
            assert_eq!(
                client.get(node, account.at("/users/me")).by(token).await.status,
                401,
                "{name} on {node}"
            );
        }
        for token in [&bob.refresh, &eve.refresh] {
            let body = json!({"refresh_token": token});
            client.post(node, account.at("/tokens/refresh")).json(&body).await.is(401);
        }
        let body = json!({"name": "robot", "api_key": secret});
        client.post(node, account.at("/service-accounts/sign-in")).json(&body).await.is(401);
        account.sign_in(&client, node, "eve", "not hers").await.is(401);
    }
    // What was not spent is good once, and what was spent long ago ends the family.
    let last = winner(&refresh(&client, &account, &again, &[0, 1, 2]).await);
    let body = json!({"refresh_token": ann.refresh});
    client.post(0, account.at("/tokens/refresh")).json(&body).await.is(401);
    for node in 0..3 {
        let body = json!({"refresh_token": last});
        client.post(node, account.at("/tokens/refresh")).json(&body).await.is(401);
        client.get(node, account.at("/users/me")).by(&ann.token).await.is(401);
    }
    processes.are_equal().await;
}

#[tokio::test]
async fn z5_a_right_that_was_taken_is_not_used_after_the_answer() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "maker", &["iam:roles:write"]).await;
    let mut seen = [0, 0];
    for round in 0..10 {
        let user = account.user(&world, &format!("maker-{round}"), &["maker"]).await;
        let write = |n: usize| {
            let body = json!({"name": format!("made-{round}-{n}")});
            world.post(n, account.at("/roles")).by(&user.token).json(&body).into_future()
        };
        let path = account.at(&format!("/users/{}/roles/maker", user.id));
        let take = world.delete(round, &path).by(&account.token).into_future();
        let (taken, written) = tokio::join!(take, join_all((0..RUNNERS).map(write)));
        let taken = taken.is(200).revision();
        for reply in written {
            match reply.status {
                201 => assert!(reply.revision() < taken, "written at {} after {taken}", reply.revision()),
                403 => {}
                other => panic!("{other}: {}", reply.json),
            }
            seen[usize::from(reply.status == 403)] += 1;
        }
        // From the answer on no node lets it through.
        for reply in join_all((RUNNERS..RUNNERS + 3).map(write)).await {
            reply.is(403);
        }
    }
    assert_eq!(seen[0] + seen[1], 10 * RUNNERS);
}

/// Names that must be unique, and one-time links, are raced in `it/races`, `keystone/races`, `rodmena/races` and
/// `nodes/setup`. Here: many first sign-ups under one key of idempotency, by different people.
#[tokio::test]
async fn z2_a_key_of_idempotency_gives_nobody_the_answer_of_another() {
    let world = World::new();
    let (account, other) = (world.account().await, world.account().await);
    let ask = |who: &Account, node: usize| {
        let body = json!({"name": "robot"});
        world.post(node, who.at("/service-accounts")).by(&who.token).key("the-same").json(&body).into_future()
    };
    let replies = join_all((0..RUNNERS).map(|n| ask(if n % 2 == 0 { &account } else { &other }, n))).await;
    let keys: Vec<Vec<&Value>> = [0, 1]
        .map(|odd| replies.iter().skip(odd).step_by(2).map(|reply| &reply.json["api_key"]).collect())
        .into();
    for own in &keys {
        assert!(own.iter().all(|key| *key == own[0] && key.is_string()), "{own:?}");
    }
    assert_ne!(keys[0][0], keys[1][0]);
    // Nor to another user of the same account, who may less.
    let plain = account.user(&world, "plain", &[]).await;
    let body = json!({"name": "robot"});
    let ask = world.post(0, account.at("/service-accounts")).by(&plain.token).key("the-same");
    let reply = ask.json(&body).await;
    assert!(reply.status >= 400 && reply.json.get("api_key").is_none(), "{}", reply.json);
    assert_eq!(account.sign_in(&world, 1, "plain", PASSWORD).await.status, 200);
}

//! How fresh an answer is, as the client asks, and the revision that every answer names.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::client::{Client, Reply};
use crate::harness::{Account, World};

async fn read(world: &Client, account: &Account, node: usize, path: &str, how: &str) -> Reply {
    account.ask(world, node, "GET", path).header("conclave-consistency", how).await
}

#[tokio::test]
async fn as_of_shows_what_was_and_at_least_what_was_told() {
    let world = World::new();
    let account = world.account().await;
    let mut told = vec![account.role(&world, "r", &[]).await];
    for node in 0..4 {
        let body = json!({"description": format!("version {node}")});
        told.push(account.send(&world, node, "PATCH", "/roles/r", body).await.is(200));
        let revision = told[told.len() - 1].revision();
        for other in 0..3 {
            let read = read(&world, &account, other, "/roles/r", &format!("at-least={revision}")).await;
            assert_eq!(read.is(200).json, told[told.len() - 1].json);
        }
    }
    account.ask(&world, 0, "DELETE", "/roles/r").await.is(204);
    for node in 0..3 {
        for was in &told {
            let read = read(&world, &account, node, "/roles/r", &format!("as-of={}", was.revision())).await;
            let read = read.is(200);
            assert_eq!((&read.json, read.tag()), (&was.json, was.tag()));
            assert_eq!(read.revision(), was.revision(), "the reply says of when it is");
        }
        let first = told[0].revision();
        read(&world, &account, node, "/roles/r", &format!("as-of={}", first - 1)).await.is(404);
        read(&world, &account, node, "/roles/r", "linearizable").await.is(404);
        let listed = read(&world, &account, node, "/roles", &format!("as-of={first}")).await.is(200);
        assert_eq!(listed.items(), [told[0].json.clone()]);
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_said_at_once() {
    let world = World::new();
    let account = world.account().await;
    let dev = json!({"accountId": account.id, "email": "d@x.test", "password": "x"});
    let user = world.post(0, "/iam/v1/SignUpAsIAMUser").by(&account.token).json(&dev).await.is(201);
    let own = format!("/iam/v1/users/{}", user.text("uuid"));
    let started = Instant::now();
    for node in 0..3 {
        for how in [format!("at-least={}", 1u64 << 40), format!("as-of={}", u64::MAX)] {
            let ahead = read(&world, &account, node, "/roles", &how).await.says(400, "revision_ahead");
            assert!(ahead.json["newest_revision"].as_u64().unwrap() > 0);
            let ahead = world.get(node, &own).by(&account.token).header("conclave-consistency", &how).await;
            ahead.says(400, "revision_ahead");
            let keys = world.get(node, account.at("/jwks.json")).header("conclave-consistency", &how).await;
            keys.says(400, "revision_ahead");
        }
        for bad in [
            "",
            "x",
            "eventual",
            "bounded=1001",
            "bounded=",
            "bounded=-1",
            "as-of",
            "as-of=",
            "as-of=x",
            "at-least=-1",
            "at-least=1e3",
            "linearizable=1",
            "As-Of=1",
        ] {
            read(&world, &account, node, "/roles", bad).await.says(400, "invalid_consistency");
        }
        let twice = account.ask(&world, node, "GET", "/roles").header("conclave-consistency", "bounded");
        twice.header("conclave-consistency", "bounded").await.says(400, "duplicate_header");
        for good in ["bounded", "bounded=0", "bounded=1000", "linearizable", "at-least=0"] {
            read(&world, &account, node, "/roles", good).await.is(200);
        }
    }
    // Waiting for what does not exist would have taken a deadline for each.
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_past_is_judged_by_the_rights_of_the_present() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "reader", &["iam:roles:read"]).await;
    let ann = account.user(&world, "ann", &["reader"]).await;
    let then = world.get(0, account.at("/roles")).by(&ann.token).await.is(200).revision();
    let as_of = format!("as-of={then}");
    let past = async |node, token: &str| {
        world.get(node, account.at("/roles")).by(token).header("conclave-consistency", &as_of).await
    };
    let bob = account.user(&world, "bob", &["reader"]).await;
    past(1, &bob.token).await.is(200);
    account.ask(&world, 0, "DELETE", "/users/ann/roles/reader").await.is(200);
    for node in 0..3 {
        past(node, &ann.token).await.says(403, "forbidden");
    }
    account.ask(&world, 0, "DELETE", "/users/ann").await.is(204);
    for node in 0..3 {
        past(node, &ann.token).await.says(401, "invalid_token");
    }
}

#[tokio::test]
async fn revisions_never_go_back_whichever_node_answers() {
    let world = World::new();
    let account = world.account().await;
    let mut last = 0;
    for round in 0..24 {
        let reply = match round % 4 {
            0 => account.send(&world, round, "POST", "/roles", json!({"name": format!("r{round}")})).await,
            1 => account.ask(&world, round, "GET", "/roles").await,
            2 => account.ask(&world, round, "GET", "").await,
            _ => world.get(round, "/ready").await,
        };
        assert!(reply.status < 300, "{}", reply.json);
        let revision = reply.revision();
        assert!(if round % 4 == 0 { revision > last } else { revision >= last }, "{revision} after {last}");
        last = revision;
    }
}

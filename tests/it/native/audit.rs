//! The audit trail: who did what, in order, chained.

use std::fmt::Write as _;

use conclave::domain::AccountId;
use conclave::domain::audit::{self, Chain, Trail};
use serde_json::{Value, json};

use crate::harness::World;

#[tokio::test]
async fn the_chain_holds_what_was_done_in_order_and_the_hashes_fit() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    account.role(&world, "r", &["x"]).await;
    account.ask(&world, 1, "PUT", "/users/ann/roles/r").await.is(200);
    // What changes nothing or is refused leaves no record.
    account.ask(&world, 2, "PUT", "/users/ann/roles/r").await.is(200);
    world.delete(0, account.at("/roles/r")).by(&ann.token).await.is(403);
    account.sign_in(&world, 0, "ann", "wrong").await.is(401);
    let two = json!({"actions": [
        {"action": "delete_role", "role": "r"},
        {"action": "disable_user", "user": "ann"},
    ]});
    account.send(&world, 2, "POST", "/transactions", two).await.is(200);

    let mut pages: Vec<Vec<Value>> = Vec::new();
    for node in 0..3 {
        let mut records: Vec<Value> = Vec::new();
        loop {
            let path = format!("/audit?limit=3&after={}", records.len());
            let page = account.ask(&world, node, "GET", &path).await.is(200);
            if page.items().is_empty() {
                break;
            }
            records.extend_from_slice(page.items());
        }
        pages.push(records);
    }
    assert!(pages.iter().all(|page| *page == pages[0]), "the same on every node");
    let records = &pages[0];
    let actions: Vec<&str> = records.iter().map(|record| record["action"].as_str().unwrap()).collect();
    let expected = [
        "account.create",
        "session.open",
        "user.create",
        "session.open",
        "role.create",
        "role.assign",
        "session.refuse",
        "role.delete",
        "user.disable",
    ];
    assert_eq!(actions, expected);
    let zeros = "0".repeat(64);
    let mut previous = &json!(zeros);
    for (index, record) in records.iter().enumerate() {
        assert_eq!((&record["sequence"], &record["previous"]), (&json!(index + 1), previous));
        previous = &record["hash"];
        assert_eq!(record["address"], "127.0.0.1");
    }
    let revisions: Vec<u64> = records.iter().map(|record| record["revision"].as_u64().unwrap()).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    assert_eq!(revisions[7], revisions[8], "a transaction is one revision");
    assert_eq!((&records[6]["success"], &records[6]["detail"]), (&json!(false), &json!("wrong password")));
    assert_eq!(records[0]["by"], "anonymous");
    assert_eq!(records[2]["by"], json!(format!("user/{}", account.root)));

    // What the API shows is what the rules computed, and nothing was left out.
    let view = World::node(2).cluster().view();
    let id = AccountId::parse(&account.id).unwrap();
    let stored = audit::list(&view, id, Trail::Acts, 0, 100).unwrap();
    let chain = Chain { account: id, trail: Trail::Acts };
    assert_eq!(chain.first_break(0, [0; 32], &stored), None);
    for (record, stored) in records.iter().zip(&stored) {
        assert_eq!(record["hash"], json!(hex(&chain.hash_of(stored))));
    }
}

#[tokio::test]
async fn the_trail_is_for_those_who_may_and_holds_no_secret() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "auditor", &["iam:audit:read"]).await;
    let (ann, bob) =
        (account.user(&world, "ann", &[]).await, account.user(&world, "bob", &["auditor"]).await);
    let robot = account.service(&world, "robot", &[]).await;
    let path = account.at("/audit?limit=200");
    world.get(0, &path).by(&ann.token).await.says(403, "forbidden");
    world.get(0, &path).await.is(401);
    let trail = world.get(1, &path).by(&bob.token).await.is(200).json.to_string();
    let key = robot.key.unwrap().1;
    for secret in [crate::harness::PASSWORD, &key, &ann.token, &ann.refresh, "argon2"] {
        assert!(!trail.contains(secret), "a secret in the trail");
    }
    for bad in ["limit=0", "limit=201", "limit=x", "after=-1", "cursor=x", "limit=1&limit=1"] {
        account.ask(&world, 2, "GET", &format!("/audit?{bad}")).await.is(400);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! The audit trail: who did what, in order, chained.

use std::fmt::Write as _;

use conclave::domain::AccountId;
use conclave::domain::audit::{self, Chain, Trail};
use serde_json::{Value, json};

use crate::harness::{Account, World};

#[tokio::test]
async fn the_chain_holds_what_was_done_in_order_and_the_hashes_fit() {
    let world = World::new();
    let account = world.account().await;
    account.user(&world, "ann", &[]).await;
    account.role(&world, "r", &["x"]).await;
    account.ask(&world, 1, "PUT", "/users/ann/roles/r").await.is(200);
    // What changes nothing leaves no record.
    account.ask(&world, 2, "PUT", "/users/ann/roles/r").await.is(200);
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
    for bad in [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=-1",
        "cursor=x",
        "cursor=MQ&after=1",
        "limit=1&limit=1",
        "trail=other",
        "order=up",
        "success=perhaps",
        "since=yesterday",
        "until=2026-01-01",
        "raw=1",
    ] {
        account.ask(&world, 2, "GET", &format!("/audit?{bad}")).await.is(400);
    }
}

/// Every page of a query, and how many pages that took.
async fn all(world: &World, account: &Account, query: &str) -> Vec<u64> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/audit?{query}{cursor}");
        let page = account.ask(world, found.len(), "GET", &path).await.is(200);
        found.extend(page.items().iter().map(|record| record["sequence"].as_u64().unwrap()));
        match page.json["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn records_are_found_by_what_they_say_from_both_ends() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    account.role(&world, "r", &["x"]).await;
    let robot = account.service(&world, "robot", &[]).await;
    account.sign_in(&world, 0, "ann", "wrong").await.is(401);
    account.ask(&world, 1, "PUT", "/users/ann/roles/r").await.is(200);
    world.delete(2, account.at("/users/me/sessions")).by(&robot.token).await;
    world.patch(0, account.at("/users/me")).by(&ann.token).json(&json!({"first_name": "Ann"})).await.is(200);

    let whole = account.ask(&world, 0, "GET", "/audit?limit=200").await.is(200);
    let records = whole.items();
    assert!(whole.json["next"].is_null());
    let wanted = |is_wanted: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        let records = records.iter().filter(|record| is_wanted(record));
        records.map(|record| record["sequence"].as_u64().unwrap()).collect()
    };
    let middle = records[4]["at"].as_str().unwrap().to_owned();
    let user = format!("user/{}", ann.id);
    let filters: Vec<(String, Vec<u64>)> = vec![
        (String::new(), wanted(&|_| true)),
        ("action=user.create".to_owned(), wanted(&|record| record["action"] == "user.create")),
        (
            "action=session.*".to_owned(),
            wanted(&|record| record["action"].as_str().unwrap().starts_with("session.")),
        ),
        ("action=user".to_owned(), Vec::new()),
        (format!("target={user}"), wanted(&|record| record["target"] == user.as_str())),
        (
            "target=role/r*".to_owned(),
            wanted(&|record| record["target"].as_str().unwrap().starts_with("role/r")),
        ),
        ("success=false".to_owned(), wanted(&|record| record["success"] == false)),
        ("by=anonymous".to_owned(), wanted(&|record| record["by"] == "anonymous")),
        ("by=system".to_owned(), Vec::new()),
        ("by=ann".to_owned(), wanted(&|record| record["by"] == user.as_str())),
        (format!("by={}", ann.id), wanted(&|record| record["by"] == user.as_str())),
        (format!("by={user}"), wanted(&|record| record["by"] == user.as_str())),
        ("by=nobody".to_owned(), Vec::new()),
        (
            format!("by={}", account.email),
            wanted(&|record| record["by"] == format!("user/{}", account.root).as_str()),
        ),
        (format!("since={middle}"), wanted(&|record| record["at"].as_str().unwrap() >= &*middle)),
        (format!("until={middle}"), wanted(&|record| record["at"].as_str().unwrap() < &*middle)),
        (format!("since={middle}&until={middle}"), Vec::new()),
        (
            "by=ann&action=user.*&success=true".to_owned(),
            wanted(&|record| record["by"] == user.as_str() && record["action"] == "user.update"),
        ),
    ];
    for (query, mut expected) in filters {
        assert!(expected.is_empty() || expected.len() < 40, "{query}");
        for order in ["asc", "desc"] {
            for limit in [1, 3, 200] {
                let query = format!("{query}&order={order}&limit={limit}");
                assert_eq!(all(&world, &account, query.trim_start_matches('&')).await, expected, "{query}");
            }
            expected.reverse();
        }
    }
    // A number does as well as a cursor.
    let newest = account.ask(&world, 1, "GET", "/audit?order=desc&limit=1&after=3").await.is(200);
    assert_eq!(newest.items()[0]["sequence"], 2);
    // Whoever is gone is still found by id.
    account.ask(&world, 0, "DELETE", "/users/ann").await.is(204);
    assert!(!all(&world, &account, &format!("by={}", ann.id)).await.is_empty());
    let head = account.ask(&world, 2, "GET", "/audit/head").await.is(200);
    assert_eq!(head.json["sequence"], records.len() + 1);
    assert_eq!((&head.json["first"], &head.json["trail"]), (&json!(1), &json!("acts")));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

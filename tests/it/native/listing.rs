//! Lists in pages, while others write.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{PASSWORD, World};

#[tokio::test]
async fn pages_show_each_thing_once_whatever_is_written_meanwhile() {
    let world = World::new();
    let account = world.account().await;
    for (collection, member) in [("users", "id"), ("service-accounts", "id"), ("roles", "name")] {
        let mut there = BTreeSet::new();
        let name = |index: usize| format!("n{index}-{collection}");
        let make = async |name: String| {
            let body = match collection {
                "users" => json!({"name": name, "password": PASSWORD}),
                _ => json!({"name": name}),
            };
            let made = account.send(&world, 0, "POST", &format!("/{collection}"), body).await.is(201);
            made.text(member)
        };
        for index in 0..8 {
            there.insert(make(name(index)).await);
        }
        let mut seen = BTreeSet::new();
        let mut cursor = String::new();
        let mut page = 0;
        loop {
            let path = format!("/{collection}?limit=3{cursor}");
            let reply = account.ask(&world, page, "GET", &path).await.is(200);
            assert!(reply.items().len() <= 3);
            for item in reply.items() {
                assert!(seen.insert(item[member].as_str().unwrap().to_owned()), "shown twice: {item}");
            }
            // One that was shown goes, and another comes, before the next page is asked of another node.
            let gone = reply.items()[0][member].as_str().unwrap().to_owned();
            if gone != account.root {
                account.ask(&world, page + 1, "DELETE", &format!("/{collection}/{gone}")).await.is(204);
            }
            make(name(100 + page)).await;
            page += 1;
            match reply.json["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(there.is_subset(&seen), "{collection}: not shown: {:?}", there.difference(&seen));
    }
}

#[tokio::test]
async fn bad_pages_are_refused_and_the_last_has_no_next() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "r", &[]).await;
    for name in ["a", "b", "c"] {
        account.user(&world, name, &["r"]).await;
    }
    for list in ["users", "service-accounts", "roles", "roles/r/members"] {
        for bad in [
            "limit=0",
            "limit=201",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
            "cursor=%21",
            "cursor=AA",
            "page=1",
        ] {
            let reply = account.ask(&world, 0, "GET", &format!("/{list}?{bad}")).await;
            let is_refused = reply.status == 400 || (bad == "cursor=AA" && reply.status == 404);
            assert!(is_refused, "{list}?{bad}: {} {}", reply.status, reply.json);
        }
    }
    let page = account.ask(&world, 1, "GET", "/roles/r/members?limit=3").await.is(200);
    assert_eq!((page.items().len(), page.json.get("next")), (3, None));
    let first = account.ask(&world, 1, "GET", "/roles/r/members?limit=2").await.is(200);
    let rest = format!("/roles/r/members?limit=2&cursor={}", first.text("next"));
    let rest = account.ask(&world, 2, "GET", &rest).await.is(200);
    assert_eq!((rest.items().len(), rest.json.get("next")), (1, None));
    assert_eq!([first.items(), rest.items()].concat(), page.items());
}

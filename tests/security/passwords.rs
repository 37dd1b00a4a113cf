//! Passwords: checked as they were set, stored as they must be.

use std::sync::Arc;

use conclave::config::{Config, Flags};
use conclave::domain::{AccountId, user};
use conclave::node::Node;
use conclave::telemetry::Metrics;
use serde_json::json;

use crate::client::Client;
use crate::harness::{Account, PASSWORD, Prepared, World, eventually};

/// Texts that some programs take for one: the first is set, none of the others is it.
const ALIKE: [[&str; 4]; 5] = [
    [" leading and trailing ", "leading and trailing", " leading and trailing", "leading and trailing "],
    ["Mixed Case Of Letters", "mixed case of letters", "MIXED CASE OF LETTERS", "Mixed case of letters"],
    [
        "caf\u{e9} au lait, twice",
        "cafe\u{301} au lait, twice",
        "cafe au lait, twice",
        "caf\u{e9} au lait,twice",
    ],
    ["nul\u{0}in the middle of it", "nul", "nulin the middle of it", "nul\u{0}"],
    [
        "\u{ff46}ull width \u{fb01}gures",
        "full width figures",
        "\u{ff46}ull width figures",
        "full width \u{fb01}gures",
    ],
];

#[tokio::test]
async fn p2_a_password_is_checked_exactly_as_it_was_set() {
    let world = World::new();
    let account = world.account().await;
    let lax = json!({"lockout": {"failures": 0, "lock_for_s": 60}});
    account.send(&world, 0, "PATCH", "/settings", lax).await.is(200);
    // And long ones that differ at the end only, where some hashes stop reading.
    let long: Vec<String> = [71, 72, 73, 120].map(|length| "long ".repeat(30)[..length].to_owned()).into();
    let mut cases: Vec<Vec<String>> =
        ALIKE.iter().map(|texts| texts.iter().map(|text| (*text).to_owned()).collect()).collect();
    for text in &long {
        cases.push(vec![format!("{text}!"), format!("{text}?"), text.clone(), format!("{text}!!")]);
    }
    for (index, texts) in cases.iter().enumerate() {
        let name = format!("user-{index}");
        let body = json!({"name": name, "password": texts[0]});
        account.send(&world, index, "POST", "/users", body).await.is(201);
        for other in &texts[1..] {
            account.sign_in(&world, index + 1, &name, other).await.is(401);
        }
        account.sign_in(&world, index + 2, &name, &texts[0]).await.is(200);
    }
}

#[tokio::test]
async fn p6_a_stored_hash_is_argon2id_and_grows_with_the_cost_at_the_next_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Prepared::new(folder.path(), 1, "");
    let start = async |memory: Option<&str>| {
        let flags = Flags::default().with("argon2_memory_kib", memory);
        let config = Config::load(flags, Some(&prepared.settings[0]), Vec::new()).unwrap();
        let node = Node::start(&config, Arc::new(Metrics::new())).await.unwrap();
        eventually("a node that serves", async || node.app().is_open().then_some(())).await;
        (node, Client::new(prepared.http.clone()))
    };
    let stored = |node: &Node, account: &Account| {
        let view = node.cluster().view();
        let (account, root) = (AccountId::parse(&account.id).unwrap(), account.root.parse().unwrap());
        user::find_password(&view, account, root).unwrap().unwrap().value.hash.phc().to_owned()
    };
    let (node, client) = start(None).await;
    let account = Account::open(&client).await;
    let before = stored(&node, &account);
    assert!(before.starts_with("$argon2id$v=19$m=7168,t=1,p=1$"), "{}", &before[..30]);
    let parts: Vec<usize> = before.split('$').map(str::len).collect();
    // Base64 of 16 bytes of salt, and of 32 of output.
    assert!(parts[4] >= 22 && parts[5] >= 43, "{parts:?}");
    node.stop().await;
    let (node, client) = start(Some("8192")).await;
    account.sign_in(&client, 0, &account.email, "wrong").await.is(401);
    assert_eq!(stored(&node, &account), before, "a wrong password changes nothing");
    account.sign_in(&client, 0, &account.email, PASSWORD).await.is(200);
    eventually("a hash at the new cost", async || {
        stored(&node, &account).starts_with("$argon2id$v=19$m=8192,t=1,p=1$").then_some(())
    })
    .await;
    account.sign_in(&client, 0, &account.email, PASSWORD).await.is(200);
    node.stop().await;
}

//! What is written down, whoever asks whatever: every act once, every denial once, every check; and what a
//! trail that was carried off is worth.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use conclave::api::Api;
use conclave::api::routes::Route;
use conclave::auth::kek::Kek;
use conclave::config::{Config, Flags};
use conclave::domain::audit::{self, AuditRecord, Trail};
use conclave::domain::{AccountId, Actor};
use conclave::node::Node;
use conclave::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Client;
use crate::harness::{Account, PATIENCE, World, eventually};
use crate::requests::{Things, of_client_key, of_keystone};
use crate::rodmena::account_of;

/// The records of an account behind a number, as one node has them.
async fn records(node: usize, account: &str, trail: Trail, after: u64) -> Vec<AuditRecord> {
    let view = World::view(node).await;
    audit::list(&view, AccountId::parse(account).unwrap(), trail, after, usize::MAX).unwrap()
}

/// Routes that ask and change nothing, though they are no GET.
const QUESTIONS: [&str; 10] = [
    "/check",
    "/check/batch",
    "/tokens/introspect",
    "/tokens/validate",
    "/workflows/who",
    "/workflows/users",
    "/workflows/user/{user}",
    "/apikeys/validate",
    "/apikeys/check_permission",
    "/password-strength",
];

/// Brings about that the route has something to change.
async fn prepare(world: &World, things: &Things, route: &Route) {
    if of_client_key(route) {
        things.holder.prepare(world, route).await;
        return;
    }
    let account = &things.account;
    let user = format!("/users/{}", things.user.id);
    let service = format!("/service-accounts/{}", things.service.id);
    match (route.method, route.pattern.rsplit_once('/').unwrap().1) {
        ("POST", "enable") => {
            let path = if route.pattern.contains("{user}") { &user } else { &service };
            account.ask(world, 0, "POST", &format!("{path}/disable")).await.is(200);
        }
        ("DELETE", "{role}") if route.pattern.contains("{user}") => {
            account.ask(world, 0, "PUT", &format!("{user}/roles/{}", things.role)).await.is(200);
        }
        ("DELETE", "{role}") if route.pattern.contains("{service}") => {
            account.ask(world, 0, "PUT", &format!("{service}/roles/{}", things.role)).await.is(200);
        }
        ("DELETE", "lockout") => {
            account.sign_in(world, 0, &things.user.name, "wrong").await.is(401);
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_route_that_changes_something_leaves_exactly_one_record() {
    let world = World::new();
    let account = world.account().await;
    let mut things = Things::make(&world, &account).await;
    let mut walked = 0;
    for (index, route) in Api::routes().iter().enumerate().filter(|(_, route)| route.method != "GET") {
        // The token service does several things at once, and tells of them in a story of its own; so do those that
        // are about no account.
        let is_of_cluster = route.pattern.starts_with("/v1/cluster/") || route.pattern == "/v1/setup";
        if of_keystone(route) || is_of_cluster {
            continue;
        }
        things.renew(&world, route).await;
        prepare(&world, &things, route).await;
        let sample = things.sample(route);
        let changed = match &sample.key {
            Some(key) => account_of(key).await,
            None => account.id.clone(),
        };
        let before = records(0, &changed, Trail::Acts, 0).await.last().unwrap().sequence;
        let ask = sample.ask(&world, index).by(sample.proof(&account.token)).header("user-agent", "walker/1");
        let reply = ask.await;
        assert!(reply.status < 300, "{}: {}", route.name, reply.json);
        let mut new = records(index % 3, &changed, Trail::Acts, before).await;
        if QUESTIONS.iter().any(|end| route.pattern.ends_with(end)) {
            assert!(new.is_empty(), "{}: {new:?}", route.name);
            continue;
        }
        let opened = reply.json["account"]["id"].as_str().or(reply.json["accountId"].as_str());
        if let Some(opened) = opened.filter(|opened| *opened != account.id) {
            assert!(new.is_empty(), "{}: {new:?}", route.name);
            new = records(index % 3, opened, Trail::Acts, 0).await;
        }
        if route.name == "POST /v1/accounts/{account}/password" {
            // A change without a token is a sign-in for that one change.
            let actions: Vec<&str> = new.iter().map(|record| record.action.as_str()).collect();
            assert_eq!(actions, ["session.open", "user.set-password", "session.end"]);
            continue;
        }
        assert_eq!(new.len(), 1, "{}: {new:?}", route.name);
        assert!(new[0].success, "{}: {new:?}", route.name);
        assert_eq!(new[0].revision, reply.revision(), "{}", route.name);
        assert_eq!(new[0].origin.address.as_deref(), Some("127.0.0.1"), "{}", route.name);
        assert_eq!(new[0].origin.agent.as_deref(), Some("walker/1"), "{}", route.name);
        walked += 1;
    }
    assert!(walked > 40, "{walked}");
}

#[tokio::test]
async fn every_denial_leaves_exactly_one_record_that_says_who_was_denied_what() {
    let world = World::new();
    let account = world.account().await;
    let plain = account.user(&world, "plain", &[]).await;
    let mut things = Things::make(&world, &account).await;
    let mut denied = Vec::new();
    for (index, route) in Api::routes().iter().enumerate().filter(|(_, route)| !of_keystone(route)) {
        things.renew(&world, route).await;
        let ask = things.sample(route).ask(&world, index).by(&plain.token).header("user-agent", "walker/1");
        let reply = ask.await;
        if reply.status == 403 {
            let lacking = reply.json["permission"].as_str().or(reply.json["code"].as_str()).unwrap();
            denied.push(format!("{} {lacking}", route.name));
        }
    }
    assert!(denied.len() > 30, "{denied:?}");
    denied.sort();
    let found = eventually("as many records as denials", async || {
        let all = records(1, &account.id, Trail::Acts, 0).await;
        let found: Vec<AuditRecord> = all.into_iter().filter(|record| record.action == "denied").collect();
        (found.len() >= denied.len()).then_some(found)
    })
    .await;
    let mut targets: Vec<&str> = found.iter().map(|record| record.target.as_str()).collect();
    targets.sort_unstable();
    assert_eq!(targets, denied);
    for record in &found {
        assert!(!record.success && record.count == 1, "{record:?}");
        assert!(matches!(&record.by, Actor::SignedIn { principal, .. } if principal.id() == plain.id));
        assert_eq!(record.origin.address.as_deref(), Some("127.0.0.1"));
        assert_eq!(record.origin.agent.as_deref(), Some("walker/1"));
    }
}

/// What the trail of checks has of an action, as a node shows it.
async fn checks(world: &World, account: &Account, node: usize, action: &str) -> Vec<Value> {
    let path = format!("/audit?trail=checks&limit=200&action={action}");
    account.ask(world, node, "GET", &path).await.is(200).items().to_vec()
}

#[tokio::test]
async fn what_is_asked_on_one_node_is_in_the_trail_on_all() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    let before = records(0, &account.id, Trail::Acts, 0).await.len();
    for _ in 0..5 {
        account.ask(&world, 1, "GET", "/check?permission=docs:read&user=ann").await.is(200);
    }
    let many =
        json!({"checks": [{"permission": "docs:read"}, {"permission": "docs:write", "user": "s3cret"}]});
    account.send(&world, 2, "POST", "/check/batch", many).await.is(200);
    account.ask(&world, 0, "GET", "/who-can?permission=docs:read").await.is(200);
    account.send(&world, 2, "POST", "/tokens/introspect", json!({"token": ann.token})).await.is(200);
    account.send(&world, 2, "POST", "/tokens/introspect", json!({"token": "none"})).await.is(200);
    // A batch that is refused was not answered, and so leaves nothing.
    let bad = json!({"checks": [{"permission": "never:seen"}, {"permission": "a b"}]});
    account.send(&world, 2, "POST", "/check/batch", bad).await.is(400);
    for node in 0..3 {
        let found = eventually("seven checks in the trail", async || {
            let found = checks(&world, &account, node, "check.permission").await;
            (found.iter().map(|record| record["count"].as_u64().unwrap()).sum::<u64>() >= 7).then_some(found)
        })
        .await;
        let count = |target: &str, success: bool| -> u64 {
            let is_it = |record: &&Value| record["target"] == target && record["success"] == success;
            found.iter().filter(is_it).map(|record| record["count"].as_u64().unwrap()).sum()
        };
        assert_eq!(count(&format!("docs:read for user/{}", ann.id), false), 5, "{found:?}");
        assert_eq!(count(&format!("docs:read for user/{}", account.root), true), 1);
        assert_eq!(count("docs:write for nobody", false), 1, "what is no name may be a secret");
        assert!(found.iter().all(|record| record["by"] == format!("user/{}", account.root)));
        assert!(!json!(found).to_string().contains("never:seen"));
        let asked = eventually("who can, and two looks into tokens", async || {
            let mut asked = checks(&world, &account, node, "check.who-can").await;
            asked.extend(checks(&world, &account, node, "token.introspect").await);
            (asked.len() >= 3).then_some(asked)
        })
        .await;
        let mut asked: Vec<(&str, bool)> = asked
            .iter()
            .map(|record| (record["target"].as_str().unwrap(), record["success"].as_bool().unwrap()))
            .collect();
        asked.sort_unstable();
        assert_eq!(asked, [("", false), ("docs:read", false), (&*format!("user/{}", ann.id), true)]);
    }
    // Reading the trail was itself seen, and nothing of all this is an act.
    let read = eventually("the readings", async || {
        let read = checks(&world, &account, 0, "audit.read").await;
        (!read.is_empty()).then_some(read)
    })
    .await;
    assert_eq!(read[0]["target"], "checks");
    assert_eq!(records(0, &account.id, Trail::Acts, 0).await.len(), before);
}

#[tokio::test]
async fn a_node_that_stops_writes_down_what_it_saw() {
    let folder = tempfile::tempdir().unwrap();
    let config = || {
        let flags = Flags::default()
            .with("data", Some(folder.path().join("data").display().to_string()))
            .with("http_listen", Some("127.0.0.1:0"))
            .with("peer_listen", Some("127.0.0.1:0"))
            .with("argon2_memory_kib", Some("7168"))
            .with("argon2_iterations", Some("1"));
        Config::load(flags, None, Vec::new()).unwrap()
    };
    let node = Node::start(&config(), Arc::new(Metrics::new())).await.unwrap();
    eventually("the node serves", async || node.app().is_open().then_some(())).await;
    let client = Client::new(vec![node.http_address()]);
    let account = Account::open(&client).await;
    for n in 0..40 {
        account.ask(&client, 0, "GET", &format!("/check?permission=p:{n}")).await.is(200);
    }
    // Connections that are kept would have the stop wait for them.
    drop(client);
    node.stop().await;
    let node = Node::start(&config(), Arc::new(Metrics::new())).await.unwrap();
    let view = eventually("the rows are there", async || {
        node.cluster().read_barrier(Instant::now() + PATIENCE).await.ok()
    })
    .await;
    let id = AccountId::parse(&account.id).unwrap();
    let records = audit::list(&view, id, Trail::Checks, 0, usize::MAX).unwrap();
    assert_eq!(records.len(), 40);
    node.stop().await;
}

fn operator() -> String {
    Kek::read_file(World::key_file()).unwrap().operator_token().expose().clone()
}

#[tokio::test]
async fn operators_see_all_accounts_and_what_belongs_to_none() {
    let world = World::new();
    let token = operator();
    let account = world.account().await;
    let closed = world.account().await;
    closed.ask(&world, 0, "DELETE", "/users/me").await.is(204);
    let email = format!("nobody-{}@stories.test", account.id);
    let body = json!({"email": email, "password": "wrong"});
    world.post(1, "/v1/sign-in").json(&body).header("user-agent", &email).await.is(401);

    let mut accounts: Vec<Value> = Vec::new();
    let mut next = Some(String::new());
    while let Some(cursor) = next {
        let page = world.get(accounts.len(), format!("/v1/cluster/accounts?limit=3{cursor}")).by(&token);
        let page = page.await.is(200);
        assert!(page.items().len() <= 3);
        accounts.extend_from_slice(page.items());
        next = page.json["next"].as_str().map(|cursor| format!("&cursor={cursor}"));
    }
    let ids: Vec<&str> = accounts.iter().map(|account| account["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let of = |id: &str| accounts.iter().find(|account| account["id"] == id).unwrap();
    assert_eq!(
        (&of("000000000001")["owner"], &of(&account.id)["owner"]),
        (&json!("cluster"), &json!("root"))
    );
    assert_eq!((&of(&account.id)["state"], &of(&closed.id)["state"]), (&json!("open"), &json!("closed")));
    assert!(!ids.contains(&"000000000000"), "the cluster itself is no account");

    // A sign-in that names no account is in the trail of the cluster, newest first.
    let path = "/v1/cluster/audit?action=session.refuse&order=desc&limit=200";
    let trail = world.get(2, path).by(&token).await.is(200);
    let refused = trail.items().iter().find(|record| record["agent"] == email.as_str()).unwrap();
    assert_eq!((&refused["success"], &refused["detail"]), (&json!(false), &json!("unknown user")));
    assert_eq!(refused["address"], "127.0.0.1");
    let head = world.get(0, "/v1/cluster/audit/head").by(&token).await.is(200);
    assert_eq!(head.json["account"], "000000000000");
    // That of an account too, and the account can see that an operator looked.
    let path = format!("/v1/cluster/audit?account={}", account.id);
    let theirs = world.get(1, &path).by(&token).await.is(200);
    assert_eq!(theirs.items()[0]["action"], "account.create");
    let read = eventually("the reading", async || {
        checks(&world, &account, 0, "audit.read").await.into_iter().find(|record| record["by"] == "system")
    })
    .await;
    assert_eq!((&read["detail"], &read["target"]), (&json!("by an operator"), &json!("acts")));
    for path in ["accounts", "audit", "audit/head"] {
        let path = format!("/v1/cluster/{path}");
        world.get(0, &path).by(&account.token).await.says(401, "not_operator");
    }
    for bad in ["accounts?cursor=x", "accounts?limit=0", "audit?trail=x", "audit?since=now", "audit/head?x=1"]
    {
        world.get(1, format!("/v1/cluster/{bad}")).by(&token).await.is(400);
    }
    for missing in ["100000000009", "nonsense"] {
        world.get(2, format!("/v1/cluster/audit?account={missing}")).by(&token).await.is(404);
    }
}

/// The program, asking the first node of the shared cluster.
fn conclave(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let listen = World::node(0).http_address().to_string();
    Command::new(env!("CARGO_BIN_EXE_conclave"))
        .current_dir(folder)
        .env_clear()
        .env("CONCLAVE_HTTP_LISTEN", listen)
        .env("CONCLAVE_KEY_FILE", World::key_file())
        .envs(environment.iter().copied())
        .arg("audit")
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_trail_that_is_carried_off_is_verified_without_a_node() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "auditor", &["iam:audit:read"]).await;
    let auditor = account.user(&world, "auditor", &["auditor"]).await;
    // More than a page.
    for n in 0..70 {
        let actions: Vec<Value> =
            (0..3).map(|m| json!({"action": "create_role", "name": format!("r{n}-{m}")})).collect();
        account.send(&world, n, "POST", "/transactions", json!({"actions": actions})).await.is(200);
    }
    let head = account.ask(&world, 1, "GET", "/audit/head").await.is(200).text("hash");
    let folder = tempfile::tempdir().unwrap();
    let here =
        |arguments: &[&str], environment: &[(&str, &str)]| conclave(folder.path(), arguments, environment);
    let said = |output: &Output| {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    // As the operator; with a token in the environment; with one in a file.
    let export = ["export", "--account", &account.id, "--out", "one"];
    let output = here(&export, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let output = here(&["export", "--account", &account.id], &[("CONCLAVE_TOKEN", &auditor.token)]);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::write(folder.path().join("two"), &output.stdout).unwrap();
    std::fs::write(folder.path().join("token"), format!("{}\n", account.token)).unwrap();
    let with_file =
        ["export", "--account", &account.id, "--trail", "checks", "--token-file", "token", "--out", "three"];
    eventually("readings in the trail of checks", async || {
        (!checks(&world, &account, 0, "audit.read").await.is_empty()).then_some(())
    })
    .await;
    let output = here(&with_file, &[]);
    assert!(output.status.success(), "{}", said(&output));
    for file in ["one", "two", "three"] {
        let output = here(&["verify", file], &[]);
        assert!(output.status.success(), "{file}: {}", said(&output));
        assert!(said(&output).contains(&format!("of {}", account.id)), "{}", said(&output));
    }
    let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    assert!(read("one").lines().count() > 210 && read("two").starts_with(&read("one")[..20]));
    let output = here(&["verify", "two", "--head", &head], &[]);
    assert!(
        output.status.success() && said(&output).contains("the hash that was given"),
        "{}",
        said(&output)
    );

    // A file that is there is not written over; a broken one is told of, with exit code 1.
    let output = here(&export, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let tampered = read("one").replacen("\"role.create\"", "\"role.delete\"", 1);
    std::fs::write(folder.path().join("bad"), tampered).unwrap();
    let output = here(&["verify", "bad"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("was changed"), "{}", said(&output));
    let output = here(&["verify", "one", "--head", &"0".repeat(64)], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(here(&["verify", "none"], &[]).status.code(), Some(1));
    // Without the permission, or for another account, nothing is left behind.
    let stranger = world.account().await;
    for (name, value) in [("CONCLAVE_TOKEN", stranger.token.as_str()), ("CONCLAVE_TOKEN", "rubbish")] {
        let output = here(&["export", "--account", &account.id, "--out", "four"], &[(name, value)]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(!said(&output).contains(value), "a token is told");
        assert!(!folder.path().join("four").exists());
    }
    assert_eq!(here(&["export", "--trail", "x"], &[]).status.code(), Some(2));
}

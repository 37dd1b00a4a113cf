//! Limits: what strangers may try is counted for the cluster as a whole, requests by each node for itself.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::client::{Ask, Client, Reply};
use crate::harness::{Account, Own, PASSWORD, PATIENCE};

/// The proxies of these stories are the tests themselves, so each try may come from wherever it says.
const BEHIND_A_PROXY: &str = "trusted_proxies = ['127.0.0.1']\n";

fn sign_in(client: &Client, node: usize, account: &Account, login: &str, password: &str, from: &str) -> Ask {
    let body = json!({"login": login, "password": password});
    client.post(node, account.at("/sign-in")).json(&body).header("x-forwarded-for", from)
}

fn number(reply: &Reply, header: &str) -> u64 {
    reply.header(header).unwrap_or_else(|| panic!("no {header}: {:?}", reply.headers)).parse().unwrap()
}

/// What every refusal by a limit says.
#[track_caller]
fn is_limited(reply: Reply, limit: u64) -> Reply {
    let reply = reply.says(429, "rate_limit_exceeded");
    assert_eq!((number(&reply, "x-ratelimit-limit"), number(&reply, "x-ratelimit-remaining")), (limit, 0));
    let retry_after = number(&reply, "retry-after");
    assert!((1..=3600).contains(&retry_after));
    let reset = number(&reply, "x-ratelimit-reset");
    let now = conclave::clock::Clock::now(&conclave::clock::SystemClock).0 / 1000;
    assert!((now..=now + 3601).contains(&reset), "{reset} is not within an hour of {now}");
    reply
}

#[tokio::test]
async fn guesses_are_limited_for_the_cluster_as_a_whole_and_shut_nobody_else_out() {
    let cluster = Own::start(3, &format!("{BEHIND_A_PROXY}rate_limit_login = '5/hour'\n")).await;
    let account = Account::open(&cluster).await;
    let (attacker, home) = ("203.0.113.1", "198.51.100.7");
    // So that no lock against strangers, which guesses bring about too, is in the way.
    sign_in(&cluster, 0, &account, &account.email, PASSWORD, home).await.is(200);

    // Sixty guesses at once, over three nodes, with one name and with many, of this account and of none.
    let none = Account { id: "000000000001".to_owned(), ..account.clone() };
    let guesses = (0..60).map(|n| {
        let (account, login) = match n % 3 {
            0 => (&account, account.email.clone()),
            1 => (&account, format!("nobody-{n}")),
            _ => (&none, account.email.clone()),
        };
        sign_in(&cluster, n, account, &login, "a guess", attacker).into_future()
    });
    let replies = join_all(guesses).await;
    let (judged, limited): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 401);
    assert_eq!(judged.len(), 5, "{limited:?}");
    let mut remaining: Vec<u64> = judged.iter().map(|reply| number(reply, "x-ratelimit-remaining")).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, [0, 1, 2, 3, 4]);
    for reply in limited {
        is_limited(reply, 5);
    }
    // The right password does not help any more, nor does another way in.
    is_limited(sign_in(&cluster, 0, &account, &account.email, PASSWORD, attacker).await, 5);
    let body = json!({"email": account.email, "password": PASSWORD});
    for path in ["/v1/sign-in", "/iam/v1/SignInAsRootUser"] {
        let reply = cluster.post(1, path).json(&body).header("x-forwarded-for", attacker).await;
        let reply = is_limited(reply, 5);
        let shape = if path.starts_with("/v1") { "application/problem+json" } else { "application/json" };
        assert_eq!(reply.header("content-type"), Some(shape));
    }
    let body = json!({"email": "no address", "password": PASSWORD});
    is_limited(cluster.post(2, "/v1/sign-in").json(&body).header("x-forwarded-for", attacker).await, 5);

    // Whoever the name belongs to comes in, from elsewhere, on every node; and is told what is left.
    for (node, left) in [(0, 3), (1, 2), (2, 1)] {
        let reply = sign_in(&cluster, node, &account, &account.email, PASSWORD, home).await.is(200);
        assert_eq!(number(&reply, "x-ratelimit-limit"), 5);
        assert_eq!(number(&reply, "x-ratelimit-remaining"), left);
    }
}

#[tokio::test]
async fn a_crowd_of_sources_shares_a_budget_for_one_name() {
    let cluster = Own::start(1, &format!("{BEHIND_A_PROXY}rate_limit_login = '1/hour'\n")).await;
    // Signs in once itself.
    let account = Account::open(&cluster).await;
    let guess = |login: &'static str, n: usize| {
        let from = format!("203.0.113.{n}");
        sign_in(&cluster, 0, &account, login, "a guess", &from)
    };
    for n in 0..10 {
        // Another spelling is no other name.
        let login = if n % 2 == 0 { "ann" } else { "ANN" };
        guess(login, n).await.is(401);
    }
    is_limited(guess("ann", 10).await, 1);
    is_limited(guess("Ann", 11).await, 1);
    guess("bob", 12).await.is(401);
}

#[tokio::test]
async fn a_header_of_a_stranger_does_not_make_it_another() {
    let cluster = Own::start(1, "rate_limit_login = '3/hour'\n").await;
    let account = Account::open(&cluster).await;
    for n in 0..2 {
        sign_in(&cluster, 0, &account, "ann", "a guess", &format!("203.0.113.{n}")).await.is(401);
    }
    is_limited(sign_in(&cluster, 0, &account, "ann", "a guess", "203.0.113.9").await, 3);
    let trail = account.ask(&cluster, 0, "GET", "/audit?limit=50").await.is(200);
    assert!(trail.json.to_string().contains("127.0.0.1"), "{}", trail.json);
    assert!(!trail.json.to_string().contains("203.0.113"), "{}", trail.json);
}

#[tokio::test]
async fn each_gate_has_its_own_limit() {
    let more =
        "rate_limit_refresh = '2/hour'\nrate_limit_service = '3/hour'\nrate_limit_register = '2/hour'\n";
    let cluster = Own::start(1, more).await;
    let account = Account::open(&cluster).await;
    let reply = sign_in(&cluster, 0, &account, &account.email, PASSWORD, "").await.is(200);
    assert!(reply.header("x-ratelimit-limit").is_none(), "off is off");

    let mut refresh = reply.text("refresh_token");
    for left in [1, 0] {
        let body = json!({"refresh_token": refresh});
        let reply = cluster.post(0, account.at("/tokens/refresh")).json(&body).await.is(200);
        assert_eq!(number(&reply, "x-ratelimit-remaining"), left);
        refresh = reply.text("refresh_token");
    }
    let body = json!({"refresh_token": refresh});
    is_limited(cluster.post(0, account.at("/tokens/refresh")).json(&body).await, 2);

    // Signs in with its key once.
    let robot = account.service(&cluster, "robot", &[]).await;
    let body = json!({"name": "robot", "api_key": robot.key.unwrap().1});
    for _ in 0..2 {
        cluster.post(0, account.at("/service-accounts/sign-in")).json(&body).await.is(200);
    }
    is_limited(cluster.post(0, account.at("/service-accounts/sign-in")).json(&body).await, 3);

    // One account is open already.
    let body = |n: u32| json!({"email": format!("more-{n}@stories.test"), "password": PASSWORD});
    cluster.post(0, "/iam/v1/SignUpAsRootUser").json(&body(1)).await.is(201);
    is_limited(cluster.post(0, "/iam/v1/SignUpAsRootUser").json(&body(2)).await, 2);
    is_limited(cluster.post(0, "/v1/accounts").json(&body(3)).await, 2);
    let figures = cluster.get(0, "/metrics").await.is(200);
    let text = String::from_utf8_lossy(&figures.body).into_owned();
    for series in ["{limit=\"refresh\"} 1\n", "{limit=\"service\"} 1\n", "{limit=\"register\"} 2\n"] {
        assert!(text.contains(&format!("conclave_rate_limited_total{series}")), "{series}: {text}");
    }
}

#[tokio::test]
async fn a_cluster_may_be_closed_to_strangers() {
    let cluster = Own::start(1, "sign_up = 'off'\n").await;
    let body = json!({"email": "stranger@stories.test", "password": PASSWORD});
    for path in ["/v1/accounts", "/iam/v1/SignUpAsRootUser", "/iam/v1/signUpAsRootUser"] {
        let reply = cluster.post(0, path).json(&body).await.says(403, "switched_off");
        assert!(reply.json["detail"].as_str().unwrap().contains("sign_up"), "{path}: {}", reply.json);
    }
    cluster.post(0, "/v1/sign-in").json(&body).await.is(401);
}

#[tokio::test]
async fn another_leader_gives_at_most_one_more_allowance_and_no_leader_none() {
    let more = "rate_limit_login = '3/hour'\nrequest_timeout = '3s'\n";
    let mut cluster = Own::start(3, &format!("{BEHIND_A_PROXY}{more}")).await;
    let account = Account::open(&cluster).await;
    let guess = |cluster: &Own, n: usize| {
        sign_in(cluster, n, &account, &account.email, "a guess", "203.0.113.1").into_future()
    };
    let mut judged = 0;
    for leaders in 1..=3 {
        for reply in join_all((0..15).map(|n| guess(&cluster, n))).await {
            assert!(matches!(reply.status, 401 | 429), "{}: {}", reply.status, reply.json);
            judged += usize::from(reply.status == 401);
        }
        assert!(judged <= 3 * leaders, "{judged} guesses with {leaders} leaders");
        let leader = cluster.leader().await;
        let deadline = Instant::now() + PATIENCE;
        cluster.nodes[leader].cluster().transfer_leader(None, deadline).await.unwrap();
        cluster.leader().await;
    }
    assert!(judged > 3, "nothing was seen of another leader");

    // A node that is alone lets nobody in, whether it led or not.
    let last = cluster.nodes.remove(0);
    for node in cluster.nodes.drain(..) {
        node.stop().await;
    }
    let begun = Instant::now();
    // The client's node 0 is the one that is left.
    let reply = sign_in(&cluster, 0, &account, &account.email, PASSWORD, "198.51.100.7").await.is(503);
    assert!(reply.header("retry-after").is_some());
    assert!(begun.elapsed() < Duration::from_secs(5));
    last.stop().await;
}

#[tokio::test]
async fn requests_are_limited_by_caller_on_each_node() {
    let cluster = Own::start(3, "rate_limit_native = '10/hour'\n").await;
    let account = Account::open(&cluster).await;
    let look = |node| account.ask(&cluster, node, "GET", "").into_future();
    for left in (0..10).rev() {
        let reply = look(0).await.is(200);
        assert_eq!(number(&reply, "x-ratelimit-limit"), 10);
        assert_eq!(number(&reply, "x-ratelimit-remaining"), left);
    }
    is_limited(look(0).await, 10);
    // Another node counts for itself, another caller too, and probes are not counted.
    look(1).await.is(200);
    let reply = cluster.get(0, account.at("")).by("another.good.token").await.is(401);
    assert_eq!(number(&reply, "x-ratelimit-remaining"), 9);
    for path in ["/health", "/ready", "/metrics", "/openapi.json"] {
        assert!(cluster.get(0, path).await.is(200).header("x-ratelimit-limit").is_none(), "{path}");
    }
}

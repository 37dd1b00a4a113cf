//! Guessing at passwords: what an answer tells, and how many there are.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use conclave::domain::node;

use crate::client::{Ask, Client, Reply};
use crate::harness::{Account, Own, PASSWORD, PATIENCE, eventually, unique};

const BEHIND_A_PROXY: &str = "trusted_proxies = ['127.0.0.1']\n";

/// All that a client sees, but what differs between any two requests.
fn seen(reply: &Reply) -> (u16, Value, Vec<String>) {
    let differs = ["x-request-id", "date", "conclave-revision"];
    let headers = reply.headers.iter().filter(|(name, _)| !differs.contains(&name.as_str()));
    let mut headers: Vec<String> =
        headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.sort();
    let mut body = reply.body_but_request_id();
    if let Some(members) = body.as_object_mut() {
        members.remove("path");
    }
    (reply.status, body, headers)
}

/// A way in by a password: what it is called, and how a name is tried there.
type Door<'w> = (&'static str, Box<dyn Fn(&str, &str, &str) -> Ask + 'w>);

fn doors(client: &Client) -> Vec<Door<'_>> {
    vec![
        (
            "native",
            Box::new(|account, login, password| {
                let body = json!({"login": login, "password": password});
                client.post(0, format!("/v1/accounts/{account}/sign-in")).json(&body)
            }),
        ),
        (
            "native, a change of the password",
            Box::new(|account, login, password| {
                let body = json!({"login": login, "current_password": password, "new_password": "a long new sentence"});
                client.post(0, format!("/v1/accounts/{account}/password")).json(&body)
            }),
        ),
        (
            "IAM",
            Box::new(|account, login, password| {
                let body = json!({"accountId": account, "email": login, "password": password});
                client.post(0, "/iam/v1/SignInAsIAMUser").json(&body)
            }),
        ),
        (
            "token service",
            Box::new(|account, login, password| {
                let body = json!({"grant_type": "password", "username": login, "password": password});
                client.post(0, "/api/v1/auth/token").header("x-account-id", account).json(&body)
            }),
        ),
    ]
}

#[tokio::test]
async fn p9_whatever_is_wrong_costs_one_hash_and_one_entry_and_is_answered_alike() {
    let cluster = Own::start(1, "").await;
    let running = &cluster.nodes[0];
    // What a new node does by itself is done: then all that is proposed is proposed by this test.
    eventually("a node that is written down", async || {
        let rows = node::list(&running.cluster().view()).unwrap();
        rows.iter().any(|(_, row)| !row.certificates.is_empty()).then_some(())
    })
    .await;
    let (account, other) = (Account::open(&cluster).await, Account::open(&cluster).await);
    let lax = json!({"lockout": {"failures": 1, "lock_for_s": 3600}});
    account.send(&cluster, 0, "PATCH", "/settings", lax).await.is(200);
    let mail = |name: &str| format!("{name}@guess.test");
    let make = async |account: &Account, name: &str| {
        let body = json!({"name": name, "email": mail(name), "password": PASSWORD});
        account.send(&cluster, 0, "POST", "/users", body).await.is(201)
    };
    for name in ["known", "locked", "disabled", "deleted"] {
        make(&account, name).await;
    }
    make(&other, "elsewhere").await;
    // The first one locks; the others use up what is told during a lock.
    for _ in 0..5 {
        account.sign_in(&cluster, 0, "locked", "wrong").await.is(401);
    }
    account.ask(&cluster, 0, "POST", "/users/disabled/disable").await.is(200);
    account.ask(&cluster, 0, "DELETE", "/users/deleted").await.is(204);
    let nobody = "000000000001".to_owned();
    let mut cases = vec![
        ("an unknown user", account.id.clone(), mail("nobody"), "wrong"),
        ("a wrong password", account.id.clone(), mail("known"), "wrong"),
        ("a locked user", account.id.clone(), mail("locked"), "wrong"),
        ("a locked user, and it is right", account.id.clone(), mail("locked"), PASSWORD),
        ("a disabled user", account.id.clone(), mail("disabled"), "wrong"),
        ("a deleted user", account.id.clone(), mail("deleted"), PASSWORD),
        ("a user of another account", account.id.clone(), mail("elsewhere"), PASSWORD),
        ("an account that is not there", nobody, mail("known"), PASSWORD),
        ("another account's", other.id.clone(), mail("known"), PASSWORD),
    ];
    // More than a wrong password locks; each door is tried with a user of its own.
    for (index, (door, ask)) in doors(&cluster).into_iter().enumerate() {
        let known = format!("known-{index}");
        make(&account, &known).await;
        cases[1].2 = mail(&known);
        let mut answers = Vec::new();
        for (case, account, login, password) in &cases {
            let hashed = running.app().hasher.stats().done;
            let revision = running.cluster().view().revision();
            let reply = ask(account, login, password).await;
            let hashes = running.app().hasher.stats().done - hashed;
            let entries = running.cluster().view().revision() - revision;
            assert_eq!((hashes, entries), (1, 1), "{door}, {case}");
            answers.push((case, seen(&reply)));
        }
        for (case, answer) in &answers {
            assert!((400..500).contains(&answer.0), "{door}, {case}: {answer:?}");
            assert_eq!(answer, &answers[0].1, "{door}: {case}");
        }
    }
    // By address alone, of whatever account: the root users' door.
    let mut answers = Vec::new();
    for (email, password) in
        [(account.email.clone(), "wrong"), (mail("nobody"), "wrong"), (mail("known"), PASSWORD)]
    {
        for path in ["/v1/sign-in", "/iam/v1/SignInAsRootUser"] {
            let hashed = running.app().hasher.stats().done;
            let reply =
                cluster.post(0, path).json(&json!({"email": email, "password": password})).await.is(401);
            assert_eq!(running.app().hasher.stats().done - hashed, 1, "{path} {email}");
            answers.push((path, seen(&reply)));
        }
    }
    for (path, answer) in &answers {
        let first = answers.iter().find(|(other, _)| other == path).unwrap();
        assert_eq!(answer, &first.1, "{path}");
    }
}

/// The sign-ins of the user that the trail has, in the order of the log: whether each opened a session.
async fn tries(cluster: &Own, account: &Account) -> Vec<(bool, String)> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/audit?limit=200&after={after}");
        let page = account.ask(cluster, 0, "GET", &path).await.is(200);
        let Some(last) = page.items().last() else { return all };
        after = last["sequence"].as_u64().unwrap();
        let tries = page
            .items()
            .iter()
            .filter(|record| record["action"] == "session.refuse" || record["action"] == "session.open");
        all.extend(tries.map(|record| {
            let detail = record["detail"].as_str().unwrap_or_default().to_owned();
            // One that came too late is an opening that failed.
            (record["action"] == "session.open" && record["success"] == true, detail)
        }));
    }
}

#[tokio::test]
async fn p10_of_a_race_of_guesses_no_more_are_judged_than_the_lock_allows_also_after_a_failover() {
    const LIMIT: usize = 5;
    /// Right passwords that are told apart from wrong ones while a lock lasts.
    const JUDGED: usize = 3;
    let cluster = Own::start(3, "hash_queue = 1000\nrequest_timeout = '20s'\n").await;
    let account = Account::open(&cluster).await;
    for round in 0..4 {
        let name = format!("user-{round}-{}", unique());
        let body = json!({"name": name, "password": PASSWORD});
        account.send(&cluster, 0, "POST", "/users", body).await.is(201);
        let before = tries(&cluster, &account).await.len();
        // One of sixty is right, and every surface is tried.
        let right = 11 + round * 13;
        let guess = |n: usize| {
            let password = if n == right { PASSWORD.to_owned() } else { format!("a wrong guess {n}") };
            let ask = if n % 3 == 2 {
                let body = json!({"grant_type": "password", "username": name, "password": password});
                cluster.post(n, "/api/v1/auth/token").header("x-account-id", &account.id).json(&body)
            } else {
                let body = json!({"login": name, "password": password});
                cluster.post(n, account.at("/sign-in")).json(&body)
            };
            ask.into_future()
        };
        let replies = join_all((0..60).map(guess)).await;
        let told = replies.iter().filter(|reply| reply.status != 401).count();
        let all = tries(&cluster, &account).await;
        let own = &all[before..];
        assert_eq!(own.len(), 60, "each guess is in the log");
        // The right one came in only where few enough wrong ones were before it.
        let wrong_before = own.iter().position(|(opened, _)| *opened);
        if let Some(wrong_before) = wrong_before {
            assert!(wrong_before < LIMIT, "{wrong_before} guesses before the one that was right");
        }
        // A 423 tells that it is right; so few of those are given that it could only be one of the first.
        if wrong_before.is_none() && told > 0 {
            let place = own.iter().position(|(_, detail)| !detail.starts_with("wrong password"));
            assert!(told == 1 && place.is_some_and(|place| place < LIMIT + JUDGED), "{place:?}: {own:?}");
        }
        let locked = account.ask(&cluster, 1, "GET", &format!("/users/{name}/lockout")).await.is(200);
        assert_eq!(locked.json["locked"], true, "{}", locked.json);

        // Another leader knows of it: the right password does not get in any more.
        let leader = cluster.leader().await;
        let deadline = Instant::now() + PATIENCE;
        cluster.nodes[leader].cluster().transfer_leader(None, deadline).await.unwrap();
        cluster.leader().await;
        let replies = join_all((0..9).map(|n| {
            let body = json!({"login": name, "password": if n == 8 { PASSWORD } else { "still wrong" }});
            cluster.post(n, account.at("/sign-in")).json(&body).into_future()
        }))
        .await;
        assert!(replies.iter().all(|reply| matches!(reply.status, 401 | 423)), "{replies:?}");
    }
}

#[tokio::test]
async fn p11_strangers_cannot_lock_a_user_out_of_its_own_place() {
    let cluster = Own::start(1, BEHIND_A_PROXY).await;
    let account = Account::open(&cluster).await;
    account.user(&cluster, "victim", &[]).await;
    let sign_in = |password: &str, from: &str| {
        let body = json!({"login": "victim", "password": password});
        cluster.post(0, account.at("/sign-in")).json(&body).header("x-forwarded-for", from)
    };
    let (home, spelled) = ("198.51.100.7", ["victim", "VICTIM", "Victim"]);
    sign_in(PASSWORD, home).await.is(200);
    for n in 0..30 {
        let body = json!({"login": spelled[n % 3], "password": "a guess"});
        let ask = cluster.post(0, account.at("/sign-in")).json(&body);
        ask.header("x-forwarded-for", &format!("203.0.113.{n}")).await.is(401);
    }
    // Strangers are locked out, whatever they say; the one whose name it is comes in from where it did before.
    sign_in(PASSWORD, "203.0.113.99").await.is(401);
    for _ in 0..3 {
        sign_in(PASSWORD, home).await.is(200);
    }
}

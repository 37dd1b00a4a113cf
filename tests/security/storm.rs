//! More sign-ins than can be hashed.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Account, Own, PASSWORD};

#[tokio::test]
async fn p7_a_storm_of_sign_ins_is_told_to_wait_while_everything_else_goes_on() {
    let cluster = Own::start(1, "hash_threads = 1\nhash_queue = 8\nrequest_timeout = '20s'\n").await;
    let account = Account::open(&cluster).await;
    let ann = account.user(&cluster, "ann", &[]).await;
    let storm = join_all((0..300).map(|_| account.sign_in(&cluster, 0, "ann", PASSWORD)));
    // Nothing else waits behind the hashes: probes, checks of tokens, writes.
    let others = async {
        for n in 0..40 {
            cluster.get(0, "/health").await.is(200);
            cluster.get(0, account.at("/users/me")).by(&ann.token).await.is(200);
            let body = json!({"name": format!("role-{n}")});
            account.send(&cluster, 0, "POST", "/roles", body).await.is(201);
            let stats = cluster.nodes[0].app().hasher.stats();
            assert!(stats.running <= 1 && stats.waiting <= 8, "{stats:?}");
        }
    };
    let (replies, ()) = tokio::join!(storm, others);
    let (signed, busy): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert!(!signed.is_empty() && !busy.is_empty(), "{} and {}", signed.len(), busy.len());
    for reply in busy {
        assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
        reply.is(503);
    }
    assert!(cluster.nodes[0].app().hasher.stats().refused > 0);
    // Whoever comes back gets in.
    account.sign_in(&cluster, 0, "ann", PASSWORD).await.is(200);
}

//! When keys are fetched, with paused time.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::time::{advance, sleep};

use super::*;

const TRIP: Duration = Duration::from_secs(1);
const CACHING: Caching =
    Caching { fresh: Duration::from_mins(5), stale: Duration::from_hours(1), pause: Duration::from_secs(10) };

/// What the cluster would answer now.
#[derive(Default)]
struct Cluster {
    kids: Mutex<Vec<&'static str>>,
    max_age: Mutex<Option<Duration>>,
    is_away: Mutex<bool>,
    asked: AtomicUsize,
}

impl Cluster {
    fn publishing(kids: &[&'static str]) -> (Arc<Self>, Keys) {
        let cluster = Arc::new(Self { kids: Mutex::new(kids.to_vec()), ..Self::default() });
        let asked = Arc::clone(&cluster);
        let fetch: Fetch = Arc::new(move || {
            asked.asked.fetch_add(1, Ordering::Relaxed);
            let cluster = Arc::clone(&asked);
            Box::pin(async move {
                sleep(TRIP).await;
                if *cluster.is_away.lock().unwrap() {
                    return Err(Error::Transport { reason: "away".to_owned(), outcome_unknown: false });
                }
                let keys = cluster.kids.lock().unwrap().iter().map(|kid| jwk(kid)).collect();
                Ok(Fetched { jwks: Jwks { keys }, max_age: *cluster.max_age.lock().unwrap() })
            })
        });
        (cluster, Keys::fetched_by(fetch).kept(CACHING))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Keys {
    /// Keys that are there for good.
    pub(in crate::client::verify) fn published(jwks: &serde_json::Value) -> Self {
        let jwks: Jwks = serde_json::from_value(jwks.clone()).unwrap();
        Self::fetched_by(Arc::new(move || {
            let jwks = jwks.clone();
            Box::pin(async move { Ok(Fetched { jwks, max_age: None }) })
        }))
    }
}

fn jwk(kid: &str) -> Jwk {
    Jwk {
        kid: kid.to_owned(),
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
        x: URL_SAFE_NO_PAD.encode([7; 32]),
    }
}

async fn is_known(keys: &Keys, kid: &str) -> bool {
    matches!(keys.find(kid).await, Found::Key(_))
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_once_for_all_and_kept() {
    let (cluster, keys) = Cluster::publishing(&["a"]);
    let all = join_all((0..50).map(|_| is_known(&keys, "a"))).await;
    assert!(all.iter().all(|known| *known));
    assert_eq!(cluster.asked(), 1);
    advance(CACHING.fresh.checked_sub(TRIP).unwrap()).await;
    assert!(is_known(&keys, "a").await);
    assert_eq!(cluster.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn old_keys_are_used_while_new_ones_are_fetched() {
    let (cluster, keys) = Cluster::publishing(&["a"]);
    assert!(is_known(&keys, "a").await);
    *cluster.kids.lock().unwrap() = vec!["b"];
    advance(CACHING.fresh).await;
    let before = Instant::now();
    assert!(is_known(&keys, "a").await && is_known(&keys, "a").await);
    assert_eq!((before.elapsed(), cluster.asked()), (Duration::ZERO, 1), "the fetch has not begun to run");
    sleep(2 * TRIP).await;
    assert_eq!(cluster.asked(), 2);
    assert!(is_known(&keys, "b").await);
    assert!(!is_known(&keys, "a").await, "a key that is gone is gone");
}

#[tokio::test(start_paused = true)]
async fn the_answer_says_how_long_it_may_be_kept() {
    let (cluster, keys) = Cluster::publishing(&["a"]);
    *cluster.max_age.lock().unwrap() = Some(Duration::from_secs(30));
    assert!(is_known(&keys, "a").await);
    advance(Duration::from_secs(29)).await;
    assert!(is_known(&keys, "a").await);
    sleep(TRIP).await;
    assert_eq!(cluster.asked(), 1);
    assert!(is_known(&keys, "a").await);
    sleep(2 * TRIP).await;
    assert_eq!(cluster.asked(), 2);
    let said = [
        ("max-age=60", Some(60)),
        ("public, max-age=5", Some(5)),
        ("no-store", None),
        ("max-age=x", None),
        ("s-maxage=9", None),
    ];
    for (header, seconds) in said {
        assert_eq!(max_age(header), seconds.map(Duration::from_secs), "{header}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_asked_for_at_once_and_made_up_ones_are_not_every_time() {
    let (cluster, keys) = Cluster::publishing(&["a"]);
    assert!(is_known(&keys, "a").await);
    advance(CACHING.pause).await;
    *cluster.kids.lock().unwrap() = vec!["a", "b"];
    assert!(is_known(&keys, "b").await);
    assert_eq!(cluster.asked(), 2);
    for _ in 0..30 {
        assert!(!is_known(&keys, "made-up").await);
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(cluster.asked(), 2, "3 s after the last time");
    advance(CACHING.pause).await;
    let all = join_all((0..30).map(|_| is_known(&keys, "made-up"))).await;
    assert!(all.iter().all(|known| !known));
    assert_eq!(cluster.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_the_cluster_for_the_stated_time_and_no_longer() {
    let (cluster, keys) = Cluster::publishing(&["a"]);
    assert!(is_known(&keys, "a").await);
    *cluster.is_away.lock().unwrap() = true;
    for _ in 0..10 {
        advance(CACHING.stale / 11).await;
        let before = Instant::now();
        assert!(is_known(&keys, "a").await);
        assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits for who is away");
        sleep(2 * TRIP).await;
    }
    assert_eq!(cluster.asked(), 11, "it was asked each time");
    advance(CACHING.stale / 10).await;
    let Found::NoKeys(Error::Transport { reason, .. }) = keys.find("a").await else {
        panic!("used for ever")
    };
    assert_eq!(reason, "away");
    *cluster.is_away.lock().unwrap() = false;
    assert!(!is_known(&keys, "a").await, "not asked again at once");
    advance(CACHING.pause).await;
    assert!(is_known(&keys, "a").await);
}

#[test]
fn other_kinds_of_keys_are_passed_over() {
    assert!(decode(&jwk("a")).is_some());
    let change = |change: fn(&mut Jwk)| {
        let mut key = jwk("a");
        change(&mut key);
        decode(&key).is_some()
    };
    assert!(!change(|key| key.kty = "RSA".to_owned()));
    assert!(!change(|key| key.crv = "X25519".to_owned()));
    assert!(!change(|key| key.alg = "HS256".to_owned()));
    assert!(!change(|key| key.r#use = "enc".to_owned()));
    assert!(!change(|key| key.x = "AAAA".to_owned()));
}

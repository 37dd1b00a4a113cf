use std::net::IpAddr;

use tokio::time::sleep;

use super::message::TenantMessage;
use super::throttle::Whose;
use super::*;

/// Without a log: nothing here is proposed.
async fn tenants(limits: Limits) -> Tenants {
    Tenants::start(limits, |_| async { Err(ProposeError::NotDone) }).await.unwrap()
}

fn of(source: u8) -> Budget {
    Budget { gate: Gate::SignIn, whose: Whose::Source(IpAddr::from([10, 0, 0, source])) }
}

/// What remains after a try of the source with the account; `None` when it is refused.
async fn remains(tenants: &Tenants, account: &str, source: u8, rate: &str) -> Option<u32> {
    let soon = Instant::now() + Duration::from_secs(1);
    let (account, rate) = (AccountKey::new(account), rate.parse().unwrap());
    let left = tenants.admit(&account, of(source), rate, soon).await.unwrap();
    left.ok().map(|left| left.remaining)
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_by_account_and_source() {
    let tenants = tenants(Limits::default()).await;
    for left in [Some(1), Some(0), None, None] {
        assert_eq!(remains(&tenants, "a", 1, "2/minute").await, left);
    }
    assert_eq!(remains(&tenants, "a", 2, "2/minute").await, Some(1));
    assert_eq!(remains(&tenants, "b", 1, "2/minute").await, Some(1));
    assert_eq!(tenants.stats().admitted, 0, "their places are given back");
}

/// All at once, as callers of three nodes come: no two are let through on the same count.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_is_let_through_as_often_as_the_limit_says() {
    let tenants = tenants(Limits::default()).await;
    let tries: Vec<_> = (0..200)
        .map(|_| {
            let tenants = tenants.clone();
            tokio::spawn(async move { remains(&tenants, "a", 1, "5/day").await })
        })
        .collect();
    let mut admitted = Vec::new();
    for attempt in tries {
        admitted.extend(attempt.await.unwrap());
    }
    admitted.sort_unstable();
    assert_eq!(admitted, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_count_outlives_the_actors_rest() {
    let tenants = tenants(Limits::default()).await;
    let account = AccountKey::new("a");
    assert_eq!(remains(&tenants, "a", 1, "1/hour").await, Some(0));
    sleep(Duration::from_mins(59)).await;
    assert_eq!(remains(&tenants, "a", 1, "1/hour").await, None, "idle for long, and still counted");
    assert_eq!(tenants.stats().actors, 1);
    sleep(Duration::from_mins(2)).await;
    assert_eq!(remains(&tenants, "a", 1, "1/hour").await, Some(0));
    sleep(Duration::from_mins(62)).await;
    assert!(tenants.inner.seats.actor(&account).is_none(), "nothing is counted, and so nobody stays");
}

#[tokio::test(start_paused = true)]
async fn a_count_outlives_a_crash_of_the_actor() {
    let tenants = tenants(Limits::default()).await;
    let account = AccountKey::new("a");
    assert_eq!(remains(&tenants, "a", 1, "2/hour").await, Some(1));
    for _ in 0..2 {
        let actor = tenants.inner.seats.actor(&account).unwrap();
        actor.cast(TenantMessage::Crash).unwrap();
        // Until its supervisor has seen it, and some time more.
        sleep(Duration::from_secs(1)).await;
        assert_ne!(tenants.inner.seats.actor(&account).unwrap().get_id(), actor.get_id());
    }
    assert_eq!(remains(&tenants, "a", 1, "2/hour").await, Some(0));
    assert_eq!(remains(&tenants, "a", 1, "2/hour").await, None);
}

#[tokio::test(start_paused = true)]
async fn tries_wait_in_a_bounded_line_and_end_with_the_node() {
    let tenants = tenants(Limits { in_all: 0, ..Limits::default() }).await;
    let soon = Instant::now() + Duration::from_secs(1);
    let (account, rate) = (AccountKey::new("a"), "1/hour".parse().unwrap());
    let busy = tenants.admit(&account, of(1), rate, soon).await;
    assert_eq!(busy, Err(Refused::Busy { retry_after: Duration::from_secs(1) }));
    tenants.drain(soon).await;
    assert_eq!(tenants.admit(&account, of(1), rate, soon).await, Err(Refused::NotDone));
}

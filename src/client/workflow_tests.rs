//! When a watch looks, with paused time.

use std::sync::Mutex;

use tokio::time::timeout;

use super::*;
use crate::clock::LogTime;

/// 2026-11-24T10:02:30Z.
const START_MS: u64 = 1_795_514_550_000;
const MINUTE: Duration = Duration::from_mins(1);

/// A wall clock that goes with tokio's.
struct TestClock {
    since: Instant,
    set_by_ms: Arc<Mutex<i64>>,
}

impl Clock for TestClock {
    fn now(&self) -> LogTime {
        let elapsed = u64::try_from(self.since.elapsed().as_millis()).unwrap();
        LogTime((START_MS + elapsed).checked_add_signed(*self.set_by_ms.lock().unwrap()).unwrap())
    }
}

fn clock() -> (TestClock, Arc<Mutex<i64>>) {
    let set_by_ms = Arc::new(Mutex::new(0));
    (TestClock { since: Instant::now(), set_by_ms: Arc::clone(&set_by_ms) }, set_by_ms)
}

/// When the watch looked in this time, in seconds since it started. Each look takes `takes`.
async fn looks(watch: Watch, time: Duration, takes: Duration) -> Vec<u64> {
    let start = Instant::now();
    let seen = Mutex::new(Vec::new());
    let at_work = Mutex::new(false);
    let look = || async {
        assert!(!std::mem::replace(&mut *at_work.lock().unwrap(), true), "two looks at once");
        seen.lock().unwrap().push(start.elapsed().as_secs());
        sleep(takes).await;
    };
    let callback = |()| async {
        sleep(takes).await;
        *at_work.lock().unwrap() = false;
    };
    let endless = run(Times::new(watch.when, watch.clock), look, callback);
    assert!(timeout(time, endless).await.is_err(), "it ended");
    seen.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_interval_is_kept_and_what_is_missed_is_left_out() {
    let every = || Watch::every(Duration::from_mins(5));
    assert_eq!(looks(every(), 16 * MINUTE, Duration::ZERO).await, [300, 600, 900]);
    // Look and callback together take 400 s.
    assert_eq!(looks(every(), 31 * MINUTE, Duration::from_secs(200)).await, [300, 900, 1500]);
}

#[tokio::test(start_paused = true)]
async fn a_cron_expression_is_kept_to_the_minute() {
    let watch = Watch::cron("*/5 * * * *").unwrap().clock(clock().0);
    assert_eq!(looks(watch, 13 * MINUTE, Duration::ZERO).await, [150, 450, 750]);
    let watch = Watch::cron("0 11 * * TUE").unwrap().clock(clock().0);
    assert_eq!(looks(watch, 90 * MINUTE, Duration::ZERO).await, [57 * 60 + 30]);
    let watch = Watch::cron("*/5 * * * *").unwrap().clock(clock().0);
    assert_eq!(looks(watch, 16 * MINUTE, Duration::from_secs(200)).await, [150, 750]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_is_followed_and_no_moment_comes_twice() {
    let (clock, set_by_ms) = clock();
    let watch = Watch::cron("*/5 * * * *").unwrap().clock(clock);
    tokio::spawn(async move {
        sleep(Duration::from_secs(200)).await;
        // From 10:05:50 to 10:04:50: 10:05 was told already.
        *set_by_ms.lock().unwrap() = -60_000;
        sleep(Duration::from_secs(100)).await;
        // From 10:06:30 to 10:09:30.
        *set_by_ms.lock().unwrap() = 120_000;
    });
    let looks = looks(watch, 10 * MINUTE, Duration::ZERO).await;
    assert_eq!(looks[0], 150);
    // 10:10 by a clock that is two minutes ahead, noticed within half a minute.
    assert!((330..=360).contains(&looks[1]), "{looks:?}");
    assert_eq!(looks.len(), 2, "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_during_a_look_gives_its_moment_once() {
    let (clock, set_by_ms) = clock();
    let watch = Watch::cron("*/5 * * * *").unwrap().clock(clock);
    tokio::spawn(async move {
        sleep(Duration::from_secs(160)).await;
        // When the look of 10:05:00 is over it is 10:04:40.
        *set_by_ms.lock().unwrap() = -60_000;
    });
    assert_eq!(looks(watch, 9 * MINUTE, Duration::from_secs(20)).await, [150, 510]);
}

#[test]
fn what_is_no_expression_or_never_comes_is_refused() {
    for bad in ["", "* * *", "61 * * * *", "every minute", "0 0 30 2 *"] {
        assert!(matches!(Watch::cron(bad), Err(Error::Invalid(_))), "{bad}");
    }
    assert!(Watch::cron("@daily").is_ok());
}

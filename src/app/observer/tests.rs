//! What is written, when, and what is dropped. Time is paused: a window passes when all wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::time::{Duration, Instant, advance, sleep};

use super::waiting::{Batch, ENOUGH, IN_ALL, PER_ACCOUNT};
use super::{Observer, WINDOW, Written};
use crate::domain::audit::{MAX_OBSERVATIONS, Observation, Trail};
use crate::domain::{AccountId, Actor, Origin};

fn account(n: usize) -> AccountId {
    AccountId::parse(&format!("{:012}", 100_000_000_000 + n)).unwrap()
}

fn seen(trail: Trail, target: String) -> Observation {
    Observation {
        trail,
        by: Actor::Anonymous,
        origin: Origin::default(),
        action: "look".to_owned(),
        target,
        success: true,
        detail: String::new(),
        count: 1,
        used: None,
    }
}

fn check(target: &(impl ToString + ?Sized)) -> Observation {
    seen(Trail::Checks, target.to_string())
}

fn denial(target: &(impl ToString + ?Sized)) -> Observation {
    seen(Trail::Acts, target.to_string())
}

/// What reached the log, with when it did.
#[derive(Clone)]
struct Log {
    written: Rc<RefCell<Vec<(Instant, Batch)>>>,
    tries: Rc<RefCell<Vec<Batch>>>,
    answer: Rc<Cell<Written>>,
    takes: Duration,
}

impl Log {
    fn new() -> Self {
        let answer = Rc::new(Cell::new(Written::Done));
        Self { written: Rc::default(), tries: Rc::default(), answer, takes: Duration::ZERO }
    }

    async fn write(self, batch: Batch) -> (Batch, Written) {
        if self.takes > Duration::ZERO {
            sleep(self.takes).await;
        }
        self.tries.borrow_mut().push(batch.clone());
        let answer = self.answer.get();
        if answer == Written::Done {
            self.written.borrow_mut().push((Instant::now(), batch.clone()));
        }
        (batch, answer)
    }

    fn records(&self) -> Vec<Observation> {
        self.written.borrow().iter().flat_map(|(_, batch)| batch.seen.clone()).collect()
    }

    fn targets(&self) -> Vec<String> {
        self.records().into_iter().map(|record| record.target).collect()
    }
}

/// Runs the observer beside the story, and stops it when the story is told.
async fn beside<T>(observer: &Observer, log: &Log, story: impl Future<Output = T>) -> T {
    let writing = observer.run(|batch| log.clone().write(batch));
    tokio::select! {
        () = writing => panic!("nobody closed it"),
        told = story => told,
    }
}

/// Lets everything happen that does not take time, and then some time pass.
async fn pass(time: Duration) {
    sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn equal_observations_of_a_window_are_one_record_with_a_count() {
    let (observer, log) = (Observer::default(), Log::new());
    beside(&observer, &log, async {
        pass(WINDOW / 2).await;
        for _ in 0..3 {
            observer.observe(account(1), check("a"));
            observer.observe(account(1), denial("a"));
            observer.observe(account(2), check("a"));
        }
        observer.observe(account(1), Observation { success: false, ..check("a") });
        observer.observe(account(1), Observation { count: u32::MAX, ..check("a") });
        assert!(log.records().is_empty(), "written before the window was over");
        pass(WINDOW).await;
        let mut counts: Vec<_> = log
            .written
            .borrow()
            .iter()
            .flat_map(|(_, batch)| {
                batch.seen.iter().map(|seen| (batch.account, seen.trail, seen.success, seen.count))
            })
            .collect::<Vec<_>>();
        counts.sort_by_key(|(account, trail, success, _)| (*account, *trail == Trail::Checks, !success));
        let expected = [
            (account(1), Trail::Acts, true, 3),
            (account(1), Trail::Checks, true, u32::MAX),
            (account(1), Trail::Checks, false, 1),
            (account(2), Trail::Checks, true, 3),
        ];
        assert_eq!(counts, expected);
        // In the next window it is a record of its own.
        observer.observe(account(2), check("a"));
        pass(WINDOW).await;
        assert_eq!(log.records().len(), 5);
    })
    .await;
    assert_eq!((observer.stats().waiting, observer.stats().written, observer.stats().lost), (0, 5, 0));
}

#[tokio::test(start_paused = true)]
async fn many_do_not_wait_for_the_window_and_a_command_has_a_limit() {
    let (observer, log) = (Observer::default(), Log { takes: Duration::from_millis(1), ..Log::new() });
    beside(&observer, &log, async {
        pass(WINDOW / 2).await;
        let start = Instant::now();
        for n in 0..ENOUGH {
            observer.observe(account(1), check(&n));
        }
        pass(Duration::from_millis(2)).await;
        assert_eq!(log.records().len(), ENOUGH);
        assert!(log.written.borrow()[0].0 - start < WINDOW / 4);
        for n in 0..PER_ACCOUNT {
            observer.observe(account(1), check(&n));
        }
        pass(WINDOW).await;
    })
    .await;
    let written = log.written.borrow();
    assert!(written.iter().all(|(_, batch)| batch.seen.len() <= MAX_OBSERVATIONS));
    assert_eq!(log.records().len(), ENOUGH + PER_ACCOUNT);
    let in_order: Vec<String> = (0..ENOUGH).chain(0..PER_ACCOUNT).map(|n| n.to_string()).collect();
    assert_eq!(log.targets(), in_order);
}

#[tokio::test(start_paused = true)]
async fn a_full_account_drops_its_oldest_checks_then_denials_and_says_so() {
    let (observer, log) = (Observer::default(), Log::new());
    for n in 0..PER_ACCOUNT {
        observer.observe(account(1), check(&n));
    }
    for n in 0..PER_ACCOUNT + 2 {
        observer.observe(account(1), denial(&n));
    }
    // No check takes the place of a denial.
    observer.observe(account(1), check("late"));
    observer.observe(account(2), check("other"));
    assert_eq!(observer.stats().waiting, PER_ACCOUNT + 1);
    assert_eq!(observer.stats().lost, PER_ACCOUNT as u64 + 3);
    beside(&observer, &log, pass(WINDOW * 10)).await;
    let records = log.records();
    let losses: Vec<_> = records.iter().filter(|record| record.action == "audit.lose").collect();
    let counts: Vec<_> = losses.iter().map(|record| (record.trail, record.count)).collect();
    assert_eq!(counts, [(Trail::Acts, 2), (Trail::Checks, u32::try_from(PER_ACCOUNT).unwrap() + 1)]);
    let denials: Vec<_> = records
        .iter()
        .filter(|record| record.trail == Trail::Acts && record.action == "look")
        .map(|record| record.target.clone())
        .collect();
    assert_eq!(denials, (2..PER_ACCOUNT + 2).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(log.targets().contains(&"other".to_owned()));
    assert_eq!(observer.stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn busy_accounts_leave_room_to_others() {
    let observer = Observer::default();
    for n in 0..PER_ACCOUNT {
        for busy in 0..IN_ALL / PER_ACCOUNT + 10 {
            observer.observe(account(busy), check(&n));
        }
    }
    assert!(observer.stats().waiting < IN_ALL);
    let lost = observer.stats().lost;
    observer.observe(account(999), denial("x"));
    assert_eq!(observer.stats().lost, lost, "a quiet account finds room");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_tried_again_as_the_same_request() {
    let (observer, log) = (Observer::default(), Log::new());
    log.answer.set(Written::NotNow);
    beside(&observer, &log, async {
        observer.observe(account(1), denial("first"));
        pass(WINDOW * 3).await;
        observer.observe(account(1), denial("second"));
        assert_eq!(observer.stats().waiting, 2);
        log.answer.set(Written::Done);
        pass(WINDOW * 3).await;
    })
    .await;
    assert_eq!(log.targets(), ["first", "second"]);
    let tries = log.tries.borrow();
    let first: Vec<_> = tries.iter().filter(|batch| batch.seen[0].target == "first").collect();
    assert!(first.len() > 1);
    let ids: Vec<_> = first.iter().map(|batch| batch.request.proposed().id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "a retry is the same request");
    assert_ne!(tries.last().unwrap().request.proposed().id, ids[0]);
    assert_eq!(observer.stats(), super::ObserverStats { waiting: 0, written: 2, lost: 0 });
}

#[tokio::test(start_paused = true)]
async fn what_nobody_will_read_is_forgotten_and_what_is_refused_is_counted() {
    let (observer, log) = (Observer::default(), Log::new());
    for (answer, lost) in [(Written::Nowhere, 0), (Written::Refused, 3)] {
        log.answer.set(answer);
        beside(&observer, &log, async {
            for _ in 0..3 {
                observer.observe(account(1), check("x"));
            }
            pass(WINDOW * 2).await;
        })
        .await;
        assert_eq!(observer.stats(), super::ObserverStats { waiting: 0, written: 0, lost });
    }
}

#[tokio::test(start_paused = true)]
async fn one_slow_account_does_not_hold_up_the_others() {
    let observer = Observer::default();
    let log = Log::new();
    let slow = Log { takes: Duration::from_mins(1), ..log.clone() };
    let writing = observer.run(|batch| {
        let log = if batch.account == account(1) { slow.clone() } else { log.clone() };
        log.write(batch)
    });
    let story = async {
        observer.observe(account(1), check("slow"));
        observer.observe(account(2), check("quick"));
        pass(WINDOW * 2).await;
        observer.observe(account(1), check("later"));
        pass(WINDOW * 2).await;
        assert_eq!(log.targets(), ["quick"]);
        assert_eq!(observer.stats().waiting, 2, "one batch of an account at a time");
        pass(Duration::from_secs(130)).await;
        assert_eq!(log.targets(), ["quick", "slow", "later"]);
    };
    tokio::select! {
        () = writing => panic!("nobody closed it"),
        () = story => {}
    }
}

#[tokio::test(start_paused = true)]
async fn closing_writes_everything_at_once_and_ends() {
    let (observer, log) = (Observer::default(), Log::new());
    for n in 0..PER_ACCOUNT {
        observer.observe(account(1), check(&n));
        observer.observe(account(n), denial(&n));
    }
    observer.close();
    let start = Instant::now();
    observer.run(|batch| log.clone().write(batch)).await;
    assert!(start.elapsed() < WINDOW * 20);
    assert_eq!(observer.stats().waiting, 0);
    let written: u32 = log.records().iter().map(|record| record.count).sum();
    assert_eq!(written as usize, PER_ACCOUNT * 2);
    // With nothing to write it ends too.
    let idle = Observer::default();
    idle.close();
    advance(WINDOW).await;
    idle.run(|batch| log.clone().write(batch)).await;
}

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use conclave_cluster::{LogTime, RequestId};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use super::message::TenantMessage;
use super::*;

/// A log that takes a time for each entry, and remembers them.
#[derive(Clone)]
struct Log(Arc<LogState>);

struct LogState {
    takes: Duration,
    entries: Mutex<Vec<Vec<Proposal>>>,
    answer: Mutex<Answer>,
    now: AtomicUsize,
    most: AtomicUsize,
    /// Entries wait while this is `false`.
    open: watch::Sender<bool>,
}

#[derive(Clone, Copy)]
enum Answer {
    Done,
    Fails(ProposeError),
    Panics,
    TooFew,
}

impl Log {
    fn new(takes_ms: u64) -> Self {
        Self(Arc::new(LogState {
            takes: Duration::from_millis(takes_ms),
            entries: Mutex::default(),
            answer: Mutex::new(Answer::Done),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            open: watch::Sender::new(true),
        }))
    }

    async fn propose(self, entry: Vec<Proposal>) -> Result<Vec<Applied>, ProposeError> {
        let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        self.0.entries.lock().unwrap().push(entry.clone());
        sleep(self.0.takes).await;
        self.0.open.subscribe().wait_for(|open| *open).await.unwrap();
        self.0.now.fetch_sub(1, Ordering::SeqCst);
        let answer = *self.0.answer.lock().unwrap();
        let done = |proposal: Proposal| Applied::Done {
            revision: 1,
            at: LogTime(0),
            reply: proposal.command,
            replayed: false,
        };
        match answer {
            Answer::Done => Ok(entry.into_iter().map(done).collect()),
            Answer::Fails(error) => Err(error),
            Answer::TooFew => Ok(entry.into_iter().skip(1).map(done).collect()),
            Answer::Panics => panic!("the log panics"),
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.0.entries.lock().unwrap().iter().map(Vec::len).collect()
    }

    /// The commands in the order of the log.
    fn commands(&self) -> Vec<String> {
        let entries = self.0.entries.lock().unwrap();
        entries.iter().flatten().map(|proposal| text(&proposal.command)).collect()
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn tenants(limits: Limits, log: &Log) -> Tenants {
    let log = log.clone();
    Tenants::start(limits, move |entry| log.clone().propose(entry)).await.unwrap()
}

fn account(name: &str) -> AccountKey {
    AccountKey::new(name)
}

fn proposal(command: impl Into<Bytes>) -> Proposal {
    Proposal { request: RequestId([0; 16]), fingerprint: 0, command: command.into() }
}

fn within(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

/// Submits in a task, and returns once it waits.
async fn begin(
    tenants: &Tenants,
    name: &str,
    command: impl Into<Bytes>,
    ms: u64,
) -> tokio::task::JoinHandle<Result<String, Refused>> {
    let (tenants, name, proposal, deadline) = (tenants.clone(), account(name), proposal(command), within(ms));
    let task = tokio::spawn(async move {
        match tenants.submit(&name, proposal, deadline).await? {
            Applied::Done { reply, .. } => Ok(text(&reply)),
            Applied::Mismatch => panic!("not said by this log"),
        }
    });
    settle().await;
    task
}

/// Lets every task run until all of them wait. No time passes.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_packed_in_order_and_each_gets_its_own_answer() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    let mut calls = Vec::new();
    for n in 0..131 {
        calls.push(begin(&tenants, "a", n.to_string(), 1000).await);
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), Ok(n.to_string()));
    }
    assert_eq!(log.sizes(), [1, 64, 64, 2], "one at a time, at most 64 in each");
    assert_eq!(log.commands(), (0..131).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(log.0.most.load(Ordering::SeqCst), 1);
    assert_eq!(tenants.stats(), TenantsStats { actors: 1, ..TenantsStats::default() });
}

#[tokio::test(start_paused = true)]
async fn entries_are_bounded_in_bytes() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    let mut calls = vec![begin(&tenants, "a", "first", 1000).await];
    for _ in 0..5 {
        calls.push(begin(&tenants, "a", vec![b'x'; 200 << 10], 1000).await);
    }
    for call in join_all(calls).await {
        assert!(call.unwrap().is_ok());
    }
    assert_eq!(log.sizes(), [1, 2, 2, 1]);
    let huge = proposal(vec![0; Proposal::MAX_COMMAND_BYTES + 1]);
    assert_eq!(tenants.submit(&account("a"), huge, within(1000)).await, Err(Refused::TooLong));
}

#[tokio::test(start_paused = true)]
async fn admission_is_bounded_per_account_in_all_and_in_bytes() {
    let log = Log::new(10);
    let limits = Limits { per_account: 3, in_all: 5, bytes_in_all: 100, ..Limits::default() };
    let tenants = tenants(limits, &log).await;
    log.0.open.send_replace(false);
    let busy = Err(Refused::Busy { retry_after: Duration::from_secs(1) });
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(begin(&tenants, "a", "1234567890", 1000).await);
    }
    assert_eq!(begin(&tenants, "a", "", 1000).await.await.unwrap(), busy, "of the account");
    assert_eq!(begin(&tenants, "b", vec![b'x'; 71], 1000).await.await.unwrap(), busy, "of bytes");
    calls.push(begin(&tenants, "b", vec![b'x'; 70], 1000).await);
    calls.push(begin(&tenants, "c", "", 1000).await);
    assert_eq!(begin(&tenants, "c", "", 1000).await.await.unwrap(), busy, "of all");
    let stats = tenants.stats();
    assert_eq!((stats.admitted, stats.admitted_bytes, stats.refused), (5, 100, 3));
    assert_eq!(stats.waiting, 2, "one of each account is proposed");
    assert_eq!(stats.in_flight, 3);

    log.0.open.send_replace(true);
    for call in join_all(calls).await {
        assert!(call.unwrap().is_ok());
    }
    assert_eq!((tenants.stats().admitted, tenants.stats().admitted_bytes), (0, 0));
    assert_eq!(tenants.stats().waiting, 0);
    // A refusal takes no place of what it did not lack.
    for name in ["a", "b", "c"] {
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push(begin(&tenants, name, "again", 1000).await);
        }
        for call in join_all(calls).await {
            assert_eq!(call.unwrap(), Ok("again".to_owned()), "{name}");
        }
    }
}

/// A place is free by the time its caller hears the answer.
#[tokio::test(start_paused = true)]
async fn a_caller_may_ask_again_at_once() {
    let log = Log::new(1);
    let tenants = tenants(Limits { per_account: 1, ..Limits::default() }, &log).await;
    for n in 0..100 {
        let result = tenants.submit(&account("a"), proposal("x"), within(1000)).await;
        assert!(result.is_ok(), "{n}: {result:?}");
    }
}

/// Twenty accounts that always have 200 waiting, two entries at a time, 10 ms for each. An account with one
/// proposal waits for each of the others once: 10 rounds, and its own.
#[tokio::test(start_paused = true)]
async fn noisy_accounts_do_not_starve_a_quiet_one() {
    let log = Log::new(10);
    let tenants = tenants(Limits { entries_in_flight: 2, ..Limits::default() }, &log).await;
    let mut noise = Vec::new();
    for n in 0..20 * 200 {
        let (tenants, name) = (tenants.clone(), account(&format!("noisy-{}", n % 20)));
        noise.push(tokio::spawn(async move {
            loop {
                if tenants.submit(&name, proposal("noise"), within(5000)).await.is_err() {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }));
    }
    sleep(Duration::from_millis(500)).await;
    let mut worst = Duration::ZERO;
    for n in 0..20 {
        let begun = Instant::now();
        tenants.submit(&account(&format!("quiet-{n}")), proposal("quiet"), within(5000)).await.unwrap();
        worst = worst.max(begun.elapsed());
    }
    assert!(worst <= Duration::from_millis(120), "{worst:?}");
    assert_eq!(log.0.most.load(Ordering::SeqCst), 2);
    let mut shares = BTreeMap::<usize, usize>::new();
    for size in log.sizes() {
        *shares.entry(size).or_default() += 1;
    }
    assert!(shares.contains_key(&64), "the noisy ones pack: {shares:?}");
    noise.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_waiting_means_not_done() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    log.0.open.send_replace(false);
    let first = begin(&tenants, "a", "first", 200).await;
    let late = begin(&tenants, "a", "late", 100).await;
    let patient = begin(&tenants, "a", "patient", 1000).await;
    assert_eq!(late.await.unwrap(), Err(Refused::TooLate));
    assert_eq!(first.await.unwrap(), Err(Refused::Unknown), "it was proposed");
    log.0.open.send_replace(true);
    assert_eq!(patient.await.unwrap(), Ok("patient".to_owned()));
    assert_eq!(log.commands(), ["first", "patient"]);
    assert_eq!(begin(&tenants, "a", "at once", 0).await.await.unwrap(), Err(Refused::TooLate));
}

/// The caller's own timer may be late, on a busy machine: the queue looks at the deadline too.
#[tokio::test(start_paused = true)]
async fn a_passed_deadline_is_not_packed_even_when_its_caller_sleeps() {
    let log = Log::new(1000);
    let tenants = tenants(Limits::default(), &log).await;
    let first = begin(&tenants, "a", "first", 5000).await;
    let name = account("a");
    let mut sleeper = std::pin::pin!(tenants.submit(&name, proposal("late"), within(500)));
    assert!(futures_util::poll!(sleeper.as_mut()).is_pending());
    assert!(first.await.unwrap().is_ok());
    settle().await;
    assert_eq!(log.commands(), ["first"]);
    assert_eq!(sleeper.await, Err(Refused::TooLate));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_in_time_is_not_proposed() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    let first = begin(&tenants, "a", "first", 1000).await;
    let gone = begin(&tenants, "a", "gone", 1000).await;
    gone.abort();
    let last = begin(&tenants, "a", "last", 1000).await;
    assert!(first.await.unwrap().is_ok() && last.await.unwrap().is_ok());
    assert_eq!(log.commands(), ["first", "last"]);
    assert_eq!(tenants.stats().admitted, 0);
}

#[tokio::test(start_paused = true)]
async fn lost_leadership_answers_what_waits_and_leaves_the_rest_to_the_log() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    *log.0.answer.lock().unwrap() = Answer::Fails(ProposeError::Unknown);
    let (packed, waiting) = (begin(&tenants, "a", "1", 1000).await, begin(&tenants, "a", "2", 1000).await);
    let other = begin(&tenants, "b", "3", 1000).await;
    let begun = Instant::now();
    tenants.leadership_lost();
    assert_eq!(waiting.await.unwrap(), Err(Refused::NotLeader));
    assert_eq!(begun.elapsed(), Duration::ZERO, "at once");
    assert_eq!(packed.await.unwrap(), Err(Refused::Unknown));
    assert_eq!(other.await.unwrap(), Err(Refused::Unknown));
    *log.0.answer.lock().unwrap() = Answer::Done;
    assert!(begin(&tenants, "a", "4", 1000).await.await.unwrap().is_ok(), "leading again");
    assert_eq!(log.commands(), ["1", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_says_reaches_every_caller_of_the_entry() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    for (answer, refused) in [
        (Answer::Fails(ProposeError::NotLeader), Refused::NotLeader),
        (Answer::Fails(ProposeError::NotDone), Refused::NotDone),
        (Answer::Fails(ProposeError::Unknown), Refused::Unknown),
        (Answer::Panics, Refused::Unknown),
    ] {
        *log.0.answer.lock().unwrap() = answer;
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push(begin(&tenants, "a", "x", 1000).await);
        }
        for call in calls {
            assert_eq!(call.await.unwrap(), Err(refused));
        }
        assert_eq!(tenants.stats().admitted, 0);
    }
    *log.0.answer.lock().unwrap() = Answer::TooFew;
    assert_eq!(begin(&tenants, "a", "x", 1000).await.await.unwrap(), Err(Refused::Unknown));
    *log.0.answer.lock().unwrap() = Answer::Done;
    assert!(begin(&tenants, "a", "x", 1000).await.await.unwrap().is_ok(), "and the account goes on");
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_told_truly_and_the_next_call_gets_a_fresh_actor() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    let (packed, waiting) = (begin(&tenants, "a", "1", 1000).await, begin(&tenants, "a", "2", 1000).await);
    let other = begin(&tenants, "b", "3", 1000).await;
    let crashed = tenants.inner.seats.actor(&account("a")).unwrap();
    crashed.cast(TenantMessage::Crash).unwrap();
    assert_eq!(waiting.await.unwrap(), Err(Refused::NotDone), "never packed");
    let next = begin(&tenants, "a", "4", 1000).await;
    assert_eq!(log.sizes().len(), 2, "still one entry of the account in flight");
    assert_eq!(packed.await.unwrap(), Ok("1".to_owned()), "the entry outlives the actor");
    assert_eq!(next.await.unwrap(), Ok("4".to_owned()));
    assert_eq!(other.await.unwrap(), Ok("3".to_owned()));
    assert_eq!(log.commands(), ["1", "3", "4"]);
    assert_ne!(tenants.inner.seats.actor(&account("a")).unwrap().get_id(), crashed.get_id());
    assert_eq!((tenants.stats().crashes, tenants.stats().admitted), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_crash_without_work_gives_the_seat_up() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    begin(&tenants, "a", "1", 1000).await.await.unwrap().unwrap();
    tenants.inner.seats.actor(&account("a")).unwrap().cast(TenantMessage::Crash).unwrap();
    settle().await;
    assert_eq!((tenants.stats().actors, tenants.stats().crashes), (0, 1));
    assert!(begin(&tenants, "a", "2", 1000).await.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_idle_actor_leaves_and_a_busy_one_stays() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    begin(&tenants, "idle", "1", 1000).await.await.unwrap().unwrap();
    let idle = tenants.inner.seats.actor(&account("idle")).unwrap();
    begin(&tenants, "busy", "1", 1000).await.await.unwrap().unwrap();
    let busy = tenants.inner.seats.actor(&account("busy")).unwrap();
    for _ in 0..6 {
        sleep(Duration::from_secs(7)).await;
        begin(&tenants, "busy", "1", 1000).await.await.unwrap().unwrap();
    }
    assert!(tenants.inner.seats.actor(&account("idle")).is_none());
    assert_eq!(idle.get_status(), ractor::ActorStatus::Stopped);
    assert_eq!(tenants.inner.seats.actor(&account("busy")).unwrap().get_id(), busy.get_id());
    sleep(Duration::from_secs(61)).await;
    assert_eq!(tenants.stats().actors, 0);
    assert!(begin(&tenants, "idle", "2", 1000).await.await.unwrap().is_ok(), "and it comes back");

    log.0.open.send_replace(false);
    let slow = begin(&tenants, "idle", "3", 200_000).await;
    sleep(Duration::from_secs(100)).await;
    assert_eq!(tenants.stats().actors, 1, "one with an entry in flight is not idle");
    let actor = tenants.inner.seats.actor(&account("idle")).unwrap();
    assert!(!tenants.inner.seats.leave(&account("idle"), actor.get_id()));
    log.0.open.send_replace(true);
    assert!(slow.await.unwrap().is_ok());
    assert!(!tenants.inner.seats.leave(&account("idle"), busy.get_id()), "not by another's word");
}

#[tokio::test(start_paused = true)]
async fn draining_answers_what_is_under_way_and_takes_nothing_new() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    let (one, two) = (begin(&tenants, "a", "1", 1000).await, begin(&tenants, "a", "2", 1000).await);
    let actor = tenants.inner.seats.actor(&account("a")).unwrap();
    let draining = tokio::spawn({
        let tenants = tenants.clone();
        async move { tenants.drain(within(5000)).await }
    });
    settle().await;
    assert_eq!(begin(&tenants, "a", "3", 1000).await.await.unwrap(), Err(Refused::NotDone));
    assert_eq!(begin(&tenants, "b", "3", 1000).await.await.unwrap(), Err(Refused::NotDone));
    assert!(one.await.unwrap().is_ok() && two.await.unwrap().is_ok());
    let begun = Instant::now();
    draining.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "no longer than it takes");
    settle().await;
    assert_eq!(actor.get_status(), ractor::ActorStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_at_its_deadline_and_says_what_may_have_happened() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    log.0.open.send_replace(false);
    let (packed, waiting) = (begin(&tenants, "a", "1", 60_000).await, begin(&tenants, "a", "2", 3000).await);
    let begun = Instant::now();
    tenants.drain(within(1000)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap(), Err(Refused::NotDone));
    assert!(!packed.is_finished());
    log.0.open.send_replace(true);
    assert_eq!(packed.await.unwrap(), Ok("1".to_owned()), "the log answered after all");
}

#[tokio::test(start_paused = true)]
async fn everything_ends_with_the_last_handle() {
    let log = Log::new(10);
    let tenants = tenants(Limits::default(), &log).await;
    begin(&tenants, "a", "1", 1000).await.await.unwrap().unwrap();
    let actor = tenants.inner.seats.actor(&account("a")).unwrap();
    drop(tenants);
    settle().await;
    assert_eq!(actor.get_status(), ractor::ActorStatus::Stopped);
}

/// On real threads and time: actors leave after 1 ms without work, while callers come back. No call
/// is lost, none is answered with another's result, and each account keeps its
/// order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_between_leaving_and_coming_back() {
    let log = Log::new(0);
    let tenants = tenants(Limits { idle: Duration::from_millis(1), ..Limits::default() }, &log).await;
    let mut callers = Vec::new();
    for caller in 0..16 {
        let tenants = tenants.clone();
        callers.push(tokio::spawn(async move {
            let name = account(&format!("a{caller}"));
            for n in 0..100 {
                let command = format!("{caller}:{n}");
                let applied = tenants.submit(&name, proposal(command.clone()), within(30_000)).await;
                let Ok(Applied::Done { reply, .. }) = applied else { panic!("{command}: {applied:?}") };
                assert_eq!(text(&reply), command);
                // Comes back at all times before its actor leaves, and at once after.
                let mut turns = 200 * (n % 7);
                while turns > 0 && tenants.inner.seats.actor(&name).is_some() {
                    tokio::task::yield_now().await;
                    turns -= 1;
                }
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    for caller in 0..16 {
        let prefix = format!("{caller}:");
        let order = log.commands().into_iter().filter(|command| command.starts_with(&prefix));
        assert!(order.eq((0..100).map(|n| format!("{caller}:{n}"))), "account {caller}");
    }
    assert_eq!((tenants.stats().admitted, tenants.stats().crashes), (0, 0));
}

#[test]
fn only_an_unknown_outcome_may_have_happened() {
    let busy = Refused::Busy { retry_after: Duration::from_secs(1) };
    for refused in [busy, Refused::TooLong, Refused::TooLate, Refused::NotLeader, Refused::NotDone] {
        assert!(!refused.may_have_happened(), "{refused:?}");
    }
    assert!(Refused::Unknown.may_have_happened());
}

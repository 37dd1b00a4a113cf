use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

fn cheap(threads: usize, queue: usize) -> HasherConfig {
    config(HashParams::new(64, 1, 1).unwrap(), threads, queue)
}

fn config(params: HashParams, threads: usize, queue: usize) -> HasherConfig {
    HasherConfig { params, threads: NonZeroUsize::new(threads).unwrap(), queue }
}

fn password(text: &str) -> Password {
    Password::parse(text.to_owned()).unwrap()
}

#[tokio::test]
async fn a_hash_verifies_its_password_and_no_other() {
    let hasher = Hasher::start(HasherConfig::default()).unwrap();
    let phc = hasher.hash(password("correct horse battery staple")).await.unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    let right = hasher.verify(password("correct horse battery staple"), &phc).await;
    assert_eq!(right, Ok(Checked::Right { needs_rehash: false }));
    for wrong in
        ["correct horse battery stapl", "correct horse battery staple ", "Correct horse battery staple"]
    {
        assert_eq!(hasher.verify(password(wrong), &phc).await, Ok(Checked::Wrong), "{wrong}");
    }
    let again = hasher.hash(password("correct horse battery staple")).await.unwrap();
    assert_ne!(phc, again, "each hash has its own salt");
}

#[tokio::test]
async fn agrees_with_the_argon2_crate() {
    use argon2::{PasswordHash, PasswordVerifier};
    let hasher = Hasher::start(config(HashParams::new(1024, 3, 2).unwrap(), 1, 8)).unwrap();
    let phc = hasher.hash(password("täst")).await.unwrap();
    let parsed = PasswordHash::new(&phc).unwrap();
    assert!(argon2::Argon2::default().verify_password("täst".as_bytes(), &parsed).is_ok());
    assert!(argon2::Argon2::default().verify_password(b"tast", &parsed).is_err());
}

#[tokio::test]
async fn long_passwords_that_differ_at_the_end_differ() {
    let hasher = Hasher::start(cheap(1, 8)).unwrap();
    for length in [71, 72, 73, 127] {
        let (one, two) = ("x".repeat(length) + "a", "x".repeat(length) + "b");
        let phc = hasher.hash(password(&one)).await.unwrap();
        assert_eq!(hasher.verify(password(&two), &phc).await, Ok(Checked::Wrong), "{length}");
    }
}

#[tokio::test]
async fn rehash_is_asked_for_when_the_cost_rose_only() {
    let weak = Hasher::start(cheap(1, 8)).unwrap();
    let strong = Hasher::start(config(HashParams::new(128, 2, 1).unwrap(), 1, 8)).unwrap();
    let (old, new) = (weak.hash(password("pw")).await.unwrap(), strong.hash(password("pw")).await.unwrap());
    assert_eq!(strong.verify(password("pw"), &old).await, Ok(Checked::Right { needs_rehash: true }));
    assert_eq!(strong.verify(password("pw"), &new).await, Ok(Checked::Right { needs_rehash: false }));
    assert_eq!(weak.verify(password("pw"), &new).await, Ok(Checked::Right { needs_rehash: false }));
    assert_eq!(weak.verify(password("pw"), &old).await, Ok(Checked::Right { needs_rehash: false }));
}

#[tokio::test]
async fn an_unknown_name_costs_a_hash_and_is_wrong() {
    let hasher = Hasher::start(cheap(1, 8)).unwrap();
    assert_eq!(hasher.verify_unknown(password("anything")).await, Ok(Checked::Wrong));
    assert_eq!(hasher.stats().done, 1);
}

#[tokio::test]
async fn a_damaged_or_absurd_stored_hash_is_refused_without_work() {
    let hasher = Hasher::start(cheap(1, 8)).unwrap();
    let phc = hasher.hash(password("pw")).await.unwrap();
    for bad in [phc.replace("m=64", "m=4000000"), phc.replace("argon2id", "argon2i"), "x".to_owned()] {
        assert_eq!(hasher.verify(password("pw"), &bad).await, Err(HashError::Malformed), "{bad}");
    }
    assert_eq!(hasher.stats().done, 1);
}

/// Polls once, so that the future has put its job into the queue.
fn begin<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A pool whose threads never take a job, so that the queue can be looked at.
fn stuck(threads: usize, queue: usize, last_hash: Duration) -> Hasher {
    let shared = Shared {
        state: Mutex::new(State {
            stats: HasherStats { running: threads, ..HasherStats::default() },
            last_hash,
            ..State::default()
        }),
        work: Condvar::new(),
        threads,
        queue,
    };
    Hasher { pool: Arc::new(Owner(Arc::new(shared))), params: HashParams::default() }
}

#[test]
fn the_queue_is_bounded_and_a_caller_that_goes_frees_its_place() {
    let hasher = stuck(1, 2, Duration::ZERO);
    let mut first = pin!(hasher.hash(password("1")));
    assert!(begin(first.as_mut()).is_pending());
    {
        let mut second = pin!(hasher.verify_unknown(password("2")));
        assert!(begin(second.as_mut()).is_pending());
        let mut third = pin!(hasher.hash(password("3")));
        let Poll::Ready(Err(HashError::Busy { retry_after })) = begin(third.as_mut()) else {
            panic!("the third is beyond the queue");
        };
        assert!(retry_after >= Duration::from_secs(1));
        assert_eq!(hasher.stats(), HasherStats { waiting: 2, running: 1, done: 0, refused: 1 });
    }
    assert_eq!(hasher.stats().waiting, 1, "the second went away");
    let mut fourth = pin!(hasher.hash(password("4")));
    assert!(begin(fourth.as_mut()).is_pending());
    assert_eq!(hasher.stats().waiting, 2);
}

#[test]
fn a_refused_caller_is_told_when_all_before_it_are_done() {
    for (threads, queue, seconds) in [(1, 0, 11), (1, 2, 31), (2, 4, 31), (2, 5, 31), (4, 2, 11)] {
        let hasher = stuck(threads, queue, Duration::from_secs(10));
        let mut waiting: Vec<_> = (0..queue).map(|_| Box::pin(hasher.hash(password("pw")))).collect();
        assert!(waiting.iter_mut().all(|call| begin(call.as_mut()).is_pending()));
        let refused = begin(pin!(hasher.hash(password("pw"))));
        let retry_after = Duration::from_secs(seconds);
        assert_eq!(refused, Poll::Ready(Err(HashError::Busy { retry_after })), "{threads} {queue}");
    }
}

/// Gives way to the threads of a pool until it is so.
fn comes_true(is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() && begun.elapsed() < Duration::from_secs(10) {
        thread::yield_now();
    }
    is_so()
}

#[test]
fn a_pool_is_as_it_was_asked_for() {
    let params = HashParams::new(128, 2, 1).unwrap();
    let hasher = Hasher::start(config(params, 3, 8)).unwrap();
    assert_eq!((hasher.params(), hasher.threads()), (params, 3));
}

#[test]
fn the_threads_end_with_the_last_clone() {
    let hasher = Hasher::start(cheap(2, 8)).unwrap();
    let shared = Arc::downgrade(&hasher.pool.0);
    let clone = hasher.clone();
    drop(hasher);
    assert!(shared.upgrade().is_some_and(|shared| !shared.lock().is_closed));
    drop(clone);
    assert!(comes_true(|| shared.strong_count() == 0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_threads_give_way_to_all_others() {
    let _hasher = Hasher::start(cheap(3, 8)).unwrap();
    // The nice values of all threads named like the last of ours: other tests may have some as well.
    let nice = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.join("stat")).ok());
        let ours = stats.filter(|stat| stat.contains("(hasher-2)"));
        ours.map(|stat| stat.split_whitespace().nth(18).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(comes_true(|| !nice().is_empty() && nice().iter().all(|nice| nice == "10")), "{:?}", nice());
}

#[tokio::test]
async fn many_callers_are_all_answered_or_told_busy() {
    let hasher = Hasher::start(cheap(2, 4)).unwrap();
    let phc = Arc::new(hasher.hash(password("pw")).await.unwrap());
    let calls = (0..64).map(|_| {
        let (hasher, phc) = (hasher.clone(), Arc::clone(&phc));
        tokio::spawn(async move { hasher.verify(password("pw"), &phc).await })
    });
    let (mut right, mut busy) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(Checked::Right { .. }) => right += 1,
            Err(HashError::Busy { .. }) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((right + busy, busy), (64, hasher.stats().refused));
    assert!(right >= 4, "{right}");
    let HasherStats { waiting, running, .. } = hasher.stats();
    assert_eq!((waiting, running), (0, 0));
}

#[test]
fn memory_is_wiped_and_fits_the_job() {
    let job = |params| {
        let (reply, _) = oneshot::channel();
        Job { id: 1, password: password("pw"), salt: [7; SALT_BYTES], params, reply }
    };
    let mut memory = Memory::default();
    let small = memory.hash(&job(HashParams::new(64, 1, 1).unwrap())).unwrap();
    memory.hash(&job(HashParams::new(1024, 1, 1).unwrap())).unwrap();
    assert_eq!(memory.blocks.len(), 1024);
    let again = memory.hash(&job(HashParams::new(64, 1, 1).unwrap())).unwrap();
    assert_eq!((memory.blocks.len(), memory.blocks.capacity()), (64, 64));
    assert_eq!(small.output, again.output, "what a hash leaves behind does not change the next");
    assert!(memory.blocks.iter().any(|block| block.as_ref().iter().any(|word| *word != 0)));
    memory.wipe();
    assert!(memory.blocks.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
}

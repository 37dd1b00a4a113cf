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

/// A pool whose one thread never takes a job, so that the queue can be looked at.
fn stuck(queue: usize) -> Hasher {
    let shared = Shared {
        state: Mutex::new(State {
            stats: HasherStats { running: 1, ..HasherStats::default() },
            ..State::default()
        }),
        work: Condvar::new(),
        threads: 1,
        queue,
    };
    Hasher { pool: Arc::new(Owner(Arc::new(shared))), params: HashParams::default() }
}

#[test]
fn the_queue_is_bounded_and_a_caller_that_goes_frees_its_place() {
    let hasher = stuck(2);
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

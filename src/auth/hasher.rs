//! Password hashing on a bounded pool of threads of its own.
//!
//! # Why
//! - Each thread keeps its block of memory: fresh memory doubles the time of a hash. The block is wiped
//!   whenever its thread runs out of work; while there is work, the next hash overwrites it.
//! - The queue is short. A caller beyond it is told at once to come back, because an answer later than its
//!   deadline costs as much as one in time and helps nobody.
//! - The threads give way to all others: whoever signs in waits for milliseconds of work anyway, and nobody else should
//!   have to. With 500 clients that sign in without a pause on two cores, p99 of `/health` goes from 7.3 to 5.3 ms.
//! - A name that nobody has costs a hash as well, or the time taken would tell which names exist.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use argon2::Block;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use tokio::sync::oneshot;
use tracing::Instrument;
use zeroize::Zeroize;

use super::password::Password;
use super::phc::{HashParams, OUTPUT_BYTES, SALT_BYTES, StoredHash};

/// How the pool is built.
#[derive(Clone, Copy, Debug)]
pub struct HasherConfig {
    /// The cost of new hashes.
    pub params: HashParams,
    /// Threads. Each keeps memory for one hash, so together they take `threads * params.memory_kib()`.
    pub threads: NonZeroUsize,
    /// How many callers may wait for a thread; the next one gets [`HashError::Busy`].
    pub queue: usize,
}

impl Default for HasherConfig {
    /// Default cost, one thread for each processor but at most 8, 64 waiting callers for each thread (about a
    /// second of work).
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = threads.min(NonZeroUsize::MIN.saturating_add(7));
        Self { params: HashParams::default(), threads, queue: threads.get() * 64 }
    }
}

/// What a check of a password found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is the password.
    Right {
        /// The stored hash is cheaper than new ones are: hash again and store that.
        needs_rehash: bool,
    },
    /// It is not, or there is none to compare with.
    Wrong,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The queue is full; nothing was computed.
    #[error("too many passwords wait to be hashed")]
    Busy {
        /// When a place is likely to be free: whole seconds, at least one.
        retry_after: Duration,
    },
    /// The stored hash is damaged, foreign, or asks for an absurd amount of work.
    #[error("the stored password hash is not one of ours")]
    Malformed,
    /// There was no memory or no randomness for it, or the pool is shutting down.
    #[error("the password hasher cannot work")]
    Unavailable,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HasherStats {
    /// Callers in the queue.
    pub waiting: usize,
    /// Hashes being computed.
    pub running: usize,
    /// Hashes computed since the start.
    pub done: u64,
    /// Callers refused since the start, because the queue was full.
    pub refused: u64,
}

/// The pool. Clones share it; its threads end with the last clone.
#[derive(Clone)]
pub struct Hasher {
    pool: Arc<Owner>,
    params: HashParams,
}

impl Hasher {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(config: HasherConfig) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            threads: config.threads.get(),
            queue: config.queue,
        });
        let pool = Arc::new(Owner(Arc::clone(&shared)));
        for index in 0..config.threads.get() {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("hasher-{index}")).spawn(move || {
                give_way();
                shared.run();
            })?;
        }
        Ok(Self { pool, params: config.params })
    }

    /// Hashes a password with a fresh salt at the current cost. Gives a PHC string.
    ///
    /// Dropping the future gives the place in the queue back.
    ///
    /// # Errors
    /// See [`HashError`]; never `Malformed`.
    pub async fn hash(&self, password: Password) -> Result<String, HashError> {
        let stored = self.submit(password, fresh_salt()?, self.params).await?;
        stored.to_phc().map_err(|_| HashError::Malformed)
    }

    /// Compares a password with a PHC string, in constant time after the hash.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn verify(&self, password: Password, phc: &str) -> Result<Checked, HashError> {
        let stored = StoredHash::parse(phc).map_err(|_| HashError::Malformed)?;
        let computed = self.submit(password, stored.salt, stored.params).await?;
        Ok(if verify_slices_are_equal(&computed.output, &stored.output).is_ok() {
            Checked::Right { needs_rehash: stored.params.is_below(self.params) }
        } else {
            Checked::Wrong
        })
    }

    /// Does the work of [`Hasher::verify`] for a name that has no hash. Always `Wrong`.
    ///
    /// # Errors
    /// See [`HashError`]; never `Malformed`.
    pub async fn verify_unknown(&self, password: Password) -> Result<Checked, HashError> {
        self.submit(password, fresh_salt()?, self.params).await.map(|_| Checked::Wrong)
    }

    /// The cost of new hashes.
    #[must_use]
    pub fn params(&self) -> HashParams {
        self.params
    }

    /// How many hashes are computed at once.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.0.threads
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> HasherStats {
        let state = self.pool.0.lock();
        HasherStats { waiting: state.jobs.len(), ..state.stats }
    }

    async fn submit(
        &self,
        password: Password,
        salt: [u8; SALT_BYTES],
        params: HashParams,
    ) -> Result<StoredHash, HashError> {
        let (reply, answer) = oneshot::channel();
        let id = self.pool.0.enqueue(Job { id: 0, password, salt, params, reply })?;
        let _place = Place { shared: &self.pool.0, id };
        // From its place in the queue to the hash.
        answer.instrument(tracing::debug_span!("hash")).await.unwrap_or(Err(HashError::Unavailable))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("params", &self.params).finish_non_exhaustive()
    }
}

/// Lowers the priority of this thread. On Linux, unlike in POSIX, a thread has one of its own.
///
/// The share that is left to it while all processors are busy with other things is about a tenth, so sign-ins go on
/// under any load. Where the system refuses, hashes are only less polite.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::warn!(%error, "passwords are hashed at the priority of everything else");
    }
}

fn fresh_salt() -> Result<[u8; SALT_BYTES], HashError> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| HashError::Unavailable)?;
    Ok(salt)
}

/// Ten steps are a weight of 110 against 1024.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

struct Job {
    id: u64,
    password: Password,
    salt: [u8; SALT_BYTES],
    params: HashParams,
    reply: oneshot::Sender<Result<StoredHash, HashError>>,
}

/// Ends the threads when the last [`Hasher`] goes.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.jobs.clear();
        self.0.work.notify_all();
    }
}

/// A caller's place in the queue, given back when the caller goes away.
struct Place<'p> {
    shared: &'p Shared,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // The queue is in order of ids, and short; a job that was taken or done is not in it.
        let mut state = self.shared.lock();
        if let Ok(index) = state.jobs.binary_search_by_key(&self.id, |job| job.id) {
            drop(state.jobs.remove(index));
        }
    }
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads: usize,
    queue: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    next_id: u64,
    stats: HasherStats,
    last_hash: Duration,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned one is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, mut job: Job) -> Result<u64, HashError> {
        let mut state = self.lock();
        // An idle thread takes a job at once, so such a job does not count as waiting.
        let idle = self.threads.saturating_sub(state.stats.running);
        if state.jobs.len() >= self.queue.saturating_add(idle) {
            state.stats.refused += 1;
            let rounds = u32::try_from(state.jobs.len() / self.threads + 1).unwrap_or(u32::MAX);
            let wait = state.last_hash.saturating_mul(rounds);
            return Err(HashError::Busy { retry_after: Duration::from_secs(wait.as_secs() + 1) });
        }
        state.next_id += 1;
        job.id = state.next_id;
        let id = job.id;
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
        Ok(id)
    }

    /// The life of a thread.
    fn run(&self) {
        let mut memory = Memory::default();
        while let Some(job) = self.next(&mut memory) {
            let begun = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| memory.hash(&job)));
            let mut state = self.lock();
            state.stats.running -= 1;
            state.stats.done += 1;
            state.last_hash = begun.elapsed();
            drop(state);
            // A caller that has gone does not want the answer.
            let _ = job.reply.send(result.unwrap_or(Err(HashError::Unavailable)));
        }
    }

    fn next(&self, memory: &mut Memory) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                state.stats.running += 1;
                return Some(job);
            }
            if memory.is_dirty {
                drop(state);
                memory.wipe();
                state = self.lock();
                continue;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A thread's blocks. What a hash leaves in them makes guessing its password cheap.
#[derive(Default)]
struct Memory {
    blocks: Vec<Block>,
    is_dirty: bool,
}

impl Memory {
    fn hash(&mut self, job: &Job) -> Result<StoredHash, HashError> {
        let argon2 = job.params.argon2().map_err(|_| HashError::Malformed)?;
        let needed = argon2.params().block_count();
        self.resize(needed)?;
        self.is_dirty = true;
        let mut output = [0; OUTPUT_BYTES];
        argon2
            .hash_password_into_with_memory(
                job.password.expose().as_bytes(),
                &job.salt,
                &mut output,
                &mut self.blocks,
            )
            .map_err(|_| HashError::Unavailable)?;
        Ok(StoredHash { params: job.params, salt: job.salt, output })
    }

    /// Makes room for exactly `blocks`, so that one dear hash of old does not keep its memory for good.
    fn resize(&mut self, blocks: usize) -> Result<(), HashError> {
        if self.blocks.len() == blocks {
            return Ok(());
        }
        self.wipe();
        self.blocks = Vec::new();
        self.blocks.try_reserve_exact(blocks).map_err(|_| HashError::Unavailable)?;
        self.blocks.resize(blocks, Block::new());
        Ok(())
    }

    fn wipe(&mut self) {
        self.blocks.iter_mut().for_each(Zeroize::zeroize);
        self.is_dirty = false;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
#[path = "hasher_tests.rs"]
mod tests;

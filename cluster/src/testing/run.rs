//! One run of a story from its seed.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time;

use super::random::Random;
use crate::raft::runtime::seed_thread;

/// Runs a story on this thread, on a paused runtime of its own. What it returns follows from the seed, as far as
/// the head of [`crate::testing`] says; one that takes more than five minutes of its own time is an error.
pub fn run<T, F>(seed: u64, story: impl FnOnce(Random) -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let random = Random::new(seed);
    seed_thread(random.next());
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.build().unwrap();
    runtime.block_on(async {
        time::timeout(LONGEST, story(random)).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
    })
}

const LONGEST: Duration = Duration::from_mins(5);

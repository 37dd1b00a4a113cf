//! A random source that a seed decides.

use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Clones draw from the same source.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<u64>>);

impl Random {
    /// The source of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// A source of its own, decided by this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(self.next())
    }

    /// Any number.
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0, below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in about `chance` of 1,000 cases.
    pub fn per_mille(&self, chance: u64) -> bool {
        self.below(1000) < chance
    }

    /// A time in microseconds, below `to`.
    pub fn micros(&self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from + self.below(to - from))
    }

    /// A time in milliseconds, below `to`.
    pub fn millis(&self, from: u64, to: u64) -> Duration {
        self.micros(from * 1000, to * 1000)
    }

    /// One of these.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

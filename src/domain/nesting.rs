//! How deep transactions may lie in each other while a command is read.
//!
//! # Why
//! A transaction holds actions, and a transaction is one: the only type of a command that holds itself. Two bytes
//! are a level, so that a command of the allowed length would use up the stack of whoever reads it, which ends the
//! process; and since it stands in the log by then, that of every node, at each start again. [`super::apply`] refuses
//! the first transaction in another, but it comes after the reading.

use std::cell::Cell;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Action;

/// Deeper than any that was ever written, which is not at all.
const MOST_LEVELS: u8 = 16;

thread_local! {
    // The levels that are being read on this thread. A decoder has no place for it, and it is back at 0 with each
    // command that was read: so that what is read depends on the bytes alone.
    static LEVELS: Cell<u8> = const { Cell::new(0) };
}

/// Reads the actions of a transaction.
///
/// # Errors
/// Those of the decoder, and when it lies too deep.
pub(super) fn actions<'de, D: Deserializer<'de>>(decoder: D) -> Result<Vec<Action>, D::Error> {
    match Level::enter() {
        Some(_level) => Vec::deserialize(decoder),
        None => Err(D::Error::custom("a transaction lies too deep in others")),
    }
}

/// One level, as long as it is being read.
struct Level;

impl Level {
    fn enter() -> Option<Self> {
        let levels = LEVELS.get();
        (levels < MOST_LEVELS).then(|| {
            LEVELS.set(levels + 1);
            Self
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        LEVELS.set(LEVELS.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many transactions, each in the one before, as they would be written.
    fn nested(levels: usize) -> Vec<u8> {
        let one = postcard::to_stdvec(&Action::Transaction(vec![Action::Transaction(Vec::new())])).unwrap();
        let (level, innermost) = one.split_at(one.len() / 2);
        [level.repeat(levels - 1).as_slice(), innermost].concat()
    }

    #[test]
    fn what_lies_too_deep_is_refused_before_the_stack_is_used_up() {
        let read = |levels: usize| postcard::from_bytes::<Action>(&nested(levels));
        assert_eq!(read(2), Ok(Action::Transaction(vec![Action::Transaction(Vec::new())])));
        assert!(read(usize::from(MOST_LEVELS)).is_ok());
        for levels in [usize::from(MOST_LEVELS) + 1, 128 * 1024] {
            assert!(read(levels).is_err(), "{levels}");
        }
        // And what comes next is read as ever.
        assert!(read(usize::from(MOST_LEVELS)).is_ok());
    }
}

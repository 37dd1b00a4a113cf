//! The checkers of `scripts/faults.sh`, tried by a plain `cargo test`: they need no root and no cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets tests do this, but not the functions that tests share"
)]

mod bad_histories;
mod check;
mod history;
mod random;

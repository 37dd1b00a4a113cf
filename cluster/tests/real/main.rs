//! Three real nodes in one process: TLS on loopback, files in temporary folders, real time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests; lints know only the tests themselves"
)]

mod certificates;
mod harness;
mod join;
#[path = "../../src/testing/keys.rs"]
mod keys;
mod levels;
mod machine;
mod offline;
mod reads;
mod restart;
mod rot;
mod sealing;
mod strangers;

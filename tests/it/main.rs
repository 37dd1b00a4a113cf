//! Stories over the whole of it, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets tests do this, but not the functions that tests share"
)]

mod cli;
mod client;
mod config;
mod framing;
mod harness;
mod iam;
mod native;
mod races;
mod raw;
mod revocation;
mod tidy;
mod tls;

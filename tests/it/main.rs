//! Stories over the whole of it, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets tests do this, but not the functions that tests share"
)]

mod cli;
mod config;
mod documented;
mod framing;
mod openapi;
mod raw;
mod schema;
mod tidy;
mod tls;

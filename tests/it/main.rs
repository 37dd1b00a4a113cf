//! Stories over the whole of it, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets tests do this, but not the functions that tests share"
)]
#![allow(clippy::similar_names, reason = "a story may tell of roots and robots")]

mod at_rest;
mod backups;
mod bad_input;
mod cli;
mod client;
mod client_library;
mod clock;
mod config;
mod doctor;
mod documented;
mod escalation;
mod failover;
mod folders;
mod framing;
mod fuzzed;
mod harness;
mod https;
mod iam;
mod keys;
mod keystone;
mod limits;
mod lints;
mod matrix;
mod native;
mod nodes;
mod openapi;
mod passwords;
mod processes;
mod races;
mod raw;
mod release;
mod requests;
mod revocation;
mod rodmena;
mod schema;
#[path = "../security/mod.rs"]
mod security;
mod simulation;
mod stopping;
mod supply;
mod telemetry;
mod tidy;
mod tls;
mod trails;

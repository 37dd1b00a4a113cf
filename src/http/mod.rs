//! What any HTTP surface needs: connections and their limits, one strict way to read requests, one shape
//! of errors per surface, headers that every reply carries.
//!
//! Must not be known here: accounts, users, tokens, the cluster. `api` stands on this and adds those.
//!
//! # A request's way
//! [`server`] accepts and counts it, `watch` times its bytes, `service` checks host, path and length and
//! catches panics, [`router`] picks the surface by the first path segments, the surface's warp filter
//! answers, `service` adds the headers. A handler replies with a [`Problem`] for anything that is not a
//! success; the router writes it in the surface's own shape.
//!
//! # Why
//! - An own accept loop: `warp::serve` has no defence against slow clients, no caps and no TLS.
//! - A switch in front of the filters: in a chain of filters the last route costs five times the first.
//! - A body is read whole before its handler runs: none is longer than 64 KiB, and so its length, its
//!   time and its failures are judged in one place, whatever the handler does with it.

pub mod context;
pub mod cors;
pub mod form;
pub mod host;
pub mod json;
pub mod limit;
pub mod metrics;
pub mod path;
pub mod problem;
pub mod query;
pub mod router;
pub mod server;
pub mod source;
pub mod stream;
pub mod tls;

mod connections;
mod service;
mod tree;
mod watch;

pub use context::Context;
pub use path::Segment;
pub use problem::Problem;
pub use router::{Router, Surface};
pub use server::{Server, Settings};

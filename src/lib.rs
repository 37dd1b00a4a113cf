//! Conclave: identity and access management on a replicated cluster, in one binary.

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod config;
pub mod dev;
pub mod domain;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod node;
pub mod rate;
pub mod replica;
pub mod secret;
pub mod telemetry;
pub mod tenants;

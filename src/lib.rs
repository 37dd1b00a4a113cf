//! Conclave: identity and access management on a replicated cluster, in one binary.

pub mod auth;
pub mod clock;
pub mod config;
pub mod http;
pub mod secret;
pub mod telemetry;

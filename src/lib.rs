//! Conclave: identity and access management on a replicated cluster, in one binary.

pub mod auth;
pub mod domain;
pub mod http;
pub mod secret;

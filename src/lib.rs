//! Conclave: identity and access management in a cluster of one binary.

pub mod domain;

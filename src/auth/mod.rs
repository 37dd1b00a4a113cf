//! Secrets and proofs: password hashes, minted ids and secrets, sealed keys, signed tokens.
//!
//! Nothing here reads a row, speaks HTTP or knows who may do what. Nothing here logs, and no error quotes
//! what it was given: every input may be a secret.
//!
//! # Why
//! - Hashing has threads of its own: on the runtime it stalls every other request, and as blocking tasks it
//!   takes gigabytes.
//! - Whatever chance gives a request is drawn in one place, [`mint`], so that a retry with the same
//!   idempotency key is given the same ids and secrets on any node.
//! - A token is judged in two steps. [`verifier`] says that it is genuine, in time, and of this account;
//!   the caller then asks the rows whether its session still lives, on every request.

mod cache;
pub mod claims;
pub mod client_key;
pub mod guesses;
pub mod hasher;
pub mod join_token;
pub mod kek;
pub mod key_file;
pub mod keys;
pub mod mint;
pub mod password;
pub mod phc;
pub mod policy;
pub mod refresh;
pub mod seal;
pub mod signer;
pub mod token;
pub mod verifier;

//! Whole nodes in one process, on a simulated network, disk and clock, from a seed.
//!
//! The nodes are the real ones: only the transport, the log device, the disk of the state and the clock are
//! others. A run is a fight between clients, who note what they were told, and a nemesis that cuts, delays,
//! loses, crashes and skews; in the end all faults go, and what the clients were told is checked.
//!
//! [`run`] runs a story from a seed. A story founds a [`World`] of nodes with a [`Layer`] on each, has clients of its
//! own work while [`nemesis`] does harm, compares what the nodes show ([`World::compare`]) all the while, and ends in
//! peace: every node [`serves`] again, and [`agrees`] with all others. The crate's own stories are tests below; with
//! the feature `testing` whoever builds on this crate tells more, with a machine of its own.
//!
//! A seed decides everything that we draw and that openraft draws. tokio and hash maps draw too, from seeds that they
//! take from the system: so under `cargo test` a seed stands for a family of runs. `scripts/simulate.sh [SEEDS] [FIRST]`
//! fixes those as well, and then a seed replays exactly: `scripts/simulate.sh 1 7`. (So it does with
//! `RUSTFLAGS="--cfg tokio_unstable"`, which means building everything anew.)
//!
//! `CONCLAVE_SIM_SEED=7 cargo test -p conclave-cluster simulation_loses` runs one seed, `CONCLAVE_SIM_SEEDS=1000` as many.
//! That the simulation finds what it is there for is shown by putting ten bugs of others back, one at a time: [`Bug`].
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "all of this is test code: an error is a failed test, and so is a panic"
)]

mod bug;
mod clock;
mod disk;
mod layer;
mod nemesis;
mod network;
mod operator;
mod peace;
mod random;
mod run;
mod watch;
mod world;

#[cfg(test)]
mod bugs;
#[cfg(test)]
mod clients;
#[cfg(test)]
pub(crate) mod keys;
#[cfg(test)]
pub(crate) mod machine;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod suite;

pub use bug::{Bug, FORGOTTEN};
pub use layer::{Layer, Setup};
pub use nemesis::nemesis;
pub use peace::{agrees, serves};
pub use random::Random;
pub use run::run;
pub use world::World;

//! Whole nodes in one process, on a simulated network, disk and clock, from a seed.
//!
//! The nodes are the real ones: only the transport, the log device, the disk of the state and the clock are
//! others. A run is a fight between clients, who note what they were told, and a nemesis that cuts, delays,
//! loses, crashes and skews; in the end all faults go, and what the clients were told is checked.
//!
//! `CONCLAVE_SIM_SEED=7 cargo test -p conclave-cluster simulation` runs one seed, `CONCLAVE_SIM_SEEDS=1000` as
//! many. A seed decides everything that we draw and that openraft draws. tokio wakes those who wait on a
//! channel in an order that it draws by itself, from a source that can be seeded only under
//! `RUSTFLAGS="--cfg tokio_unstable"`: with it, a seed replays exactly; without it, a seed stands for a family of
//! runs, which finds as much and replays less.

mod clients;
mod clock;
mod disk;
pub(crate) mod keys;
pub(crate) mod machine;
mod membership;
mod nemesis;
mod network;
mod random;
mod simulation;
mod suite;
mod world;

//! The seam to the disk: what a [`super::Store`] asks of whatever keeps its state.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::machine::Machine;

use super::changes::Changes;
use super::fault::{Damage, Fault};
use super::image::{Limits, State};

/// What [`Media::load`] found.
pub(super) enum Loaded {
    /// There has never been a copy.
    Nothing,
    Whole(Box<State>),
    Damaged(Damage),
}

/// Answers a [`Media::replace`].
pub(super) type Done = oneshot::Sender<Result<(), Fault>>;

/// Keeps a durable copy of a state, and snapshots of it.
pub(super) trait Media: Send + Sync {
    /// Reads the copy and checks it. An error says that it could not be tried; the copy may be fine.
    fn load(&self, machine: &dyn Machine, limits: Limits) -> Result<Loaded, Fault>;

    /// Moves a damaged copy out of the way, and says where to.
    fn set_aside(&self) -> Result<Option<PathBuf>, Fault>;

    /// Begins to follow `state`. When `afresh`, a new copy is made of it first.
    fn begin(&self, state: &State, afresh: bool) -> Result<(), Fault>;

    /// Takes changes to be made durable later, in order, and does not wait for it.
    fn follow(&self, changes: Changes);

    /// Makes everything followed so far durable soon, and does not wait for it.
    fn hurry(&self);

    /// Puts a whole state in the place of the copy. A crash meanwhile leaves the one or the other.
    fn replace(&self, state: State, done: Done);

    /// Runs a long job where it stalls nobody.
    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault>;

    /// Begins a new snapshot. It is gone after a crash unless it was kept.
    fn create_snapshot(&self) -> io::Result<Box<dyn Sink>>;

    /// The ids of the snapshots that were kept, newest first.
    fn snapshots(&self) -> io::Result<Vec<String>>;

    /// Reads a snapshot; the length of what can be read comes with it, in bytes.
    fn open_snapshot(&self, id: &str) -> io::Result<(Box<dyn Read + Send>, u64)>;

    /// Moves a damaged snapshot out of the way.
    fn reject_snapshot(&self, id: &str) -> io::Result<()>;

    /// Makes what was followed durable if it can, and lets go of everything. Later calls do nothing.
    fn close(&self);
}

/// A snapshot on its way to the disk.
pub(super) trait Sink: Write + Send {
    /// Reads what has been written, from its start. Nothing may be written afterwards.
    fn reopen(&mut self) -> io::Result<Box<dyn Read + Send>>;

    /// Makes it durable under `id`; of those kept, the oldest go until [`KEPT_SNAPSHOTS`] are left.
    fn keep(self: Box<Self>, id: &str) -> io::Result<()>;
}

/// Two, so that one that has rotted has a predecessor.
pub(super) const KEPT_SNAPSHOTS: usize = 2;

//! Bugs that others have had, to be put back: a simulation that does not find them is worth nothing.

/// What is wrong in a world. Whoever has no such bug says [`Bug::None`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    /// Nothing.
    #[default]
    None,
    /// The log says "synced" before it is.
    LyingLog,
    /// A read shows what its node has, without asking the leader.
    ReadWithoutBarrier,
    /// A node that lost its disks starts again under its old id.
    ReusedId,
    /// The machine looks at its node's clock.
    ClockInApply,
    /// The log goes on after a failed sync, as if it had succeeded.
    IgnoredSyncError,
    /// The state's last applied position reaches the disk before the rows of that entry.
    AppliedOutsideBatch,
    /// A snapshot lacks rows whose keys begin with [`FORGOTTEN`].
    SnapshotWithoutRows,
    /// The machine counts in a field of its own instead of a row.
    StateOutsideRows,
    /// Whether something may be used is decided before it is proposed, and not again when it is applied.
    ConsumeOutsideApply,
    /// A write is tried again under a new request id.
    RetryWithoutKey,
}

/// What a snapshot forgets with [`Bug::SnapshotWithoutRows`].
pub const FORGOTTEN: &str = "revoked-";

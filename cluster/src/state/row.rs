//! A row, and walking over rows in key order.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

/// The name of a row. Rows are ordered by it, byte by byte.
pub type Key = Arc<[u8]>;

/// What a row holds, in the machine's own encoding.
pub type Value = Arc<[u8]>;

/// A row as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Revision of the command that wrote it: its `ETag`.
    pub revision: u64,
    /// What was written.
    pub value: Value,
}

pub(super) type Rows = OrdMap<Key, Row>;

/// Where a walk over the keys that start with `prefix` begins: behind `after`, if that lies further on.
pub(super) fn scan_start<'k>(prefix: &'k [u8], after: Option<&'k [u8]>) -> Bound<&'k [u8]> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        Some(_) | None => Bound::Included(prefix),
    }
}

/// The rows whose keys start with `prefix` and lie behind `after`, in key order.
pub(super) fn scan<'s>(
    rows: &'s Rows,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> impl Iterator<Item = (&'s Key, &'s Row)> + use<'s> {
    let prefix_end = prefix.to_vec();
    rows.range::<_, [u8]>((scan_start(prefix, after), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(&prefix_end))
}

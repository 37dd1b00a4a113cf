//! Snapshots on their way between nodes: plain bytes, which the receiver checks before it believes them.

use std::fmt;
use std::io::{self, Read, Write as _};

use bytes::Bytes;

use super::media::Sink;

/// A snapshot being sent.
pub struct SnapshotReader {
    input: Box<dyn Read + Send>,
}

impl SnapshotReader {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self { input }
    }

    /// The next bytes, at most `max_bytes`; `None` at the end. Reads a file: with blocks of up to 1 MiB that
    /// is short enough for a runtime's worker.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self, max_bytes: usize) -> io::Result<Option<Bytes>> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(max_bytes as u64).read_to_end(&mut bytes)?;
        Ok((read > 0).then(|| bytes.into()))
    }
}

/// A snapshot being received. Dropped without being installed, it leaves nothing behind.
pub struct SnapshotWriter {
    sink: Box<dyn Sink>,
    bytes: u64,
}

impl SnapshotWriter {
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink, bytes: 0 }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.sink.write_all(bytes)
    }

    /// How much has arrived, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn into_sink(self) -> Box<dyn Sink> {
        self.sink
    }
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

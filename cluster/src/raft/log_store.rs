//! openraft's log over our [`LogDevice`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::{Entry, LogId, MOST_READ_BYTES, Types, Vote, convert};
use crate::log::{LogDevice, LogEntry};
use crate::state::LogPosition;

/// Says up to which index the durable state needs no more log.
pub(crate) type DurableIndex = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The log as openraft sees it; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    device: Arc<dyn LogDevice>,
    durable: DurableIndex,
    /// Purged for openraft, but still on the device, because the durable state may need it after a crash.
    hidden: Arc<Mutex<Option<LogPosition>>>,
}

impl LogStore {
    pub(crate) fn new(device: Arc<dyn LogDevice>, durable: DurableIndex) -> Self {
        Self { device, durable, hidden: Arc::default() }
    }

    fn hidden(&self) -> Option<LogPosition> {
        *self.hidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hide(&self, upto: Option<LogPosition>) {
        *self.hidden.lock().unwrap_or_else(PoisonError::into_inner) = upto;
    }

    async fn read(&self, start: u64, end: u64, most_bytes: Option<usize>) -> io::Result<Vec<Entry>> {
        let start = self.hidden().map_or(start, |hidden| start.max(hidden.index + 1));
        let entries = self.device.read(start..end, most_bytes).await?;
        entries.iter().map(convert::decode_entry).collect()
    }

    /// Purges from the device what was hidden and the durable state no longer needs.
    async fn purge_hidden(&self) -> io::Result<()> {
        let Some(hidden) = self.hidden() else { return Ok(()) };
        if (self.durable)().is_some_and(|durable| durable >= hidden.index) {
            self.device.purge(hidden).await?;
            self.hide(None);
        }
        Ok(())
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, None).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, Some(MOST_READ_BYTES)).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.device.state().await?.vote.map(convert::vote))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.device.state().await?;
        let purged = latest(state.purged, self.hidden());
        Ok(LogState {
            last_purged_log_id: purged.map(convert::log_id),
            last_log_id: latest(state.last, purged).map(convert::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, saved) = oneshot::channel();
        self.device.save_vote(
            convert::vote_record(vote),
            Box::new(move |outcome| {
                // Nobody waits when the node is stopping.
                drop(done.send(outcome));
            }),
        );
        saved.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.device.save_committed(convert::position(committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.device.state().await?.committed.map(convert::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| convert::encode_entry(&entry));
        let entries: Vec<LogEntry> = entries.collect::<io::Result<_>>()?;
        self.device.append(entries, Box::new(move |outcome| callback.io_completed(outcome)));
        self.purge_hidden().await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.device.truncate_after(last.map(convert::position)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.hide(latest(self.hidden(), Some(convert::position(upto))));
        // Entries that the durable state has not got yet stay; but a purge beyond the last entry must go
        // through, or the next append would leave a gap.
        let last = self.device.state().await?.last;
        if last.is_none_or(|last| last.index < upto.index) {
            self.device.purge(convert::position(upto)).await?;
            self.hide(None);
            return Ok(());
        }
        self.purge_hidden().await
    }
}

fn latest(a: Option<LogPosition>, b: Option<LogPosition>) -> Option<LogPosition> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.index >= b.index { a } else { b }),
        (Some(only), None) | (None, Some(only)) => Some(only),
        (None, None) => None,
    }
}

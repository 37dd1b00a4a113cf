//! The seam between the rules and what replicates them: `domain::apply` over the cluster's rows, and
//! commands and replies as bytes.
//!
//! # Why a version byte
//! A log entry may be read by a newer program than wrote it. A command that this version does not know is
//! answered with [`Rejection::UnknownCommand`] on every node alike; it is never skipped in silence.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::state::{AsOfError, Key, Row, Transaction, View};
use conclave_cluster::{Cluster, LogTime, Machine, Unavailable, Verdict};
use tokio::time::Instant;

use crate::domain::level::{self, LEVEL};
use crate::domain::{self, Command, RawRow, Read, Rejection, Reply, Rows, Timestamp};

const VERSION: u8 = 1;

/// The rules, as a machine that the cluster replicates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules;

impl Machine for Rules {
    fn apply(&self, at: LogTime, revision: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
        let outcome = match decode_command(command) {
            Ok(command) => domain::apply(rows, Timestamp(at.0), revision, &command),
            Err(rejection) => Err(rejection),
        };
        // A reply that does not encode reads as damage below: the same on every node.
        let reply = postcard::to_extend(&outcome, vec![VERSION]).unwrap_or_default();
        Verdict { reply: reply.into(), keep: outcome.is_ok() }
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        domain::rows::account_of(key)
    }

    fn known_level(&self) -> u32 {
        LEVEL
    }

    fn level(&self, rows: &View) -> u32 {
        // A row that does not decode is nothing to go on with.
        level::of(rows).unwrap_or(u32::MAX)
    }
}

/// A command as it stands in the log.
///
/// # Errors
/// [`Rejection::Damaged`] if it does not encode, which no command of ours does.
pub fn encode_command(command: &Command) -> Result<Bytes, Rejection> {
    postcard::to_extend(command, vec![VERSION]).map(Bytes::from).map_err(|_| Rejection::Damaged)
}

/// What the machine answered.
///
/// # Errors
/// The refusal, or [`Rejection::Damaged`] if the bytes are no reply.
pub fn decode_reply(reply: &[u8]) -> Result<Reply, Rejection> {
    let outcome: Result<Reply, Rejection> = match reply.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| Rejection::Damaged)?,
        _ => return Err(Rejection::Damaged),
    };
    outcome
}

pub(crate) fn decode_command(command: &[u8]) -> Result<Command, Rejection> {
    match command.split_first() {
        Some((&VERSION, rest)) => {
            let command: Command = postcard::from_bytes(rest).map_err(|_| Rejection::UnknownCommand)?;
            // Every kind that this program has is known to it, but for one that plays an older program.
            if command.level() > LEVEL { Err(Rejection::UnknownCommand) } else { Ok(command) }
        }
        _ => Err(Rejection::UnknownCommand),
    }
}

/// How fresh a read must be, as its caller asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything acknowledged anywhere before the request came. The default.
    Linearizable,
    /// At most so old; see [`MAX_STALENESS`].
    Bounded(Duration),
    /// At least that revision, and no older than [`MAX_STALENESS`].
    AtLeast(u64),
    /// Exactly that revision, whether or not this node can reach the others.
    AsOf(u64),
}

/// The oldest answer that a bounded read gives.
pub const MAX_STALENESS: Duration = Duration::from_secs(1);

/// Why a read has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    AsOf(#[from] AsOfError),
}

/// The rows, as fresh as asked. One view serves one request, so that it sees one moment.
///
/// # Errors
/// When they cannot be that fresh in time, are no longer kept, or do not exist yet.
pub async fn read(cluster: &Cluster, freshness: Freshness, deadline: Instant) -> Result<View, ReadError> {
    Ok(match freshness {
        Freshness::Linearizable => cluster.read_barrier(deadline).await?,
        Freshness::Bounded(age) => cluster.bounded_view(age.min(MAX_STALENESS), deadline).await?,
        Freshness::AtLeast(revision) => {
            // A node that is cut off must not go on granting, however old the revision that is asked for.
            let view = cluster.bounded_view(MAX_STALENESS, deadline).await?;
            reached(cluster, view, revision, deadline).await?
        }
        Freshness::AsOf(revision) => {
            reached(cluster, cluster.view(), revision, deadline).await?.as_of(revision)?
        }
    })
}

/// A view with that revision. Whoever was told of one was told after it was decided, so a barrier shows it:
/// one that a barrier does not show was made up, and waiting for it would be in vain.
async fn reached(cluster: &Cluster, view: View, revision: u64, deadline: Instant) -> Result<View, ReadError> {
    if view.revision() >= revision {
        return Ok(view);
    }
    let view = cluster.read_barrier(deadline).await?;
    if view.revision() >= revision {
        return Ok(view);
    }
    Err(AsOfError::NotYet { newest: view.revision() }.into())
}

fn raw(row: Row) -> RawRow {
    RawRow { revision: row.revision, value: row.value }
}

fn visit_each(
    rows: impl Iterator<Item = (Key, Row)>,
    visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
) {
    for (key, row) in rows {
        if visit(&key, raw(row)).is_break() {
            break;
        }
    }
}

impl Read for View {
    fn get(&self, key: &[u8]) -> Option<RawRow> {
        self.get(key).map(raw)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
    ) {
        visit_each(Self::scan(self, prefix, after), visit);
    }
}

impl Read for Transaction<'_> {
    fn get(&self, key: &[u8]) -> Option<RawRow> {
        self.get(key).map(raw)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
    ) {
        visit_each(Self::scan(self, prefix, after), visit);
    }
}

impl Rows for Transaction<'_> {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.delete(key);
    }
}

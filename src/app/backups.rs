//! Backups of the running cluster, or of one account; and an account put back to one.
//!
//! # Why
//!
//! - **A backup is written by a thread of its own from a view**, into a channel of a few parts. Whoever reads slowly
//!   slows down the thread and nobody else; a few at once are enough, because each is as much as there is.
//! - **The node opens what it is given** with its own keys, row by row, and lays the rows aside through the log. Only
//!   when the end of the backup was seen does the account change, in one command. Whatever goes wrong before has
//!   changed nothing, and is forgotten.

pub mod aside;
mod schedule;

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use conclave_cluster::archive::{self, Archive, ArchiveError, Header, Origin as BackupOrigin, Part};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Duration, Instant, sleep};

use super::{App, Done, Failure, Request};
use crate::auth::kek::KeyId;
use crate::auth::seal::key_of;
use crate::domain::restore::{self, NewPart, RestoredRow, WholeRestore};
use crate::domain::rows::prefix_of;
use crate::domain::{AccountId, Action, Actor, Command, Noun, Origin, Rejection, RestoreId, Sealed, account};
use crate::replica::Freshness;

pub use schedule::BackupStats;

/// What a node knows of the backups that it writes.
#[derive(Debug)]
pub(super) struct Backups {
    places: Arc<Semaphore>,
    stats: schedule::Stats,
}

impl Default for Backups {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), stats: schedule::Stats::default() }
    }
}

/// A backup on its way out.
#[derive(Debug)]
pub struct Outgoing {
    /// The revision that it is of.
    pub revision: u64,
    /// Its bytes. They end with an error, or with the end of the backup.
    pub parts: mpsc::Receiver<io::Result<Bytes>>,
}

/// An account that was put back.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The revision that the backup is of, in the cluster that it was made of.
    pub backup_revision: u64,
    /// When the backup was made.
    pub backup_created: crate::domain::Timestamp,
    /// Rows of the account in it.
    pub rows: u64,
    /// The revision at which the account changed.
    pub revision: u64,
}

/// Why an account was not put back. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
    /// It is no backup, is damaged, or is sealed with another key.
    #[error(transparent)]
    Unusable(#[from] ArchiveError),
    /// It is one of another account.
    #[error("the backup is one of account {0}")]
    OtherAccount(String),
    /// It holds no row of the account.
    #[error("the backup does not hold the account")]
    Absent,
    /// A row is too long for the log, or there are too many.
    #[error("the account is too large to be restored into a running cluster")]
    TooLarge,
    /// A signing key of the account does not open here.
    #[error(
        "signing key {kid} of the account is sealed with key {id}: put that key into the key file of each node"
    )]
    SealedOtherwise {
        /// The signing key.
        kid: String,
        /// The key-encryption key.
        id: KeyId,
    },
    /// A rule or the cluster was in the way.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl App {
    /// Begins a backup of everything, or of one account, that holds all that was acknowledged before.
    ///
    /// # Errors
    /// When the rows cannot be that fresh in time, there is no such account, or others are being written.
    pub async fn backup(&self, account: Option<AccountId>, deadline: Instant) -> Result<Outgoing, Failure> {
        let retry_after = Duration::from_secs(5);
        let place = Arc::clone(&self.backups.places)
            .try_acquire_owned()
            .map_err(|_| Failure::Busy { retry_after })?;
        let view = self.view(Freshness::Linearizable, deadline).await?;
        if let Some(account) = account {
            account::find(&view, account)?.ok_or(Rejection::NotFound(Noun::Account))?;
        }
        let part = account.map(|account| Part { name: account.to_string(), prefix: prefix_of(account) });
        let origin = BackupOrigin {
            identity: self.cluster.identity(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            created: self.clock.now(),
        };
        let (keys, (to, parts)) = (Arc::clone(&self.keyring), mpsc::channel(WAITING_PARTS));
        let revision = view.revision();
        tokio::task::spawn_blocking(move || {
            let mut out = Out { to, waiting: BytesMut::new() };
            let written = archive::write(&view, part.as_ref(), &origin, &*keys, &mut out);
            if let Err(error) = written.and_then(|_| out.flush()) {
                tracing::warn!(%error, "a backup was not finished");
                // Nobody reads any more, as a rule.
                drop(out.to.blocking_send(Err(error)));
            }
            drop(place);
        });
        Ok(Outgoing { revision, parts })
    }

    /// Puts an account back to what a backup holds of it, as far as the cluster knows nothing better: see
    /// [`restore`].
    ///
    /// # Errors
    /// See [`NotRestored`].
    pub async fn restore_account(
        self: &Arc<Self>,
        account: AccountId,
        upload: mpsc::Receiver<io::Result<Bytes>>,
        origin: Origin,
    ) -> Result<Restored, NotRestored> {
        let id = RestoreId::new(crate::auth::mint::Mint::random().uuid().map_err(Failure::from)?);
        let app = Arc::clone(self);
        // A task of its own: it cleans up also when whoever asked is gone.
        let restoring = tokio::spawn(async move {
            let restored = app.take_in(account, id, upload, &origin).await;
            if restored.is_err() {
                // Left alone, the rows that lie aside go with the next restore.
                drop(app.order(account, Action::AbandonRestore { id }, &origin, 1).await);
            }
            restored
        });
        restoring.await.map_err(|_| Failure::Internal("a restore panicked"))?
    }

    async fn take_in(
        &self,
        account: AccountId,
        id: RestoreId,
        upload: mpsc::Receiver<io::Result<Bytes>>,
        origin: &Origin,
    ) -> Result<Restored, NotRestored> {
        let (keys, (to, mut chunks)) = (Arc::clone(&self.keyring), mpsc::channel(1));
        let reading = move || {
            let input = In { upload, rest: Bytes::new() };
            read_account(Archive::open(input, &*keys)?, account, &to)
        };
        let reading = tokio::task::spawn_blocking(reading);
        self.order(account, Action::BeginRestore { id }, origin, TRIES).await?;
        let mut parts = 0;
        while let Some(rows) = chunks.recv().await {
            let part = NewPart { id, number: parts, rows };
            self.order(account, Action::RestoreRows(part), origin, TRIES).await?;
            parts += 1;
        }
        let read = reading.await.map_err(|_| Failure::Internal("reading a backup panicked"))??;
        self.check_sealed(account, &read.sealed).await?;
        let backup = read.header.revision;
        let whole = WholeRestore { id, parts, rows: read.rows, backup };
        let done = self.order(account, Action::FinishRestore(whole), origin, TRIES).await?;
        Ok(Restored {
            backup_revision: backup,
            backup_created: crate::domain::Timestamp(read.header.created.0),
            rows: read.rows,
            revision: done.revision,
        })
    }

    /// An account that the cluster knows keeps its signing keys; one that it does not needs those of the backup.
    async fn check_sealed(&self, account: AccountId, sealed: &[(String, Sealed)]) -> Result<(), NotRestored> {
        let view = self.view(Freshness::Linearizable, Instant::now() + STEP).await?;
        if account::find(&view, account).map_err(Failure::from)?.is_some() {
            return Ok(());
        }
        let sealer = self.keyring.sealer();
        for (kid, sealed) in sealed {
            match key_of(sealed.as_bytes()) {
                Some(id) if !sealer.key_ids().any(|known| known == id) => {
                    return Err(NotRestored::SealedOtherwise { kid: kid.clone(), id });
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Has a step carried out, also while a leader is elected: the same request again acts once.
    async fn order(
        &self,
        account: AccountId,
        action: Action,
        origin: &Origin,
        tries: u32,
    ) -> Result<Done, Failure> {
        let mut request = Request::once(Instant::now() + STEP, origin.clone());
        let command =
            Command { account, by: Actor::System, origin: origin.clone(), expect: Vec::new(), action };
        for _ in 1..tries {
            match self.execute(&command, &request).await {
                Err(Failure::Unavailable(_) | Failure::Busy { .. }) => {
                    sleep(PAUSE).await;
                    request.deadline = Instant::now() + STEP;
                }
                other => return other,
            }
        }
        self.execute(&command, &request).await
    }
}

/// What was found in a backup beside the rows.
struct FoundRows {
    header: Header,
    rows: u64,
    sealed: Vec<(String, Sealed)>,
}

/// Reads a backup to its end and passes the account's rows on in parts.
fn read_account<R: Read>(
    mut archive: Archive<R>,
    account: AccountId,
    to: &mpsc::Sender<Vec<RestoredRow>>,
) -> Result<FoundRows, NotRestored> {
    let header = archive.header().clone();
    if let Some(other) = header.part.as_ref().filter(|part| *part != account.as_str()) {
        return Err(NotRestored::OtherAccount(other.clone()));
    }
    let prefix = prefix_of(account);
    let mut found = FoundRows { header, rows: 0, sealed: Vec::new() };
    let (mut part, mut bytes) = (Vec::new(), 0);
    while let Some((key, row)) = archive.next_row()? {
        let Some(below) = key.strip_prefix(&prefix[..]) else { continue };
        let length = below.len() + row.value.len() + ROW_OVERHEAD;
        found.rows += 1;
        if length > MOST_PART_BYTES || found.rows > restore::MAX_ROWS {
            return Err(NotRestored::TooLarge);
        }
        if bytes + length > MOST_PART_BYTES {
            bytes = 0;
            send(to, std::mem::take(&mut part))?;
        }
        bytes += length;
        let row = RestoredRow { key: below.to_vec(), value: row.value.to_vec() };
        found.sealed.extend(restore::sealed_in(&row));
        part.push(row);
    }
    if found.rows == 0 {
        return Err(NotRestored::Absent);
    }
    send(to, part)?;
    Ok(found)
}

fn send(to: &mpsc::Sender<Vec<RestoredRow>>, part: Vec<RestoredRow>) -> Result<(), NotRestored> {
    // The other end says what went wrong.
    to.blocking_send(part).map_err(|_| Failure::Internal("a restore was given up").into())
}

/// Gathers what is written into parts.
struct Out {
    to: mpsc::Sender<io::Result<Bytes>>,
    waiting: BytesMut,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= OUT_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let part = self.waiting.split().freeze();
        if part.is_empty() {
            return Ok(());
        }
        self.to.blocking_send(Ok(part)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads what arrives.
struct In {
    upload: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for In {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.upload.blocking_recv() {
                None => return Ok(0),
                Some(part) => self.rest = part?,
            }
        }
        let count = out.len().min(self.rest.len());
        let given = self.rest.split_to(count);
        for (to, from) in out.iter_mut().zip(given.iter()) {
            *to = *from;
        }
        Ok(count)
    }
}

/// Backups that a node writes at the same time.
const AT_ONCE: usize = 2;
const WAITING_PARTS: usize = 4;
const OUT_BYTES: usize = 128 * 1024;
/// Of rows in a command; half of what one may hold.
const MOST_PART_BYTES: usize = conclave_cluster::Proposal::MAX_COMMAND_BYTES / 2;
/// Lengths beside a row's key and value.
const ROW_OVERHEAD: usize = 8;
const STEP: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
const TRIES: u32 = 6;

//! The durable copy in sled: how records lie there, and when they count as durable.
//!
//! ```text
//! 0                           -> length u32, beginning of the sealed meta
//! 1, name 32                  -> length u32, beginning of the sealed record: space u8, key length u32, key, value
//! 2, one of the above, u32    -> the piece of that number, from 1
//! ```
//! The name of a record is a keyed hash of its space and key.
//!
//! # Why
//!
//! - sled 0.34 puts what is longer than a few kB into files that it never syncs, so long values are split.
//! - Its `flush` orders writes to the file and does not sync it, so each batch ends in a sync by a descriptor
//!   of our own, before the next batch begins.
//! - Keys hold e-mail addresses and names, so they are sealed like values, and a record is found by a hash that
//!   tells nothing without the key. What was sealed under one name opens under no other.
//! - What it replaces it leaves to a collector that runs once in 128 operations and frees 512 things at most. A batch
//!   is one operation and replaces thousands: 15 kB stayed behind for each command, until the process ended. So after
//!   each batch we run the collector ourselves.
//! - It does not notice rot, and panics on some: everything read is checked against the digest by the caller,
//!   and every call runs where a panic is caught.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sled::{Batch, Db};

use crate::machine::Machine;
use crate::seal::{DataKey, MESSAGE_OVERHEAD};

use super::changes::{Change, Changes};
use super::fault::Damage;
use super::image::{Limits, Loader, State};
use super::meta::Meta;
use super::record::{Record, Space};

/// An open copy. All calls block.
pub(super) struct SledCopy {
    db: Db,
    // Our own descriptor of sled's data file.
    file: File,
    key: DataKey,
    meta_bytes: usize,
}

impl SledCopy {
    pub(super) fn open(path: &Path, cache_bytes: u64, key: DataKey) -> io::Result<Self> {
        // No background flushes: a sync belongs to a batch, and one that fails must be seen.
        let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
        let db = config.open()?;
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        Ok(Self { db, file, key, meta_bytes: 0 })
    }

    /// Writes a whole state into an empty copy. Not durable before [`SledCopy::sync_all`].
    pub(super) fn fill(&mut self, state: &State) -> io::Result<()> {
        const RECORDS_PER_BATCH: usize = 2_000;
        let mut batch = Batch::default();
        for (number, record) in state.records().enumerate() {
            self.put_record(&mut batch, record.space, &record.key, Some(&record.value), 0)?;
            if number % RECORDS_PER_BATCH == RECORDS_PER_BATCH - 1 {
                self.db.apply_batch(std::mem::take(&mut batch))?;
                free_replaced();
            }
        }
        self.put_meta(&mut batch, state.meta())?;
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        free_replaced();
        Ok(())
    }

    /// Writes changes and their meta, all or nothing, and returns once they are durable.
    pub(super) fn write(&mut self, changes: &Changes) -> io::Result<()> {
        let mut batch = Batch::default();
        for (space, key, Change { now, was_bytes }) in changes.iter() {
            self.put_record(&mut batch, space, key, now.as_deref(), *was_bytes)?;
        }
        self.put_meta(&mut batch, changes.meta())?;
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        free_replaced();
        self.file.sync_data()
    }

    /// Syncs everything that a new copy consists of.
    pub(super) fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(path.join("conf"))?.sync_all()?;
        File::open(path)?.sync_all()
    }

    /// Reads everything back.
    pub(super) fn read(&mut self, machine: &dyn Machine, limits: Limits) -> Result<State, Damage> {
        let sled = |error: sled::Error| Damage::new(error.to_string());
        let meta = self.db.get([META]).map_err(sled)?.ok_or_else(|| Damage::new("it has no meta"))?;
        let meta = self.join(&[META], &meta)?;
        self.meta_bytes = meta.len();
        let meta = self.key.open(&[META], &meta).map_err(io::Error::from)?;
        let meta = Meta::decode(&meta).ok_or_else(|| Damage::new("meta"))?;
        let mut loader = Loader::new(machine, limits);
        for head in self.db.range([RECORD]..[PIECE]) {
            let (name, head) = head.map_err(sled)?;
            let sealed = self.join(&name, &head)?;
            let plain = self.key.open(&name, &sealed).map_err(io::Error::from)?;
            let record = decode(&plain).ok_or_else(|| Damage::new("record"))?;
            loader.add(record).ok_or_else(|| Damage::new("record"))?;
        }
        loader.finish(meta).ok_or_else(|| Damage::new("digest"))
    }

    /// Puts the pieces of a value together.
    fn join(&self, name: &[u8], head: &[u8]) -> Result<Vec<u8>, Damage> {
        let (length, start) = head.split_first_chunk::<4>().ok_or_else(|| Damage::new("value"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let mut value = start.to_vec();
        let mut number = 1;
        while value.len() < length {
            let piece =
                self.db.get(piece_key(name, number)).map_err(|error| Damage::new(error.to_string()))?;
            let piece = piece.filter(|it| !it.is_empty()).ok_or_else(|| Damage::new("a piece is missing"))?;
            value.extend_from_slice(&piece);
            number += 1;
        }
        if value.len() == length { Ok(value) } else { Err(Damage::new("length of a value")) }
    }

    /// Closes it, and returns once it can be opened again: sled lets go of its lock some time after it was
    /// dropped, on a thread of its own.
    pub(super) fn close(self) -> io::Result<()> {
        let Self { db, file, .. } = self;
        drop(db);
        file.lock()?;
        file.unlock()
    }

    fn put_meta(&mut self, batch: &mut Batch, meta: &Meta) -> io::Result<()> {
        let meta = meta.encode().ok_or_else(|| io::Error::other("meta cannot be encoded"))?;
        let sealed = self.key.seal(&[META], &meta)?;
        let was_bytes = std::mem::replace(&mut self.meta_bytes, sealed.len());
        put(batch, &[META], Some(&sealed), was_bytes)
    }

    /// Adds a record to the batch, sealed, or its deletion.
    fn put_record(
        &self,
        batch: &mut Batch,
        space: Space,
        key: &[u8],
        now: Option<&[u8]>,
        was_bytes: usize,
    ) -> io::Result<()> {
        let name = [&[RECORD][..], &self.key.name(&[&[space.number()], key])].concat();
        let sealed = match now {
            Some(value) => Some(self.key.seal(&name, &encode(space, key, value)?)?),
            None => None,
        };
        put(batch, &name, sealed.as_deref(), HEAD_BYTES + key.len() + was_bytes + MESSAGE_OVERHEAD)
    }
}

#[cfg(test)]
impl SledCopy {
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        self.db.iter().keys().map(|name| name.unwrap().to_vec()).collect()
    }

    pub(super) fn longest_value(&self) -> usize {
        self.db.iter().values().map(|value| value.unwrap().len()).max().unwrap()
    }
}

/// Frees what sled has replaced so far. What another thread may still look at stays, for the next time.
fn free_replaced() {
    // Each frees some hundred things.
    const MOST_ROUNDS: usize = 4_096;
    // Freed in the order of replacement, so this goes last.
    let is_last_gone = Arc::new(AtomicBool::new(false));
    let last = Arc::clone(&is_last_gone);
    crossbeam_epoch::pin().defer(move || last.store(true, Ordering::Relaxed));
    for _ in 0..MOST_ROUNDS {
        crossbeam_epoch::pin().flush();
        if is_last_gone.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Adds what lies under `name` to the batch, in pieces, or its deletion.
fn put(batch: &mut Batch, name: &[u8], now: Option<&[u8]>, was_bytes: usize) -> io::Result<()> {
    let mut pieces_now = 0;
    if let Some(stored) = now {
        let (start, rest) = stored.split_at(stored.len().min(PIECE_BYTES));
        batch.insert(name, [&length(stored.len())?[..], start].concat());
        for piece in rest.chunks(PIECE_BYTES) {
            pieces_now += 1;
            batch.insert(piece_key(name, pieces_now), piece);
        }
    } else {
        batch.remove(name);
    }
    for number in pieces_now + 1..=pieces(was_bytes) {
        batch.remove(piece_key(name, number));
    }
    Ok(())
}

fn encode(space: Space, key: &[u8], value: &[u8]) -> io::Result<Vec<u8>> {
    Ok([&[space.number()], &length(key.len())?[..], key, value].concat())
}

fn decode(plain: &[u8]) -> Option<Record> {
    let (&space, rest) = plain.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some(Record { space: Space::from_number(space)?, key: key.into(), value: value.to_vec() })
}

fn piece_key(name: &[u8], number: u32) -> Vec<u8> {
    [&[PIECE][..], name, &number.to_be_bytes()].concat()
}

/// How many pieces what is that long has beside its beginning.
fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES).saturating_sub(1)).unwrap_or(u32::MAX)
}

fn length(bytes: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes).map_err(|_| io::Error::other("a record is longer than 4 GiB"))?;
    Ok(length.to_le_bytes())
}

const META: u8 = 0;
const RECORD: u8 = 1;
const PIECE: u8 = 2;
/// What stands before the key of a record.
const HEAD_BYTES: usize = 5;
/// With its length in front a beginning stays under 2 kB.
const PIECE_BYTES: usize = 2_000;

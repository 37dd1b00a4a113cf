//! The snapshot format: a whole state as a stream of checked blocks.
//!
//! ```text
//! magic 8, version u32, meta length u32, meta, CRC of all that
//! block:   length u32, CRC u32 (seeded with the block's number), records
//! record:  space u8, key length u32, value length u32, key, value
//! trailer: 0 u32, CRC u32, number of blocks u64, number of records u64; then the end
//! ```
//! Numbers are little endian. Records are sorted by space and key; one never spans two blocks. What is read
//! counts only when the trailer was reached and the digest of the records is the one in the meta.

use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::clock::LogTime;
use crate::machine::Machine;

use super::fault::Damage;
use super::image::{Limits, Loader, State};
use super::meta::{LogPosition, Meta};
use super::record::{Record, Space};

/// What is known of a snapshot without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The last entry in it; `None` for a snapshot from before the first.
    pub applied: Option<LogPosition>,
    /// The membership at that entry, in the Raft layer's own encoding.
    pub membership: Bytes,
    /// The revision it shows.
    pub revision: u64,
    /// Log time of its last entry.
    pub at: LogTime,
    /// Digest of its records.
    pub digest: u128,
    /// Length of the whole, in bytes.
    pub bytes: u64,
}

impl SnapshotInfo {
    pub(super) fn new(meta: &Meta, bytes: u64) -> Self {
        Self {
            applied: meta.applied,
            membership: meta.membership.clone(),
            revision: meta.revision,
            at: meta.at,
            digest: meta.digest,
            bytes,
        }
    }

    /// A name for it. Two snapshots of one name have the same content.
    #[must_use]
    pub fn id(&self) -> String {
        let position = self.applied.unwrap_or_default();
        let index = self.applied.map_or(0, |position| position.index + 1);
        // Sorted as text, names are sorted by age.
        format!("{index:020}-{:020}-{:020}", position.term, position.node)
    }
}

/// Writes a state as a snapshot.
pub(crate) fn write(state: &State, out: &mut dyn Write) -> io::Result<SnapshotInfo> {
    let mut out = Counting { out, bytes: 0 };
    out.write_all(&header(state.meta())?)?;
    let (mut blocks, mut records) = (0_u64, 0_u64);
    let mut block = Vec::with_capacity(BLOCK_BYTES * 2);
    for record in state.records() {
        put_record(&record, &mut block)?;
        records += 1;
        if block.len() >= BLOCK_BYTES {
            put_block(&mut out, blocks, &block)?;
            blocks += 1;
            block.clear();
        }
    }
    if !block.is_empty() {
        put_block(&mut out, blocks, &block)?;
        blocks += 1;
    }
    let mut trailer = blocks.to_le_bytes().to_vec();
    trailer.extend_from_slice(&records.to_le_bytes());
    out.write_all(&0_u32.to_le_bytes())?;
    out.write_all(&crc(TRAILER_SEED, &trailer).to_le_bytes())?;
    out.write_all(&trailer)?;
    out.flush()?;
    Ok(SnapshotInfo::new(state.meta(), out.bytes))
}

/// Reads a snapshot into a state, and takes nothing that is not whole.
pub(crate) fn read(input: impl Read, machine: &dyn Machine, limits: Limits) -> Result<State, Damage> {
    let (meta, mut blocks) = Blocks::open(input)?;
    let mut loader = Loader::new(machine, limits);
    while let Some(block) = blocks.next()? {
        let mut rest = &block[..];
        while !rest.is_empty() {
            let (record, behind) = take_record(rest).ok_or_else(|| Damage::new("record"))?;
            loader.add(record).ok_or_else(|| Damage::new("record"))?;
            blocks.records += 1;
            rest = behind;
        }
    }
    blocks.check_count()?;
    loader.finish(meta).ok_or_else(|| Damage::new("digest"))
}

/// Reads a snapshot to its end to see whether all blocks are whole.
pub(crate) fn verify(input: impl Read) -> Result<Meta, Damage> {
    let (meta, mut blocks) = Blocks::open(input)?;
    while blocks.next()?.is_some() {}
    Ok(meta)
}

/// Reads what is known of a snapshot without its records.
pub(super) fn read_meta(input: impl Read) -> Result<Meta, Damage> {
    Blocks::open(input).map(|(meta, _)| meta)
}

pub(crate) fn header(meta: &Meta) -> io::Result<Vec<u8>> {
    let meta = meta.encode().ok_or_else(|| io::Error::other("meta cannot be encoded"))?;
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&length(meta.len())?.to_le_bytes());
    header.extend_from_slice(&meta);
    let sum = crc(0, &header);
    header.extend_from_slice(&sum.to_le_bytes());
    Ok(header)
}

pub(crate) fn put_block(out: &mut dyn Write, number: u64, block: &[u8]) -> io::Result<()> {
    out.write_all(&length(block.len())?.to_le_bytes())?;
    out.write_all(&crc(number, block).to_le_bytes())?;
    out.write_all(block)
}

fn put_record(record: &Record, block: &mut Vec<u8>) -> io::Result<()> {
    block.push(record.space.number());
    block.extend_from_slice(&length(record.key.len())?.to_le_bytes());
    block.extend_from_slice(&length(record.value.len())?.to_le_bytes());
    block.extend_from_slice(&record.key);
    block.extend_from_slice(&record.value);
    Ok(())
}

pub(crate) fn take_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (&space, bytes) = bytes.split_first()?;
    let (key_len, bytes) = bytes.split_first_chunk::<4>()?;
    let (value_len, bytes) = bytes.split_first_chunk::<4>()?;
    let (key, bytes) = bytes.split_at_checked(usize::try_from(u32::from_le_bytes(*key_len)).ok()?)?;
    let (value, bytes) = bytes.split_at_checked(usize::try_from(u32::from_le_bytes(*value_len)).ok()?)?;
    let record = Record { space: Space::from_number(space)?, key: key.into(), value: value.to_vec() };
    Some((record, bytes))
}

/// The blocks of a snapshot, each checked.
struct Blocks<R> {
    input: R,
    read: u64,
    records: u64,
    promised: Option<u64>,
}

impl<R: Read> Blocks<R> {
    fn open(mut input: R) -> Result<(Meta, Self), Damage> {
        let mut header = [0; 16];
        input.read_exact(&mut header)?;
        let [magic @ .., v0, v1, v2, v3, l0, l1, l2, l3] = header;
        if magic != *MAGIC {
            return Err(Damage::new("not a snapshot"));
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(Damage::new(format!("version {version} is unknown")));
        }
        let meta = take(&mut input, u32::from_le_bytes([l0, l1, l2, l3]))?;
        let sum = take_u32(&mut input)?;
        if sum != crc(0, &[&header[..], &meta].concat()) {
            return Err(Damage::new("header"));
        }
        let meta = Meta::decode(&meta).ok_or_else(|| Damage::new("header"))?;
        Ok((meta, Self { input, read: 0, records: 0, promised: None }))
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Damage> {
        let length = take_u32(&mut self.input)?;
        let sum = take_u32(&mut self.input)?;
        if length == 0 {
            return self.end(sum).map(|()| None);
        }
        let block = take(&mut self.input, length)?;
        if sum != crc(self.read, &block) {
            return Err(Damage::new(format!("block {}", self.read)));
        }
        self.read += 1;
        Ok(Some(block))
    }

    fn end(&mut self, sum: u32) -> Result<(), Damage> {
        let mut trailer = [0; 16];
        self.input.read_exact(&mut trailer)?;
        let (blocks, records) = trailer.split_at(8);
        if sum != crc(TRAILER_SEED, &trailer) || blocks != self.read.to_le_bytes() {
            return Err(Damage::new("trailer"));
        }
        if self.input.read(&mut [0])? != 0 {
            return Err(Damage::new("bytes behind the end"));
        }
        self.promised = records.try_into().ok().map(u64::from_le_bytes);
        Ok(())
    }

    fn check_count(&self) -> Result<(), Damage> {
        if self.promised == Some(self.records) { Ok(()) } else { Err(Damage::new("number of records")) }
    }
}

struct Counting<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

// Grows with what is really there, so that a damaged length does not ask for gigabytes.
fn take(input: &mut impl Read, length: u32) -> Result<Vec<u8>, Damage> {
    let mut bytes = Vec::new();
    let read = input.by_ref().take(u64::from(length)).read_to_end(&mut bytes)?;
    if read as u64 == u64::from(length) { Ok(bytes) } else { Err(Damage::new("it ends too early")) }
}

fn take_u32(input: &mut impl Read) -> Result<u32, Damage> {
    let mut number = [0; 4];
    input.read_exact(&mut number)?;
    Ok(u32::from_le_bytes(number))
}

fn length(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(|_| io::Error::other("a record is longer than 4 GiB"))
}

pub(crate) fn crc(seed: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

const MAGIC: &[u8; 8] = b"conclave";
const VERSION: u32 = 1;
const BLOCK_BYTES: usize = 64 * 1024;
pub(crate) const TRAILER_SEED: u64 = u64::MAX;

//! Reading a backup: row by row, believing nothing.

use std::io::{BufReader, Read};
use std::sync::Arc;

use super::ArchiveError;
use super::format::{END, Header, ROW, read_beginning};
use crate::seal::{DataKey, KeyWrapper, SealedReader};
use crate::state::{Key, Record, Row, decode_row};

/// What a backup holds, once it was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What it says of itself.
    pub header: Header,
    /// How many rows.
    pub rows: u64,
    /// Digest of these rows.
    pub digest: u128,
}

impl Contents {
    pub(super) fn count(&mut self, record: &Record) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(record.hash());
    }
}

/// An open backup. Holds one block and one row in memory.
pub struct Archive<R> {
    from: SealedReader<BufReader<R>>,
    contents: Contents,
    is_over: bool,
}

impl<R: Read> Archive<R> {
    /// Reads the header and opens the backup's key.
    ///
    /// # Errors
    /// When it is no backup, or its key is not at hand.
    pub fn open(input: R, keys: &dyn KeyWrapper) -> Result<Self, ArchiveError> {
        let mut input = BufReader::with_capacity(READ_BYTES, input);
        let beginning = read_beginning(&mut input)?;
        let key = keys.unwrap(&beginning.place, &beginning.wrapped);
        let key = key.map_err(|error| ArchiveError::wrapped(&error))?;
        let key = Arc::new(DataKey::new(&key).map_err(ArchiveError::Io)?);
        let contents = Contents { header: beginning.header, rows: 0, digest: 0 };
        Ok(Self { from: SealedReader::new(input, key), contents, is_over: false })
    }

    /// What it says of itself: true, since its key opened.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.contents.header
    }

    /// The next row, in the order of the keys; nothing at the end, which says that all of them were there.
    ///
    /// # Errors
    /// When the next block or the end is not what was written. Rows given out before were.
    pub fn next_row(&mut self) -> Result<Option<(Key, Row)>, ArchiveError> {
        if self.is_over {
            return Ok(None);
        }
        match self.take::<1>()? {
            [ROW] => {}
            [END] => return self.end().map(|()| None),
            [_] => return Err(self.nonsense()),
        }
        let [key_length, value_length] = [self.take::<4>()?, self.take::<4>()?].map(u32::from_le_bytes);
        let key: Key = self.take_long(key_length)?.into();
        let row = decode_row(&self.take_long(value_length)?).ok_or_else(|| self.nonsense())?;
        self.contents.count(&Record::row(&key, &row));
        Ok(Some((key, row)))
    }

    /// What was read; all of it, once [`Archive::next_row`] has said that there is no more.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        let rows = u64::from_le_bytes(self.take()?);
        let digest = u128::from_le_bytes(self.take()?);
        if (rows, digest) != (self.contents.rows, self.contents.digest) {
            return Err(ArchiveError::damaged("the number or the digest of its rows"));
        }
        match self.from.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(ArchiveError::damaged("there is something behind its end")),
            Err(error) => return Err(self.failed(error)),
        }
        self.is_over = true;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        Ok(bytes)
    }

    fn take_long(&mut self, length: u32) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(u64::from(length)).read_to_end(&mut bytes);
        let read = read.map_err(|error| self.failed(error))?;
        if read as u64 == u64::from(length) { Ok(bytes) } else { Err(self.nonsense()) }
    }

    fn failed(&self, error: std::io::Error) -> ArchiveError {
        let block = self.from.block();
        ArchiveError::reading(&format!("block {block}, or the file was cut there"), error)
    }

    /// It opened, and is not what this program writes.
    fn nonsense(&self) -> ArchiveError {
        ArchiveError::damaged(format!("a row in block {} makes no sense", self.from.block()))
    }
}

impl<R> std::fmt::Debug for Archive<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("contents", &self.contents).finish_non_exhaustive()
    }
}

/// What a backup says of itself, without any key, and the name of the key that opens it.
///
/// # Errors
/// When it is no backup, or its header is damaged.
pub fn read_header(
    mut input: impl Read,
    keys: &dyn KeyWrapper,
) -> Result<(Header, Option<String>), ArchiveError> {
    let beginning = read_beginning(&mut input)?;
    Ok((beginning.header, keys.key_of(&beginning.wrapped)))
}

/// Reads a backup to its end, shows each row to `look`, and says what it holds.
///
/// # Errors
/// When it is not what was written.
pub fn verify(
    input: impl Read,
    keys: &dyn KeyWrapper,
    look: &mut dyn FnMut(&[u8], &Row),
) -> Result<Contents, ArchiveError> {
    let mut archive = Archive::open(input, keys)?;
    while let Some((key, row)) = archive.next_row()? {
        look(&key, &row);
    }
    Ok(archive.contents)
}

const READ_BYTES: usize = 256 * 1024;

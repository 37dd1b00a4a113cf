//! A sealed file that is written once, from its beginning to its end.
//!
//! ```text
//! magic 8, salt 32                            the salt gives the file its key
//! block: ciphertext of 64 KiB, tag 16         all but the last are full; the last may be empty
//! ```
//!
//! # Why
//! The key belongs to one file and one writing of it, so blocks are numbered by their nonces: a block that was
//! moved, left out or repeated does not open. The nonce of the last block is marked, so neither does a file that
//! was cut at a block's end.

use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand;

use super::data_key::{DataKey, NotOpened, TAG};

/// Seals what is written through it.
pub(crate) struct SealedWriter<W> {
    to: W,
    key: LessSafeKey,
    // Not sealed before it is known whether more follows.
    block: Vec<u8>,
    number: u64,
    is_finished: bool,
}

impl<W: Write> SealedWriter<W> {
    /// Begins a file.
    pub(crate) fn begin(mut to: W, key: &DataKey) -> io::Result<Self> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).map_err(|_| io::Error::other("no randomness to seal with"))?;
        to.write_all(MAGIC)?;
        to.write_all(&salt)?;
        let block = Vec::with_capacity(BLOCK + TAG);
        Ok(Self { to, key: key.file_key(&salt)?, block, number: 0, is_finished: false })
    }

    /// Writes the last block; nothing may follow. A second call does nothing.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.is_finished {
            return Ok(());
        }
        self.is_finished = true;
        self.put_block(true)?;
        self.to.flush()
    }

    pub(crate) fn get_ref(&self) -> &W {
        &self.to
    }

    fn put_block(&mut self, is_last: bool) -> io::Result<()> {
        let sealed =
            self.key.seal_in_place_append_tag(nonce(self.number, is_last), Aad::from(MAGIC), &mut self.block);
        sealed.map_err(|_| io::Error::other("a block cannot be sealed"))?;
        self.to.write_all(&self.block)?;
        self.block.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_finished {
            return Err(io::Error::other("the file is finished"));
        }
        if self.block.len() == BLOCK && !bytes.is_empty() {
            self.put_block(false)?;
        }
        let taken = bytes.get(..BLOCK - self.block.len()).unwrap_or(bytes);
        self.block.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Opens what is read through it. What is not as it was written is an error of reading.
pub(crate) struct SealedReader<R> {
    from: R,
    data_key: std::sync::Arc<DataKey>,
    key: Option<LessSafeKey>,
    block: Vec<u8>,
    // How much of the block was given out.
    given: usize,
    number: u64,
    is_over: bool,
    is_bad: bool,
}

impl<R: BufRead> SealedReader<R> {
    /// Reads nothing yet, and so cannot fail.
    pub(crate) fn new(from: R, data_key: std::sync::Arc<DataKey>) -> Self {
        Self {
            from,
            data_key,
            key: None,
            block: Vec::new(),
            given: 0,
            number: 0,
            is_over: false,
            is_bad: false,
        }
    }

    /// The number of the block that was opened last, or that does not open; from 1, and 0 for the head.
    pub(crate) fn block(&self) -> u64 {
        self.number + u64::from(self.is_bad)
    }

    fn begin(&mut self) -> io::Result<LessSafeKey> {
        let mut head = [0; MAGIC.len() + SALT];
        self.from.read_exact(&mut head)?;
        let salt = head.strip_prefix(MAGIC).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "not sealed, or not by a program that is known")
        })?;
        Ok(self.data_key.file_key(salt)?)
    }

    fn next_block(&mut self) -> io::Result<()> {
        let key = match self.key.take() {
            Some(key) => key,
            None => self.begin()?,
        };
        self.block.clear();
        self.from.by_ref().take((BLOCK + TAG) as u64).read_to_end(&mut self.block)?;
        self.is_over = self.from.fill_buf()?.is_empty();
        let opened = key.open_in_place(nonce(self.number, self.is_over), Aad::from(MAGIC), &mut self.block);
        let length = opened.map_err(|_| NotOpened)?.len();
        self.block.truncate(length);
        self.given = 0;
        self.number += 1;
        self.key = Some(key);
        Ok(())
    }
}

impl<R: BufRead> Read for SealedReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.block.len() && !self.is_over {
            if let Err(error) = self.next_block() {
                // What did not open must not be given out by the next call.
                self.block.clear();
                self.given = 0;
                self.is_bad = true;
                return Err(error);
            }
        }
        let rest = self.block.get(self.given..).unwrap_or_default();
        let count = rest.len().min(out.len());
        for (to, from) in out.iter_mut().zip(rest) {
            *to = *from;
        }
        self.given += count;
        Ok(count)
    }
}

/// How long the content of a sealed file of that length is, in bytes.
pub(crate) fn plain_length(sealed: u64) -> u64 {
    let blocks = sealed.saturating_sub((MAGIC.len() + SALT) as u64);
    blocks.saturating_sub(blocks.div_ceil((BLOCK + TAG) as u64) * TAG as u64)
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    for (to, from) in nonce.iter_mut().zip(number.to_be_bytes().into_iter().chain([u8::from(is_last)])) {
        *to = from;
    }
    Nonce::assume_unique_for_key(nonce)
}

const MAGIC: &[u8; 8] = b"conclsl1";
const SALT: usize = 32;
const BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use super::*;

    fn key(byte: u8) -> Arc<DataKey> {
        Arc::new(DataKey::new(&Zeroizing::new([byte; 32])).unwrap())
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut writer = SealedWriter::begin(Vec::new(), &key(1)).unwrap();
        for part in plain.chunks(50_000) {
            writer.write_all(part).unwrap();
        }
        writer.finish().unwrap();
        assert!(writer.write_all(b"x").is_err(), "it is finished");
        writer.get_ref().clone()
    }

    /// A whole file of the first release.
    #[test]
    fn what_was_sealed_long_ago_opens() {
        let text = "636f6e636c736c31e85b18f901e38392ce840c95fda5e34e938352ac45e8a1980c44c69049dc1259\
                    7774b7413ff95e427497da74b5517aaf5d05f05e14";
        let bytes: Vec<u8> = (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(opened(&bytes, 1).unwrap(), b"plain");
    }

    fn opened(sealed: &[u8], by: u8) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        SealedReader::new(sealed, key(by)).read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn plain(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn what_was_written_is_read_whatever_its_length() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7] {
            let file = sealed(&plain(length));
            assert_eq!(opened(&file, 1).unwrap(), plain(length), "{length}");
            assert_eq!(plain_length(file.len() as u64), length as u64);
            assert!(opened(&file, 2).is_err(), "{length}: another key");
        }
    }

    #[test]
    fn what_was_altered_cut_or_moved_does_not_open() {
        let good = sealed(&plain(2 * BLOCK + 100));
        for at in (0..good.len()).step_by(997).chain([0, 8, 39, good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(opened(&bad, 1).is_err(), "byte {at}");
        }
        let (head, block) = (MAGIC.len() + SALT, BLOCK + TAG);
        for length in [0, 7, 20, head, head + block, head + 2 * block, good.len() - 1] {
            assert!(opened(&good[..length], 1).is_err(), "cut at {length}");
        }
        let (first, second) = (&good[head..head + block], &good[head + block..head + 2 * block]);
        let swapped = [&good[..head], second, first, &good[head + 2 * block..]].concat();
        assert!(opened(&swapped, 1).is_err(), "swapped");
        let left_out = [&good[..head], second, &good[head + 2 * block..]].concat();
        assert!(opened(&left_out, 1).is_err(), "left out");
        let longer = [&good[..], b"x"].concat();
        assert!(opened(&longer, 1).is_err(), "longer");
        let other = sealed(&plain(2 * BLOCK + 100));
        let mixed = [&good[..head + block], &other[head + block..]].concat();
        assert!(opened(&mixed, 1).is_err(), "of another file");
    }

    #[test]
    fn nothing_of_a_bad_block_is_given_out() {
        let mut bad = sealed(&plain(BLOCK + 10));
        let at = bad.len() - 5;
        bad[at] ^= 1;
        let mut reader = SealedReader::new(&bad[..], key(1));
        let mut out = Vec::new();
        assert!(reader.read_to_end(&mut out).is_err());
        assert_eq!(out, plain(BLOCK));
        assert!(reader.read(&mut [0; 9]).is_ok_and(|read| read == 0) || reader.read(&mut [0; 9]).is_err());
    }
}

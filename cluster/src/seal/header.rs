//! The file of a data key: the key as its wrapper gave it, twice.
//!
//! ```text
//! magic 8, version u8, kind u8, length u16, wrapped key, CRC u32 of all that; zeros up to 4096; the same again
//! ```
//! Numbers are little endian.
//!
//! # Why
//! A rotten sector under a snapshot costs that snapshot; under this file it would cost all that the key has
//! sealed. So the key stands in two sectors. The checksum says that the bytes are those that were written,
//! and so that a key which does not unwrap was wrapped under another KEK.

/// What a data key is for. Stored: numbers are never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The entries of the log.
    Log = 1,
    /// The records of a durable copy.
    Copy = 2,
    /// The snapshots of a folder.
    Snapshots = 3,
    /// The node's certificate and its key.
    Certificate = 4,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Copy => "copy",
            Self::Snapshots => "snapshots",
            Self::Certificate => "certificate",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Log, Self::Copy, Self::Snapshots, Self::Certificate]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// What such a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) wrapped: Vec<u8>,
    /// One of the two is damaged: write it again.
    pub(crate) is_worn: bool,
}

/// The bytes of the file; `None` when the wrapped key is absurdly long.
pub(crate) fn encode(kind: Kind, wrapped: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(wrapped.len()).ok().filter(|length| *length <= MOST_WRAPPED_BYTES)?;
    let mut one = MAGIC.to_vec();
    one.extend_from_slice(&[VERSION, kind as u8]);
    one.extend_from_slice(&length.to_le_bytes());
    one.extend_from_slice(wrapped);
    let sum = crc32fast::hash(&one);
    one.extend_from_slice(&sum.to_le_bytes());
    let mut both = one.clone();
    both.resize(SECTOR_BYTES, 0);
    both.extend_from_slice(&one);
    Some(both)
}

/// What the file says, by the first of its two halves that is whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
    let first = decode_one(bytes);
    let second = bytes.get(SECTOR_BYTES..).and_then(decode_one);
    let is_worn = first != second;
    let (kind, wrapped) = first.or(second)?;
    Some(Header { kind, wrapped, is_worn })
}

fn decode_one(bytes: &[u8]) -> Option<(Kind, Vec<u8>)> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (&[version, kind], rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (wrapped, rest) = rest.split_at_checked(length)?;
    let sum = u32::from_le_bytes(*rest.first_chunk::<4>()?);
    let summed = bytes.get(..MAGIC.len() + 4 + length)?;
    let is_whole = magic == MAGIC && version == VERSION && crc32fast::hash(summed) == sum;
    is_whole.then(|| Some((Kind::from_number(kind)?, wrapped.to_vec())))?
}

const MAGIC: &[u8; 8] = b"conclkey";
const VERSION: u8 = 1;
const SECTOR_BYTES: usize = 4096;
const MOST_WRAPPED_BYTES: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_data_key_is_written_as_ever() {
        let one = b"conclkey\x01\x02\x07\0wrapped";
        let written = encode(Kind::Copy, b"wrapped").unwrap();
        assert!(written.starts_with(one), "{written:?}");
        assert!(written[SECTOR_BYTES..].starts_with(one));
        assert_eq!(written[one.len()..one.len() + 4], crc32fast::hash(one).to_le_bytes());
        assert_eq!(written.len(), SECTOR_BYTES + one.len() + 4);
        let numbers = [Kind::Log, Kind::Copy, Kind::Snapshots].map(|kind| kind as u8);
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn either_half_is_enough_and_no_flipped_bit_is_believed() {
        let good = encode(Kind::Copy, b"wrapped").unwrap();
        let whole = Header { kind: Kind::Copy, wrapped: b"wrapped".to_vec(), is_worn: false };
        assert_eq!(decode(&good), Some(whole.clone()));
        let half = good.len() - SECTOR_BYTES;
        for bit in 0..half * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), Some(Header { is_worn: true, ..whole.clone() }), "bit {bit}");
            bad[SECTOR_BYTES + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}, twice");
        }
        for length in 0..half {
            assert_eq!(decode(&good[..length]), None, "{length} bytes");
        }
        assert!(decode(&good[..SECTOR_BYTES]).unwrap().is_worn);
        assert_eq!(encode(Kind::Log, &[0; 2_000]), None);
    }
}

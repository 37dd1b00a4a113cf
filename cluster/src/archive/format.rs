//! How the beginning of a backup is written and read.

use std::fmt::Write as _;
use std::io::Read;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use crate::clock::LogTime;
use crate::identity::{ClusterId, NodeId};

/// What a backup says of itself without any key. Believe it only once the backup was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster it was made of.
    pub cluster: ClusterId,
    /// The node that made it.
    pub node: NodeId,
    /// The version of the program that made it.
    pub program: String,
    /// The revision whose rows it holds.
    pub revision: u64,
    /// Log time of that revision's entry.
    pub at: LogTime,
    /// When it was made, by that node's clock.
    pub created: LogTime,
    /// Digest of the cluster's whole state then, as every node showed it at that revision.
    pub digest: u128,
    /// The name of the only group whose rows it holds; all rows when there is none.
    pub part: Option<String>,
}

/// The beginning of a backup: its header, the wrapped key, and what that was wrapped for.
pub(super) struct Beginning {
    pub(super) header: Header,
    pub(super) wrapped: Vec<u8>,
    pub(super) place: String,
}

/// The bytes up to the wrapped key.
pub(crate) fn encode_header(header: &Header) -> Option<Vec<u8>> {
    let fields = postcard::to_stdvec(header).ok()?;
    let length = u32::try_from(fields.len()).ok().filter(|length| *length <= MOST_HEADER_BYTES)?;
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&fields);
    Some(bytes)
}

/// What the key of a backup with this beginning is wrapped for.
pub(crate) fn place(header: &[u8]) -> String {
    digest(&SHA256, header).as_ref().iter().fold("backup ".to_owned(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Puts the wrapped key and the checksum behind the header.
pub(crate) fn encode_key(mut header: Vec<u8>, wrapped: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(wrapped.len()).ok().filter(|length| *length <= MOST_WRAPPED_BYTES)?;
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(wrapped);
    let sum = crc32fast::hash(&header);
    header.extend_from_slice(&sum.to_le_bytes());
    Some(header)
}

/// Reads the beginning, and no further.
pub(super) fn read_beginning(input: &mut impl Read) -> Result<Beginning, ArchiveError> {
    let mut bytes = Vec::new();
    let begins = take(input, 8, &mut bytes);
    if bytes != MAGIC {
        // Too short is another file too, and not a damaged backup.
        return match begins {
            Err(error @ ArchiveError::Io(_)) => Err(error),
            Ok(()) | Err(_) => Err(ArchiveError::NotABackup),
        };
    }
    take(input, 5, &mut bytes)?;
    let (&[version, l0, l1, l2, l3], _) = tail::<5>(&bytes)?;
    if version > VERSION {
        return Err(ArchiveError::NewerFormat { found: version, known: VERSION });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if version != VERSION || length > MOST_HEADER_BYTES {
        return Err(ArchiveError::damaged("its header"));
    }
    take(input, length, &mut bytes)?;
    let header_end = bytes.len();
    take(input, 2, &mut bytes)?;
    let (length, _) = tail::<2>(&bytes)?;
    let length = u16::from_le_bytes(*length);
    if length > MOST_WRAPPED_BYTES {
        return Err(ArchiveError::damaged("its header"));
    }
    take(input, u32::from(length), &mut bytes)?;
    let sum = crc32fast::hash(&bytes);
    let key_end = bytes.len();
    take(input, 4, &mut bytes)?;
    if *tail::<4>(&bytes)?.0 != sum.to_le_bytes() {
        return Err(ArchiveError::damaged("its header"));
    }
    let part = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default();
    let fields = part(MAGIC.len() + 5..header_end);
    let Ok((header, [])) = postcard::take_from_bytes(fields) else {
        return Err(ArchiveError::damaged("its header"));
    };
    let wrapped = part(header_end + 2..key_end).to_vec();
    Ok(Beginning { header, wrapped, place: place(part(0..header_end)) })
}

/// Reads so many bytes behind those that there are.
fn take(input: &mut impl Read, count: u32, bytes: &mut Vec<u8>) -> Result<(), ArchiveError> {
    let read = input.take(u64::from(count)).read_to_end(bytes).map_err(ArchiveError::Io)?;
    if read as u64 == u64::from(count) {
        Ok(())
    } else {
        Err(ArchiveError::damaged("it ends within its header"))
    }
}

fn tail<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), ArchiveError> {
    let (rest, tail) = bytes.split_last_chunk::<N>().ok_or_else(|| ArchiveError::damaged("its header"))?;
    Ok((tail, rest))
}

pub(super) const MAGIC: &[u8; 8] = b"conclbak";
pub(super) const VERSION: u8 = 1;
pub(super) const ROW: u8 = 1;
pub(super) const END: u8 = 0;
const MOST_HEADER_BYTES: u32 = 64 * 1024;
const MOST_WRAPPED_BYTES: u16 = 1024;

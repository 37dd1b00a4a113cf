//! Writing a backup.

use std::io::{self, Write};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::format::{END, Header, ROW, encode_header, encode_key, place};
use super::reader::Contents;
use crate::clock::LogTime;
use crate::identity::Identity;
use crate::seal::{DataKey, KeyWrapper, SealedWriter};
use crate::state::{Record, View};

/// Who makes a backup, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node.
    pub identity: Identity,
    /// The version of the program.
    pub program: String,
    /// Now, by the node's clock.
    pub created: LogTime,
}

/// One group, to be backed up without the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What its header calls it.
    pub name: String,
    /// What the keys of its rows begin with.
    pub prefix: Vec<u8>,
}

/// Writes the rows of `view` to `out`, all of them or those of one part, sealed under a key of the backup's own.
/// Says what was written. Holds a few blocks in memory; blocks, as `out` does.
///
/// # Errors
/// Those of `out`, and a lack of randomness.
pub fn write(
    view: &View,
    part: Option<&Part>,
    origin: &Origin,
    keys: &dyn KeyWrapper,
    out: &mut dyn Write,
) -> io::Result<Contents> {
    let header = Header {
        cluster: origin.identity.cluster,
        node: origin.identity.node,
        program: origin.program.clone(),
        revision: view.revision(),
        at: view.at(),
        created: origin.created,
        digest: view.digest(),
        part: part.map(|part| part.name.clone()),
    };
    let mut sealed = begin(&header, keys, out)?;
    let mut contents = Contents { header, rows: 0, digest: 0 };
    for (key, row) in view.scan(part.map_or(&[], |part| &part.prefix), None) {
        let record = Record::row(&key, &row);
        sealed.write_all(&[ROW])?;
        sealed.write_all(&length(record.key.len())?)?;
        sealed.write_all(&length(record.value.len())?)?;
        sealed.write_all(&record.key)?;
        sealed.write_all(&record.value)?;
        contents.count(&record);
    }
    sealed.write_all(&[END])?;
    sealed.write_all(&contents.rows.to_le_bytes())?;
    sealed.write_all(&contents.digest.to_le_bytes())?;
    sealed.finish()?;
    Ok(contents)
}

fn begin<'o>(
    header: &Header,
    keys: &dyn KeyWrapper,
    out: &'o mut dyn Write,
) -> io::Result<SealedWriter<&'o mut dyn Write>> {
    let too_long = || io::Error::other("the header of a backup is too long");
    let header = encode_header(header).ok_or_else(too_long)?;
    let mut key = Zeroizing::new([0; 32]);
    rand::fill(&mut key[..]).map_err(|_| io::Error::other("no randomness to seal with"))?;
    let wrapped = keys.wrap(&place(&header), &key).map_err(io::Error::other)?;
    out.write_all(&encode_key(header, &wrapped).ok_or_else(too_long)?)?;
    SealedWriter::begin(out, &DataKey::new(&key)?)
}

fn length(bytes: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes).map_err(|_| io::Error::other("a row is longer than 4 GiB"))?;
    Ok(length.to_le_bytes())
}

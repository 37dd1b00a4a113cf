//! What comes from other files: wrapped keys, sealed files, backups, and whose a folder is.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{found, must};
use crate::archive;
use crate::archive::format::{encode_header, encode_key, place};
use crate::clock::LogTime;
use crate::folder::{IdentityFile, parse_file};
use crate::identity::{ClusterId, NodeId};
use crate::seal::{DataKey, DataKeyBytes, KeyWrapper, SealedReader, SealedWriter, WrapError, header};

/// The file of a data key.
pub(super) fn seal_header(data: &[u8]) {
    let Some(read) = header::decode(data) else { return };
    let Some(written) = header::encode(read.kind, &read.wrapped) else {
        return assert!(read.wrapped.len() > 1024, "a header that was read cannot be written");
    };
    let again = header::decode(&written);
    let is_same =
        again.as_ref().is_some_and(|again| again.kind == read.kind && again.wrapped == read.wrapped);
    assert!(is_same && !again.is_some_and(|again| again.is_worn), "a header is another one now");
}

/// Sealed messages and files. The key is known here, but to the bytes it is not.
pub(super) fn sealed(data: &[u8]) {
    let key = Arc::new(must(DataKey::new(&key_bytes()), "a key"));
    assert!(key.open(b"here", data).is_err(), "a forged message opens");
    assert!(opened(data, &key).is_err(), "a forged file opens");

    let message = must(key.seal(b"here", data), "a message is sealed");
    assert!(key.open(b"here", &message).is_ok_and(|plain| plain == data), "a message opens as it was sealed");
    assert!(key.open(b"there", &message).is_err(), "a message opens elsewhere");
    let file = seal_file(data, &key);
    assert!(opened(&file, &key).is_ok_and(|plain| plain == data), "a file opens as it was sealed");
    // Where it is changed, and how, is for the bytes to say.
    let number = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut bad = file.clone();
    let at = number % bad.len().max(1);
    if let Some(byte) = bad.get_mut(at) {
        *byte ^= 1 << (number % 8);
    }
    assert!(opened(&bad, &key).is_err(), "a changed file opens");
    assert!(opened(file.get(..at).unwrap_or_default(), &key).is_err(), "a cut file opens");
}

fn seal_file(plain: &[u8], key: &DataKey) -> Vec<u8> {
    let mut writer = must(SealedWriter::begin(Vec::new(), key), "a file is begun");
    must(writer.write_all(plain), "a file is written");
    must(writer.finish(), "a file is finished");
    writer.get_ref().clone()
}

fn opened(file: &[u8], key: &Arc<DataKey>) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    SealedReader::new(file, Arc::clone(key)).read_to_end(&mut plain)?;
    Ok(plain)
}

/// A backup: the bytes as they are, and as what lies in one that its key opens.
pub(super) fn archive(data: &[u8]) {
    read_backup(data);
    drop(archive::read_header(data, &OneKey));
    let header = archive::Header {
        cluster: ClusterId::from_random([7; 16]),
        node: NodeId(1),
        program: "fuzzing".to_owned(),
        revision: 1,
        at: LogTime(1),
        created: LogTime(1),
        digest: 0,
        part: None,
    };
    let Some(header) = encode_header(&header) else { found("a header is written") };
    let wrapped = must(OneKey.wrap(&place(&header), &key_bytes()), "a key is wrapped");
    let Some(mut backup) = encode_key(header, &wrapped) else { found("a key is written") };
    backup.extend(seal_file(data, &must(DataKey::new(&key_bytes()), "a key")));
    read_backup(&backup);
}

fn read_backup(bytes: &[u8]) {
    let mut seen = 0_usize;
    let count = &mut |key: &[u8], row: &crate::state::Row| seen += key.len() + row.value.len();
    let contents = archive::verify(bytes, &OneKey, count);
    assert!(seen <= bytes.len(), "rows out of nothing");
    if let Ok(contents) = contents {
        assert!(usize::try_from(contents.rows).is_ok_and(|rows| rows <= bytes.len()), "rows out of nothing");
    }
}

/// `identity.toml`, and the ids in it.
pub(super) fn identity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<ClusterId>() {
        assert!(id.to_string().parse() == Ok(id), "an id is another one now");
    }
    let path = Path::new("identity.toml");
    let Ok(read) = parse_file(path, text) else { return };
    let written = must(toml::to_string::<IdentityFile>(&read), "a file is written again");
    let again = must(parse_file(path, &written), "and read again");
    assert!(must(toml::to_string(&again), "twice") == written, "a file is another one now");
}

fn key_bytes() -> DataKeyBytes {
    Zeroizing::new([7; 32])
}

/// Wraps by leaving as it is. It keeps nothing secret.
#[derive(Debug)]
struct OneKey;

impl KeyWrapper for OneKey {
    fn wrap(&self, _: &str, key: &DataKeyBytes) -> Result<Vec<u8>, WrapError> {
        Ok(key.to_vec())
    }

    fn unwrap(&self, _: &str, wrapped: &[u8]) -> Result<DataKeyBytes, WrapError> {
        wrapped.try_into().map(Zeroizing::new).map_err(|_| WrapError::Damaged)
    }

    fn key_of(&self, wrapped: &[u8]) -> Option<String> {
        wrapped.first().map(ToString::to_string)
    }

    fn is_outdated(&self, _: &[u8]) -> bool {
        false
    }
}

//! The machine of the simulation: `put key value`, and `take name owner`, which only the first owner gets.

use bytes::Bytes;

use crate::clock::LogTime;
use crate::machine::{Machine, Verdict};
use crate::state::Transaction;

#[derive(Debug)]
pub(crate) struct Names;

impl Machine for Names {
    fn apply(&self, _: LogTime, _: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
        let text = String::from_utf8_lossy(command);
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["put", key, value] => {
                rows.put(key.as_bytes(), value.as_bytes().to_vec());
                Verdict { reply: Bytes::from(value.to_owned()), keep: true }
            }
            ["take", name, owner] => {
                if let Some(row) = rows.get(name.as_bytes()) {
                    return Verdict { reply: Bytes::copy_from_slice(&row.value), keep: false };
                }
                rows.put(name.as_bytes(), owner.as_bytes().to_vec());
                Verdict { reply: Bytes::from(owner.to_owned()), keep: true }
            }
            _ => Verdict { reply: Bytes::from_static(b"what?"), keep: false },
        }
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.split(|byte| *byte == b'-').next()
    }
}

//! A machine for tests: `put key value`, and `take name owner`, which one owner only gets.

use bytes::Bytes;
use conclave_cluster::state::Transaction;
use conclave_cluster::{LogTime, Machine, Proposal, RequestId, Verdict};

#[derive(Debug)]
pub(crate) struct Names;

impl Machine for Names {
    fn apply(&self, _: LogTime, _: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
        let text = String::from_utf8_lossy(command);
        let words: Vec<&str> = text.split(' ').collect();
        let (reply, keep) = match words[..] {
            ["put", key, value] => {
                rows.put(key.as_bytes(), value.as_bytes().to_vec());
                ("ok".to_owned(), true)
            }
            ["take", name, owner] => {
                if let Some(row) = rows.get(name.as_bytes()) {
                    let reply = Bytes::copy_from_slice(&row.value);
                    return Verdict { reply, keep: false };
                }
                rows.put(name.as_bytes(), owner.as_bytes().to_vec());
                (owner.to_owned(), true)
            }
            _ => ("what?".to_owned(), false),
        };
        Verdict { reply: Bytes::from(reply), keep }
    }

    fn group<'k>(&self, _: &'k [u8]) -> Option<&'k [u8]> {
        None
    }
}

/// A proposal that is the same for the same `id`.
pub(crate) fn proposal(id: u64, command: &str) -> Proposal {
    let mut request = [0; 16];
    request[..8].copy_from_slice(&id.to_le_bytes());
    Proposal {
        request: RequestId(request),
        fingerprint: id,
        command: Bytes::copy_from_slice(command.as_bytes()),
    }
}

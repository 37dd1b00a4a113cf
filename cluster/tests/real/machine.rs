//! A machine for tests: `put key value`, and `take name owner`, which one owner only gets. The row `level` is the
//! level of the rows.

use bytes::Bytes;
use conclave_cluster::state::Transaction;
use conclave_cluster::{LogTime, Machine, Proposal, RequestId, Verdict, View};

/// The newest level that it knows.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) u32);

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

    fn known_level(&self) -> u32 {
        self.0
    }

    fn level(&self, rows: &View) -> u32 {
        let level = rows.get(b"level").and_then(|row| String::from_utf8_lossy(&row.value).parse().ok());
        level.unwrap_or(1)
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

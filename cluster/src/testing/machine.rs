//! The machine of the simulation: `put key value`; `take name owner`, which only the first owner gets; and
//! `add counter`, which adds one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::bug::Bug;
use super::layer::Layer;
use crate::call::CallHandler;
use crate::clock::{Clock, LogTime};
use crate::error::Unavailable;
use crate::handle::Cluster;
use crate::identity::NodeId;
use crate::machine::{Machine, Proposal, Verdict};
use crate::state::Transaction;

/// The machine as it should be.
#[derive(Debug)]
pub(crate) struct Names;

impl Machine for Names {
    fn apply(&self, at: LogTime, _: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
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
            ["add", counter] => {
                let before = rows.get(counter.as_bytes()).and_then(|row| number(&row.value));
                add(rows, counter, before.unwrap_or(0) + 1, at)
            }
            _ => Verdict { reply: Bytes::from_static(b"what?"), keep: false },
        }
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.split(|byte| *byte == b'-').next()
    }
}

/// The number in the row of a counter, and in the reply of who added to it.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn add(rows: &mut Transaction<'_>, counter: &str, now: u64, at: LogTime) -> Verdict {
    rows.put(counter.as_bytes(), now.to_string().into());
    rows.put(format!("{counter}-changed").as_bytes(), at.0.to_string().into());
    Verdict { reply: Bytes::from(now.to_string()), keep: true }
}

/// The machine with a bug in it.
struct Faulty {
    bug: Bug,
    clock: Arc<dyn Clock>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Machine for Faulty {
    fn apply(&self, at: LogTime, revision: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
        let counter =
            command.strip_prefix(b"add ").map(|counter| String::from_utf8_lossy(counter).into_owned());
        match (self.bug, counter) {
            (Bug::ClockInApply, _) => Names.apply(self.clock.now(), revision, rows, command),
            (Bug::StateOutsideRows, Some(counter)) => {
                let mut counts = self.counts.lock().unwrap();
                let count = counts.entry(counter.clone()).or_insert(0);
                *count += 1;
                add(rows, &counter, *count, at)
            }
            (_, _) => Names.apply(at, revision, rows, command),
        }
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        Names.group(key)
    }
}

/// Nodes with this machine, which propose what they are called with.
pub(crate) struct NamesLayer {
    pub(crate) bug: Bug,
}

impl Layer for NamesLayer {
    fn machine(&self, _: NodeId, clock: Arc<dyn Clock>) -> Arc<dyn Machine> {
        Arc::new(Faulty { bug: self.bug, clock, counts: Mutex::default() })
    }

    fn started(&self, cluster: &Cluster, _: Arc<dyn Clock>) {
        cluster.set_call_handler(Arc::new(Proposer { cluster: cluster.clone(), bug: self.bug }));
    }
}

struct Proposer {
    cluster: Cluster,
    bug: Bug,
}

impl CallHandler for Proposer {
    fn handle(&self, _: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, Unavailable>> {
        let (cluster, bug) = (self.cluster.clone(), self.bug);
        Box::pin(async move {
            let mut proposal: Proposal = postcard::from_bytes(&request).unwrap();
            if bug == Bug::ConsumeOutsideApply {
                check_here(&cluster, &mut proposal);
            }
            let applied = cluster.propose(vec![proposal], Instant::now() + Duration::from_secs(2)).await?;
            Ok(postcard::to_stdvec(&applied[0]).unwrap().into())
        })
    }
}

/// What nobody has taken yet, as far as this node knows, is given away without asking again.
fn check_here(cluster: &Cluster, proposal: &mut Proposal) {
    let text = String::from_utf8_lossy(&proposal.command).into_owned();
    if let ["take", name, owner] = text.split(' ').collect::<Vec<_>>()[..]
        && cluster.view().get(name.as_bytes()).is_none()
    {
        proposal.command = Bytes::from(format!("put {name} {owner}"));
    }
}

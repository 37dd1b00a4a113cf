//! The machine of the simulation: `put key value`, and `take name owner`, which only the first owner gets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::layer::Layer;
use crate::call::CallHandler;
use crate::clock::{Clock, LogTime};
use crate::error::Unavailable;
use crate::handle::Cluster;
use crate::identity::NodeId;
use crate::machine::{Machine, Proposal, Verdict};
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

/// Nodes with this machine, which propose what they are called with.
pub(crate) struct NamesLayer;

impl Layer for NamesLayer {
    fn machine(&self, _: NodeId, _: Arc<dyn Clock>) -> Arc<dyn Machine> {
        Arc::new(Names)
    }

    fn started(&self, cluster: &Cluster, _: Arc<dyn Clock>) {
        cluster.set_call_handler(Arc::new(Proposer(cluster.clone())));
    }
}

struct Proposer(Cluster);

impl CallHandler for Proposer {
    fn handle(&self, _: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, Unavailable>> {
        let cluster = self.0.clone();
        Box::pin(async move {
            let proposal: Proposal = postcard::from_bytes(&request).unwrap();
            let applied = cluster.propose(vec![proposal], Instant::now() + Duration::from_secs(2)).await?;
            Ok(postcard::to_stdvec(&applied[0]).unwrap().into())
        })
    }
}

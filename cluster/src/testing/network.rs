//! A network that delays, loses and cuts, one direction at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{self, BoxFuture};
use tokio::sync::oneshot;
use tokio::time;

use super::random::Random;
use crate::identity::NodeId;
use crate::network::{Channel, Peer, Service, Transport, TransportError};

/// The network between all nodes of a run.
#[derive(Clone)]
pub(crate) struct SimNetwork(Arc<Mutex<Net>>);

struct Net {
    random: Random,
    /// What answers at an address, and in which run of its node.
    services: BTreeMap<NodeId, (u64, Arc<dyn Service>)>,
    runs: u64,
    /// From and to.
    cut: BTreeSet<(NodeId, NodeId)>,
    loss_per_mille: u64,
    longest_us: u64,
}

/// One run of a node on the network.
#[derive(Clone)]
pub(crate) struct SimTransport {
    network: SimNetwork,
    node: NodeId,
    run: u64,
}

impl SimNetwork {
    pub(crate) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(Net {
            random,
            services: BTreeMap::new(),
            runs: 0,
            cut: BTreeSet::new(),
            loss_per_mille: 0,
            longest_us: 2_000,
        })))
    }

    pub(crate) fn address(node: NodeId) -> String {
        format!("node-{node}")
    }

    pub(crate) fn attach(&self, node: NodeId) -> SimTransport {
        let mut net = self.net();
        net.runs += 1;
        SimTransport { network: self.clone(), node, run: net.runs }
    }

    pub(crate) fn detach(&self, node: NodeId) {
        self.net().services.remove(&node);
    }

    pub(crate) fn cut(&self, from: NodeId, to: NodeId) {
        self.net().cut.insert((from, to));
    }

    pub(crate) fn heal(&self) {
        let mut net = self.net();
        net.cut.clear();
        net.loss_per_mille = 0;
        net.longest_us = 2_000;
    }

    pub(crate) fn worsen(&self, loss_per_mille: u64, longest_us: u64) {
        let mut net = self.net();
        net.loss_per_mille = loss_per_mille;
        net.longest_us = longest_us;
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap()
    }

    /// How long a message is under way; `None` when it never arrives.
    fn leg(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        let net = self.net();
        if net.cut.contains(&(from, to)) || net.random.per_mille(net.loss_per_mille) {
            return None;
        }
        Some(net.random.micros(50, net.longest_us))
    }

    fn service(&self, node: NodeId) -> Option<(u64, Arc<dyn Service>)> {
        self.net().services.get(&node).cloned()
    }
}

impl SimTransport {
    pub(crate) fn serve(&self, service: Arc<dyn Service>) {
        self.network.net().services.insert(self.node, (self.run, service));
    }

    /// Whether this run still has the network. A crashed one hears and says nothing.
    fn is_on(&self) -> bool {
        self.network.service(self.node).is_some_and(|(run, _)| run == self.run)
    }

    async fn travel(self, to: Peer, channel: Channel, request: Bytes) -> Result<Bytes, TransportError> {
        let addr = to.addr;
        let number = addr.strip_prefix("node-").and_then(|number| number.parse().ok());
        let Some(target) = number.map(NodeId) else {
            return Err(TransportError::NotSent { addr, reason: "no such host".to_owned() });
        };
        if to.node.is_some_and(|node| node != target) {
            return Err(TransportError::NotSent { addr, reason: format!("this is node {target}") });
        }
        self.leg(self.node, target).await;
        let Some((run, service)) = self.network.service(target) else {
            return Err(TransportError::NotSent { addr, reason: "nobody listens".to_owned() });
        };
        let (reply, answer) = oneshot::channel();
        let answering = service.answer(self.node, channel, request);
        // It goes on when the caller gives up.
        tokio::spawn(async move { drop(reply.send(answering.await)) });
        let Ok(answer) = answer.await else { return future::pending().await };
        if self.network.service(target).is_none_or(|(now, _)| now != run) {
            return Err(TransportError::NoAnswer { addr, reason: "it crashed".to_owned() });
        }
        self.leg(target, self.node).await;
        Ok(answer)
    }

    async fn leg(&self, from: NodeId, to: NodeId) {
        match self.network.leg(from, to) {
            Some(delay) if self.is_on() => time::sleep(delay).await,
            Some(_) | None => future::pending().await,
        }
    }
}

impl Transport for SimTransport {
    fn call(
        &self,
        to: Peer,
        channel: Channel,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let addr = to.addr.clone();
        let travelling = time::timeout(within, self.clone().travel(to, channel, request));
        Box::pin(async move { travelling.await.unwrap_or(Err(TransportError::TimedOut { addr, within })) })
    }

    fn close(&self) {}
}

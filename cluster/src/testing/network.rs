//! A network that delays, loses, repeats, holds and cuts, one direction at a time. Each message takes a time of its
//! own, so a later one may arrive first; so may its repetition. One that is under way goes on when its sender gives
//! up or crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{self, BoxFuture};
use tokio::sync::mpsc;
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
    repeats_per_mille: u64,
    longest_us: u64,
    /// Messages from and to them wait.
    held: BTreeSet<NodeId>,
    /// Requests for snapshots whose first answer was lost, while that is so.
    unheard: Option<BTreeSet<Bytes>>,
}

/// What a caller hears of a request.
type Heard = Result<Bytes, TransportError>;

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
            repeats_per_mille: 0,
            longest_us: USUAL_LONGEST_US,
            held: BTreeSet::new(),
            unheard: None,
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

    pub(crate) fn mend(&self, from: NodeId, to: NodeId) {
        self.net().cut.remove(&(from, to));
    }

    pub(crate) fn hold(&self, node: NodeId) {
        self.net().held.insert(node);
    }

    pub(crate) fn release(&self, node: NodeId) {
        self.net().held.remove(&node);
    }

    pub(crate) fn repeat(&self, per_mille: u64) {
        self.net().repeats_per_mille = per_mille;
    }

    /// The first answer to each message of a snapshot is lost from now on.
    #[cfg(test)]
    pub(crate) fn lose_snapshot_answers(&self) {
        self.net().unheard = Some(BTreeSet::new());
    }

    pub(crate) fn heal(&self) {
        let mut net = self.net();
        net.cut.clear();
        net.held.clear();
        net.unheard = None;
        (net.loss_per_mille, net.repeats_per_mille) = (0, 0);
        net.longest_us = USUAL_LONGEST_US;
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

    /// How often a message is delivered.
    fn copies(&self) -> usize {
        let net = self.net();
        if net.repeats_per_mille > 0 && net.random.per_mille(net.repeats_per_mille) { 2 } else { 1 }
    }

    async fn pass(&self, from: NodeId, to: NodeId) -> bool {
        let Some(delay) = self.leg(from, to) else { return false };
        time::sleep(delay).await;
        loop {
            {
                let net = self.net();
                if !net.held.contains(&from) && !net.held.contains(&to) {
                    return true;
                }
            }
            time::sleep(HOLD_STEP).await;
        }
    }

    fn is_unheard(&self, channel: Channel, request: Bytes) -> bool {
        let mut net = self.net();
        channel == Channel::Snapshot && net.unheard.as_mut().is_some_and(|unheard| unheard.insert(request))
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

    async fn travel(self, to: Peer, channel: Channel, request: Bytes) -> Heard {
        let addr = to.addr;
        let number = addr.strip_prefix("node-").and_then(|number| number.parse().ok());
        let Some(target) = number.map(NodeId) else {
            return Err(TransportError::NotSent { addr, reason: "no such host".to_owned() });
        };
        if to.node.is_some_and(|node| node != target) {
            return Err(TransportError::NotSent { addr, reason: format!("this is node {target}") });
        }
        let copies = self.network.copies();
        let (answers, mut heard) = mpsc::channel(copies);
        for _ in 0..copies {
            let delivery = self.clone().deliver(target, addr.clone(), channel, request.clone());
            let answers = answers.clone();
            // It goes on when the caller gives up.
            tokio::spawn(async move {
                if let Some(answer) = delivery.await {
                    drop(answers.send(answer).await);
                }
            });
        }
        drop(answers);
        match heard.recv().await {
            // Another copy may have arrived.
            Some(Err(TransportError::NotSent { addr, reason })) if copies > 1 => {
                Err(TransportError::NoAnswer { addr, reason })
            }
            Some(answer) => answer,
            None => future::pending().await,
        }
    }

    /// `None` when nothing is ever heard of it.
    async fn deliver(self, target: NodeId, addr: String, channel: Channel, request: Bytes) -> Option<Heard> {
        if !self.is_on() || !self.network.pass(self.node, target).await {
            return None;
        }
        let Some((run, service)) = self.network.service(target) else {
            return Some(Err(TransportError::NotSent { addr, reason: "nobody listens".to_owned() }));
        };
        let answer = service.answer(self.node, channel, request.clone()).await;
        if self.network.is_unheard(channel, request) {
            return None;
        }
        if self.network.service(target).is_none_or(|(now, _)| now != run) {
            return Some(Err(TransportError::NoAnswer { addr, reason: "it crashed".to_owned() }));
        }
        let arrives = self.network.pass(target, self.node).await;
        (arrives && self.is_on()).then_some(Ok(answer))
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

/// Longest way of a message when nothing is wrong.
const USUAL_LONGEST_US: u64 = 2_000;
/// How often a message that waits looks whether it still must.
const HOLD_STEP: Duration = Duration::from_millis(5);

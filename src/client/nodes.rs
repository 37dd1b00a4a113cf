//! The nodes of a cluster as a client sees them: which to ask next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::breaker::{Breaker, Limits};

/// All nodes, in the order in which the caller named them.
#[derive(Debug)]
pub(super) struct Nodes {
    breakers: Vec<Mutex<Breaker>>,
    limits: Limits,
    /// The one that answered last. Every call begins with it: its connection is warm, and a node that was
    /// left because it failed is not asked first again until another fails.
    last_good: AtomicUsize,
}

impl Nodes {
    /// `count` nodes of which nothing is known yet.
    pub(super) fn new(count: usize, limits: Limits) -> Self {
        let breakers = (0..count).map(|_| Mutex::default()).collect();
        Self { breakers, limits, last_good: AtomicUsize::new(0) }
    }

    /// The tries of one call.
    pub(super) fn tour(&self) -> Tour<'_> {
        let count = self.breakers.len();
        let first = self.last_good.load(Ordering::Relaxed);
        Tour { nodes: self, next: first, not_before: vec![None; count] }
    }

    fn with<T>(&self, node: usize, act: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        let breaker = self.breakers.get(node)?;
        Some(act(&mut breaker.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The tries of one call: each goes to the node after the one before, as far as it may be asked.
#[derive(Debug)]
pub(super) struct Tour<'n> {
    nodes: &'n Nodes,
    next: usize,
    not_before: Vec<Option<Instant>>,
}

impl Tour<'_> {
    /// Which node to ask next, and from when.
    ///
    /// When every breaker is open, it is the one whose failure is the longest ago. A breaker saves time while
    /// other nodes answer; it does not know whether the cluster lives. To fail without a request would make
    /// of an outage of a second one as long as the pause.
    pub(super) fn next(&self, now: Instant) -> (usize, Instant) {
        let count = self.nodes.breakers.len();
        let in_order = || (0..count).map(|offset| (self.next + offset) % count);
        let ready =
            |node: &usize| self.not_before.get(*node).copied().flatten().map_or(now, |at| at.max(now));
        let permitted = |node: &usize| {
            let at = ready(node);
            self.nodes.with(*node, |breaker| breaker.permits(at)).unwrap_or_default()
        };
        let failed_at = |node: &usize| self.nodes.with(*node, |breaker| breaker.failed_at()).flatten();
        let chosen = in_order().filter(permitted).min_by_key(ready);
        let node = chosen.or_else(|| in_order().min_by_key(failed_at)).unwrap_or_default();
        (node, ready(&node))
    }

    /// A request goes to the node now. `false` when another one was faster to test a node whose breaker is
    /// open, and there are others to ask.
    pub(super) fn admit(&mut self, node: usize, now: Instant) -> bool {
        let limits = self.nodes.limits;
        let is_admitted = self.nodes.with(node, |breaker| breaker.admit(now, limits)).unwrap_or_default();
        let others = 0..self.nodes.breakers.len();
        let may_others = others
            .filter(|other| *other != node)
            .any(|other| self.nodes.with(other, |breaker| breaker.permits(now)).unwrap_or_default());
        if is_admitted || !may_others {
            self.next = node + 1;
        }
        is_admitted || !may_others
    }

    /// The node gave an answer.
    pub(super) fn succeeded(&mut self, node: usize) {
        self.nodes.with(node, Breaker::succeeded);
        self.nodes.last_good.store(node, Ordering::Relaxed);
    }

    /// The node is well but does not want to be asked now.
    pub(super) fn declined(&mut self, node: usize) {
        self.nodes.with(node, Breaker::succeeded);
    }

    /// The node failed. The next call begins with the one after it, unless that is known by then to be worse.
    pub(super) fn failed(&mut self, node: usize, now: Instant) {
        let limits = self.nodes.limits;
        self.nodes.with(node, |breaker| breaker.failed(now, limits));
        let after = (node + 1) % self.nodes.breakers.len().max(1);
        let order = Ordering::Relaxed;
        let _ = self.nodes.last_good.compare_exchange(node, after, order, order);
    }

    /// The node is not to be asked before.
    pub(super) fn spare(&mut self, node: usize, until: Instant) {
        if let Some(not_before) = self.not_before.get_mut(node) {
            *not_before = Some(until);
        }
    }

    /// No node is to be asked before: they count requests together.
    pub(super) fn spare_all(&mut self, until: Instant) {
        self.not_before.fill(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits { failures: 2, pause: Duration::from_secs(5) };

    #[tokio::test(start_paused = true)]
    async fn a_call_begins_with_the_last_good_node_and_goes_on_in_order() {
        let nodes = Nodes::new(3, LIMITS);
        let now = Instant::now();
        let mut tour = nodes.tour();
        for expected in [0, 1, 2, 0] {
            let (node, at) = tour.next(now);
            assert_eq!((node, at), (expected, now));
            assert!(tour.admit(node, now));
        }
        tour.succeeded(1);
        assert_eq!(nodes.tour().next(now).0, 1);
        nodes.tour().failed(1, now);
        assert_eq!(nodes.tour().next(now).0, 2, "left after one failure, without an open breaker");
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_is_passed_over_and_all_open_ones_are_not() {
        let nodes = Nodes::new(3, LIMITS);
        let start = Instant::now();
        for (node, seconds) in [(0, 2), (1, 0), (2, 1)] {
            let at = start + Duration::from_secs(seconds);
            for _ in 0..2 {
                nodes.tour().failed(node, at);
            }
            if node == 1 {
                assert_eq!(nodes.tour().next(at).0, 2);
            }
        }
        let now = start + Duration::from_secs(3);
        let mut tour = nodes.tour();
        let (node, at) = tour.next(now);
        assert_eq!((node, at), (1, now), "the one whose failure is the longest ago");
        assert!(tour.admit(node, now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_asked_for_time_is_asked_last() {
        let nodes = Nodes::new(2, LIMITS);
        let now = Instant::now();
        let mut tour = nodes.tour();
        tour.spare(0, now + Duration::from_secs(1));
        assert_eq!(tour.next(now), (1, now));
        tour.spare_all(now + Duration::from_secs(3));
        assert_eq!(tour.next(now), (0, now + Duration::from_secs(3)));
    }
}

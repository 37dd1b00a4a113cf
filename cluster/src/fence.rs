//! Who is refused: nodes that were removed, and certificates that were revoked.
//!
//! # Why
//!
//! A removed node still has a certificate that TLS accepts, and disks with votes on them. Shut out by its id, for
//! ever, it can neither disturb an election nor come back as if it were new. Lists of revoked certificates (CRL)
//! would have to be signed, fetched and renewed; here every node has the list already, in the replicated state,
//! and the layer above pushes it down whenever it changes ([`crate::Cluster::refuse`]).

use std::collections::BTreeSet;
use std::future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::identity::NodeId;

/// Everything that is refused, as of some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Nodes that were removed. Their ids are never used again.
    pub nodes: BTreeSet<NodeId>,
    /// Serial numbers of certificates that were revoked, in lower-case hexadecimal digits as
    /// [`crate::pki::CertificateFacts`] has them.
    pub certificates: BTreeSet<String>,
}

impl Refused {
    /// What a node is told, for ever, that was removed.
    #[must_use]
    pub fn removal(node: NodeId) -> String {
        format!(
            "node {node} was removed from this cluster; its id is never used again: join with an empty data folder, \
             under a new id"
        )
    }

    /// Why a node with this certificate is refused, if it is. What is not known about it does not matter.
    #[must_use]
    pub fn reason(&self, node: Option<NodeId>, serial: Option<&str>) -> Option<String> {
        match (node, serial) {
            (Some(node), _) if self.nodes.contains(&node) => Some(Self::removal(node)),
            (node, Some(serial)) if self.certificates.contains(serial) => Some(match node {
                Some(node) => format!("this certificate of node {node}, serial number {serial}, was revoked"),
                None => format!("this certificate, serial number {serial}, was revoked"),
            }),
            _ => None,
        }
    }
}

/// What all parts of a node know of who is refused. Clones are the same fence.
#[derive(Clone)]
pub(crate) struct Fence(Arc<Inner>);

struct Inner {
    refused: watch::Sender<Refused>,
    /// Why this node itself is refused.
    own: watch::Sender<Option<String>>,
    logged: Mutex<BTreeSet<String>>,
}

impl Fence {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            refused: watch::Sender::default(),
            own: watch::Sender::new(None),
            logged: Mutex::default(),
        }))
    }

    /// Connections that it covers end at once.
    pub(crate) fn replace(&self, refused: Refused) {
        self.0.refused.send_if_modified(|now| {
            let is_new = *now != refused;
            *now = refused;
            is_new
        });
    }

    pub(crate) fn reason(&self, node: Option<NodeId>, serial: Option<&str>) -> Option<String> {
        self.0.refused.borrow().reason(node, serial)
    }

    /// Ends, with the reason, once this node or its certificate is refused.
    pub(crate) async fn until_refused(&self, node: Option<NodeId>, serial: Option<String>) -> String {
        let mut refused = self.0.refused.subscribe();
        loop {
            let reason = refused.borrow_and_update().reason(node, serial.as_deref());
            match reason {
                Some(reason) => return reason,
                // The sender lives as long as this fence.
                None if refused.changed().await.is_err() => return future::pending().await,
                None => {}
            }
        }
    }

    /// A refused peer tries again and again: says whether this refusal should be logged.
    pub(crate) fn is_news(&self, reason: &str) -> bool {
        let mut logged = self.0.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.insert(reason.to_owned())
    }

    /// This node is the one that is refused.
    pub(crate) fn told(&self, reason: &str) {
        let is_first = self.0.own.send_if_modified(|own| {
            let is_first = own.is_none();
            own.get_or_insert_with(|| reason.to_owned());
            is_first
        });
        if is_first {
            tracing::error!(reason, "the cluster refuses this node");
        }
    }

    /// A new certificate deserves a new answer.
    pub(crate) fn forget_told(&self) {
        self.0.own.send_replace(None);
    }

    pub(crate) fn own(&self) -> watch::Receiver<Option<String>> {
        self.0.own.subscribe()
    }

    /// Ends, with the reason, once this node itself is refused.
    pub(crate) async fn until_told(&self) -> String {
        let mut own = self.own();
        let told = own.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match told {
            Some(reason) => reason,
            None => future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Refused {
        let certificates = BTreeSet::from(["ab".to_owned()]);
        Refused { nodes: BTreeSet::from([NodeId(3)]), certificates }
    }

    #[test]
    fn nodes_and_certificates_are_refused_and_nobody_else() {
        let refused = refused();
        let removed = refused.reason(Some(NodeId(3)), Some("cd")).unwrap();
        assert!(removed.contains("node 3 was removed from this cluster; its id is never used again"));
        assert!(refused.reason(Some(NodeId(2)), Some("ab")).unwrap().contains("was revoked"));
        assert!(refused.reason(None, Some("ab")).unwrap().contains("was revoked"));
        assert_eq!(refused.reason(Some(NodeId(2)), Some("cd")), None);
        assert_eq!(refused.reason(None, None), None);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_refusal_gets_it() {
        let fence = Fence::new();
        let waiting = tokio::spawn({
            let fence = fence.clone();
            async move { fence.until_refused(Some(NodeId(3)), None).await }
        });
        fence.replace(Refused { nodes: BTreeSet::from([NodeId(2)]), ..Refused::default() });
        fence.replace(refused());
        assert!(waiting.await.unwrap().contains("node 3"));
    }

    #[tokio::test]
    async fn the_first_reason_stays_until_the_certificate_changes() {
        let fence = Fence::new();
        fence.told("one");
        fence.told("two");
        assert_eq!(fence.until_told().await, "one");
        fence.forget_told();
        assert_eq!(*fence.own().borrow(), None);
    }
}

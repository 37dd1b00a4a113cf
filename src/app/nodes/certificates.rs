//! The nodes' certificates: written down, then handed out; replaced long before they end.

use std::time::Duration;

use conclave_cluster::pki::{CLOCK_SKEW, CertificateFacts, CertificateRequest};
use conclave_cluster::{LogTime, NodeId, Unavailable};
use tokio::time::Instant;

use super::letter::{Answer, Errand};
use super::{App, Failure, Request};
use crate::domain::level::OPERATIONS;
use crate::domain::node::{self, NodeNumber, NodeOrder};
use crate::domain::{Lifetime, Origin};
use crate::replica::Freshness;

/// A certificate that was signed for a node.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) authority: String,
    pub(super) serial: String,
}

impl App {
    /// Signs a request of `node`, on any node that can write. It is written down before it is handed out: what is
    /// not written down can not be revoked.
    pub(super) async fn sign_certificate(
        &self,
        node: NodeNumber,
        certificate_request: &str,
        request: &Request,
    ) -> Result<Signed, Failure> {
        self.needs_level(OPERATIONS, request.deadline).await?;
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let authority = self.node_authority()?;
        let validity = self.settings.nodes.certificate_lifetime;
        let now = LogTime(self.now(&view).0);
        let signed = authority
            .sign(NodeId(node.0), certificate_request, validity, now)
            .map_err(|error| Failure::Endangers(format!("the certificate was not issued: {error}")))?;
        let good_for = Lifetime(signed.not_after.0.saturating_sub(now.0));
        let order = NodeOrder::IssueCertificate { node, serial: signed.serial.clone(), good_for };
        self.order_nodes(order, &request.step(1)).await?;
        let authority = authority.certificate_pem().to_owned();
        Ok(Signed { certificate: signed.certificate, authority, serial: signed.serial })
    }

    /// Has a new certificate signed for this node, with a new key, and uses it from now on.
    ///
    /// # Errors
    /// While the leader cannot be asked; the old one goes on.
    pub(super) async fn rotate_certificate(&self, deadline: Instant) -> Result<CertificateFacts, Failure> {
        let made = CertificateRequest::create().map_err(|_| Failure::Internal("no randomness"))?;
        let errand = Errand::Sign { certificate_request: made.request.clone() };
        let answer = self.run_errand(None, &errand, deadline).await?;
        let Answer::Signed { certificate, authority, .. } = answer else {
            return Err(super::errands::refusal(answer));
        };
        let facts = CertificateFacts::of_pem(&certificate)
            .map_err(|_| Failure::Internal("the leader gave something that is no certificate"))?;
        let cluster = self.cluster.clone();
        let complete = made.complete(certificate, authority);
        let installed = tokio::task::spawn_blocking(move || cluster.install_certificate(&complete)).await;
        let installed = installed.map_err(|_| Failure::Internal("installing the certificate panicked"))?;
        installed.map_err(|error| {
            tracing::error!(%error, "the new certificate is not used");
            Failure::Internal("the new certificate cannot be used")
        })?;
        tracing::info!(serial = facts.serial, "this node shows a new certificate");
        Ok(facts)
    }

    /// Whether a third of the time of this node's certificate is left, or less.
    pub(super) fn wants_certificate(&self) -> bool {
        let Some(own) = self.cluster.certificate() else { return false };
        let skew = u64::try_from(CLOCK_SKEW.as_millis()).unwrap_or_default();
        let (issued, to) = (own.not_before.0.saturating_add(skew), own.not_after.0);
        to.saturating_sub(self.clock.now().0) <= to.saturating_sub(issued) / 3
    }

    /// Writes this node's certificate down where nobody has: that of a founder was given out before there were rows.
    pub(super) async fn record_certificate(&self) -> Result<(), Failure> {
        let Some(own) = self.cluster.certificate() else { return Ok(()) };
        let node = NodeNumber(self.cluster.identity().node.0);
        let Some(row) = node::find(&self.cluster.view(), node)? else { return Ok(()) };
        if row.value.is_removed() || row.value.certificates.iter().any(|issued| issued.serial == own.serial) {
            return Ok(());
        }
        let good_for = Lifetime(own.not_after.0.saturating_sub(self.clock.now().0));
        let order = NodeOrder::IssueCertificate { node, serial: own.serial, good_for };
        self.order_nodes(order, &Self::own_request(PATIENCE)).await.map(drop)
    }

    /// Refuses all certificates of a node but the one it is to keep. One that is still there is given a new one
    /// first, so that it goes on.
    ///
    /// # Errors
    /// The rule that refused it, or why it could not be done.
    pub async fn revoke_certificates(&self, node: u64, request: &Request) -> Result<Revoked, Failure> {
        let number = NodeNumber(node);
        let patience = request.deadline.min(Instant::now() + ROTATION);
        let fresh = self.run_errand(Some(NodeId(node)), &Errand::Rotate, patience).await;
        let kept = match fresh {
            Ok(Answer::Rotated { serial, .. }) => Some(serial),
            Ok(_) | Err(_) => None,
        };
        if kept.is_none() {
            self.must_do_without(node, request.deadline).await?;
        }
        let order = NodeOrder::RevokeCertificates { node: number, except: kept.clone() };
        let request = Request::once(request.deadline, request.origin.clone());
        let done = self.order_nodes(order, &request).await?;
        Ok(Revoked { revision: done.revision, kept })
    }

    /// That the others can decide alone, where a voter is about to be shut out because it did not answer: it may be
    /// slow, and not dead.
    async fn must_do_without(&self, node: u64, deadline: Instant) -> Result<(), Failure> {
        let seen = self.seen_members(deadline).await.ok_or(Failure::Unavailable(Unavailable::NoLeader))?;
        if !seen.iter().any(|member| member.node == node && member.is_voter) {
            return Ok(());
        }
        let voters = seen.iter().filter(|member| member.is_voter).count();
        let others = seen
            .iter()
            .filter(|member| member.is_voter && member.node != node && member.is_healthy == Some(true))
            .count();
        if others > voters / 2 {
            return Ok(());
        }
        Err(Failure::Endangers(format!(
            "node {node} did not take a new certificate, so revoking would shut it out, and of {voters} voters only \
             {others} others are healthy: that is no majority. See to it that it answers, or that the others do"
        )))
    }

    /// Has a node make a new key and use a new certificate.
    ///
    /// # Errors
    /// When it cannot be asked, or could not do it.
    pub async fn rotate_certificate_of(&self, node: u64, deadline: Instant) -> Result<Rotated, Failure> {
        self.needs_level(OPERATIONS, deadline).await?;
        let answer = self.run_errand(Some(NodeId(node)), &Errand::Rotate, deadline).await?;
        let Answer::Rotated { serial, expires_ms } = answer else {
            return Err(super::errands::refusal(answer));
        };
        Ok(Rotated { serial, expires: LogTime(expires_ms) })
    }

    /// A request of the node itself.
    pub(super) fn own_request(patience: Duration) -> Request {
        Request::once(Instant::now() + patience, Origin::default())
    }
}

/// What became of revoking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub revision: u64,
    /// The certificate that the node was given instead; none when it did not answer: it is shut out then.
    pub kept: Option<String>,
}

/// A new certificate of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    pub serial: String,
    pub expires: LogTime,
}

const ROTATION: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(5);

//! A running node's certificate and authority, and who may not talk to it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::LogTime;
use crate::enrol::EnrolHandler;
use crate::fence::Refused;
use crate::folder::FolderError;
use crate::handle::Cluster;
use crate::network::tls::{self, Ends};
use crate::pki::{Authority, NodeCertificate};

/// The certificate that new connections are made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Its serial number, in lower-case hexadecimal digits.
    pub serial: String,
    /// From when on it is valid.
    pub not_before: LogTime,
    /// Until when.
    pub not_after: LogTime,
    /// SHA-256 of its public key.
    pub key_fingerprint: [u8; 32],
    /// The certificates of the authorities that this node accepts, PEM.
    pub authority: String,
    /// Until when the last of them is valid.
    pub authority_not_after: LogTime,
}

/// Why a certificate was not taken. The old one is in use and on the disk.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Peers would not accept it.
    #[error("this certificate is of no use to this node: {0}")]
    Unusable(String),
    /// It could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The node has let go of its data folder.
    #[error("this node is stopping")]
    Stopping,
}

impl Cluster {
    /// The certificate in use; `None` only on simulated nodes, which have none.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateStatus> {
        let ends = self.node.tls()?.ends();
        let facts = ends.facts.clone();
        Some(CertificateStatus {
            serial: facts.serial,
            not_before: facts.not_before,
            not_after: facts.not_after,
            key_fingerprint: facts.key_fingerprint,
            authority: ends.authority.clone(),
            authority_not_after: tls::authority_not_after(&ends.authority),
        })
    }

    /// Takes another certificate: writes it to the disk, uses it for all new connections from then on, and moves
    /// the outgoing ones to it within 5 s, without failing what is under way. Blocks on the disk.
    ///
    /// Its `authority` replaces the authorities that this node accepts. While an authority is being replaced, it
    /// must hold the old one too until every node has a certificate of the new one.
    ///
    /// # Errors
    /// See [`InstallError`]: it must name this node, have its key with it, and be accepted by its own `authority`
    /// at the node's time.
    pub fn install_certificate(&self, certificate: &NodeCertificate) -> Result<(), InstallError> {
        let tls = self.node.tls().ok_or(InstallError::Stopping)?;
        let identity = self.identity();
        certificate.check(identity).map_err(InstallError::Unusable)?;
        let now = self.core().clock.now();
        tls::verify(certificate, identity, now).map_err(InstallError::Unusable)?;
        let ends = Ends::new(certificate).map_err(InstallError::Unusable)?;
        let fence = &self.core().fence;
        if let Some(reason) = fence.reason(Some(identity.node), Some(&ends.facts.serial)) {
            return Err(InstallError::Unusable(reason));
        }
        self.node
            .with_folder(|folder, vault| folder.install(certificate, vault))
            .ok_or(InstallError::Stopping)??;
        tracing::info!(serial = ends.facts.serial, "this node has a new certificate");
        tls.replace(ends);
        fence.forget_told();
        Ok(())
    }

    /// The authority, where this node has founded the cluster and its key still lies in the data folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn authority(&self) -> Result<Option<Authority>, FolderError> {
        self.node.with_folder(|folder, _| folder.authority()).unwrap_or(Ok(None))
    }

    /// Removes the authority's key from the data folder: once it is kept elsewhere. Its bytes are overwritten
    /// first, which not every disk heeds. Nothing happens when there is none.
    ///
    /// # Errors
    /// When the file cannot be overwritten or removed.
    pub fn forget_authority_key(&self) -> Result<(), FolderError> {
        self.node.with_folder(|folder, _| folder.forget_authority_key()).unwrap_or(Ok(()))
    }

    /// Replaces what is refused: connections of these nodes and certificates, both ways, are closed now, and new
    /// ones are not made. To be called whenever the replicated state says something else.
    pub fn refuse(&self, refused: Refused) {
        let own = self.node.tls().map(|tls| tls.ends().facts.serial.clone());
        if let Some(reason) = refused.reason(Some(self.identity().node), own.as_deref()) {
            self.core().fence.told(&reason);
        }
        self.core().fence.replace(refused);
    }

    /// Why the cluster refuses this node, once it does: it was removed, or its certificate revoked. It is not
    /// ready then, and reaches nobody.
    #[must_use]
    pub fn refused(&self) -> watch::Receiver<Option<String>> {
        self.core().fence.own()
    }

    /// Installs what answers those that want to become nodes, in place of what did. Until there is one they are
    /// told to ask again. It is let go when the node stops.
    pub fn set_enrol_handler(&self, handler: Arc<dyn EnrolHandler>) {
        self.node.desk.set_handler(Some(handler));
    }
}

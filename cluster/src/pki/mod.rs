//! The cluster's own certificate authority, and the certificates by which nodes know each other.
//!
//! # Why
//!
//! Whoever reaches an unauthenticated Raft port owns the cluster, so there is no mode without mutual TLS.
//! A public authority cannot say "node 2 of cluster X", and asking an operator for certificates before the
//! first start would end in a switch to turn them off; so a cluster makes its own authority.
//!
//! The authority's key is needed only to issue; a node runs without it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::clock::LogTime;
use crate::files;
use crate::identity::{ClusterId, Identity, NodeId};

/// Issues the certificates of one cluster's nodes. `Debug` shows no key.
pub struct Authority {
    cluster: ClusterId,
    certificate: String,
    key: KeyPair,
}

/// A node's certificate and key, and the authority that others' certificates are checked against; all PEM.
/// `Debug` shows no key.
#[derive(Clone)]
pub struct NodeCertificate {
    /// The authority's certificate.
    pub authority: String,
    /// The node's certificate.
    pub certificate: String,
    /// The node's private key.
    pub key: String,
}

/// What can go wrong while making, reading or writing certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused to make or read a certificate or key.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
}

impl Authority {
    /// The file that holds the authority's certificate.
    pub const CERTIFICATE_FILE: &'static str = "ca.pem";
    /// The file that holds the authority's private key.
    pub const KEY_FILE: &'static str = "ca.key";

    /// Makes the authority of a new cluster, valid for ten years from `now`.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn create(now: LogTime) -> Result<Self, PkiError> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| PkiError::Randomness)?;
        let cluster = ClusterId::from_random(random);
        let key = KeyPair::generate()?;
        let certificate = authority_params(cluster, now).self_signed(&key)?.pem();
        Ok(Self { cluster, certificate, key })
    }

    /// Reads the authority that [`Authority::save`] wrote into `folder`.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be.
    pub fn load(folder: &Path, cluster: ClusterId) -> Result<Self, PkiError> {
        let certificate = files::read_text(&folder.join(Self::CERTIFICATE_FILE))?;
        let key = KeyPair::from_pem(&files::read_text(&folder.join(Self::KEY_FILE))?)?;
        Ok(Self { cluster, certificate, key })
    }

    /// Writes certificate and key into `folder`; only the owner may read the key.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        files::write_secret(&folder.join(Self::KEY_FILE), self.key.serialize_pem().as_bytes())?;
        files::write(&folder.join(Self::CERTIFICATE_FILE), self.certificate.as_bytes())?;
        Ok(())
    }

    /// The cluster that this authority speaks for.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Issues a certificate for `node`, valid for a year from `now`.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn issue(&self, node: NodeId, now: LogTime) -> Result<NodeCertificate, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([self.cluster.node_name(node), self.cluster.member_name()])?;
        params.distinguished_name.push(DnType::CommonName, format!("conclave node {node}"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, NODE_VALIDITY);
        // The issuer's fields are a function of the cluster id, so they need not be parsed out of the PEM.
        let issuer = Issuer::new(authority_params(self.cluster, now), &self.key);
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(NodeCertificate { authority: self.certificate.clone(), certificate, key: key.serialize_pem() })
    }
}

impl NodeCertificate {
    /// The file that holds the node's certificate.
    pub const CERTIFICATE_FILE: &'static str = "node.pem";
    /// The file that holds the node's private key.
    pub const KEY_FILE: &'static str = "node.key";

    /// Reads what [`NodeCertificate::save`] wrote into `folder`.
    ///
    /// # Errors
    /// When a file is missing or unreadable.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        Ok(Self {
            authority: files::read_text(&folder.join(Authority::CERTIFICATE_FILE))?,
            certificate: files::read_text(&folder.join(Self::CERTIFICATE_FILE))?,
            key: files::read_text(&folder.join(Self::KEY_FILE))?,
        })
    }

    /// Writes the three files into `folder`; only the owner may read the key.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        files::write_secret(&folder.join(Self::KEY_FILE), self.key.as_bytes())?;
        files::write(&folder.join(Self::CERTIFICATE_FILE), self.certificate.as_bytes())?;
        files::write(&folder.join(Authority::CERTIFICATE_FILE), self.authority.as_bytes())?;
        Ok(())
    }

    /// Says why this is not the certificate of `identity`.
    pub(crate) fn check(&self, identity: Identity) -> Result<(), String> {
        let certificate =
            CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(|error| error.to_string())?;
        check_name(&certificate, identity)
    }
}

/// Says why `certificate` does not name `identity`. Who signed it is not looked at: TLS did that.
pub(crate) fn check_name(certificate: &CertificateDer<'_>, identity: Identity) -> Result<(), String> {
    let name =
        ServerName::try_from(identity.cluster.node_name(identity.node)).map_err(|error| error.to_string())?;
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    certificate.verify_is_valid_for_subject_name(&name).map_err(|error| error.to_string())
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificate").finish_non_exhaustive()
    }
}

fn authority_params(cluster: ClusterId, now: LogTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("conclave cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, AUTHORITY_VALIDITY);
    params
}

fn set_validity(params: &mut CertificateParams, now: LogTime, validity: Duration) {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_millis(now.0);
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + validity;
}

/// How far the clock of another node may be behind and still accept a new certificate.
const CLOCK_SKEW: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const NODE_VALIDITY: Duration = DAY.saturating_mul(366);
const AUTHORITY_VALIDITY: Duration = DAY.saturating_mul(3653);

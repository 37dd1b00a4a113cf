//! The cluster's own certificate authority, and the certificates by which nodes know each other.
//!
//! # Why
//!
//! Whoever reaches an unauthenticated Raft port owns the cluster, so there is no mode without mutual TLS.
//! A public authority cannot say "node 2 of cluster X", and asking an operator for certificates before the
//! first start would end in a switch to turn them off; so a cluster makes its own authority.
//!
//! The authority's key is needed only to issue; a node runs without it. A node's key never leaves the node that
//! made it: what travels is a [`CertificateRequest`], and of that only the public key is believed.
//!
//! Three names tell certificates apart, see [`crate::ClusterId`]: `node-<n>` is one node, `member` any node that
//! may be asked by one that knows addresses only, `candidate` a machine that holds the authority and is no
//! member yet. A candidate's certificate opens enrolment ([`crate::enrol`]) and nothing else.

mod authority;
mod facts;
mod node;
mod request;

use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

pub use authority::{Authority, CLOCK_SKEW, SignedCertificate};
pub(crate) use authority::{cluster_of, fingerprint_of_authority};
pub use facts::CertificateFacts;
pub(crate) use facts::{certificates, date, serial_of};
pub use node::NodeCertificate;
pub use request::{CertificateRequest, request_fingerprint};

use crate::clock::LogTime;
use crate::files;
use crate::identity::Identity;

/// What can go wrong while making, reading or writing certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused to make or read a certificate or key.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Not a certificate, or not the one expected.
    #[error("not a certificate to be used here: {0}")]
    Unusable(String),
    /// Not a request that a certificate is given for.
    #[error("not a request for a node's certificate: {0}")]
    Request(String),
    /// The authority issues no more.
    #[error("the authority's certificate ended {}: nothing can be issued with it", date(*.0))]
    AuthorityExpired(LogTime),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
}

/// Says why `certificate` does not name `identity`. Who signed it is not looked at: TLS did that.
pub(crate) fn check_name(certificate: &CertificateDer<'_>, identity: Identity) -> Result<(), String> {
    check_dns_name(certificate, identity.cluster.node_name(identity.node))
}

/// Says why `certificate` does not carry `name`.
pub(crate) fn check_dns_name(certificate: &CertificateDer<'_>, name: String) -> Result<(), String> {
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    certificate.verify_is_valid_for_subject_name(&name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;

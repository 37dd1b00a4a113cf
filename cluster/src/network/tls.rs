//! Mutual TLS 1.3 between the nodes of one cluster, with a certificate that may change while it runs.
//!
//! # Why
//!
//! What a certificate is made into, for both ends, is one value behind a pointer: whoever makes a connection takes
//! it once, so a connection never begins with one certificate and ends with another. Connections that are up stay
//! up when it is replaced; the client moves to new ones by itself, see [`super::client`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::clock::LogTime;
use crate::fence::Fence;
use crate::identity::{Identity, NodeId};
use crate::pki::{self, CertificateFacts, NodeCertificate, check_name};

/// Both ends of TLS, with this node's certificate. Clones are the same: a certificate that one is given, all have.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) identity: Identity,
    pub(crate) fence: Fence,
    current: Arc<ArcSwap<Ends>>,
}

/// What one certificate is made into.
pub(crate) struct Ends {
    /// For peers, who must show theirs.
    pub(crate) server: Arc<ServerConfig>,
    /// For those who want to become nodes, see [`crate::enrol`].
    pub(crate) enrolment: Arc<ServerConfig>,
    pub(crate) connector: TlsConnector,
    pub(crate) facts: CertificateFacts,
    /// The certificates of the authorities, PEM.
    pub(crate) authority: String,
}

impl Tls {
    /// # Errors
    /// When a certificate or the key is not one.
    pub(crate) fn new(
        identity: Identity,
        certificate: &NodeCertificate,
        fence: Fence,
    ) -> Result<Self, String> {
        let current = Arc::new(ArcSwap::from_pointee(Ends::new(certificate)?));
        Ok(Self { identity, fence, current })
    }

    /// What new connections are made with.
    pub(crate) fn ends(&self) -> Arc<Ends> {
        self.current.load_full()
    }

    pub(crate) fn is_current(&self, ends: &Arc<Ends>) -> bool {
        Arc::ptr_eq(ends, &self.current.load())
    }

    /// From here on new connections, both ways, are made with this.
    pub(crate) fn replace(&self, ends: Ends) {
        self.current.store(Arc::new(ends));
    }

    /// The name to ask the other side's certificate for.
    pub(crate) fn name_of(&self, node: Option<NodeId>) -> Result<ServerName<'static>, String> {
        let cluster = self.identity.cluster;
        let name = node.map_or_else(|| cluster.member_name(), |node| cluster.node_name(node));
        ServerName::try_from(name).map_err(|error| error.to_string())
    }

    /// Says why the client behind `certificates` is not `node` of this cluster.
    pub(crate) fn check_client(
        &self,
        certificates: Option<&[CertificateDer<'_>]>,
        node: NodeId,
    ) -> Result<(), String> {
        let certificate = certificates.and_then(<[_]>::first).ok_or("no certificate")?;
        check_name(certificate, Identity { cluster: self.identity.cluster, node })
    }
}

impl Ends {
    /// # Errors
    /// When a certificate or the key is not one, or they do not belong together.
    pub(crate) fn new(certificate: &NodeCertificate) -> Result<Self, String> {
        let roots = roots(&certificate.authority)?;
        Ok(Self {
            server: Arc::new(server(certificate, roots.clone())?),
            enrolment: Arc::new(enrolment(certificate, roots.clone())?),
            connector: TlsConnector::from(Arc::new(client(certificate, roots)?)),
            facts: certificate.facts().map_err(|error| error.to_string())?,
            authority: certificate.authority.clone(),
        })
    }
}

/// Says why peers would not accept `certificate` for `identity` at this time.
pub(crate) fn verify(certificate: &NodeCertificate, identity: Identity, now: LogTime) -> Result<(), String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(&certificate.authority)?, provider());
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    let chain = certificates(&certificate.certificate)?;
    let (own, rest) = chain.split_first().ok_or("no certificate")?;
    let name =
        ServerName::try_from(identity.cluster.node_name(identity.node)).map_err(|error| error.to_string())?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    verifier.verify_server_cert(own, rest, &name, &[], now).map_err(|error| error.to_string())?;
    Ok(())
}

/// Until when the authorities that may have issued a certificate are valid: the last of them.
pub(crate) fn authority_not_after(authority: &str) -> LogTime {
    let all = pki::certificates(authority).unwrap_or_default();
    let facts = all.iter().filter_map(|certificate| CertificateFacts::of_der(certificate).ok());
    facts.map(|facts| facts.not_after).max().unwrap_or_default()
}

fn server(certificate: &NodeCertificate, roots: Arc<RootCertStore>) -> Result<ServerConfig, String> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&certificate.certificate)?, key(certificate)?)
        .map_err(|error| error.to_string())?;
    // Connections last; a resumed one would skip the check of the certificate's dates.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Shows the authority too: whoever asks knows it by its fingerprint only.
pub(crate) fn enrolment(
    certificate: &NodeCertificate,
    roots: Arc<RootCertStore>,
) -> Result<ServerConfig, String> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| error.to_string())?;
    let mut chain = certificates(&certificate.certificate)?;
    chain.extend(certificates(&certificate.authority)?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key(certificate)?)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![ENROLMENT.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(certificate: &NodeCertificate, roots: Arc<RootCertStore>) -> Result<ClientConfig, String> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&certificate.certificate)?, key(certificate)?)
        .map_err(|error| error.to_string())
}

/// Passed explicitly: a process-wide default is whatever some library installed first.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(crate) fn roots(authority: &str) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(roots))
}

pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    pki::certificates(pem).map_err(|error| error.to_string())
}

pub(crate) fn key(certificate: &NodeCertificate) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).map_err(|error| error.to_string())
}

/// What a connection for enrolment says that it is for (ALPN). Peers say nothing.
pub(crate) const ENROLMENT: &[u8] = b"conclave-enrol/1";

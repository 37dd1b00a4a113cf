//! Mutual TLS 1.3 between the nodes of one cluster.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::identity::{Identity, NodeId};
use crate::pki::{NodeCertificate, check_name};

/// Both ends of TLS, with this node's certificate.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) identity: Identity,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) connector: TlsConnector,
}

impl Tls {
    /// # Errors
    /// When a certificate or the key is not one.
    pub(crate) fn new(identity: Identity, certificate: &NodeCertificate) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&certificate.authority)? {
            roots.add(authority).map_err(|error| error.to_string())?;
        }
        let roots = Arc::new(roots);
        // Passed explicitly: a process-wide default is whatever some library installed first.
        let provider = Arc::new(aws_lc_rs::default_provider());
        Ok(Self {
            identity,
            acceptor: TlsAcceptor::from(Arc::new(server(certificate, roots.clone(), provider.clone())?)),
            connector: TlsConnector::from(Arc::new(client(certificate, roots, provider)?)),
        })
    }

    /// The name to ask the other side's certificate for.
    pub(crate) fn name_of(&self, node: Option<NodeId>) -> Result<ServerName<'static>, String> {
        let cluster = self.identity.cluster;
        let name = node.map_or_else(|| cluster.member_name(), |node| cluster.node_name(node));
        ServerName::try_from(name).map_err(|error| error.to_string())
    }

    /// Says why the client behind `certificates` is not `node` of this cluster.
    pub(crate) fn check_client(&self, certificates: Option<&[CertificateDer<'_>]>, node: NodeId) -> Result<(), String> {
        let certificate = certificates.and_then(<[_]>::first).ok_or("no certificate")?;
        check_name(certificate, Identity { cluster: self.identity.cluster, node })
    }
}

fn server(
    certificate: &NodeCertificate,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, String> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&certificate.certificate)?, key(certificate)?)
        .map_err(|error| error.to_string())?;
    // Connections last; a resumed one would skip the check of the certificate's dates.
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    certificate: &NodeCertificate,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, String> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&certificate.certificate)?, key(certificate)?)
        .map_err(|error| error.to_string())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn key(certificate: &NodeCertificate) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).map_err(|error| error.to_string())
}

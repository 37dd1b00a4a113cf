//! The asking side.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{self, TcpStream};
use tokio::time;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use super::{EnrolError, Kind, MOST_BYTES, read_bounded, write_bounded};
use crate::clock::{Clock, LogTime, SystemClock};
use crate::identity::ClusterId;
use crate::network::tls::{self, ENROLMENT};
use crate::pki::{self, Authority};

/// By what the other side is known, and what is shown to it.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// For whoever has a join token: the node must show an authority with this fingerprint. Shows nothing.
    Fingerprint {
        /// The cluster to join.
        cluster: ClusterId,
        /// See [`Authority::fingerprint`].
        fingerprint: [u8; 32],
    },
    /// For a candidate, who holds the authority, and shows that.
    Authority(&'a Authority),
}

impl Trust<'_> {
    fn cluster(&self) -> ClusterId {
        match self {
            Self::Fingerprint { cluster, .. } => *cluster,
            Self::Authority(authority) => authority.cluster(),
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::Fingerprint { fingerprint, .. } => *fingerprint,
            Self::Authority(authority) => authority.fingerprint(),
        }
    }
}

/// Asks the node at `address` (`host:port`) one thing, and waits for the answer, for `within` at most. Nothing is
/// sent before the node has shown that it is of the cluster meant.
///
/// # Errors
/// See [`EnrolError`].
pub async fn ask(
    address: &str,
    trust: Trust<'_>,
    request: Bytes,
    within: Duration,
) -> Result<Bytes, EnrolError> {
    if request.len() > MOST_BYTES {
        return Err(EnrolError::TooLong);
    }
    let config = config(trust).map_err(EnrolError::Own)?;
    let name = ServerName::try_from(trust.cluster().member_name());
    let name = name.map_err(|error| EnrolError::Own(error.to_string()))?;
    let asking = async {
        let stream = connect(address).await?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let mut stream = connecting.await.map_err(|error| unmet(address, &error))?;
        if stream.get_ref().1.alpn_protocol() != Some(ENROLMENT) {
            let reason = "it does not speak of enrolment".to_owned();
            return Err(EnrolError::NotPeerPort { address: address.to_owned(), reason });
        }
        exchange(address, &mut stream, &request).await
    };
    let late = || EnrolError::TimedOut { address: address.to_owned(), within };
    time::timeout(within, asking).await.unwrap_or_else(|_| Err(late()))
}

async fn connect(address: &str) -> Result<TcpStream, EnrolError> {
    let unresolved = |reason: String| EnrolError::Unresolved { address: address.to_owned(), reason };
    let found = net::lookup_host(address).await.map_err(|error| unresolved(error.to_string()))?;
    let mut last = None;
    for candidate in found {
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let Some(error) = last else { return Err(unresolved("the name has no address".to_owned())) };
    Err(EnrolError::Unreachable { address: address.to_owned(), reason: error.to_string() })
}

async fn exchange(
    address: &str,
    stream: &mut TlsStream<TcpStream>,
    request: &Bytes,
) -> Result<Bytes, EnrolError> {
    let talk = async {
        // A node that is busy answers without having read, and what was sent does not arrive.
        let sent = write_bounded(stream, request).await;
        let kind = match stream.read_u8().await {
            Ok(kind) => kind,
            Err(error) => return Err(sent.err().unwrap_or(error)),
        };
        let answer = read_bounded(stream).await?;
        // The answer is there; how the connection ends does not matter.
        drop(stream.shutdown().await);
        Ok((kind, answer))
    };
    let (kind, answer) = talk.await.map_err(|error| broken(address, &error))?;
    let address = address.to_owned();
    let Some(answer) = answer else {
        let reason = "its answer is too long".to_owned();
        return Err(EnrolError::NotPeerPort { address, reason });
    };
    let text = || String::from_utf8_lossy(&answer).chars().filter(|c| !c.is_control()).collect();
    if kind == Kind::Answer as u8 {
        Ok(answer)
    } else if kind == Kind::NotNow as u8 {
        Err(EnrolError::NotNow { address, reason: text() })
    } else if kind == Kind::Refused as u8 {
        Err(EnrolError::Refused { address, reason: text() })
    } else {
        let reason = "an answer of a kind that this program does not know".to_owned();
        Err(EnrolError::NotPeerPort { address, reason })
    }
}

/// What to say of a TLS handshake that failed.
fn unmet(address: &str, error: &io::Error) -> EnrolError {
    let address = address.to_owned();
    let not_a_node = |reason: String| EnrolError::NotPeerPort { address: address.clone(), reason };
    let Some(fault) = tls_fault(error) else {
        // A node with too much to do hangs up like that, and so does many a stranger.
        return EnrolError::Lost { address, reason: error.to_string() };
    };
    let rustls::Error::InvalidCertificate(fault) = fault else { return not_a_node(fault.to_string()) };
    let unix = |time: &UnixTime| LogTime(time.as_secs().saturating_mul(1000));
    if let CertificateError::ExpiredContext { time, not_after } = fault {
        EnrolError::Clock { now: unix(time), bound: unix(not_after), is_early: false, address }
    } else if let CertificateError::NotValidYetContext { time, not_before } = fault {
        EnrolError::Clock { now: unix(time), bound: unix(not_before), is_early: true, address }
    } else if let CertificateError::Other(OtherError(other)) = fault {
        match other.downcast_ref::<Foreign>() {
            Some(Foreign::Cluster(cluster)) => EnrolError::OtherCluster { address, cluster: Some(*cluster) },
            Some(Foreign::Unknown) => not_a_node("its certificate is not a node's".to_owned()),
            None => not_a_node(other.to_string()),
        }
    } else {
        // It shows the right authority, which did not issue what else it shows.
        EnrolError::OtherCluster { address, cluster: None }
    }
}

/// What to say of a connection that ended after the handshake: the other side may have refused our certificate.
fn broken(address: &str, error: &io::Error) -> EnrolError {
    let address = address.to_owned();
    match tls_fault(error) {
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)) => {
            EnrolError::OtherClock { address, now: SystemClock.now() }
        }
        Some(rustls::Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::DecryptError | AlertDescription::BadCertificate,
        )) => {
            let reason = "it does not know the authority that this machine holds".to_owned();
            EnrolError::Refused { address, reason }
        }
        _ => EnrolError::Lost { address, reason: error.to_string() },
    }
}

fn tls_fault(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn config(trust: Trust<'_>) -> Result<ClientConfig, String> {
    let verifier = Pinned { fingerprint: trust.fingerprint() };
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match trust {
        Trust::Fingerprint { .. } => builder.with_no_client_auth(),
        Trust::Authority(authority) => {
            let own = authority.issue_candidate(SystemClock.now()).map_err(|error| error.to_string())?;
            let chain = tls::certificates(&own.certificate)?;
            builder.with_client_auth_cert(chain, tls::key(&own)?).map_err(|error| error.to_string())?
        }
    };
    config.alpn_protocols = vec![ENROLMENT.to_vec()];
    Ok(config)
}

/// Finds the authority with the fingerprint among what the server shows, and has rustls check the server's
/// certificate by that. It makes no check of its own but the comparison.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
}

/// A certificate of somebody else.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Foreign {
    /// Of a cluster, or so it says.
    #[error("of cluster {0}")]
    Cluster(ClusterId),
    #[error("of no cluster")]
    Unknown,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_pinned = |shown: &&CertificateDer<'_>| {
            pki::fingerprint_of_authority(shown).is_some_and(|found| found == self.fingerprint)
        };
        let Some(authority) = intermediates.iter().find(is_pinned) else {
            let cluster = intermediates.iter().find_map(pki::cluster_of);
            let foreign = cluster.map_or(Foreign::Unknown, Foreign::Cluster);
            return Err(CertificateError::Other(OtherError(Arc::new(foreign))).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

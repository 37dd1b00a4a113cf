//! TLS to the node of this machine, which shows the certificate that its settings name.
//!
//! # Why the very certificate, and no names or dates
//! Names and dates say which strangers to believe. This is no stranger: whoever runs a command here can read the file that
//! the node shows its certificate from. So the node must show that one, byte for byte, and prove by the handshake
//! that it has the key. That holds for any certificate, whoever issued it and for whatever name, also one that has
//! expired, when an operator needs an answer most; it depends on nothing that the system trusts; and nothing else
//! that listens on the port can pass.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};

/// Makes a connection to a node that shows the first certificate of the file, and no other.
///
/// # Errors
/// When the file cannot be read, or what answers shows something else; see [`is_another`].
pub(super) async fn connect(
    stream: TcpStream,
    certificate: &Path,
    name: ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let expected = CertificateDer::from_pem_file(certificate).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", certificate.display()))
    })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Pinned { expected, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Whether a connection failed because another certificate was shown: for some seconds, when the file was just
/// replaced.
pub(super) fn is_another(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    inner.is_some_and(|error| *error == ANOTHER)
}

const ANOTHER: TlsError = TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

/// Believes one certificate.
#[derive(Debug)]
struct Pinned {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if *shown == self.expected { Ok(ServerCertVerified::assertion()) } else { Err(ANOTHER) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

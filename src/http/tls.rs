//! TLS for the HTTP port, when an operator gives a certificate.
//!
//! # Why the files are read again and again
//! Certificates are replaced every few weeks by programs that know nothing of ours. They write two files, one after the other,
//! or turn a link to a folder. So both are read once a second, and used when they are new and fit together. What does not
//! fit changes nothing, and is said when it is still so at the next look: before, the second file may be on its way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// Why the certificate cannot be used. Names the file, shows nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there, not readable, or holds no such PEM section.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("the TLS certificate and key cannot be used: {0}")]
    Unusable(#[from] tokio_rustls::rustls::Error),
}

/// The certificate and key of a port, as their files have them.
pub struct Tls {
    certificates: PathBuf,
    key: PathBuf,
    shown: ArcSwap<Shown>,
    seen: Mutex<Seen>,
}

/// What new connections are shown.
struct Shown {
    acceptor: TlsAcceptor,
    /// The text of the file of certificates.
    pem: String,
}

/// What was in the files at the last look.
struct Seen {
    /// Of both files; nothing when they could not be read.
    digest: Option<[u8; 32]>,
    /// Whether what is wrong with it was said, or nothing is.
    is_settled: bool,
}

/// Both files as they are now.
struct Files {
    certificates: String,
    key: Zeroizing<Vec<u8>>,
}

impl Tls {
    /// Reads a certificate chain (own certificate first) and its key, both PEM. TLS 1.2 and 1.3; HTTP/2 is
    /// preferred.
    ///
    /// # Errors
    /// When a file cannot be read, or certificate and key do not go together.
    pub fn open(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let (certificates, key) = (certificates.to_owned(), key.to_owned());
        let files = Files::read(&certificates, &key)?;
        let seen = Mutex::new(Seen { digest: Some(files.digest()), is_settled: true });
        let shown = ArcSwap::from_pointee(files.check(&certificates, &key)?);
        Ok(Self { certificates, key, shown, seen })
    }

    /// The certificate chain that new connections are shown, as PEM.
    #[must_use]
    pub fn certificates(&self) -> String {
        self.shown.load().pem.clone()
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.shown.load().acceptor.clone()
    }

    /// Looks at the files from time to time, for ever.
    pub(super) async fn watch(self: Arc<Self>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let own = Arc::clone(&self);
            // The files may lie in a file system that hangs.
            if tokio::task::spawn_blocking(move || own.look()).await.is_err() {
                tracing::error!("reading the TLS certificate panicked");
            }
        }
    }

    /// Uses what is in the files if it is new and good.
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Files::read(&self.certificates, &self.key);
        let digest = read.as_ref().ok().map(Files::digest);
        let is_new = digest != seen.digest;
        if !is_new && seen.is_settled {
            return;
        }
        match read.and_then(|files| files.check(&self.certificates, &self.key)) {
            Ok(shown) => {
                self.shown.store(Arc::new(shown));
                *seen = Seen { digest, is_settled: true };
                tracing::info!(
                    certificates = %self.certificates.display(),
                    "the HTTP port shows another certificate from now on"
                );
            }
            Err(_) if is_new => *seen = Seen { digest, is_settled: false },
            Err(error) => {
                seen.is_settled = true;
                tracing::error!(%error, "the new TLS certificate is not used; the one before goes on");
            }
        }
    }
}

impl Files {
    fn read(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let bad = |path: &Path, error: io::Error| TlsError::File {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        Ok(Self {
            certificates: std::fs::read_to_string(certificates).map_err(|error| bad(certificates, error))?,
            key: std::fs::read(key).map_err(|error| bad(key, error))?.into(),
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(Sha256::digest(&self.certificates));
        digest.update(&*self.key);
        digest.finalize().into()
    }

    /// What they make, if they go together. The paths are for what is said when not.
    fn check(self, certificates: &Path, key: &Path) -> Result<Shown, TlsError> {
        let bad = |path: &Path, problem: String| TlsError::File { path: path.to_owned(), problem };
        let chain = CertificateDer::pem_slice_iter(self.certificates.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad(certificates, error.to_string()))?;
        if chain.is_empty() {
            return Err(bad(certificates, "no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| bad(key, error.to_string()))?;
        // The provider is named, so that no other part of the process can decide it.
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Shown { acceptor: TlsAcceptor::from(Arc::new(config)), pem: self.certificates })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

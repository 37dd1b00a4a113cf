//! A node's certificate with its key.

use std::fmt;
use std::path::Path;

use rcgen::{KeyPair, PublicKeyData};
use zeroize::Zeroizing;

use super::{Authority, CertificateFacts, PkiError, check_name, facts};
use crate::files;
use crate::identity::Identity;

/// A node's certificate and key, and the authority that others' certificates are checked against; all PEM.
/// `Debug` shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeCertificate {
    /// The authority's certificate. Several while the authority is being replaced: certificates of any of them
    /// are accepted.
    pub authority: String,
    /// The node's certificate.
    pub certificate: String,
    /// The node's private key.
    pub key: Zeroizing<String>,
}

impl NodeCertificate {
    /// The file that holds the node's certificate.
    pub const CERTIFICATE_FILE: &'static str = "node.pem";
    /// The file that holds the node's private key.
    pub const KEY_FILE: &'static str = "node.key";

    /// Reads what [`NodeCertificate::save`] wrote into `folder`.
    ///
    /// # Errors
    /// When a file is missing or unreadable. A node that has run has sealed its key: that is not read here.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        Ok(Self {
            authority: files::read_text(&folder.join(Authority::CERTIFICATE_FILE))?,
            certificate: files::read_text(&folder.join(Self::CERTIFICATE_FILE))?,
            key: Zeroizing::new(files::read_text(&folder.join(Self::KEY_FILE))?),
        })
    }

    /// Writes the three files into `folder`; only the owner may read the key, which is sealed when a node first
    /// starts there.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        files::write_secret(&folder.join(Self::KEY_FILE), self.key.as_bytes())?;
        self.save_public(folder)
    }

    /// What anyone may read: authority and certificate.
    pub(crate) fn load_public(folder: &Path) -> Result<(String, String), PkiError> {
        let authority = files::read_text(&folder.join(Authority::CERTIFICATE_FILE))?;
        Ok((authority, files::read_text(&folder.join(Self::CERTIFICATE_FILE))?))
    }

    /// Writes what anyone may read.
    pub(crate) fn save_public(&self, folder: &Path) -> Result<(), PkiError> {
        files::write(&folder.join(Self::CERTIFICATE_FILE), self.certificate.as_bytes())?;
        files::write(&folder.join(Authority::CERTIFICATE_FILE), self.authority.as_bytes())?;
        Ok(())
    }

    /// What the certificate says: serial number, dates, fingerprint of the public key.
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn facts(&self) -> Result<CertificateFacts, PkiError> {
        CertificateFacts::of_pem(&self.certificate)
    }

    /// Says why this is not the certificate of `identity` with its key. Dates and issuer are TLS's to check.
    pub(crate) fn check(&self, identity: Identity) -> Result<(), String> {
        let certificate = facts::first(&self.certificate).map_err(|error| error.to_string())?;
        check_name(&certificate, identity)?;
        let key = KeyPair::from_pem(&self.key).map_err(|error| format!("its key cannot be read: {error}"))?;
        let own = facts::parse(&certificate).map_err(|error| error.to_string())?;
        if own.public_key().raw == key.subject_public_key_info() {
            Ok(())
        } else {
            Err("the key beside it is that of another certificate".to_owned())
        }
    }
}

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificate").finish_non_exhaustive()
    }
}

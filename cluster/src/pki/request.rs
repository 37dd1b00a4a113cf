//! Asking for a certificate: made where the key stays, signed where the authority is.

use std::fmt;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKey, PublicKeyData,
};
use zeroize::Zeroizing;

use super::{NodeCertificate, PkiError};

/// A new key and the request for a certificate of it. `Debug` shows no key.
pub struct CertificateRequest {
    /// What goes to the authority: PKCS #10, as PEM. It shows that its sender has the key.
    pub request: String,
    /// The private key, as PEM. It stays here.
    pub key: Zeroizing<String>,
}

impl CertificateRequest {
    /// Makes a new key, and the request for it. The request names nobody: names are the authority's to give.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn create() -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?.pem()?;
        Ok(Self { request, key: Zeroizing::new(key.serialize_pem()) })
    }

    /// Puts the certificate that was given for it together with the key. `authority` may hold several
    /// certificates.
    #[must_use]
    pub fn complete(self, certificate: String, authority: String) -> NodeCertificate {
        NodeCertificate { authority, certificate, key: self.key }
    }
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRequest").finish_non_exhaustive()
    }
}

/// The public key of a request whose sender has the private one. Nothing else in it is looked at.
pub(super) fn public_key(request: &str) -> Result<PublicKey, PkiError> {
    if request.len() > MOST_REQUEST_BYTES {
        return Err(PkiError::Request(format!("it is longer than {MOST_REQUEST_BYTES} bytes")));
    }
    let request = CertificateSigningRequestParams::from_pem(request);
    let key = request.map_err(|error| PkiError::Request(error.to_string()))?.public_key;
    // The only kind that nodes make: a weak one from elsewhere must not get in.
    let is_ours =
        PublicKeyData::algorithm(&key) == &PKCS_ECDSA_P256_SHA256 && key.der_bytes().len() == POINT_BYTES;
    if is_ours { Ok(key) } else { Err(PkiError::Request("its key is not one of P-256".to_owned())) }
}

const MOST_REQUEST_BYTES: usize = 8 << 10;
/// An uncompressed point of P-256.
const POINT_BYTES: usize = 65;

/// SHA-256 of the public key (of the `SubjectPublicKeyInfo`) of a certificate request (PEM): by it the same node is
/// known when it asks again.
///
/// # Errors
/// As [`super::Authority::sign`].
pub fn request_fingerprint(request: &str) -> Result<[u8; 32], PkiError> {
    Ok(super::facts::sha256(&public_key(request)?.subject_public_key_info()))
}

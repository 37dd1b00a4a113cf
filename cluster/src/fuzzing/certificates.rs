//! Certificates and requests for them, as PEM and as DER.

use std::sync::LazyLock;

use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{found, must};
use crate::clock::LogTime;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::pki::{self, Authority, CertificateFacts};

/// Whatever a peer shows, or a file holds.
pub(super) fn certificate(data: &[u8]) {
    let der = CertificateDer::from(data);
    let facts = CertificateFacts::of_der(&der);
    if let Ok(facts) = &facts {
        assert!(facts.serial.len() <= 2 * data.len(), "a serial number out of nothing");
    }
    let serial = pki::serial_of(&der);
    if let (Ok(facts), Some(serial)) = (&facts, &serial) {
        // Revoked certificates are known by it, and two libraries read it.
        assert!(facts.serial == *serial, "two serial numbers of one certificate: {facts:?} {serial}");
    }
    let (pin, _) = (pki::fingerprint_of_authority(&der), pki::cluster_of(&der));
    assert!(pin.is_none() || facts.is_ok(), "an authority that is no certificate");
    let identity = Identity { cluster: ClusterId::from_random([7; 16]), node: NodeId(1) };
    if pki::check_name(&der, identity).is_ok() {
        assert!(pki::check_name(&der, Identity { node: NodeId(2), ..identity }).is_err(), "it is two nodes");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    drop(CertificateFacts::of_pem(text));
    drop(Authority::cluster_of(text));
    if let Ok(all) = pki::certificates(text) {
        let bytes: usize = all.iter().map(|der| der.len()).sum();
        assert!(!all.is_empty() && bytes <= data.len(), "certificates out of nothing");
        for der in &all {
            drop(CertificateFacts::of_der(der));
        }
    }
}

/// What a machine asks to have signed: what is signed is named by the authority, whatever the request says.
pub(super) fn certificate_request(data: &[u8]) {
    static AUTHORITY: LazyLock<Option<Authority>> = LazyLock::new(|| {
        Authority::create_for(ClusterId::from_random([7; 16]), LogTime(1_700_000_000_000)).ok()
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(fingerprint) = pki::request_fingerprint(text) else { return };
    let Some(authority) = &*AUTHORITY else { found("no authority") };
    let signed = authority.sign(NodeId(3), text, Authority::NODE_VALIDITY, LogTime(1_700_000_000_000));
    let signed = must(signed, "a request whose key was read is signed");
    let facts = must(CertificateFacts::of_pem(&signed.certificate), "what was signed is read");
    assert!(facts.key_fingerprint == fingerprint, "another key was signed");
    let all = must(pki::certificates(&signed.certificate), "what was signed is read");
    let identity = Identity { cluster: authority.cluster(), node: NodeId(3) };
    let is_named = all.first().is_some_and(|der| pki::check_name(der, identity).is_ok());
    assert!(is_named, "what was signed is not of that node");
}

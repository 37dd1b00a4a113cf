//! The authority itself: made, kept in two files, and used to sign.

use std::fmt;
use std::iter;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::facts::{self, CertificateFacts, LAST_MS};
use super::{NodeCertificate, PkiError, request};
use crate::clock::LogTime;
use crate::files;
use crate::identity::{ClusterId, NodeId};

/// Issues the certificates of one cluster's nodes. `Debug` shows no key.
pub struct Authority {
    cluster: ClusterId,
    certificate: String,
    der: CertificateDer<'static>,
    not_after: LogTime,
    key: KeyPair,
}

/// A certificate for a key that stayed where it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificate {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its serial number, in hexadecimal digits: by this it is revoked.
    pub serial: String,
    /// Until when it is valid.
    pub not_after: LogTime,
}

impl Authority {
    /// The file that holds the authority's certificate.
    pub const CERTIFICATE_FILE: &'static str = "ca.pem";
    /// The file that holds the authority's private key.
    pub const KEY_FILE: &'static str = "ca.key";
    /// How long a node's certificate is valid unless somebody says otherwise: 90 days.
    pub const NODE_VALIDITY: Duration = DAY.saturating_mul(90);

    /// Makes the authority of a new cluster, valid for ten years from `now`.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn create(now: LogTime) -> Result<Self, PkiError> {
        Self::create_for(ClusterId::from_random(random()?), now)
    }

    /// Makes an authority for `cluster`, which may have another one already: to replace that, nodes trust both
    /// for a while. Valid for ten years from `now`.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn create_for(cluster: ClusterId, now: LogTime) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(cluster);
        params.serial_number = Some(serial()?);
        set_validity(&mut params, now, later(now, AUTHORITY_VALIDITY));
        let certificate = params.self_signed(&key)?;
        let not_after = CertificateFacts::of_der(certificate.der())?.not_after;
        Ok(Self { cluster, certificate: certificate.pem(), der: certificate.der().clone(), not_after, key })
    }

    /// Takes an authority from its certificate and key, PEM both. A text may hold other things as well: of several
    /// certificates, the one that the key belongs to is taken, and one text with both will do.
    ///
    /// # Errors
    /// When either is not what it should be, they do not belong together, or are another cluster's.
    pub fn from_pem(cluster: ClusterId, certificate: &str, key: &str) -> Result<Self, PkiError> {
        let found = Self::cluster_of(certificate)?;
        if found != cluster {
            return Err(PkiError::Unusable(format!("it is of cluster {found}, not {cluster}")));
        }
        let key = KeyPair::from_pem(sections(key, "PRIVATE KEY").next().unwrap_or(key))?;
        for certificate in sections(certificate, "CERTIFICATE") {
            let der = facts::first(certificate)?;
            if facts::parse(&der)?.public_key().raw == key.subject_public_key_info() {
                let not_after = CertificateFacts::of_der(&der)?.not_after;
                return Ok(Self { cluster, certificate: format!("{certificate}\n"), der, not_after, key });
            }
        }
        Err(PkiError::Unusable("the key is not that of the certificate".to_owned()))
    }

    /// Which cluster's authority a certificate (PEM) is.
    ///
    /// # Errors
    /// When it is no authority's, or no cluster's.
    pub fn cluster_of(certificate: &str) -> Result<ClusterId, PkiError> {
        let der = facts::first(certificate)?;
        cluster_of(&der).ok_or_else(|| PkiError::Unusable("it is not the authority of a cluster".to_owned()))
    }

    /// Reads the authority that [`Authority::save`] wrote into `folder`.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be.
    pub fn load(folder: &Path, cluster: ClusterId) -> Result<Self, PkiError> {
        let certificate = files::read_text(&folder.join(Self::CERTIFICATE_FILE))?;
        let key = Zeroizing::new(files::read_text(&folder.join(Self::KEY_FILE))?);
        Self::from_pem(cluster, &certificate, &key)
    }

    /// Writes certificate and key into `folder`; only the owner may read the key.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        files::write_secret(&folder.join(Self::KEY_FILE), self.key_pem().as_bytes())?;
        files::write(&folder.join(Self::CERTIFICATE_FILE), self.certificate.as_bytes())?;
        Ok(())
    }

    /// The cluster that this authority speaks for.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its certificate, PEM. Anyone may have it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Its key, PEM. Whoever has it can make nodes.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// SHA-256 of its certificate (DER): what a join token names it by.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        facts::sha256(&self.der)
    }

    /// Until when its certificate is valid: nothing that it issues outlives it.
    #[must_use]
    pub fn not_after(&self) -> LogTime {
        self.not_after
    }

    /// Issues a certificate for `node` with a new key, valid for [`Authority::NODE_VALIDITY`] from `now`.
    ///
    /// # Errors
    /// When no randomness is to be had, or the authority has expired.
    pub fn issue(&self, node: NodeId, now: LogTime) -> Result<NodeCertificate, PkiError> {
        let key = KeyPair::generate()?;
        let signed = self.certify(&key, &self.node(node)?, Self::NODE_VALIDITY, now)?;
        Ok(self.with_key(signed, &key))
    }

    /// Signs a request for a certificate of `node`, valid from `now` for `validity` or as long as the authority
    /// is. Only the public key is taken from the request.
    ///
    /// # Errors
    /// When it is not a request, was not signed with its own key, its key is of another kind than nodes make,
    /// or the authority has expired.
    pub fn sign(
        &self,
        node: NodeId,
        request: &str,
        validity: Duration,
        now: LogTime,
    ) -> Result<SignedCertificate, PkiError> {
        let key = request::public_key(request)?;
        self.certify(&key, &self.node(node)?, validity, now)
    }

    /// Issues the certificate of a machine that holds this authority and is no member yet, valid for a day. No
    /// node takes it for a member's.
    ///
    /// # Errors
    /// When no randomness is to be had, or the authority has expired.
    pub fn issue_candidate(&self, now: LogTime) -> Result<NodeCertificate, PkiError> {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue_short(self.cluster.candidate_name(), "conclave candidate", usage, now)
    }

    /// Issues a certificate for answering enrolment before there are members, valid for a day.
    pub(crate) fn issue_enroller(&self, now: LogTime) -> Result<NodeCertificate, PkiError> {
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        self.issue_short(self.cluster.member_name(), "conclave enrolment", usage, now)
    }

    fn issue_short(
        &self,
        name: String,
        title: &str,
        usage: ExtendedKeyUsagePurpose,
        now: LogTime,
    ) -> Result<NodeCertificate, PkiError> {
        let key = KeyPair::generate()?;
        let params = subject_params([name], title, vec![usage])?;
        let signed = self.certify(&key, &params, DAY, now)?;
        Ok(self.with_key(signed, &key))
    }

    fn node(&self, node: NodeId) -> Result<CertificateParams, PkiError> {
        let names = [self.cluster.node_name(node), self.cluster.member_name()];
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        subject_params(names, &format!("conclave node {node}"), usages)
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        subject: &CertificateParams,
        validity: Duration,
        now: LogTime,
    ) -> Result<SignedCertificate, PkiError> {
        if now >= self.not_after {
            return Err(PkiError::AuthorityExpired(self.not_after));
        }
        let mut params = subject.clone();
        params.serial_number = Some(serial()?);
        set_validity(&mut params, now, later(now, validity).min(self.not_after));
        // The issuer's fields are a function of the cluster id, so they need not be parsed out of the PEM.
        let issuer = Issuer::new(authority_params(self.cluster), &self.key);
        let certificate = params.signed_by(key, &issuer)?;
        let CertificateFacts { serial, not_after, .. } = CertificateFacts::of_der(certificate.der())?;
        Ok(SignedCertificate { certificate: certificate.pem(), serial, not_after })
    }

    fn with_key(&self, signed: SignedCertificate, key: &KeyPair) -> NodeCertificate {
        NodeCertificate {
            authority: self.certificate.clone(),
            certificate: signed.certificate,
            key: Zeroizing::new(key.serialize_pem()),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// SHA-256 of a certificate that is an authority's; `None` for any other.
pub(crate) fn fingerprint_of_authority(der: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let is_authority = facts::parse(der).is_ok_and(|certificate| certificate.is_ca());
    is_authority.then(|| facts::sha256(der))
}

/// Which cluster's authority it is.
pub(crate) fn cluster_of(der: &CertificateDer<'_>) -> Option<ClusterId> {
    let certificate = facts::parse(der).ok().filter(|certificate| certificate.is_ca())?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    name.strip_prefix(AUTHORITY_TITLE)?.parse().ok()
}

fn authority_params(cluster: ClusterId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{AUTHORITY_TITLE}{cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn subject_params(
    names: impl Into<Vec<String>>,
    title: &str,
    usages: Vec<ExtendedKeyUsagePurpose>,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, title);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, LogTime(now): LogTime, LogTime(end): LogTime) {
    let skew = u64::try_from(CLOCK_SKEW.as_millis()).unwrap_or_default();
    let date = |ms: u64| date_time_ymd(1970, 1, 1) + Duration::from_millis(ms.min(LAST_MS));
    params.not_before = date(now.saturating_sub(skew));
    params.not_after = date(end);
}

fn later(LogTime(now): LogTime, by: Duration) -> LogTime {
    LogTime(now.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

/// 126 random bits and a one in front of them, so that all are written with the same number of digits.
fn serial() -> Result<SerialNumber, PkiError> {
    let number = u128::from_be_bytes(random()?) & (u128::MAX >> 1) | (1 << 126);
    Ok(SerialNumber::from_slice(&number.to_be_bytes()))
}

fn random() -> Result<[u8; 16], PkiError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PkiError::Randomness)?;
    Ok(bytes)
}

/// The sections of this kind in a PEM text.
fn sections<'t>(text: &'t str, label: &str) -> impl Iterator<Item = &'t str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut rest = text;
    iter::from_fn(move || {
        let start = rest.get(rest.find(&begin)?..)?;
        let (section, after) = start.split_at_checked(start.find(&end)? + end.len())?;
        rest = after;
        Some(section)
    })
}

const AUTHORITY_TITLE: &str = "conclave cluster ";
/// How far the clock of another node may be behind and still accept a new certificate: so much before it was issued it
/// is good already.
pub const CLOCK_SKEW: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const AUTHORITY_VALIDITY: Duration = DAY.saturating_mul(3653);

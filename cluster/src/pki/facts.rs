//! What a certificate says, without asking whether it is to be believed.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::date_time_ymd;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::PkiError;
use crate::clock::LogTime;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its serial number, in lower-case hexadecimal digits.
    pub serial: String,
    /// From when on it is valid.
    pub not_before: LogTime,
    /// Until when.
    pub not_after: LogTime,
    /// SHA-256 of its public key (of the `SubjectPublicKeyInfo`).
    pub key_fingerprint: [u8; 32],
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_pem(pem: &str) -> Result<Self, PkiError> {
        Self::of_der(&first(pem)?)
    }

    pub(crate) fn of_der(der: &CertificateDer<'_>) -> Result<Self, PkiError> {
        let certificate = parse(der)?;
        Ok(Self {
            serial: hex_of_serial(certificate.raw_serial()),
            not_before: log_time(certificate.validity().not_before),
            not_after: log_time(certificate.validity().not_after),
            key_fingerprint: sha256(certificate.public_key().raw),
        })
    }
}

/// All certificates of a PEM text; at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(all) if all.is_empty() => Err(PkiError::Unusable("the text holds no certificate".to_owned())),
        Ok(all) => Ok(all),
        Err(error) => Err(PkiError::Unusable(error.to_string())),
    }
}

pub(super) fn first(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| PkiError::Unusable(error.to_string()))
}

pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(PkiError::Unusable(error.to_string())),
    }
}

/// The serial number of a certificate that TLS has accepted; `None` when it cannot be read.
pub(crate) fn serial_of(der: &CertificateDer<'_>) -> Option<String> {
    webpki::EndEntityCert::try_from(der).ok().map(|certificate| hex_of_serial(certificate.serial()))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// One spelling for each number: DER puts a zero in front of some.
fn hex_of_serial(bytes: &[u8]) -> String {
    let significant = bytes.iter().skip_while(|byte| **byte == 0);
    significant.fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn log_time(time: ASN1Time) -> LogTime {
    LogTime(u64::try_from(time.timestamp()).unwrap_or_default().saturating_mul(1000))
}

/// A time as people read it: `2026-11-24T09:00:00Z`.
pub(crate) fn date(LogTime(ms): LogTime) -> String {
    // The library's calendar ends with the year 9999.
    let time = date_time_ymd(1970, 1, 1) + Duration::from_millis(ms.min(LAST_MS));
    let (hour, minute, second) = time.to_hms();
    let (year, month, day) = time.to_calendar_date();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

/// 9999-12-31T23:59:59Z.
pub(super) const LAST_MS: u64 = 253_402_300_799_000;

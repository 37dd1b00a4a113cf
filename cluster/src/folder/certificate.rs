//! A node's certificate at rest.
//!
//! ```text
//! node.key, sealed:  magic 8, version u8, sealed message (see `seal::data_key`): authority, certificate, key
//! node.key, plain:   the key as PEM; then node.pem and ca.pem belong to it
//! ```
//!
//! # Why
//! A key and the certificate of another are of no use. Two files cannot be replaced at the same moment, so the
//! sealed file holds all three texts; `node.pem` and `ca.pem` beside it are copies for people and their tools,
//! written again when they differ. The plain form is what setting up a node writes, and what releases up to 0.1
//! wrote: the first start seals it, or the first one after the cluster has risen above the level of those releases.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::FolderError;
use crate::files::{self, FileError};
use crate::pki::NodeCertificate;
use crate::seal::{DataKey, DataKeyError, Kind, Vault};

#[derive(Serialize, Deserialize)]
struct Record<'t> {
    authority: &'t str,
    certificate: &'t str,
    key: &'t str,
}

/// Whether the folder's key is sealed; a missing one is not.
pub(super) fn is_sealed(folder: &Path) -> Result<bool, FileError> {
    let path = folder.join(NodeCertificate::KEY_FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes).starts_with(MAGIC)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError { path, source }),
    }
}

/// Reads it, sealed or plain.
pub(super) fn read(folder: &Path, vault: &Vault) -> Result<NodeCertificate, FolderError> {
    if !is_sealed(folder)? {
        return Ok(NodeCertificate::load(folder)?);
    }
    let path = folder.join(NodeCertificate::KEY_FILE);
    let bytes = fs::read(&path).map_err(files::at(&path))?;
    let damaged = || FolderError::DamagedKey(path.clone());
    let Some((&VERSION, sealed)) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first) else {
        return Err(damaged());
    };
    let key = vault.open(&vault.path(DATA_KEY), Kind::Certificate)?;
    let plain = Zeroizing::new(key.open(PLACE, sealed).map_err(|_| damaged())?);
    let record: Record<'_> = postcard::from_bytes(&plain).map_err(|_| damaged())?;
    let certificate = NodeCertificate {
        authority: record.authority.to_owned(),
        certificate: record.certificate.to_owned(),
        key: Zeroizing::new(record.key.to_owned()),
    };
    let shown = NodeCertificate::load_public(folder);
    if !shown.is_ok_and(|shown| shown == (certificate.authority.clone(), certificate.certificate.clone())) {
        certificate.save_public(folder)?;
    }
    Ok(certificate)
}

/// Puts it into the place of what is there, whole or not at all. The copies are written by [`read`] if need be.
pub(super) fn write(folder: &Path, vault: &Vault, certificate: &NodeCertificate) -> Result<(), FolderError> {
    let NodeCertificate { authority, certificate, key } = certificate;
    let record = Record { authority, certificate, key };
    let unwritable = |reason: String| {
        FolderError::File(FileError { path: folder.to_owned(), source: std::io::Error::other(reason) })
    };
    let plain = postcard::to_stdvec(&record).map_err(|error| unwritable(error.to_string()))?;
    let plain = Zeroizing::new(plain);
    let sealed = data_key(folder, vault)?.seal(PLACE, &plain);
    let sealed = sealed.map_err(|error| unwritable(error.to_string()))?;
    let bytes = [MAGIC, &[VERSION][..], &sealed].concat();
    files::write_secret(&folder.join(NodeCertificate::KEY_FILE), &bytes)?;
    Ok(())
}

/// A data key that is lost seals nothing while `node.key` is plain, and then a new one will do.
fn data_key(folder: &Path, vault: &Vault) -> Result<DataKey, FolderError> {
    let file = vault.path(DATA_KEY);
    match vault.open(&file, Kind::Certificate) {
        Err(DataKeyError::Missing(_) | DataKeyError::Damaged(_)) if !is_sealed(folder)? => {
            Ok(vault.create(&file, Kind::Certificate)?)
        }
        other => Ok(other?),
    }
}

const DATA_KEY: &str = "node.dek";
const PLACE: &[u8] = b"node certificate";
const MAGIC: &[u8] = b"conclnod";
const VERSION: u8 = 1;

//! The key-encryption keys of this node, which may change while it runs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use conclave_cluster::KeyWrapper;
use conclave_cluster::seal::{DataKeyBytes, Vault, WrapError};
use tokio::sync::{Mutex, MutexGuard};

use crate::auth::kek::Kek;
use crate::auth::key_file::{KekError, KeySource};
use crate::auth::seal::{SealError, Sealer, key_of};

/// The keys at hand, and where they are read from. Wraps the data keys of the disk.
#[derive(Debug)]
pub struct KeyRing {
    source: KeySource,
    sealer: ArcSwap<Sealer>,
    reading: Mutex<()>,
}

impl KeyRing {
    /// Reads the keys of a node with that data folder. A file that is missing is made for the first start of a
    /// new cluster, and only for that.
    ///
    /// # Errors
    /// When there are no keys, or they cannot be used.
    pub fn open(source: KeySource, data: &Path, founds: bool) -> Result<Self, KekError> {
        if let Some(path) = source.missing()? {
            let failed = |source: io::Error| KekError::Io { path: data.to_owned(), source };
            let reason = if Vault::holds_anything(data).map_err(failed)? {
                Some("the data folder was sealed with it: put it back; a new one would open nothing")
            } else if founds {
                None
            } else {
                Some("a node that joins needs the cluster's own: copy it from another node")
            };
            if let Some(reason) = reason {
                return Err(KekError::Missing { path: path.to_owned(), reason });
            }
            Kek::read_or_create_file(path)?;
        }
        let sealer = ArcSwap::from_pointee(source.read()?);
        Ok(Self { source, sealer, reading: Mutex::new(()) })
    }

    /// Reads the keys for work on a backup or a folder that does not run. None are made: the right ones exist.
    ///
    /// # Errors
    /// As [`KeyRing::open`].
    pub fn given(source: KeySource) -> Result<Self, KekError> {
        if let Some(path) = source.missing()? {
            let reason = "what was sealed opens with the cluster's own only: copy it from a node, or name it with \
                          the setting key_file";
            return Err(KekError::Missing { path: path.to_owned(), reason });
        }
        let sealer = ArcSwap::from_pointee(source.read()?);
        Ok(Self { source, sealer, reading: Mutex::new(()) })
    }

    /// The keys as they are now.
    #[must_use]
    pub fn sealer(&self) -> Arc<Sealer> {
        self.sealer.load_full()
    }

    /// The text of the key file, for a node that is let in; none where the keys come from a setting, or the file
    /// cannot be read any more.
    #[must_use]
    pub(super) fn file_text(&self) -> Option<String> {
        match &self.source {
            KeySource::File(path) => Kek::read_file_text(path).ok().map(|text| text.to_string()),
            KeySource::Setting(_) => None,
        }
    }

    /// To be held from reading the keys again to using them, or an older reading could replace a newer one. `None`
    /// while somebody else does.
    pub fn try_begin(&self) -> Option<MutexGuard<'_, ()>> {
        self.reading.try_lock().ok()
    }

    /// Reads the keys again, and does not use them yet.
    ///
    /// # Errors
    /// As [`KeySource::read`].
    pub fn read_again(&self) -> Result<Sealer, KekError> {
        self.source.read()
    }

    /// Uses these from now on.
    pub fn replace(&self, sealer: Sealer) {
        self.sealer.store(Arc::new(sealer));
    }
}

impl KeyWrapper for KeyRing {
    fn wrap(&self, place: &str, key: &DataKeyBytes) -> Result<Vec<u8>, WrapError> {
        self.sealer.load().wrap(place, key).map_err(wrap_error)
    }

    fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<DataKeyBytes, WrapError> {
        let key = self.sealer.load().unwrap(place, wrapped).map_err(wrap_error)?;
        Ok(DataKeyBytes::new(*key.expose()))
    }

    fn key_of(&self, wrapped: &[u8]) -> Option<String> {
        key_of(wrapped).map(|id| id.to_string())
    }

    fn is_outdated(&self, wrapped: &[u8]) -> bool {
        self.sealer.load().is_outdated(wrapped)
    }
}

fn wrap_error(error: SealError) -> WrapError {
    match error {
        SealError::UnknownKey(id) => WrapError::UnknownKey { id: id.to_string() },
        SealError::Damaged => WrapError::Damaged,
        SealError::NoRandomness => WrapError::NoRandomness,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_for_a_new_cluster_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let path = folder.path().join("kek");
        let open = |founds| KeyRing::open(KeySource::File(path.clone()), &data, founds);
        let error = open(false).unwrap_err().to_string();
        assert!(error.contains("copy it from another node") && !path.exists(), "{error}");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("log.dek"), "").unwrap();
        for founds in [true, false] {
            let error = open(founds).unwrap_err().to_string();
            assert!(error.contains("put it back") && !path.exists(), "{error}");
        }
        std::fs::remove_file(data.join("log.dek")).unwrap();
        open(true).unwrap();
        open(false).unwrap();
    }

    #[test]
    fn data_keys_of_another_ring_are_not_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let ring = |name: &str| {
            KeyRing::open(KeySource::File(folder.path().join(name)), &folder.path().join("data"), true)
                .unwrap()
        };
        let (one, other) = (ring("one"), ring("other"));
        let key = DataKeyBytes::new([7; 32]);
        let wrapped = one.wrap("here", &key).unwrap();
        assert_eq!(one.unwrap("here", &wrapped).unwrap(), key);
        assert_eq!(one.unwrap("there", &wrapped), Err(WrapError::Damaged));
        let id = one.key_of(&wrapped).unwrap();
        assert_eq!(other.unwrap("here", &wrapped), Err(WrapError::UnknownKey { id }));
        assert!(other.is_outdated(&wrapped) && !one.is_outdated(&wrapped));
    }
}

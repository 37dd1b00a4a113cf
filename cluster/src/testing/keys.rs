//! Key-encryption keys for tests: bytes, the first of which wraps. Keeps nothing secret, and tells a key that is
//! not at hand from damage as a real one must.

use std::sync::{Arc, Mutex};

use conclave_cluster::seal::{DataKeyBytes, KeyWrapper, WrapError};

/// Clones are the same keys.
#[derive(Clone, Debug)]
pub(crate) struct TestKeys(Arc<Mutex<Vec<u8>>>);

impl TestKeys {
    pub(crate) fn new(keys: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(keys.to_vec())))
    }

    /// As a running node that reads its keys again.
    pub(crate) fn replace(&self, keys: &[u8]) {
        *self.0.lock().unwrap() = keys.to_vec();
    }
}

impl KeyWrapper for TestKeys {
    fn wrap(&self, place: &str, key: &DataKeyBytes) -> Result<Vec<u8>, WrapError> {
        let first = *self.0.lock().unwrap().first().unwrap();
        let mut wrapped = vec![first];
        wrapped.extend(key.iter().map(|byte| byte ^ first));
        wrapped.extend_from_slice(&sum(place, &key[..]));
        Ok(wrapped)
    }

    fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<DataKeyBytes, WrapError> {
        let (&first, rest) = wrapped.split_first().ok_or(WrapError::Damaged)?;
        if !self.0.lock().unwrap().contains(&first) {
            return Err(WrapError::UnknownKey { id: first.to_string() });
        }
        let (body, claimed) = rest.split_at_checked(32).ok_or(WrapError::Damaged)?;
        let mut key = DataKeyBytes::default();
        key.iter_mut().zip(body).for_each(|(to, from)| *to = from ^ first);
        if claimed == sum(place, &key[..]) { Ok(key) } else { Err(WrapError::Damaged) }
    }

    fn key_of(&self, wrapped: &[u8]) -> Option<String> {
        wrapped.first().map(ToString::to_string)
    }

    fn is_outdated(&self, wrapped: &[u8]) -> bool {
        wrapped.first() != self.0.lock().unwrap().first()
    }
}

fn sum(place: &str, key: &[u8]) -> [u8; 4] {
    let bytes = place.bytes().chain(key.iter().copied());
    bytes.fold(0_u32, |sum, byte| sum.rotate_left(5).wrapping_add(byte.into())).to_le_bytes()
}

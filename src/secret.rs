//! A value that must not be seen: wiped when dropped, never printed.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Holds a secret. It is wiped from memory when dropped, and `Debug` shows no part of it.
///
/// There is no `Display`, `Serialize` or `PartialEq` on purpose: the only way to the value is
/// [`Secret::expose`], which is easy to search for. Compare secrets with
/// [`crate::auth::token::SecretHash`], in constant time.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in. Copies that the caller made before are not wiped.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Shows the value. Never pass it to a log, an error or a `Debug` field.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> ZeroizeOnDrop for Secret<T> {}

impl<'de, T: Zeroize + serde::Deserialize<'de>> serde::Deserialize<'de> for Secret<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A decoder's message may quote the value that it could not take.
        T::deserialize(deserializer)
            .map(Self::new)
            .map_err(|_| serde::de::Error::custom("a secret of the wrong type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_value() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret(..) Some(\n    Secret(..),\n)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn an_error_of_decoding_does_not_quote_the_value() {
        let error = serde_json::from_str::<Secret<String>>("424242").err().map(|e| e.to_string());
        assert!(error.as_deref().is_some_and(|e| !e.contains("424242")), "{error:?}");
    }

    #[test]
    fn the_value_is_wiped_when_dropped() {
        use std::sync::atomic::{AtomicBool, Ordering};
        static WIPED: AtomicBool = AtomicBool::new(false);
        struct Probe;
        impl Zeroize for Probe {
            fn zeroize(&mut self) {
                WIPED.store(true, Ordering::SeqCst);
            }
        }
        drop(Secret::new(Probe));
        assert!(WIPED.load(Ordering::SeqCst));
    }
}

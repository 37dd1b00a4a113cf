//! Everything that chance gives a request: ids, API keys, refresh tokens, session names.
//!
//! # Why
//! A client that lost our answer sends the request again, with the same idempotency key and maybe to another
//! node. The first answer may have held a secret, and secrets are stored as hashes only, so nobody can
//! repeat it from the rows. Hence a request with such a key draws from a stream derived from the cluster's
//! mint key and the request's name: every node draws the same ids and the same secrets, and the log
//! decides which of the equal commands was first. A request without a key draws from the system.
//!
//! The stream does not know the request's body. That the same key with another body is another request is
//! decided in `apply`, by fingerprint, before anything drawn here is given away. Once a cluster has forgotten
//! a key, its second use draws the same again: so `apply` refuses an id that exists, and never revives one.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use aws_lc_rs::{hkdf, hmac};
use uuid::Uuid;

use super::client_key::{self, ClientKey, RECOVERY_PREFIX, SUBJECT_KEY_PREFIX};
use super::token::{self, API_KEY_PREFIX, REFRESH_TOKEN_PREFIX};
use crate::secret::Secret;

/// The cluster's key for repeatable draws. The same on every node, and as secret as all it mints.
#[derive(Clone, Debug)]
pub struct MintKey(Secret<[u8; 32]>);

impl MintKey {
    /// Takes a key of 32 random bytes.
    #[must_use]
    pub fn new(key: Secret<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Draws a new one, for a new cluster.
    ///
    /// # Errors
    /// Without randomness.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| NoRandomness)?;
        Ok(Self(Secret::new(key)))
    }

    /// What stands for a text where the text itself is not shown: the same for the same text of an account on any
    /// node, and of no use for telling the text without this key.
    #[must_use]
    pub fn fingerprint(&self, account: &str, text: &str) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.expose()));
        context.update(b"conclave fingerprint 1");
        for part in [account, text] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        half
    }

    /// The 32 bytes, to be sealed and stored.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// Names one request of one caller. Two requests that may differ in anything here draw differently.
#[derive(Clone, Copy, Debug)]
pub struct RequestName<'r> {
    /// The account that it is about.
    pub account: &'r str,
    /// Who asks: an authenticated principal, or what stands for a stranger. Never empty for a principal.
    pub principal: &'r str,
    /// The client's `Idempotency-Key`.
    pub key: &'r str,
    /// Method and route pattern, for instance `POST /v1/accounts/{account}/users`.
    pub route: &'r str,
}

/// The source of randomness failed. Answer 503 and change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no randomness")]
pub struct NoRandomness;

/// The form of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyForm {
    /// `cak_`, 190 random bits, and a checksum: found by secret scanners, typing errors are told at once.
    Prefixed,
    /// A version 4 UUID (122 random bits), where a client expects one.
    Uuid4,
}

/// Draws for one request. Not for two: the draws of a repeatable mint follow from their order.
pub struct Mint {
    source: Source,
    draws: u32,
}

enum Source {
    System,
    Repeatable(Prk),
}

impl Mint {
    /// Draws from the system.
    #[must_use]
    pub fn random() -> Self {
        Self { source: Source::System, draws: 0 }
    }

    /// Draws the same again for the same key and name, on any node.
    #[must_use]
    pub fn repeatable(key: &MintKey, name: &RequestName<'_>) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.0.expose()));
        context.update(b"conclave mint 1");
        for part in [name.account, name.principal, name.key, name.route] {
            // The lengths keep ("a", "bc") and ("ab", "c") apart.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let prk = Prk::new_less_safe(HKDF_SHA256, context.sign().as_ref());
        Self { source: Source::Repeatable(prk), draws: 0 }
    }

    /// A version 4 UUID. Not a secret.
    ///
    /// # Errors
    /// Without randomness.
    pub fn uuid(&mut self) -> Result<Uuid, NoRandomness> {
        let bytes = self.draw("uuid")?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// An account id: 12 digits, the first not zero, so that no client loses it to a number. Whether it is
    /// free is decided in `apply`; draw again when it is not.
    ///
    /// # Errors
    /// Without randomness.
    pub fn account_id(&mut self) -> Result<String, NoRandomness> {
        const COUNT: u64 = 900_000_000_000;
        loop {
            let number = u64::from_be_bytes(self.draw("account id")?);
            // The last, incomplete block of numbers would favour low ids.
            if number < u64::MAX / COUNT * COUNT {
                return Ok((100_000_000_000 + number % COUNT).to_string());
            }
        }
    }

    /// An API key. Show it once, store its [`super::token::SecretHash`].
    ///
    /// # Errors
    /// Without randomness.
    pub fn api_key(&mut self, form: ApiKeyForm) -> Result<Secret<String>, NoRandomness> {
        match form {
            ApiKeyForm::Prefixed => self.prefixed("api key", API_KEY_PREFIX),
            ApiKeyForm::Uuid4 => {
                let bytes = self.draw("api key uuid")?;
                Ok(Secret::new(uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string()))
            }
        }
    }

    /// A refresh token: `crt_`, 190 random bits and a checksum. Store its [`super::token::SecretHash`].
    ///
    /// # Errors
    /// Without randomness.
    pub fn refresh_token(&mut self) -> Result<Secret<String>, NoRandomness> {
        self.prefixed("refresh token", REFRESH_TOKEN_PREFIX)
    }

    /// A key for a client that is to own an account by it.
    ///
    /// # Errors
    /// Without randomness.
    pub fn client_key(&mut self) -> Result<ClientKey, NoRandomness> {
        let bytes = self.draw("client key")?;
        Ok(ClientKey::new(uuid::Builder::from_random_bytes(bytes).into_uuid()))
    }

    /// A key of a subject: `rak_` and 256 random bits. Store its [`super::token::SecretHash`].
    ///
    /// # Errors
    /// Without randomness.
    pub fn subject_key(&mut self) -> Result<Secret<String>, NoRandomness> {
        let body = self.body("subject key", client_key::BODY_CHARS)?;
        Ok(Secret::new([SUBJECT_KEY_PREFIX, body.expose()].concat()))
    }

    /// What replaces a lost client key: `rrk_` and 256 random bits. Store its [`super::token::SecretHash`].
    ///
    /// # Errors
    /// Without randomness.
    pub fn recovery_secret(&mut self) -> Result<Secret<String>, NoRandomness> {
        let body = self.body("recovery secret", client_key::BODY_CHARS)?;
        Ok(Secret::new([RECOVERY_PREFIX, body.expose()].concat()))
    }

    /// The id of a session. Not a secret: it stands in tokens and lists.
    ///
    /// # Errors
    /// Without randomness.
    pub fn session_id(&mut self) -> Result<Uuid, NoRandomness> {
        let bytes = self.draw("session")?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The id of a token (`jti`). Not a secret.
    ///
    /// # Errors
    /// Without randomness.
    pub fn jti(&mut self) -> Result<Uuid, NoRandomness> {
        let bytes = self.draw("jti")?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    fn prefixed(
        &mut self,
        label: &'static str,
        prefix: &'static str,
    ) -> Result<Secret<String>, NoRandomness> {
        Ok(token::with_checksum(prefix, &self.body(label, token::BODY_CHARS)?))
    }

    fn body(&mut self, label: &'static str, length: usize) -> Result<Secret<String>, NoRandomness> {
        let mut body = Secret::new(String::with_capacity(length));
        while body.expose().len() < length {
            let bytes: Secret<[u8; 64]> = Secret::new(self.draw(label)?);
            body = token::extend_base62(&body, length, bytes.expose());
        }
        Ok(body)
    }

    fn draw<const N: usize>(&mut self, label: &'static str) -> Result<[u8; N], NoRandomness> {
        let mut out = [0; N];
        match &self.source {
            Source::System => aws_lc_rs::rand::fill(&mut out).map_err(|_| NoRandomness)?,
            Source::Repeatable(prk) => {
                let counter = self.draws.to_be_bytes();
                let info = [label.as_bytes(), &[0], &counter];
                prk.expand(&info, Length(N)).and_then(|okm| okm.fill(&mut out)).map_err(|_| NoRandomness)?;
            }
        }
        self.draws += 1;
        Ok(out)
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint").field("draws", &self.draws).finish_non_exhaustive()
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::auth::token::{SecretHash, parse_api_key, parse_refresh_token};

    const NAME: RequestName<'_> =
        RequestName { account: "123456789012", principal: "root", key: "k-1", route: "POST /v1/users" };

    fn key(byte: u8) -> MintKey {
        MintKey::new(Secret::new([byte; 32]))
    }

    fn everything(mut mint: Mint) -> [String; 11] {
        [
            mint.uuid().unwrap().to_string(),
            mint.uuid().unwrap().to_string(),
            mint.account_id().unwrap(),
            mint.api_key(ApiKeyForm::Prefixed).unwrap().expose().clone(),
            mint.api_key(ApiKeyForm::Uuid4).unwrap().expose().clone(),
            mint.refresh_token().unwrap().expose().clone(),
            mint.session_id().unwrap().to_string(),
            mint.jti().unwrap().to_string(),
            mint.client_key().unwrap().text().expose().clone(),
            mint.subject_key().unwrap().expose().clone(),
            mint.recovery_secret().unwrap().expose().clone(),
        ]
    }

    #[test]
    fn a_retry_mints_the_same_and_anything_else_does_not() {
        let first = everything(Mint::repeatable(&key(1), &NAME));
        assert_eq!(first, everything(Mint::repeatable(&key(1), &NAME)));
        let others = [
            everything(Mint::repeatable(&key(2), &NAME)),
            everything(Mint::repeatable(&key(1), &RequestName { account: "123456789013", ..NAME })),
            everything(Mint::repeatable(&key(1), &RequestName { principal: "r", key: "ootk-1", ..NAME })),
            everything(Mint::repeatable(&key(1), &RequestName { key: "k-2", ..NAME })),
            everything(Mint::repeatable(&key(1), &RequestName { route: "POST /v1/roles", ..NAME })),
            everything(Mint::random()),
            everything(Mint::random()),
        ];
        let mut seen: BTreeSet<String> = first.into_iter().collect();
        for other in others {
            for value in other {
                assert!(seen.insert(value), "drawn twice");
            }
        }
    }

    /// What is minted for a retry must not change with a new version of the program, or the retry of a
    /// request that the old version answered gets another secret than the one that counts.
    #[test]
    fn the_stream_is_the_same_in_every_version() {
        let minted = everything(Mint::repeatable(&key(1), &NAME));
        assert_eq!(minted.each_ref().map(String::as_str), GOLDEN);
    }

    const GOLDEN: [&str; 11] = [
        "3e4f4d7b-b904-4f1d-ac4e-6fdfd7f3baea",
        "656348db-c763-4b85-aba8-649f7889811b",
        "904406696527",
        "cak_osd2YerWiXgQNVCrrSKq9aRTrWpG9ALE0qDT5y",
        "c0f76d54-0f7a-4c95-ac38-beea907fbd4a",
        "crt_z5SGyryxu3YmfgaoJ56p8CewoIceHxdh14U2lU",
        "d0694add-a5f5-4378-8aad-bf7c01d7f6d8",
        "9ff7f92c-8657-41e6-9c6b-3b8ec4db8581",
        "71d3ae0b-0cef-4283-8e11-c16926e7315d",
        "rak_ncDl76rYd0umnUhGtbdMoH7rBOT600GHsSHGC2ZTAgL",
        "rrk_1hpebPwRnV9oZoHPMUjGbbzejr0J7ymEuSexsI1h7kJ",
    ];

    #[test]
    fn a_key_that_was_stored_mints_as_before() {
        let stored = MintKey::new(Secret::new(*key(7).expose()));
        assert_eq!(
            everything(Mint::repeatable(&stored, &NAME)),
            everything(Mint::repeatable(&key(7), &NAME))
        );
    }

    #[test]
    fn a_fingerprint_is_of_one_text_in_one_account() {
        let of = |byte, account, text| key(byte).fingerprint(account, text);
        let first = of(1, "123456789012", "john");
        assert_eq!(first, of(1, "123456789012", "john"));
        let others = [
            of(2, "123456789012", "john"),
            of(1, "123456789013", "john"),
            of(1, "123456789012", "joh"),
            of(1, "12345678901", "2john"),
        ];
        assert!(others.iter().all(|other| *other != first));
    }

    #[test]
    fn what_is_minted_has_its_form() {
        let mut mint = Mint::random();
        for _ in 0..1000 {
            let id = mint.uuid().unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
            let account = mint.account_id().unwrap();
            assert!(account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()), "{account}");
            assert_ne!(account.as_bytes()[0], b'0');
            let key = mint.api_key(ApiKeyForm::Prefixed).unwrap();
            assert_eq!(parse_api_key(key.expose()), Some(ApiKeyForm::Prefixed));
            let key = mint.api_key(ApiKeyForm::Uuid4).unwrap();
            assert_eq!(parse_api_key(key.expose()), Some(ApiKeyForm::Uuid4));
            let refresh = mint.refresh_token().unwrap();
            assert!(parse_refresh_token(refresh.expose()));
            assert!(!SecretHash::of(refresh.expose()).is(&SecretHash::of(key.expose())));
        }
    }

    /// Each place of a token takes each of the 62 characters about equally often. With 20,000 draws a fair
    /// place gives 323 of each, give or take 18; the bound is six of those, on a fixed stream.
    #[test]
    fn every_character_is_as_likely_in_every_place() {
        let mut mint = Mint::repeatable(&key(9), &NAME);
        let mut counts = vec![[0u32; 128]; token::BODY_CHARS];
        for _ in 0..20_000 {
            let key = mint.api_key(ApiKeyForm::Prefixed).unwrap();
            let body = &key.expose().as_bytes()[API_KEY_PREFIX.len()..][..token::BODY_CHARS];
            for (place, byte) in body.iter().enumerate() {
                counts[place][usize::from(*byte)] += 1;
            }
        }
        for (place, count) in counts.iter().enumerate() {
            let used: Vec<u32> = count.iter().copied().filter(|n| *n > 0).collect();
            assert_eq!(used.len(), 62, "place {place}");
            assert!(used.iter().all(|n| (213..=433).contains(n)), "place {place}: {used:?}");
        }
    }
}

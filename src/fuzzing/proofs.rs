//! What somebody shows to be let in, and what is kept of it.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::LazyLock;

use conclave_cluster::LogTime;
use serde_json::Value;

use super::{found, must, utf8};
use crate::auth::claims::{Audience, Claims};
use crate::auth::client_key::{ClientKey, is_recovery, is_subject_key};
use crate::auth::join_token::JoinToken;
use crate::auth::keys::{KeyAlgorithm, KeySet};
use crate::auth::mint::ApiKeyForm;
use crate::auth::password::Password;
use crate::auth::phc::StoredHash;
use crate::auth::signer::{ACCESS_TOKEN_TYP, SigningKey};
use crate::auth::token::{SecretHash, parse_api_key, parse_refresh_token};
use crate::auth::verifier::{Expected, TokenError, Verifier, unverified_account};
use crate::auth::{guesses, key_file, refresh};
use crate::secret::Secret;

const NOW_MS: u64 = 1_795_617_180_000;
const ACCOUNT: &str = "123456789012";
const ISSUER: &str = "conclave";

struct Tokens {
    verifier: Verifier,
    keys: KeySet,
    signers: [SigningKey; 2],
    /// One good token of each key.
    good: [String; 2],
}

/// Keys that sign nothing elsewhere.
static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let pair = must(SigningKey::generate_ed25519(), "a key is made");
    let signers = [
        must(SigningKey::new("ed", KeyAlgorithm::EdDsa, pair), "a key"),
        must(SigningKey::new("hs", KeyAlgorithm::Hs256, Secret::new(vec![7; 32])), "a secret"),
    ];
    let good =
        signers.each_ref().map(|key| must(key.sign(&good_claims()), "a token is signed").expose().clone());
    let keys = KeySet::new(ACCOUNT, signers.iter().map(|key| key.verifying().clone()));
    let Some(most) = NonZeroUsize::new(16) else { found("16 is zero") };
    Tokens { verifier: Verifier::new(most), keys, signers, good }
});

impl Tokens {
    fn verify(&self, token: &str) -> Result<std::sync::Arc<Claims>, TokenError> {
        let expected =
            Expected { keys: &self.keys, issuer: ISSUER, audience: Some("api"), now: LogTime(NOW_MS) };
        self.verifier.verify(token, &expected)
    }
}

fn good_claims() -> Claims {
    let text = || "x".to_owned();
    Claims {
        iss: ISSUER.to_owned(),
        aud: Audience::One("api".to_owned()),
        sub: text(),
        exp: NOW_MS / 1000 + 60,
        nbf: NOW_MS / 1000,
        iat: NOW_MS / 1000,
        jti: text(),
        sid: text(),
        acct: ACCOUNT.to_owned(),
        kind: text(),
        roles: None,
        username: None,
        email: None,
        scopes: None,
        token_type: None,
        client_id: None,
    }
}

/// A bearer token: as it is, and a good one with the bytes as changes to it (place, sign). None but the good ones
/// is taken, and those only to the letter.
pub(super) fn access_token(data: &[u8]) {
    let tokens = &*TOKENS;
    if let Some(text) = utf8(data) {
        assert!(tokens.verify(text).is_err(), "a forged token is taken: {text}");
        drop(unverified_account(text));
        drop(refresh::undress(text));
    }
    for good in &tokens.good {
        assert!(tokens.verify(good).is_ok(), "a good token is refused");
        let mut bytes = good.clone().into_bytes();
        for change in data.chunks_exact(3).take(8) {
            let &[high, low, to] = change else { continue };
            let at = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
            match bytes.get_mut(at) {
                Some(byte) => *byte = to,
                None => bytes.push(to),
            }
        }
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let is_taken = tokens.verify(&changed).is_ok();
        assert!(is_taken == (changed == *good), "is another spelling of a token taken? {is_taken} {changed}");
    }
}

/// What a good signature is over: taken only where it says all that it must, of the right types, for us and now.
pub(super) fn claims(data: &[u8]) {
    let tokens = &*TOKENS;
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    // As our own have it, but for what the bytes say.
    let mut merged = serde_json::to_value(good_claims()).unwrap_or_default();
    if let (Some(all), Some(these)) = (merged.as_object_mut(), value.as_object()) {
        all.extend(these.clone());
    }
    for value in [value, merged] {
        for signer in &tokens.signers {
            let token = must(signer.sign_as(ACCESS_TOKEN_TYP, &value), "anything is signed");
            let Ok(claims) = tokens.verify(token.expose()) else { continue };
            let now = NOW_MS / 1000;
            let number = |name: &str| value.get(name).and_then(Value::as_u64);
            let text = |name: &str| value.get(name).and_then(Value::as_str);
            let is_timely = number("exp").is_some_and(|exp| exp > now)
                && number("nbf").is_some_and(|nbf| nbf <= now + 5)
                && number("iat").is_some_and(|iat| iat <= now + 5);
            let is_for_us = text("iss") == Some(ISSUER) && text("acct") == Some(ACCOUNT);
            assert!(is_timely && is_for_us && text("aud") == Some("api"), "taken: {claims:?}");
            assert!(["sub", "jti", "sid", "kind"].map(text).iter().all(Option::is_some), "taken: {claims:?}");
        }
    }
}

/// Opaque secrets: a text has one kind at most, and its hash is compared as a whole.
pub(super) fn secret(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let prefixed = parse_api_key(text) == Some(ApiKeyForm::Prefixed);
    let kinds = [prefixed, parse_refresh_token(text), is_subject_key(text), is_recovery(text)];
    assert!(kinds.iter().filter(|is| **is).count() <= 1, "a secret of two kinds: {text}");
    if let Some(key) = ClientKey::parse(text) {
        let shown = key.text();
        assert!(ClientKey::parse(shown.expose()) == Some(key), "a client key is another one now");
        assert!(shown.expose().eq_ignore_ascii_case(text), "a client key is spelled otherwise: {text}");
    }
    let hash = SecretHash::of(text);
    assert!(hash.is(&SecretHash::of(text)) && !hash.is(&SecretHash::of(&format!("{text} "))), "hashes");
}

/// A join token, as an operator pastes it.
pub(super) fn join_token(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    let Ok(token) = JoinToken::parse(text) else { return };
    let again = must(JoinToken::parse(token.text().expose()), "a token is read as it was written");
    assert!(again.text().expose() == token.text().expose(), "a token is another one now");
    let secret = token.secret();
    assert!(*again.secret().expose() == *secret.expose(), "a token has another secret now");
}

/// A password, how it is judged, and the stored hash of one.
pub(super) fn password(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    if let Ok(hash) = StoredHash::parse(text) {
        let written = must(hash.to_phc(), "a hash is written again");
        let again = must(StoredHash::parse(&written), "and read again");
        assert!(again.to_phc().is_ok_and(|again| again == written), "a hash is another one now");
    }
    let Ok(password) = Password::parse(text.to_owned()) else { return };
    assert!(password.expose() == text, "a password is another one now");
    let strength = guesses::strength(&password, &["alice", "alice@example.com"]);
    assert!(strength.score <= 4 && strength.guesses_log10.is_finite(), "no estimate: {strength:?}");
}

/// The keys that all others are wrapped with, as a file and as a setting.
pub(super) fn key_file(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    if let Ok(sealer) = key_file::parse(Path::new("conclave.kek"), text) {
        let wrapped = must(sealer.wrap("here", &[7; 32]), "a key is wrapped");
        assert!(sealer.unwrap("here", &wrapped).is_ok_and(|key| *key.expose() == [7; 32]), "it unwraps");
        assert!(sealer.unwrap("there", &wrapped).is_err(), "it unwraps elsewhere");
        assert!(sealer.unwrap("here", data).is_err(), "a forged key unwraps");
    }
    drop(key_file::parse_setting(&Secret::new(text.to_owned())));
}

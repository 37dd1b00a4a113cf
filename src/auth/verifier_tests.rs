use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::keys::KeyAlgorithm;
use super::super::signer::SigningKey;
use super::*;
use crate::secret::Secret;

pub(super) const NOW: LogTime = LogTime(1_800_000_000_000);
pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const ISSUER: &str = "https://iam.test/accounts/123456789012";
pub(super) const AUDIENCE: &str = "conclave";

pub(super) fn ed25519(kid: &str) -> SigningKey {
    SigningKey::new(kid, KeyAlgorithm::EdDsa, SigningKey::generate_ed25519().unwrap()).unwrap()
}

pub(super) fn hs256(kid: &str, byte: u8) -> SigningKey {
    SigningKey::new(kid, KeyAlgorithm::Hs256, Secret::new(vec![byte; 32])).unwrap()
}

pub(super) fn claims() -> Claims {
    let now = NOW.0 / 1000;
    Claims {
        iss: ISSUER.to_owned(),
        aud: crate::auth::claims::Audience::One(AUDIENCE.to_owned()),
        sub: "0f0e0d0c-0b0a-4908-8706-050403020100".to_owned(),
        exp: now + 900,
        nbf: now,
        iat: now,
        jti: "1".to_owned(),
        sid: "2".to_owned(),
        acct: ACCOUNT.to_owned(),
        kind: "user".to_owned(),
        roles: Some(vec!["admin".to_owned()]),
        username: Some("ann".to_owned()),
        email: None,
        scopes: None,
        token_type: None,
        client_id: None,
    }
}

pub(super) fn verifier() -> Verifier {
    Verifier::new(NonZeroUsize::new(64).unwrap())
}

pub(super) fn expected(keys: &KeySet) -> Expected<'_> {
    Expected { keys, issuer: ISSUER, audience: Some(AUDIENCE), now: NOW }
}

fn key_set<'k>(keys: impl IntoIterator<Item = &'k SigningKey>) -> KeySet {
    KeySet::new(ACCOUNT, keys.into_iter().map(|key| key.verifying().clone()))
}

#[test]
fn a_signed_token_says_what_was_signed() {
    for key in [ed25519("k1"), hs256("k1", 7)] {
        let (keys, verifier) = (key_set([&key]), verifier());
        let token = key.sign(&claims()).unwrap();
        assert_eq!(unverified_account(token.expose()).as_deref(), Some(ACCOUNT));
        for _ in 0..3 {
            assert_eq!(*verifier.verify(token.expose(), &expected(&keys)).unwrap(), claims());
        }
        assert_eq!(verifier.cached(), 1);
    }
}

#[test]
fn time_is_looked_at_on_every_hit() {
    let key = ed25519("k1");
    let (keys, verifier) = (key_set([&key]), verifier());
    let token = key.sign(&claims()).unwrap();
    let at = |ms: u64| verifier.verify(token.expose(), &Expected { now: LogTime(ms), ..expected(&keys) });
    assert_eq!(at(NOW.0 - 6_000).err(), Some(TokenError::NotYet));
    assert!(at(NOW.0).is_ok());
    assert_eq!(at(NOW.0 - 6_000).err(), Some(TokenError::NotYet), "cached");
    assert!(at(NOW.0 + 899_999).is_ok());
    assert_eq!(at(NOW.0 + 900_000).err(), Some(TokenError::Expired), "cached");
    assert_eq!(verifier.cached(), 0, "an expired token is forgotten");
    assert_eq!(at(NOW.0 + 900_000).err(), Some(TokenError::Expired), "not cached");
}

#[test]
fn a_retired_key_takes_its_cached_tokens_along() {
    let (old, new) = (ed25519("old"), ed25519("new"));
    let verifier = verifier();
    let token = old.sign(&claims()).unwrap();
    let both = key_set([&old, &new]);
    assert!(verifier.verify(token.expose(), &expected(&both)).is_ok());
    let later = key_set([&new]);
    assert_eq!(verifier.verify(token.expose(), &expected(&later)).err(), Some(TokenError::UnknownKey));
    assert_eq!(verifier.cached(), 0);

    assert!(verifier.verify(token.expose(), &expected(&both)).is_ok());
    let impostor = ed25519("old");
    let replaced = key_set([&impostor]);
    assert_eq!(
        verifier.verify(token.expose(), &expected(&replaced)).err(),
        Some(TokenError::BadSignature),
        "another key of the same name"
    );
}

#[test]
fn account_issuer_and_audience_are_looked_at_on_every_hit() {
    let key = hs256("shared", 7);
    let (ours, verifier) = (key_set([&key]), verifier());
    // A secret that all accounts share, as HS256 clients expect it: the claims keep accounts apart.
    let theirs = KeySet::new("999999999999", [key.verifying().clone()]);
    let token = key.sign(&claims()).unwrap();
    for _ in 0..2 {
        for wrong in [
            Expected { keys: &theirs, ..expected(&ours) },
            Expected { issuer: "https://iam.test/accounts/999999999999", ..expected(&ours) },
            Expected { audience: Some("another"), ..expected(&ours) },
        ] {
            assert_eq!(verifier.verify(token.expose(), &wrong).err(), Some(TokenError::NotForUs));
        }
        assert!(verifier.verify(token.expose(), &expected(&ours)).is_ok(), "now it is cached");
    }
}

#[test]
fn the_cache_is_bounded() {
    let key = hs256("k1", 7);
    let (keys, verifier) = (key_set([&key]), verifier());
    for n in 0..1000 {
        let token = key.sign(&Claims { jti: n.to_string(), ..claims() }).unwrap();
        assert!(verifier.verify(token.expose(), &expected(&keys)).is_ok());
        assert!(verifier.verify(token.expose(), &expected(&keys)).is_ok());
    }
    assert!((32..=64).contains(&verifier.cached()), "{}", verifier.cached());
}

#[test]
fn public_key_sets_hold_nothing_private() {
    let (public, shared) = (ed25519("pub"), hs256("sec", 7));
    let text = serde_json::to_string(&key_set([&public, &shared]).jwks()).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = parsed["keys"].as_array().unwrap();
    let coded = public.verifying().public().map(|key| URL_SAFE_NO_PAD.encode(key));
    assert_eq!((coded.as_deref(), shared.verifying().public()), (keys[0]["x"].as_str(), None));
    assert_eq!(keys.len(), 1, "the shared secret is not published: {text}");
    let names: Vec<_> = keys[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);

    // The library's own reader takes it, and checks a token with it.
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys[0].clone()).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_exp = false;
    let token = public.sign(&claims()).unwrap();
    let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    assert!(jsonwebtoken::decode::<Claims>(token.expose(), &decoding, &validation).is_ok());
}

#[test]
fn who_has_hundreds_of_roles_has_a_token_that_counts() {
    let key = ed25519("k1");
    let roles: Vec<_> = (100..400).map(|number| format!("role-{number}")).collect();
    let token = key.sign(&Claims { roles: Some(roles), ..claims() }).unwrap();
    assert!((4096..8192).contains(&token.expose().len()), "{}", token.expose().len());
    assert!(verifier().verify(token.expose(), &expected(&key_set([&key]))).is_ok());
}

#[test]
fn bad_keys_are_refused() {
    use super::super::keys::KeyError;
    let made =
        |kid: &str, algorithm, bytes: &[u8]| SigningKey::new(kid, algorithm, Secret::new(bytes.to_vec()));
    assert_eq!(made("k", KeyAlgorithm::Hs256, &[1; 31]).err(), Some(KeyError::SecretTooShort));
    assert_eq!(made("k", KeyAlgorithm::EdDsa, &[1; 32]).err(), Some(KeyError::NotEd25519));
    assert_eq!(VerifyingKey::ed25519("k", &[1; 33]).err(), Some(KeyError::NotEd25519));
    for kid in ["", "a/b", "../k", "k\0", "k'", "é", &"k".repeat(65)] {
        assert_eq!(made(kid, KeyAlgorithm::Hs256, &[1; 32]).err(), Some(KeyError::BadKid), "{kid}");
    }
}

#[test]
fn a_private_key_comes_back_from_its_bytes_and_is_not_printed() {
    let key = ed25519("k1");
    let again = SigningKey::new("k1", KeyAlgorithm::EdDsa, key.private().clone()).unwrap();
    let token = again.sign(&claims()).unwrap();
    assert!(verifier().verify(token.expose(), &expected(&key_set([&key]))).is_ok());
    let shared = hs256("k1", b'S');
    let shown = format!("{key:?} {shared:?} {:?} {:?}", shared.verifying(), key_set([&shared]));
    assert!(!shown.contains("83") && !shown.contains("SSS"), "{shown}");
}

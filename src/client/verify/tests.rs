//! Tokens, good and forged.

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::auth::keys::KeyAlgorithm;
use crate::auth::signer::SigningKey;
use crate::client::Client;
use crate::clock::LogTime;

const NOW: u64 = 1_800_000_000;
const ACCOUNT: &str = "123456789012";

#[derive(Clone, Copy)]
struct FixedClock(u64);

impl Clock for FixedClock {
    fn now(&self) -> LogTime {
        LogTime(self.0 * 1000)
    }
}

/// A verifier that has the key `k1` of the account, and that key.
fn setup() -> (Verifier, Secret<Vec<u8>>) {
    let private = SigningKey::generate_ed25519().unwrap();
    let key = SigningKey::new("k1", KeyAlgorithm::EdDsa, private.clone()).unwrap();
    let jwk = serde_json::to_value(key.verifying().jwk().unwrap()).unwrap();
    let account = Client::new(["http://127.0.0.1:9"]).unwrap().account(ACCOUNT);
    let verifier = Verifier::new(&account, "urn:conclave:c:123456789012").clock(FixedClock(NOW));
    (Verifier { keys: Keys::published(&json!({"keys": [jwk]})), ..verifier }, private)
}

fn claims() -> Value {
    json!({
        "iss": "urn:conclave:c:123456789012", "aud": "conclave", "sub": "u", "exp": NOW + 900, "nbf": NOW,
        "iat": NOW, "jti": "j", "sid": "s", "acct": ACCOUNT, "kind": "service-account", "roles": ["r"],
    })
}

/// Signs whatever it is given.
fn sign(private: &Secret<Vec<u8>>, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_ed_der(private.expose());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"})
}

#[tokio::test]
async fn a_genuine_token_tells_whose_it_is() {
    let (verifier, private) = setup();
    let claims = verifier.verify(&sign(&private, &header(), &claims())).await.unwrap();
    assert_eq!((claims.sub.as_str(), claims.kind, claims.email), ("u", Kind::ServiceAccount, None));
}

#[tokio::test]
async fn a_header_is_exactly_that_of_an_access_token() {
    let (verifier, private) = setup();
    for (change, value, expected) in [
        ("alg", json!("HS256"), "WrongAlgorithm"),
        ("alg", json!("none"), "WrongAlgorithm"),
        ("typ", json!("JWT"), "WrongKind"),
        ("kid", json!("k2"), "UnknownKey"),
        ("kid", json!("../k1"), "UnknownKey"),
        ("jku", json!("http://evil.example"), "Malformed"),
        ("crit", json!(["exp"]), "Malformed"),
        ("typ", Value::Null, "Malformed"),
    ] {
        let mut header = header();
        header[change] = value;
        let refused = verifier.verify(&sign(&private, &header, &claims())).await.unwrap_err();
        assert_eq!(format!("{refused:?}"), expected, "{header}");
    }
    for text in ["", "a.b", "a.b.c.d", "é.b.c", &"a".repeat(MAX_TOKEN_BYTES + 1)] {
        let refused = verifier.verify(text).await.unwrap_err();
        assert!(matches!(refused, TokenError::Malformed | TokenError::TooLong), "{refused:?}");
    }
}

#[tokio::test]
async fn only_the_accounts_own_key_counts() {
    let (verifier, private) = setup();
    let (_, other) = setup();
    let forged = sign(&other, &header(), &claims());
    assert!(matches!(verifier.verify(&forged).await, Err(TokenError::BadSignature)));
    let good = sign(&private, &header(), &claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    for signature in ["", "AAAA"] {
        let cut = format!("{message}.{signature}");
        assert!(matches!(verifier.verify(&cut).await, Err(TokenError::BadSignature)));
    }
    let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
    let mut raised = claims();
    raised["kind"] = json!("root");
    parts[1] = URL_SAFE_NO_PAD.encode(raised.to_string());
    assert!(matches!(verifier.verify(&parts.join(".")).await, Err(TokenError::BadSignature)));
}

#[tokio::test]
async fn claims_are_all_there_of_their_type_for_us_and_in_time() {
    let (verifier, private) = setup();
    for (claim, value, expected) in [
        ("iss", json!("urn:conclave:other:123456789012"), "NotForUs"),
        ("aud", json!("other"), "NotForUs"),
        ("acct", json!("999999999999"), "NotForUs"),
        ("exp", json!(NOW), "Expired"),
        ("exp", json!(NOW + 1), "Ok"),
        ("exp", json!("9999999999"), "BadClaims"),
        ("exp", json!(1e99), "BadClaims"),
        ("exp", json!(-1), "BadClaims"),
        ("exp", Value::Null, "BadClaims"),
        ("nbf", json!(NOW + 5), "Ok"),
        ("nbf", json!(NOW + 6), "NotYet"),
        ("iat", json!(NOW + 6), "NotYet"),
        ("aud", json!(["conclave"]), "BadClaims"),
        ("kind", json!("operator"), "BadClaims"),
        ("sid", Value::Null, "BadClaims"),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        let told = match verifier.verify(&sign(&private, &header(), &claims)).await {
            Ok(_) => "Ok".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(told, expected, "{claims}");
    }
}

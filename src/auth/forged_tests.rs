//! Tokens that somebody made up. Each is refused for its own reason, and a genuine one is not.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::{Value, json};

use super::super::keys::KeyAlgorithm;
use super::super::signer::SigningKey;
use super::tests::{ACCOUNT, AUDIENCE, ISSUER, NOW, claims, ed25519, expected, hs256, verifier};
use super::*;
use crate::secret::Secret;

/// The account's own keys: `ed` and `hs`. Another account's: `other`, and one of ours by name.
struct Keys {
    ed: SigningKey,
    hs: SigningKey,
    other: SigningKey,
    same_name: SigningKey,
    set: KeySet,
}

impl Keys {
    fn new() -> Self {
        let (ed, hs) = (ed25519("ed"), hs256("hs", 7));
        let set = KeySet::new(ACCOUNT, [ed.verifying().clone(), hs.verifying().clone()]);
        Self { ed, hs, other: ed25519("other"), same_name: ed25519("ed"), set }
    }

    fn public(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(self.ed.verifying().jwk().unwrap().x).unwrap()
    }
}

fn ed_sign(key: &SigningKey, message: &str) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_pkcs8(key.private().expose()).unwrap();
    pair.sign(message.as_bytes()).as_ref().to_vec()
}

fn hmac_sign(algorithm: hmac::Algorithm, key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes()).as_ref().to_vec()
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn token(header: &str, payload: &str, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(sign(&message));
    format!("{message}.{signature}")
}

fn payload() -> Value {
    serde_json::to_value(claims()).unwrap()
}

const HEADER: &str = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"ed"}"#;

struct Table<'k> {
    keys: &'k Keys,
    cases: usize,
    verifier: Verifier,
}

impl<'k> Table<'k> {
    /// A verifier that has seen a good token already, so that a forgery cannot ride on the cache.
    fn new(keys: &'k Keys) -> Self {
        let verifier = verifier();
        let good = token(HEADER, &payload().to_string(), |m| ed_sign(&keys.ed, m));
        assert!(verifier.verify(&good, &expected(&keys.set)).is_ok(), "the helper makes good tokens");
        Self { keys, cases: 0, verifier }
    }

    fn refuse(&mut self, name: &str, token: &str, error: TokenError) {
        for time in ["first", "second"] {
            let seen = self.verifier.verify(token, &expected(&self.keys.set));
            assert_eq!(seen.as_ref().err(), Some(&error), "{name}, {time} time");
        }
        self.cases += 1;
    }
}

#[test]
fn algorithms_and_signatures() {
    use TokenError::{BadSignature, Malformed, UnknownKey, WrongAlgorithm};
    let keys = Keys::new();
    let mut table = Table::new(&keys);
    let body = payload().to_string();

    for none in ["none", "None", "nOnE", "NONE", "", " none", "null", "eddsa", "EDDSA", "Ed25519", "ES384"] {
        for kid in ["ed", "hs"] {
            let header = json!({"typ": "at+jwt", "alg": none, "kid": kid}).to_string();
            table.refuse(none, &token(&header, &body, |_| vec![]), WrongAlgorithm);
        }
    }

    // The public key is known to all, in every form that somebody may take for an HMAC secret.
    let raw = keys.public();
    let der = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &raw].concat();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----");
    let jwk = serde_json::to_string(&keys.ed.verifying().jwk()).unwrap();
    let jwks = serde_json::to_string(&keys.set.jwks()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(&raw);
    let pem_line = format!("{pem}\n");
    for secret in [
        &raw[..],
        &der,
        pem.as_bytes(),
        pem_line.as_bytes(),
        base64.as_bytes(),
        jwk.as_bytes(),
        jwks.as_bytes(),
        x.as_bytes(),
        b"",
    ] {
        let name = String::from_utf8_lossy(secret).into_owned();
        let confused = r#"{"typ":"at+jwt","alg":"HS256","kid":"ed"}"#;
        let sign = |m: &str| hmac_sign(hmac::HMAC_SHA256, secret, m);
        table.refuse(&name, &token(confused, &body, sign), WrongAlgorithm);
        table.refuse(&name, &token(HEADER, &body, sign), BadSignature);
        let guessed = r#"{"typ":"at+jwt","alg":"HS256","kid":"hs"}"#;
        table.refuse(&name, &token(guessed, &body, sign), BadSignature);
    }

    let hs = keys.hs.private().expose();
    for (header, hash) in [
        (r#"{"typ":"at+jwt","alg":"HS384","kid":"hs"}"#, hmac::HMAC_SHA384),
        (r#"{"typ":"at+jwt","alg":"HS512","kid":"hs"}"#, hmac::HMAC_SHA512),
        (r#"{"typ":"at+jwt","alg":"HS256","kid":"ed"}"#, hmac::HMAC_SHA256),
    ] {
        table.refuse(header, &token(header, &body, |m| hmac_sign(hash, hs, m)), WrongAlgorithm);
    }
    let ed_for_hs = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"hs"}"#;
    table.refuse("EdDSA for hs", &token(ed_for_hs, &body, |m| ed_sign(&keys.ed, m)), WrongAlgorithm);

    let good = ed_sign(&keys.ed, &format!("{}.{}", encode(HEADER), encode(&body)));
    let mut other_body = payload();
    other_body["sub"] = json!("somebody else");
    table.refuse("moved", &token(HEADER, &other_body.to_string(), |_| good.clone()), BadSignature);
    table.refuse("empty", &token(HEADER, &body, |_| vec![]), BadSignature);
    table.refuse("zeroes", &token(HEADER, &body, |_| vec![0; 64]), BadSignature);
    table.refuse("short", &token(HEADER, &body, |_| good[..63].to_vec()), BadSignature);
    table.refuse("long", &token(HEADER, &body, |_| [&good[..], &[0]].concat()), BadSignature);
    table.refuse("bare", &token(HEADER, &body, |_| vec![0; 1]), BadSignature);
    for bit in [0, 100, 255, 256, 300, 511] {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        table.refuse("flipped bit", &token(HEADER, &body, |_| bad.clone()), BadSignature);
    }
    let same = token(HEADER, &body, |m| ed_sign(&keys.same_name, m));
    table.refuse("another key of that name", &same, BadSignature);
    let foreign = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"other"}"#;
    table.refuse("foreign kid", &token(foreign, &body, |m| ed_sign(&keys.other, m)), UnknownKey);
    table.refuse("foreign kid, our key", &token(foreign, &body, |m| ed_sign(&keys.ed, m)), UnknownKey);
    table.refuse("no base64", &format!("{}.{}.*", encode(HEADER), encode(&body)), BadSignature);
    table.refuse("text", "not a token", Malformed);
    assert!(table.cases >= 60, "{}", table.cases);
}

#[test]
fn headers() {
    use TokenError::{Malformed, UnknownKey, WrongKind};
    let keys = Keys::new();
    let mut table = Table::new(&keys);
    let body = payload().to_string();
    let signed = |header: &str| token(header, &body, |m| ed_sign(&keys.ed, m));

    for kid in [
        "ED",
        " ed",
        "ed ",
        "ed\0",
        "../ed",
        "./ed",
        "/dev/null",
        "ed'",
        "' OR '1'='1",
        "ed\" --",
        "%65%64",
        "http://127.0.0.1/ed",
        "",
        "еd",
    ] {
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}).to_string();
        table.refuse(kid, &signed(&header), UnknownKey);
    }
    for typ in ["JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "id+jwt", "rt+jwt", "logout+jwt", ""]
    {
        let header = json!({"typ": typ, "alg": "EdDSA", "kid": "ed"}).to_string();
        table.refuse(typ, &signed(&header), WrongKind);
    }
    let jwk = serde_json::to_value(keys.other.verifying().jwk()).unwrap();
    for (name, value) in [
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:9/jwks")),
        ("x5u", json!("http://127.0.0.1:9/cert")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("Kid", json!("other")),
        ("unheard-of", json!(null)),
    ] {
        let mut header: Value = serde_json::from_str(HEADER).unwrap();
        header[name] = value;
        table.refuse(name, &signed(&header.to_string()), Malformed);
        table.refuse(name, &token(&header.to_string(), &body, |m| ed_sign(&keys.other, m)), Malformed);
    }
    let deep = format!(
        r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"ed","a":{}1{}}}"#,
        "[".repeat(2000),
        "]".repeat(2000)
    );
    for header in [
        "{}",
        "[]",
        "null",
        "",
        r#"{"alg":"EdDSA","kid":"ed"}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA"}"#,
        r#"{"typ":"at+jwt","kid":"ed"}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA","kid":["ed"]}"#,
        r#"{"typ":"at+jwt","alg":["EdDSA"],"kid":"ed"}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA","kid":null}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA","kid":"other","kid":"ed"}"#,
        r#"{"typ":"at+jwt","alg":"none","alg":"EdDSA","kid":"ed"}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA","kid":"ed"} x"#,
        deep.as_str(),
    ] {
        table.refuse(header, &signed(header), Malformed);
    }
    assert!(table.cases >= 60, "{}", table.cases);
}

#[test]
fn shapes() {
    use TokenError::{BadSignature, Malformed, TooLong};
    let keys = Keys::new();
    let mut table = Table::new(&keys);
    let body = payload().to_string();
    let signed = |body: &str| token(HEADER, body, |m| ed_sign(&keys.ed, m));
    let good = signed(&body);
    let [header, middle, signature] = split(&good).unwrap();
    for shape in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{good}."),
        format!("{good}.."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}.{middle}"),
        format!("{header}{middle}{signature}"),
        format!("{header}=.{middle}.{signature}"),
        format!("{header}\n.{middle}.{signature}"),
        format!(" {good}"),
        format!("\u{0}{good}"),
        format!("{{\"protected\":\"{header}\",\"payload\":\"{middle}\",\"signature\":\"{signature}\"}}"),
    ] {
        table.refuse(&shape, &shape, Malformed);
    }
    for shape in [format!("{good} "), format!("{good}="), format!("{good}\n"), format!("{good}A")] {
        table.refuse(&shape, &shape, BadSignature);
    }
    let room = Verifier::MAX_TOKEN_BYTES;
    table.refuse("huge", &format!("{good}{}", "A".repeat(room)), TooLong);
    table.refuse("huge and signed", &signed(&(body.clone() + &" ".repeat(room))), TooLong);
    let long = format!("{header}.{middle}.{}", "A".repeat(room - header.len() - middle.len() - 2));
    table.refuse("as long as may be", &long, BadSignature);
    table.refuse("one longer", &format!("{long}A"), TooLong);
}

/// These are signed by the right key: only a bug of ours could make them, and then they must not count.
#[test]
fn claims_of_the_wrong_kind() {
    use TokenError::{BadClaims, Expired, NotForUs, NotYet};
    let keys = Keys::new();
    let mut table = Table::new(&keys);
    let signed = |body: &str| token(HEADER, body, |m| ed_sign(&keys.ed, m));
    let with = |name: &str, value: &Value| {
        let mut body = payload();
        body[name] = value.clone();
        signed(&body.to_string())
    };
    let now = NOW.0 / 1000;

    let no_numbers = [
        json!((now + 900).to_string()),
        json!("1e99"),
        json!([]),
        json!([now + 900]),
        json!({}),
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(1_800_000_900.0_f64),
        json!(1_800_000_900.5_f64),
    ];
    for name in ["exp", "nbf", "iat"] {
        for value in &no_numbers {
            table.refuse(&format!("{name}: {value}"), &with(name, value), BadClaims);
        }
        let usual = payload()[name].to_string();
        for literal in
            ["18446744073709551616", "99999999999999999999999", "1.8e9", "-0", "-9223372036854775809"]
        {
            let body = payload().to_string().replacen(
                &format!("\"{name}\":{usual}"),
                &format!("\"{name}\":{literal}"),
                1,
            );
            table.refuse(&format!("{name}: {literal}"), &signed(&body), BadClaims);
        }
    }
    // All but the roles, which are for display only: some tokens of programs have none.
    for name in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid", "acct", "kind"] {
        let mut body = payload();
        body.as_object_mut().unwrap().remove(name);
        table.refuse(&format!("no {name}"), &signed(&body.to_string()), BadClaims);
        table.refuse(&format!("null {name}"), &with(name, &json!(null)), BadClaims);
        let mut twice = payload().to_string();
        twice.insert_str(1, &format!("\"{name}\":{},", payload()[name]));
        table.refuse(&format!("{name} twice"), &signed(&twice), BadClaims);
    }
    for name in ["iss", "aud", "sub", "jti", "sid", "acct", "kind"] {
        // An audience may be a list of texts (RFC 7519 section 4.1.3), and of nothing else.
        let list = if name == "aud" { json!([payload()[name], 1]) } else { json!([payload()[name]]) };
        for value in [json!(1), list, json!({"a": 1})] {
            table.refuse(&format!("{name}: {value}"), &with(name, &value), BadClaims);
        }
    }
    for value in [json!("admin"), json!([1]), json!({"admin": true}), json!([["admin"]])] {
        table.refuse(&format!("roles: {value}"), &with("roles", &value), BadClaims);
    }
    for body in ["", "null", "[]", "{}", "\"at\"", "1"] {
        table.refuse(body, &signed(body), BadClaims);
    }

    for (name, value) in [
        ("iss", json!("https://iam.test/accounts/999999999999")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("iss", json!("")),
        ("aud", json!(AUDIENCE.to_uppercase())),
        ("aud", json!("")),
        ("aud", json!([AUDIENCE])),
        ("acct", json!("999999999999")),
        ("acct", json!("")),
    ] {
        table.refuse(&format!("{name}: {value}"), &with(name, &value), NotForUs);
    }
    table.refuse("exp 0", &with("exp", &json!(0)), Expired);
    table.refuse("exp now", &with("exp", &json!(now)), Expired);
    table.refuse("nbf later", &with("nbf", &json!(now + 6)), NotYet);
    table.refuse("iat later", &with("iat", &json!(now + 6)), NotYet);
    table.refuse("nbf at the end of time", &with("nbf", &json!(u64::MAX)), NotYet);
    assert!(table.cases >= 100, "{}", table.cases);
}

#[test]
fn an_unverified_account_is_read_from_anything_without_harm() {
    for text in ["", "..", "a.b.c", "a.*.c", &"a".repeat(10_000), "e30.e30.e30", "e30.W10.e30"] {
        assert_eq!(unverified_account(text), None, "{text}");
    }
    let keys = KeySet::new(ACCOUNT, []);
    let key = SigningKey::new("x", KeyAlgorithm::Hs256, Secret::new(vec![1; 32])).unwrap();
    let token = key.sign(&claims()).unwrap();
    assert_eq!(unverified_account(token.expose()).as_deref(), Some(ACCOUNT));
    let (_, rest) = token.expose().split_once('.').unwrap();
    let sized = |bytes: usize| format!("{}.{rest}", "A".repeat(bytes - rest.len() - 1));
    assert_eq!(unverified_account(&sized(Verifier::MAX_TOKEN_BYTES)).as_deref(), Some(ACCOUNT));
    assert_eq!(unverified_account(&sized(Verifier::MAX_TOKEN_BYTES + 1)), None);
    assert_eq!(verifier().verify(token.expose(), &expected(&keys)).err(), Some(TokenError::UnknownKey));
}

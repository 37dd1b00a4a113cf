//! Tokens that are missing, old, foreign or made up.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conclave::api::Api;
use conclave::auth::kek::Kek;
use conclave::auth::seal::Place;
use conclave::domain::{AccountId, key};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::is_refused;
use crate::harness::{Account, World};
use crate::requests::{Things, of_client_key};

/// Makes tokens of an account with its real key, as only a node can.
pub(crate) struct Forge {
    pub(crate) kid: String,
    pub(crate) private: Vec<u8>,
    pub(crate) public: Vec<u8>,
    pub(crate) claims: Value,
}

impl Forge {
    fn new(account: &Account) -> Self {
        Self::of(&account.id, &account.token)
    }

    /// With the claims of a genuine token.
    pub(crate) fn of(account: &str, token: &str) -> Self {
        let id = AccountId::parse(account).unwrap();
        let key = key::signing(&World::node(0).cluster().view(), id).unwrap();
        let place = Place { account: id.as_str(), record: &key.id, purpose: "signing key" };
        let sealer = Kek::read_file(World::key_file()).unwrap();
        let private = sealer.open(&place, key.private.as_bytes()).unwrap().expose().clone();
        let payload = token.split('.').nth(1).unwrap();
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        Self { kid: key.id, private, public: key.public, claims }
    }

    /// The account's genuine claims, with some replaced; null takes one away.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let mut claims = self.claims.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    fn signed(typ: &str, kid: &str, private: &[u8], claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(private)).unwrap()
    }

    fn with(&self, changes: &Value) -> String {
        Self::signed("at+jwt", &self.kid, &self.private, &self.claims(changes))
    }

    /// A token with a header of one's own, signed by `sign`.
    fn raw(&self, header: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(&self.claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn hs256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Each with its name. None of them is good anywhere.
fn bad_tokens(account: &Account, things: &Things, other: &Account) -> Vec<(String, String)> {
    let forge = Forge::new(account);
    let foreign = Forge::new(other);
    let seconds = forge.claims["iat"].as_u64().unwrap();
    let mut all: Vec<(String, String)> = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = json!({"typ": "at+jwt", "alg": alg, "kid": forge.kid});
        all.push((format!("alg {alg}"), forge.raw(&header, |_| Vec::new())));
        all.push((format!("alg {alg}, signed"), forge.raw(&header, |message| hs256(&forge.public, message))));
    }
    let confused = json!({"typ": "at+jwt", "alg": "HS256", "kid": forge.kid});
    let text = URL_SAFE_NO_PAD.encode(&forge.public);
    all.push(("HS256 with the public key".into(), forge.raw(&confused, |m| hs256(&forge.public, m))));
    all.push(("HS256 with its text".into(), forge.raw(&confused, |m| hs256(text.as_bytes(), m))));
    let shared = json!({"typ": "at+jwt", "alg": "HS256", "kid": "hs256"});
    all.push(("HS256 by a secret nobody set".into(), forge.raw(&shared, |m| hs256(b"", m))));
    let empty = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": forge.kid});
    all.push(("no signature".into(), forge.raw(&empty, |_| Vec::new())));
    all.push(("a signature of zeros".into(), forge.raw(&empty, |_| vec![0; 64])));
    for extra in ["jwk", "jku", "x5u", "crit"] {
        let mut header = empty.clone();
        header[extra] = json!("http://127.0.0.1:1/");
        all.push((format!("with {extra}"), forge.raw(&header, |_| vec![0; 64])));
    }
    let as_is = forge.claims(&json!({}));
    all.push(("another account's key".into(), Forge::signed("at+jwt", &forge.kid, &foreign.private, &as_is)));
    all.push(("and its kid".into(), Forge::signed("at+jwt", &foreign.kid, &foreign.private, &as_is)));
    for kid in ["", "../../etc/passwd", "x' OR 1=1", "hs256"] {
        all.push((format!("kid {kid}"), Forge::signed("at+jwt", kid, &forge.private, &as_is)));
    }
    for typ in ["JWT", "refresh", "id+jwt", ""] {
        all.push((format!("typ {typ}"), Forge::signed(typ, &forge.kid, &forge.private, &as_is)));
    }
    for (name, changes) in [
        ("expired", json!({"exp": seconds - 3600, "iat": seconds - 7200, "nbf": seconds - 7200})),
        ("not yet", json!({"nbf": seconds + 3600})),
        ("from the future", json!({"iat": seconds + 3600})),
        ("exp text", json!({"exp": "1e99"})),
        ("exp list", json!({"exp": []})),
        ("exp negative", json!({"exp": -1})),
        ("exp float", json!({"exp": 1e99})),
        ("exp half", json!({"exp": f64::from(u32::MAX) + 0.5})),
        ("no exp", json!({"exp": null})),
        ("no nbf", json!({"nbf": null})),
        ("no sub", json!({"sub": null})),
        ("no sid", json!({"sid": null})),
        ("no jti", json!({"jti": null})),
        ("sub list", json!({"sub": [account.root]})),
        ("aud list", json!({"aud": ["conclave"]})),
        ("another aud", json!({"aud": "others"})),
        ("another iss", json!({"iss": foreign.claims["iss"]})),
        ("another acct", json!({"acct": other.id})),
        ("the cluster's acct", json!({"acct": "000000000000"})),
        ("another sub", json!({"sub": things.user.id})),
        ("another sid", json!({"sid": foreign.claims["sid"]})),
        ("a sid of nobody", json!({"sid": "00000000-0000-4000-8000-000000000000"})),
        ("another's session", json!({"sid": things.user.session})),
    ] {
        all.push((name.into(), forge.with(&changes)));
    }
    for (name, token) in [
        ("rubbish", "nonsense".to_owned()),
        ("dots", "..".to_owned()),
        ("more dots", "a.b.c.d".to_owned()),
        ("base64 of nothing", "e30.e30.".to_owned()),
        ("cut", account.token[..account.token.len() - 1].to_owned()),
        ("longer", format!("{}A", account.token)),
        ("9 kB", "x".repeat(9_000)),
        ("a refresh token", things.user.refresh.clone()),
        ("an API key", things.service.key.clone().unwrap().1),
        ("an account id", account.id.clone()),
    ] {
        all.push((name.into(), token));
    }
    assert_ne!(forge.with(&json!({})), account.token, "JSON in another order, still good");
    all
}

#[tokio::test]
async fn no_bad_token_is_good_for_anything_and_all_are_refused_alike() {
    let world = World::new();
    let (account, other) = (world.account().await, world.account().await);
    let things = Things::make(&world, &account).await;
    let good = Forge::new(&account).with(&json!({}));
    for node in 0..3 {
        // The forge is able: only what is changed makes the others bad.
        world.get(node, account.at("/users/me")).by(&good).await.is(200);
    }
    let tokens = bad_tokens(&account, &things, &other);
    assert!(tokens.len() > 50);
    let before = world.digest(&account.id).await;
    for (index, route) in Api::routes().iter().enumerate() {
        let sample = things.sample(route);
        let ask = || sample.ask(&world, index);
        if is_open(route.name) {
            continue;
        }
        is_refused(sample.name, &ask().await.is(401));
        // What is no client key at all is a bad request where one is wanted.
        let refusal = if of_client_key(route) { 400 } else { 401 };
        let challenge = (refusal == 401).then_some("Bearer");
        let first = ask().by("x").await.is(refusal).body_but_request_id();
        for (name, token) in &tokens {
            let name = format!("{} {name}", sample.name);
            let reply = ask().by(token).await;
            is_refused(&name, &reply);
            assert_eq!(reply.status, refusal, "{name}: {}", reply.json);
            assert_eq!(reply.body_but_request_id(), first, "{name}");
            assert_eq!(reply.header("www-authenticate"), challenge, "{name}");
        }
        for scheme in ["Basic eDp5", "Bearer", "Bearer ", &good, "bearer\t"] {
            let reply = ask().header("authorization", scheme).await;
            assert_eq!(reply.status, 401, "{} {scheme}", sample.name);
        }
        let twice = ask().by(&good).by(&good).await;
        assert_eq!(twice.status, 400, "{}", sample.name);
    }
    assert_eq!(world.digest(&account.id).await, before, "a refused request left something behind");
}

/// Routes that take no token, as the golden table has them.
fn is_open(name: &str) -> bool {
    include_str!("../open_routes.golden")
        .lines()
        .any(|line| line.rsplit_once(' ').is_some_and(|(open, _)| open == name))
}

#[tokio::test]
async fn a_token_that_does_not_fit_a_header_is_refused() {
    let world = World::new();
    let account = world.account().await;
    for length in [17_000, 100_000] {
        let ask = world.get(0, account.at("")).by(&"x".repeat(length));
        // The connection may be gone before all was sent.
        if let Ok(reply) = ask.send().await {
            assert!(matches!(reply.status, 400 | 401 | 431), "{length}: {}", reply.status);
        }
    }
    account.ask(&world, 0, "GET", "").await.is(200);
}

//! Tokens and other secrets where they do not belong: forged, foreign, of the wrong kind.

use std::net::TcpListener;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::bad_input::proofs::Forge;
use crate::client::{Ask, Client, Reply};
use crate::harness::{Account, PASSWORD, World};
use crate::keystone::Desk;
use crate::requests::Things;

/// Requests at the same time.
const AT_ONCE: usize = 16;

/// Who signs, and as what: the first is genuine.
const SIGNERS: [(&str, &str); 13] = [
    ("EdDSA", "own"),
    ("EdDSA", "of another account"),
    ("EdDSA", "zeros"),
    ("EdDSA", "none"),
    ("EdDSA", "public key as a secret"),
    ("HS256", "public key as a secret"),
    ("HS256", "text of the public key"),
    ("HS256", "empty secret"),
    ("HS384", "public key as a secret"),
    ("ES256", "zeros"),
    ("RS256", "zeros"),
    ("none", "none"),
    ("nOnE", "none"),
];

/// The kinds of token: the first is that of an access token.
const KINDS: [&str; 4] = ["at+jwt", "JWT", "rt+jwt", "logout+jwt"];

/// Makes every token that differs from a genuine one in one or two ways.
struct Matrix {
    own: Forge,
    other: Forge,
    /// Changes of claims, the first of which is none.
    claims: Vec<Value>,
}

impl Matrix {
    /// The genuine token first.
    fn tokens(&self) -> Vec<(String, String)> {
        let kids = [self.own.kid.as_str(), &self.other.kid, "hs256", "../../dev/null", ""];
        let mut tokens = Vec::new();
        for (signer, (algorithm, signature)) in SIGNERS.into_iter().enumerate() {
            for (named, kid) in kids.into_iter().enumerate() {
                for (kind, typ) in KINDS.into_iter().enumerate() {
                    for (changed, changes) in self.claims.iter().enumerate() {
                        let differs =
                            [signer, named, kind, changed].into_iter().filter(|way| *way > 0).count();
                        if differs <= 2 {
                            let name = format!("{algorithm} by {signature}, kid {kid}, typ {typ}, {changes}");
                            let header = json!({"alg": algorithm, "kid": kid, "typ": typ});
                            tokens.push((name, self.token(&header, changes, algorithm, signature)));
                        }
                    }
                }
            }
        }
        tokens
    }

    fn token(&self, header: &Value, changes: &Value, algorithm: &str, signature: &str) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(&self.own.claims(changes)));
        let mac = |secret: &[u8]| {
            let algorithm = if algorithm == "HS384" { hmac::HMAC_SHA384 } else { hmac::HMAC_SHA256 };
            hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes()).as_ref().to_vec()
        };
        let by = |private: &[u8]| {
            let key = EncodingKey::from_ed_der(private);
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap()
        };
        let signature = match signature {
            "own" => by(&self.own.private),
            "of another account" => by(&self.other.private),
            "zeros" => URL_SAFE_NO_PAD.encode([0; 64]),
            "none" => String::new(),
            "public key as a secret" => URL_SAFE_NO_PAD.encode(mac(&self.own.public)),
            "text of the public key" => {
                URL_SAFE_NO_PAD.encode(mac(URL_SAFE_NO_PAD.encode(&self.own.public).as_bytes()))
            }
            "empty secret" => URL_SAFE_NO_PAD.encode(mac(b"")),
            other => panic!("{other}"),
        };
        format!("{message}.{signature}")
    }
}

/// What replaces claims, for all families. `victim` is a user of the same account, `foreign` the claims of a token
/// of another account.
fn changes(now: u64, victim: &str, victim_session: &str, foreign: &Value) -> Vec<Value> {
    vec![
        json!({}),
        json!({"exp": now - 1, "nbf": now - 900, "iat": now - 900}),
        json!({"exp": "1e99"}),
        json!({"exp": [now + 900]}),
        json!({"exp": 1e300}),
        json!({"exp": null}),
        json!({"nbf": now + 3600}),
        json!({"iat": now + 3600}),
        json!({"iss": foreign["iss"].as_str().unwrap().to_uppercase()}),
        json!({"acct": foreign["acct"]}),
        json!({"acct": foreign["acct"], "iss": foreign["iss"], "sid": foreign["sid"], "sub": foreign["sub"]}),
        json!({"acct": "000000000000"}),
        json!({"sub": victim}),
        json!({"sid": victim_session}),
        json!({"sub": victim, "sid": victim_session, "acct": foreign["acct"]}),
        json!({"sid": foreign["sid"]}),
        json!({"sid": "00000000-0000-4000-8000-000000000000"}),
        json!({"sid": "'; --"}),
        json!({"aud": null}),
        json!({"kind": null}),
    ]
}

/// Sends all requests, a few at a time.
async fn all(asks: Vec<Ask>) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut asks = asks.into_iter();
    loop {
        let some: Vec<_> = asks.by_ref().take(AT_ONCE).map(IntoFuture::into_future).collect();
        if some.is_empty() {
            return replies;
        }
        replies.extend(join_all(some).await);
    }
}

/// Tries each token of a matrix at a door, which the first of them must open on every node; the number of the others.
async fn none_opens(door: impl Fn(usize, &str) -> Ask, tokens: &[(String, String)]) -> usize {
    let (good, forged) = tokens.split_first().unwrap();
    for node in 0..3 {
        door(node, &good.1).await.is(200);
    }
    let asks = forged.iter().enumerate().map(|(node, (_, token))| door(node, token)).collect();
    for ((name, _), reply) in forged.iter().zip(all(asks).await) {
        assert_eq!(reply.status, 401, "{name}: {}", reply.json);
    }
    forged.len()
}

#[tokio::test]
async fn t1_no_forged_token_is_good_on_any_surface() {
    let world = World::new();
    let (account, other) = (world.account().await, world.account().await);
    let victim = account.user(&world, "victim", &[]).await;
    let own = Forge::of(&account.id, &account.token);
    let foreign = Forge::of(&other.id, &other.token);
    let now = own.claims["iat"].as_u64().unwrap();
    let mut claims = changes(now, &victim.id, &victim.session, &foreign.claims);
    claims.extend([
        json!({"aud": "keystone-auth"}),
        json!({"aud": ["conclave"]}),
        json!({"iss": "keystone-auth"}),
    ]);
    claims.push(json!({"iss": foreign.claims["iss"]}));
    let native = Matrix { own, other: foreign, claims }.tokens();
    let before = world.digest(&account.id).await;
    let path = account.at("/users/me");
    let mut tried = none_opens(|node, token| world.get(node, &path).by(token), &native).await;
    let path = format!("/iam/v1/users/{}", account.root);
    tried += none_opens(|node, token| world.get(node, &path).by(token), &native).await;
    // Those who ask whether a token is good are told the same.
    let path = account.at("/tokens/validate");
    let asks = |token: &str, node| world.post(node, &path).json(&json!({"token": token}));
    assert_eq!(asks(&native[0].1, 0).await.is(200).json, json!({"valid": true}));
    let answers =
        all(native.iter().skip(1).enumerate().map(|(node, (_, token))| asks(token, node)).collect());
    for ((name, _), reply) in native.iter().skip(1).zip(answers.await) {
        assert_eq!((reply.status, reply.json), (200, json!({"valid": false})), "{name}");
        tried += 1;
    }
    assert_eq!(world.digest(&account.id).await, before, "a refused token left something behind");

    let (desk, far) = (Desk::make(&world, &account).await, Desk::make(&world, &other).await);
    let own = Forge::of(&account.id, &desk.user.access);
    let foreign = Forge::of(&other.id, &far.user.access);
    let admin = Forge::of(&account.id, &desk.admin.access);
    let now = own.claims["iat"].as_u64().unwrap();
    let session = admin.claims["sid"].as_str().unwrap();
    let mut claims = changes(now, &desk.admin.id, session, &foreign.claims);
    claims.extend([json!({"type": "service"}), json!({"iss": "conclave"}), json!({"scopes": []})]);
    let keystone = Matrix { own, other: foreign, claims };
    // Tokens of this family say whom they are for in their own words, and no scope is no way in.
    let tokens: Vec<_> = keystone.tokens();
    let door = |node, token: &str| world.get(node, "/api/v1/users/profile").by(token);
    let scopeless = |name: &str| name.ends_with(r#"{"scopes":[]}"#);
    let (bare, others): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|(name, _)| scopeless(name));
    tried += none_opens(door, &others).await;
    for ((name, _), reply) in
        bare.iter().zip(all(bare.iter().map(|(_, token)| door(0, token)).collect()).await)
    {
        assert!(matches!(reply.status, 401 | 403), "{name}: {}", reply.json);
        tried += 1;
    }
    // A token is no client key, whatever it says.
    let asks = native.iter().chain(&others).step_by(5).map(|(_, token)| world.get(0, "/api/roles").by(token));
    for reply in all(asks.collect()).await {
        assert_eq!(reply.status, 400, "{}", reply.json);
        tried += 1;
    }
    assert!(
        native.len() > 200 && others.len() > 200 && tried > 1000,
        "{} {} {tried}",
        native.len(),
        others.len()
    );
}

#[tokio::test]
async fn t2_a_token_that_names_a_key_elsewhere_makes_no_node_look_there() {
    let world = World::new();
    let account = world.account().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let forge = Forge::of(&account.id, &account.token);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut asks = Vec::new();
    for (member, value) in [
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("kid", json!(url)),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "x5u": url})),
        ("iss", json!(url)),
    ] {
        let mut header = json!({"alg": "EdDSA", "kid": forge.kid, "typ": "at+jwt"});
        let mut claims = forge.claims.clone();
        if member == "iss" {
            claims["iss"] = value;
        } else {
            header[member] = value;
        }
        let token = format!("{}.{}.{}", encode(&header), encode(&claims), URL_SAFE_NO_PAD.encode([0; 64]));
        for node in 0..3 {
            asks.push(world.get(node, account.at("/users/me")).by(&token));
            asks.push(world.get(node, "/api/v1/users/profile").by(&token));
            asks.push(world.post(node, account.at("/tokens/validate")).json(&json!({"token": token})));
        }
    }
    // Addresses in what callers may write, too: nothing fetches them.
    let text = json!({"name": "webhook", "description": url});
    asks.push(account.ask(&world, 0, "POST", "/roles").json(&text));
    for reply in all(asks).await {
        assert!(matches!(reply.status, 200 | 201 | 401), "{}", reply.json);
        assert!(reply.status != 200 || reply.json == json!({"valid": false}), "{}", reply.json);
    }
    let came = listener.accept();
    assert!(came.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{came:?}");
}

/// A place where one kind of secret is taken.
struct DoorTo<'w> {
    name: &'static str,
    /// The secrets that open it, by name.
    opened_by: &'static [&'static str],
    ask: Box<dyn Fn(&str) -> Ask + 'w>,
    is_open: fn(&Reply) -> bool,
}

fn is_ok(reply: &Reply) -> bool {
    reply.status < 300
}

/// Every kind of secret there is, by name. Those that are good once come last.
pub(super) fn secrets(account: &Account, things: &Things, program: &str) -> Vec<(&'static str, String)> {
    let desk = &things.keystone;
    let (user_key, client_key, recovery) = things.holder.secrets();
    vec![
        ("access token", account.token.clone()),
        ("access token of a service account", things.service.token.clone()),
        ("API key", things.service.key.clone().unwrap().1),
        ("id of an API key", things.service.key.clone().unwrap().0),
        ("access token of the token service", desk.admin.access.clone()),
        ("token of a program", program.to_owned()),
        ("client secret", desk.client.secret.clone()),
        ("client key", client_key),
        ("key of a subject", user_key),
        ("recovery secret", recovery),
        ("password", PASSWORD.to_owned()),
        ("session id", things.user.session.clone()),
        ("user id", things.user.id.clone()),
        ("refresh token", things.user.refresh.clone()),
        ("refresh token of the token service", desk.user.refresh.clone()),
    ]
}

fn doors<'w>(client: &'w Client, account: &'w Account, things: &'w Things) -> Vec<DoorTo<'w>> {
    let desk = &things.keystone;
    let door =
        |name, opened_by, ask: Box<dyn Fn(&str) -> Ask + 'w>| DoorTo { name, opened_by, ask, is_open: is_ok };
    let mut doors = vec![
        door(
            "native",
            &["access token", "access token of a service account"],
            Box::new(|secret| client.get(0, account.at("")).by(secret)),
        ),
        door(
            "token service, people",
            &["access token of the token service"],
            Box::new(|secret| client.get(1, "/api/v1/users/profile").by(secret)),
        ),
        door("operators", &[], Box::new(|secret| client.get(2, "/v1/cluster/members").by(secret))),
        door(
            "service accounts",
            // A client of the token service is a service account by another name.
            &["API key", "client secret"],
            Box::new(|secret| {
                client.post(0, account.at("/service-accounts/sign-in")).json(&json!({"api_key": secret}))
            }),
        ),
        door(
            "programs",
            &["client secret"],
            Box::new(move |secret| {
                let body = json!({
                    "grant_type": "client_credentials", "client_id": desk.client.client_id, "client_secret": secret,
                });
                client.post(1, "/api/v1/auth/service-token").header("x-account-id", &account.id).json(&body)
            }),
        ),
        door(
            "passwords",
            &["password"],
            Box::new(|secret| {
                let body = json!({"login": things.user.name, "password": secret});
                client.post(2, account.at("/sign-in")).json(&body)
            }),
        ),
        door(
            "refresh",
            &["refresh token"],
            Box::new(|secret| {
                client.post(0, account.at("/tokens/refresh")).json(&json!({"refresh_token": secret}))
            }),
        ),
        door(
            "refresh at the token service",
            &["refresh token of the token service"],
            Box::new(|secret| {
                let ask = client.post(1, "/api/v1/auth/refresh").header("x-account-id", &account.id);
                ask.json(&json!({"refresh_token": secret}))
            }),
        ),
        door(
            "recovery",
            &["recovery secret"],
            Box::new(|secret| client.post(0, "/api/keys/recover").json(&json!({"rotate_key": secret}))),
        ),
    ];
    // Any key of the right form reads an account, empty as a rule: what counts is whose.
    doors.insert(
        0,
        DoorTo {
            name: "client keys",
            opened_by: &["client key"],
            ask: Box::new(|secret| client.get(0, "/api/roles").by(secret)),
            is_open: |reply| reply.body.windows(5).any(|five| five == b"admin"),
        },
    );
    let (_, client_key, _) = things.holder.secrets();
    doors.insert(
        1,
        DoorTo {
            name: "keys of subjects",
            opened_by: &["key of a subject"],
            ask: Box::new(move |secret| {
                client.post(2, "/api/apikeys/validate").by(&client_key).json(&json!({"api_key": secret}))
            }),
            is_open: |reply| reply.json["data"]["valid"] == true,
        },
    );
    doors
}

#[tokio::test]
async fn t4_each_kind_of_secret_opens_its_own_door_only() {
    let world = World::new();
    let account = world.account().await;
    let patience = json!({"lockout": {"failures": 0, "lock_for_s": 60}});
    account.send(&world, 0, "PATCH", "/settings", patience).await.is(200);
    let things = Things::make(&world, &account).await;
    let program = things.keystone.program_token(&world).await;
    let secrets = secrets(&account, &things, &program);
    let mut tried = 0;
    for door in doors(&world, &account, &things) {
        let (good, bad): (Vec<_>, Vec<_>) =
            secrets.iter().partition(|(name, _)| door.opened_by.contains(name));
        for (name, secret) in bad {
            let reply = (door.ask)(secret).await;
            assert!(!(door.is_open)(&reply), "{name} opens {}: {}", door.name, reply.json);
            assert!(reply.status < 500, "{name} at {}: {}", door.name, reply.json);
            tried += 1;
        }
        assert_eq!(good.len(), door.opened_by.len(), "{}", door.name);
        for (name, secret) in good {
            let reply = (door.ask)(secret).await;
            assert!(
                (door.is_open)(&reply),
                "{name} does not open {}: {} {}",
                door.name,
                reply.status,
                reply.json
            );
        }
    }
    assert!(tried >= 150, "{tried}");
}

#[tokio::test]
async fn t12_every_sign_in_is_another_session() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    let mut seen = vec![ann.session.clone(), ann.refresh.clone(), ann.token.clone()];
    for node in 0..3 {
        // What a client brings along does not become its session.
        let body = json!({"login": "ann", "password": PASSWORD});
        let ask = world.post(node, account.at("/sign-in")).json(&body).by(&ann.token);
        let signed =
            ask.header("cookie", &format!("session={}; sid={}", ann.session, ann.session)).await.is(200);
        assert!(signed.header("set-cookie").is_none());
        seen.extend(["session", "refresh_token", "access_token"].map(|member| signed.text(member)));
        for member in ["session", "session_id", "sid"] {
            let mut body = body.clone();
            body[member] = json!(ann.session);
            world.post(node, account.at("/sign-in")).json(&body).await.is(400);
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (12, 12));
}

#[tokio::test]
async fn o8_a_program_never_passes_for_a_user_whatever_it_is_called() {
    let world = World::new();
    let account = world.account().await;
    let desk = Desk::make(&world, &account).await;
    for id in [desk.user.id.clone(), desk.user.id.to_uppercase(), desk.user.id.replace('-', "")] {
        let body = json!({"clientId": id, "scopes": ["read:profile"]});
        let ask = world.post(0, "/api/v1/admin/clients").header("x-account-id", &account.id);
        ask.by(&desk.admin.access).json(&body).await.is(400);
    }
    // A service account of the native API that is called so is no client of the token service.
    let body = json!({"name": desk.user.id});
    let made = account.send(&world, 1, "POST", "/service-accounts", body).await;
    if made.status == 201 {
        let body = json!({
            "grant_type": "client_credentials", "client_id": desk.user.id, "client_secret": made.text("api_key"),
        });
        let ask = world.post(2, "/api/v1/auth/service-token").header("x-account-id", &account.id);
        ask.json(&body).await.is(401);
    }
    let program = desk.program_token(&world).await;
    for path in ["/api/v1/users/profile", "/api/v1/admin/users"] {
        world.get(0, path).by(&program).await.is(401);
    }
}

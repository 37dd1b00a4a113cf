//! Two accounts, and requests of the one that name things of the other wherever a name goes.

use std::fmt::Write as _;

use conclave::api::Api;
use conclave::api::routes::Route;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use crate::client::{Ask, Client, Reply};
use crate::harness::{Account, World};
use crate::keystone::Desk;
use crate::requests::{Sample, Things};
use crate::rodmena::account_of;

/// How many requests, unless `CONCLAVE_SWAPS` says otherwise; ten thousand take some minutes.
const REQUESTS: usize = 1_000;
/// Where chance begins, unless `CONCLAVE_SEED` says otherwise.
const SEED: u64 = 20_260;
/// Requests at the same time.
const AT_ONCE: usize = 8;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// A repeatable chance (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

/// What names things of an account: ids and names. The addresses and the other names are not said by these requests,
/// and so are told by nobody who may not.
fn names_of(things: &Things) -> (Vec<String>, Vec<String>) {
    let (account, desk) = (&things.account, &things.keystone);
    let mut names = vec![
        account.id.clone(),
        account.root.clone(),
        things.user.id.clone(),
        things.user.session.clone(),
        things.service.id.clone(),
        things.service.key.clone().unwrap().0,
        things.role.clone(),
        desk.user.id.clone(),
        desk.admin.id.clone(),
        desk.client.id.clone(),
        desk.client.client_id.clone(),
        things.holder.user_key_id().to_owned(),
    ];
    names.push(format!("krn:iam:{}:users:{}", account.id, things.user.id));
    let unsaid = vec![
        account.email.clone(),
        things.user.name.clone(),
        things.service.name.clone(),
        desk.user.name.clone(),
        desk.admin.name.clone(),
    ];
    (names, unsaid)
}

/// A request of the one account, with names of the other in it.
#[derive(Clone, Debug)]
struct Swapped {
    sample: Sample,
    headers: Vec<(&'static str, String)>,
}

/// Members that a body or query has here or elsewhere to say whose something is.
const SAYS_WHOSE: [&str; 12] = [
    "account",
    "account_id",
    "accountId",
    "tenant",
    "user",
    "user_id",
    "userId",
    "owner",
    "principal",
    "role",
    "id",
    "client_id",
];

fn swap(chance: &mut Chance, sample: &Sample, foreign: &[String]) -> Swapped {
    let mut sample = sample.clone();
    let mut headers = Vec::new();
    let (path, query) = sample.path.split_once('?').unwrap_or((&sample.path, ""));
    let fixed = if path.starts_with("/v1/accounts/") { 3 } else { 2 };
    let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    let mut query = query.to_owned();
    let mut is_swapped = false;
    while !is_swapped {
        for segment in segments.iter_mut().skip(fixed) {
            // Words of the route itself have no digits.
            if segment.chars().any(|c| c.is_ascii_digit()) && chance.one_in(2) {
                chance.of(foreign).clone_into(segment);
                is_swapped = true;
            }
        }
        if let Some(body) = &mut sample.body {
            is_swapped |= swap_in(chance, body, foreign);
            if let Some(members) = body.as_object_mut().filter(|_| chance.one_in(6)) {
                members.insert((*chance.of(&SAYS_WHOSE)).to_owned(), json!(chance.of(foreign)));
                is_swapped = true;
            }
        }
        if chance.one_in(5) {
            let separator = if query.is_empty() { "" } else { "&" };
            let _ = write!(query, "{separator}{}={}", chance.of(&SAYS_WHOSE), chance.of(foreign));
            is_swapped = true;
        }
        if chance.one_in(6) {
            let header = *chance.of(&[
                "x-account-id",
                "x-tenant-id",
                "x-user-id",
                "x-forwarded-user",
                "x-original-url",
            ]);
            headers.push((header, chance.of(foreign).clone()));
            is_swapped = true;
        }
    }
    sample.path = segments.join("/");
    if !query.is_empty() {
        sample.path = format!("{}?{query}", sample.path);
    }
    Swapped { sample, headers }
}

/// Puts foreign names in place of texts, but not of secrets.
fn swap_in(chance: &mut Chance, value: &mut Value, foreign: &[String]) -> bool {
    match value {
        Value::Object(members) => {
            let is_secret =
                |name: &str| ["password", "token", "secret", "key"].iter().any(|part| name.contains(part));
            let mut is_swapped = false;
            for (_, value) in members.iter_mut().filter(|(name, _)| !is_secret(&name.to_lowercase())) {
                is_swapped |= swap_in(chance, value, foreign);
            }
            is_swapped
        }
        Value::Array(items) => {
            items.iter_mut().fold(false, |swapped, item| swap_in(chance, item, foreign) | swapped)
        }
        Value::String(text) if chance.one_in(2) => {
            chance.of(foreign).clone_into(text);
            true
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Swapped {
    fn ask(&self, client: &Client, node: usize, token: &str) -> Ask {
        let mut sample = self.sample.clone();
        if self.headers.iter().any(|(name, _)| *name == "x-account-id") {
            sample.account = None;
        }
        let ask = sample.ask(client, node).by(self.sample.proof(token));
        self.headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
    }

    /// All that it says.
    fn text(&self) -> String {
        let body = self.sample.body.as_ref().map(Value::to_string).unwrap_or_default();
        format!("{} {} {body} {:?}", self.sample.method, self.sample.path, self.headers)
    }
}

/// Whether an answer tells something of the other account that the request did not say.
fn told<'f>(reply: &Reply, asked: &str, foreign: &'f [String]) -> Option<&'f String> {
    let said = String::from_utf8_lossy(&reply.body).into_owned() + &format!("{:?}", reply.headers);
    foreign.iter().find(|name| !asked.contains(name.as_str()) && has_word(&said, name))
}

/// Whether a text has a name that does not go on: `person-1` is not in `person-12`.
fn has_word(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        !is_part(text[at + name.len()..].chars().next()) && !is_part(text[..at].chars().next_back())
    })
}

/// Routes that take credentials instead of a token, where another account's name is no attack, and those that show the
/// same to all.
fn takes_a_token(route: &Route) -> bool {
    let mut open = include_str!("../it/open_routes.golden").lines();
    !open.any(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == route.name))
}

#[tokio::test]
async fn z2_nothing_of_another_account_is_seen_or_changed_whatever_ids_are_named() {
    let world = World::new();
    let (account, other) = (world.account().await, world.account().await);
    let mut own = Things::make(&world, &account).await;
    let foreign_things = Things::make(&world, &other).await;
    let (foreign, mut untold) = names_of(&foreign_things);
    untold.extend(foreign.clone());
    let (_, foreign_key, _) = foreign_things.holder.secrets();
    let foreign_holder = account_of(&foreign_key).await;
    let before = [world.digest(&other.id).await, world.digest(&foreign_holder).await];
    let mut chance = Chance(number("CONCLAVE_SEED", SEED));
    let requests = usize::try_from(number("CONCLAVE_SWAPS", REQUESTS as u64)).unwrap();
    let routes: Vec<Route> = Api::routes().into_iter().filter(takes_a_token).collect();
    let (mut sent, mut refused) = (0, 0);
    while sent < requests {
        let some: Vec<(&Route, Swapped)> = (0..AT_ONCE)
            .map(|_| {
                let route = chance.of(&routes);
                (route, swap(&mut chance, &own.sample(route), &foreign))
            })
            .collect();
        let asks = some
            .iter()
            .enumerate()
            .map(|(node, (_, swapped))| swapped.ask(&world, sent + node, &account.token).into_future());
        let replies = join_all(asks).await;
        for ((route, swapped), reply) in some.iter().zip(&replies) {
            let asked = swapped.text();
            assert!(reply.status < 500, "{asked}: {}", reply.json);
            if let Some(name) = told(reply, &asked, &untold) {
                panic!("{asked} is told {name}: {}", String::from_utf8_lossy(&reply.body));
            }
            refused += usize::from(reply.status >= 400);
            // What was the request's own may be gone now, and may be called as something foreign is.
            if reply.status < 300 && route.method != "GET" {
                untold.retain(|name| !asked.contains(name.as_str()));
                own.renew(&world, route).await;
            }
        }
        sent += AT_ONCE;
    }
    assert!(untold.len() >= 5, "{untold:?}");
    let after = [world.digest(&other.id).await, world.digest(&foreign_holder).await];
    assert_eq!(after, before, "another account was touched");
    // Most were understood, and refused for what they name; and some of the rest did something to what is one's own.
    assert!(refused > sent / 2 && refused < sent, "{refused} of {sent}");
}

/// The oracle of the fuzzing sees what it is there for.
#[test]
fn z2_what_is_told_is_seen() {
    for (text, is_there) in [
        ("{\"id\":\"person-1\"}", true),
        ("person-12", false),
        ("xperson-1", false),
        ("person-1@stories.test", true),
        ("a person-1", true),
        ("person-", false),
    ] {
        assert_eq!(has_word(text, "person-1"), is_there, "{text}");
    }
}

/// What a client must not choose, for the surface that passes over what it does not read.
fn not_theirs(account: &Account) -> Map<String, Value> {
    let body = json!({
        "roles": ["admin"], "scopes": ["*"], "permissions": ["*"], "enabled": false, "isRoot": true, "is_root": true,
        "id": "00000000-0000-4000-8000-000000000000", "accountId": account.id, "account": account.id,
        "emailVerified": true, "lockedUntil": null, "passwordHash": "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA",
        "password_hash": "x", "status": "active", "createdAt": "2000-01-01T00:00:00Z", "sub": account.root,
        "kind": "root", "tokenLifetime": 999_999, "mfa": false, "username": "root",
    });
    body.as_object().unwrap().clone()
}

#[tokio::test]
async fn z4_what_a_body_must_not_say_changes_nothing() {
    let world = World::new();
    let account = world.account().await;
    let desk = Desk::make(&world, &account).await;
    let (of_admin, of_user) = (desk.admin.access.clone(), desk.user.access.clone());
    let at = |node, method: &str, path: &str, token: &str| {
        world.ask(node, method, path).header("x-account-id", &account.id).by(token)
    };
    let path = format!("/api/v1/admin/users/{}", desk.user.id);
    let shown = at(0, "GET", &path, &of_admin).await.is(200).json;
    for (node, (method, route)) in [
        ("PUT", "/api/v1/users/profile"),
        ("POST", "/api/v1/auth/introspect"),
        ("POST", "/api/v1/auth/revoke"),
        ("POST", "/api/v1/users/change-password"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = not_theirs(&account);
        if route.ends_with("profile") {
            // What a user may say of itself, as it is.
            body.insert("firstName".to_owned(), shown["firstName"].clone());
        }
        assert!(
            Api::routes().iter().any(|there| there.method == method && there.pattern == route),
            "{route}"
        );
        at(node, method, route, &of_user).json(&Value::Object(body)).await;
        let now = at(node + 1, "GET", &path, &of_admin).await.is(200).json;
        for member in ["id", "username", "email", "roles", "enabled", "createdAt"] {
            assert_eq!(now[member], shown[member], "{method} {route} changed {member}");
        }
    }
    // Still the same user with the same few rights.
    at(0, "GET", "/api/v1/users/profile", &of_user).await.is(200);
    at(1, "GET", "/api/v1/admin/users", &of_user).await.is(403);
    // Whoever makes a client does not choose its secret, nor what only the native API gives.
    let mut body = not_theirs(&account);
    body.remove("tokenLifetime");
    body.insert("clientId".to_owned(), json!(format!("c-{}", crate::harness::unique())));
    body.insert("scopes".to_owned(), json!(["read:data"]));
    body.insert("roles".to_owned(), json!([]));
    body.insert("clientSecret".to_owned(), json!("chosen by the caller"));
    let made = at(2, "POST", "/api/v1/admin/clients", &of_admin).json(&Value::Object(body)).await;
    assert!(made.status == 400 || made.text("clientSecret") != "chosen by the caller", "{}", made.json);
    for word in ["argon2", "passwordHash", "password_hash"] {
        assert!(!made.json.to_string().contains(word), "{}", made.json);
    }
}

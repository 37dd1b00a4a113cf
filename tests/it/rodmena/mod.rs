//! `/api`, the authorization service by client key, row by row of contract part 3, on each of three nodes.

mod audit;
mod checks;
mod keys;
mod library;
mod memberships;
mod native;
mod permissions;
mod races;
mod roles;
mod rotation;
mod shapes;
mod strict;
mod user_keys;
mod workflows;

use conclave::api::routes::Route;
use conclave::auth::client_key::ClientKey;
use conclave::auth::mint::Mint;
use conclave::clock::{Clock, LogTime, SystemClock, rfc3339};
use conclave::domain::holder;
use serde_json::{Value, json};

use crate::client::{Ask, Client, Reply};
use crate::harness::World;
use crate::requests::Sample;

/// A client key that nobody has.
pub(crate) fn new_key() -> String {
    Mint::random().client_key().unwrap().text().expose().clone()
}

/// A moment from now, as clients write it.
pub(crate) fn in_days(days: u64) -> String {
    let text = rfc3339(LogTime(SystemClock.now().0 + days * 86_400_000));
    text.trim_end_matches('Z').to_owned()
}

/// Whoever holds a client key. Names a request to one node after another.
#[derive(Clone, Debug)]
struct Key<'c> {
    client: &'c Client,
    text: String,
}

impl<'c> Key<'c> {
    fn new(client: &'c Client) -> Self {
        Self { client, text: new_key() }
    }

    fn with(client: &'c Client, text: &str) -> Self {
        Self { client, text: text.to_owned() }
    }

    fn ask(&self, node: usize, method: &str, path: &str) -> Ask {
        self.client.ask(node, method, format!("/api{path}")).by(&self.text)
    }

    async fn get(&self, node: usize, path: &str) -> Reply {
        self.ask(node, "GET", path).await.is(200)
    }

    /// As the real clients send it: it says JSON and has no body.
    async fn post(&self, node: usize, path: &str) -> Reply {
        self.ask(node, "POST", path).header("content-type", "application/json").await.is(200)
    }

    async fn delete(&self, node: usize, path: &str) -> Reply {
        self.ask(node, "DELETE", path).await.is(200)
    }

    async fn send(&self, node: usize, method: &str, path: &str, body: Value) -> Reply {
        self.ask(node, method, path).json(&body).await
    }

    /// A role with these permissions and members.
    async fn role(&self, name: &str, permissions: &[&str], users: &[&str]) {
        yes(&self.post(0, &format!("/role/{name}")).await);
        for permission in permissions {
            yes(&self.post(1, &format!("/permission/{name}/{permission}")).await);
        }
        for user in users {
            yes(&self.post(2, &format!("/membership/{user}/{name}")).await);
        }
    }

    /// A key for a user: its id and text.
    async fn user_key(&self, user: &str) -> (String, String) {
        let made = data(&self.post(1, &format!("/apikeys/user/{user}")).await);
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        (text("key_id"), text("api_key"))
    }
}

/// Fails the test unless the answer is a bare yes.
#[track_caller]
fn yes(reply: &Reply) {
    assert_eq!(reply.json, json!({"result": true}));
}

/// Fails the test unless the answer is a bare no, with a 200.
#[track_caller]
fn no(reply: &Reply) {
    assert_eq!((reply.status, &reply.json), (200, &json!({"result": false})));
}

/// The data of an envelope, which must be one.
#[track_caller]
fn data(reply: &Reply) -> Value {
    let json = &reply.json;
    assert_eq!((&json["success"], &json["code"]), (&json!(true), &json!(200)), "{json}");
    assert!(json["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    is_naive(json["timestamp"].as_str().unwrap());
    assert_eq!(json.as_object().unwrap().len(), 5, "{json}");
    json["data"].clone()
}

/// Fails the test unless this is UTC without a letter that says so, with microseconds.
#[track_caller]
fn is_naive(text: &str) {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000");
}

/// The stable code of a refusal.
#[track_caller]
fn code(reply: &Reply) -> &str {
    reply.json["details"]["code"].as_str().unwrap_or_else(|| panic!("{}", reply.json))
}

/// The account that belongs to a client key.
pub(crate) async fn account_of(key: &str) -> String {
    let hash = ClientKey::parse(key).unwrap().hash();
    holder::account_of(&World::view(0).await, &hash).unwrap().unwrap().to_string()
}

/// An account that belongs to a client key, with one of each thing, for tests that walk over all routes.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    key: String,
    user_key: (String, String),
    recovery: String,
    /// Of another account, where nothing was given out for the case that the key is lost.
    untold: String,
}

impl Holder {
    pub(crate) async fn make(client: &Client) -> Self {
        let key = Key::new(client);
        key.role("admin", &["deploy"], &["john"]).await;
        let user_key = key.user_key("john").await;
        let recovery =
            data(&key.post(0, "/keys/get_rotate_key").await)["rotate_key"].as_str().unwrap().to_owned();
        let untold = Key::new(client);
        untold.role("admin", &[], &[]).await;
        Self { key: key.text.clone(), user_key, recovery, untold: untold.text }
    }

    /// The id of the key of its user.
    pub(crate) fn user_key_id(&self) -> &str {
        &self.user_key.0
    }

    /// The key of its user, the client key, and what replaces that when it is lost.
    pub(crate) fn secrets(&self) -> (String, String, String) {
        (self.user_key.1.clone(), self.key.clone(), self.recovery.clone())
    }

    /// Brings about that the route has something to change.
    pub(crate) async fn prepare(&self, client: &Client, route: &Route) {
        let key = Key::with(client, &self.key);
        match (route.method, route.pattern) {
            ("POST", "/api/role/{role}") => key.delete(0, "/role/admin").await,
            ("POST", "/api/permission/{role}/{permission}") => {
                key.delete(0, "/permission/admin/deploy").await
            }
            ("POST", "/api/membership/{user}/{role}") => key.delete(0, "/membership/john/admin").await,
            ("PUT", "/api/settings") => {
                key.send(0, "PUT", "/settings", json!({"strict_users": true})).await.is(200)
            }
            _ => return,
        };
    }

    /// A request that succeeds if its sender may, with only what must be there.
    pub(crate) fn sample(&self, route: &Route) -> Sample {
        let path = route
            .pattern
            .replace("{role}", "admin")
            .replace("{permission}", "deploy")
            .replace("{workflow}", "deploy")
            .replace("{user}", "john")
            .replace("{key}", &self.user_key.0);
        let body = match (route.method, route.pattern) {
            ("POST", "/api/workflows/users" | "/api/workflows/user/{user}") => json!({"steps": ["deploy"]}),
            ("POST", "/api/apikeys/user/{user}") => json!({"label": "l"}),
            ("PATCH", _) => json!({"expires_at": in_days(30)}),
            ("POST", "/api/apikeys/validate") => json!({"api_key": self.user_key.1}),
            ("POST", "/api/apikeys/check_permission") => {
                json!({"api_key": self.user_key.1, "permission": "deploy"})
            }
            ("PUT", "/api/settings") => json!({"strict_users": false}),
            ("POST", "/api/keys/recover") => json!({"rotate_key": self.recovery}),
            _ => Value::Null,
        };
        let body = Some(body).filter(|body| !body.is_null());
        let key = if route.pattern.ends_with("/get_rotate_key") { &self.untold } else { &self.key };
        Sample { name: route.name, method: route.method, path, body, key: Some(key.clone()), account: None }
    }
}

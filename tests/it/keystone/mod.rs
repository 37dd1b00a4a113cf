//! `/api/v1`, the token service, row by row of contract part 4, on each of three nodes: what is written on one is
//! read on the others.

mod admin_clients;
mod admin_users;
mod bootstrap;
mod claims;
mod errors;
mod families;
mod lockout;
mod races;
mod revocation;
mod service;
mod time;
mod tokens;
mod trail;
mod users;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conclave::api::routes::Route;
use conclave::auth::kek::Kek;
use serde_json::{Value, json};

use crate::client::{Ask, Client, Reply};
use crate::harness::{Account, PASSWORD, World, unique};
use crate::requests::Sample;

/// A password that the policy of this surface takes.
pub(crate) const SECRET: &str = "SecurePassword123!";
/// And another.
const OTHER_SECRET: &str = "NewSecurePassword456!";

const AT: &str = "/api/v1";

/// The default account, by its administrator.
struct Service<'c> {
    client: &'c Client,
    admin: String,
}

/// Somebody who can sign in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// An OAuth client.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) secret: String,
}

impl<'c> Service<'c> {
    /// Makes an administrator for the test.
    async fn new(world: &'c World) -> Self {
        let operator = Kek::read_file(World::key_file()).unwrap().operator_token();
        let name = format!("boss-{}", unique());
        let body = json!({"username": name, "password": PASSWORD});
        world.post(0, "/v1/cluster/admins").by(operator.expose()).json(&body).await.is(201);
        let signed = sign_in(world, 1, &name, PASSWORD).await.is(200);
        Self { client: world, admin: signed.text("access_token") }
    }

    /// A request of the administrator.
    fn ask(&self, node: usize, method: &str, path: &str) -> Ask {
        self.client.ask(node, method, format!("{AT}{path}")).by(&self.admin)
    }

    async fn send(&self, node: usize, method: &str, path: &str, body: Value) -> Reply {
        self.ask(node, method, path).json(&body).await
    }

    /// A user with these roles, signed in.
    async fn user(&self, roles: &[&str]) -> Login {
        let name = format!("user-{}", unique());
        let body = json!({"username": name, "email": mail(&name), "password": SECRET, "roles": roles});
        let made = self.send(0, "POST", "/admin/users", body).await.is(201);
        let signed = sign_in(self.client, 1, &name, SECRET).await.is(200);
        Login::new(made.text("id"), &name, &signed)
    }

    /// A client with these scopes and audiences.
    async fn program(&self, scopes: &[&str], audiences: &[&str]) -> Program {
        let client_id = format!("program-{}", unique());
        let body = json!({"clientId": client_id, "scopes": scopes, "audiences": audiences});
        Program::new(&self.send(0, "POST", "/admin/clients", body).await.is(201))
    }

    /// A token of a client.
    async fn token_of(&self, node: usize, program: &Program, more: &Value) -> Reply {
        self.client.post(node, format!("{AT}/auth/service-token")).json(&program.asks(more)).await
    }
}

impl Login {
    fn new(id: String, name: &str, signed: &Reply) -> Self {
        let (access, refresh) = (signed.text("access_token"), signed.text("refresh_token"));
        Self { id, name: name.to_owned(), access, refresh }
    }
}

impl Program {
    fn new(made: &Reply) -> Self {
        Self { id: made.text("id"), client_id: made.text("clientId"), secret: made.text("clientSecret") }
    }

    /// What it asks for a token with.
    fn asks(&self, more: &Value) -> Value {
        let mut body = json!({
            "grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.secret,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }
}

fn mail(name: &str) -> String {
    format!("{name}@stories.test")
}

/// A sign-in to the default account.
async fn sign_in(client: &Client, node: usize, username: &str, password: &str) -> Reply {
    let body = json!({"grant_type": "password", "username": username, "password": password});
    client.post(node, format!("{AT}/auth/token")).json(&body).await
}

/// What a token says, unchecked.
#[track_caller]
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Fails the test unless the reply is a refusal in the shape of the surface, with this status and code.
#[track_caller]
fn refused(reply: Reply, status: u16, error: &str) -> Reply {
    let reply = reply.is(status);
    let body = &reply.json;
    assert_eq!(body["error"], error, "{body}");
    assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    assert!(body["timestamp"].as_str().is_some_and(|text| text.ends_with('Z')), "{body}");
    assert!(body["path"].as_str().is_some_and(|path| path.starts_with(AT)), "{body}");
    reply
}

/// The details of a refusal, one text for each fault.
#[track_caller]
fn details(reply: &Reply) -> Vec<&str> {
    reply.json["details"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Fails the test unless these are the members of an object, and no others.
#[track_caller]
fn has_members(value: &Value, members: &[&str]) {
    let mut found: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = members.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

/// An account of its own as the token service shows it, with one of each thing, for tests that walk over all
/// routes.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    account: Account,
    pub(crate) admin: Login,
    pub(crate) user: Login,
    pub(crate) client: Program,
}

impl Desk {
    pub(crate) async fn make(client: &Client, account: &Account) -> Self {
        for (name, permissions) in [
            (
                "admin",
                &["*", "admin:users", "admin:clients", "admin:system", "read:profile", "write:profile"][..],
            ),
            ("user", &["read:profile", "write:profile"]),
        ] {
            let body = json!({"name": name, "permissions": permissions});
            let made = account.send(client, 0, "POST", "/roles", body).await;
            assert!(matches!(made.status, 201 | 409), "{}", made.json);
        }
        let admin = Self::login(client, account, &["admin"]).await;
        let user = Self::login(client, account, &["user"]).await;
        let program = Self::program(client, account, &admin).await;
        Self { account: account.clone(), admin, user, client: program }
    }

    /// A user of the account with these roles, signed in here.
    pub(crate) async fn login(client: &Client, account: &Account, roles: &[&str]) -> Login {
        let name = format!("clerk-{}", unique());
        let body = json!({"name": name, "email": mail(&name), "password": PASSWORD, "roles": roles});
        let made = account.send(client, 0, "POST", "/users", body).await.is(201);
        Login::new(made.text("id"), &name, &Self::sign_in(client, account, &name).await)
    }

    /// A sign-in of somebody of the account.
    pub(crate) async fn sign_in(client: &Client, account: &Account, username: &str) -> Reply {
        let body = json!({"grant_type": "password", "username": username, "password": PASSWORD});
        let ask = client.post(1, format!("{AT}/auth/token")).header("x-account-id", &account.id);
        ask.json(&body).await.is(200)
    }

    async fn program(client: &Client, account: &Account, admin: &Login) -> Program {
        let body = json!({"clientId": format!("program-{}", unique()), "scopes": ["read:data"]});
        let ask = client.post(2, format!("{AT}/admin/clients")).header("x-account-id", &account.id);
        Program::new(&ask.by(&admin.access).json(&body).await.is(201))
    }

    /// The token of a program of the account.
    pub(crate) async fn program_token(&self, client: &Client) -> String {
        let ask = client.post(0, format!("{AT}/auth/service-token")).header("x-account-id", &self.account.id);
        ask.json(&self.client.asks(&json!({}))).await.is(200).text("access_token")
    }

    /// Makes anew what the route names and could take away.
    pub(crate) async fn renew(&mut self, client: &Client, route: &Route) {
        // Somebody who asked before may have ended all its sessions.
        self.admin = Self::login(client, &self.account, &["admin"]).await;
        if route.pattern.contains("{client_id}") || route.pattern.ends_with("service-token") {
            self.client = Self::program(client, &self.account, &self.admin).await;
        } else {
            self.user = Self::login(client, &self.account, &["user"]).await;
        }
    }

    /// A request that succeeds if its sender may, with only what must be there.
    pub(crate) fn sample(&self, route: &Route) -> Sample {
        let path = route.pattern.replace("{user_id}", &self.user.id).replace("{client_id}", &self.client.id);
        let name = format!("new-{}", unique());
        let body = match (route.method, route.pattern.strip_prefix(AT).unwrap()) {
            ("POST", "/auth/token") => {
                json!({"grant_type": "password", "username": self.user.name, "password": PASSWORD})
            }
            ("POST", "/auth/refresh") => json!({"refresh_token": self.user.refresh}),
            ("POST", "/auth/service-token") => self.client.asks(&json!({})),
            ("POST", "/auth/revoke" | "/auth/introspect") => json!({"token": self.user.access}),
            ("POST", "/users/register" | "/admin/users") => {
                json!({"username": name, "email": mail(&name), "password": SECRET})
            }
            ("POST", "/users/change-password") => {
                json!({"currentPassword": PASSWORD, "newPassword": SECRET, "confirmPassword": SECRET})
            }
            ("PUT", "/users/profile" | "/admin/users/{user_id}") => json!({"firstName": name}),
            ("POST", "/admin/clients") => json!({"clientId": name}),
            ("PUT", "/admin/clients/{client_id}") => json!({"scopes": ["read:data", name]}),
            _ => Value::Null,
        };
        let body = Some(body).filter(|body| !body.is_null());
        let (key, account) = (Some(self.admin.access.clone()), Some(self.account.id.clone()));
        Sample { name: route.name, method: route.method, path, body, key, account }
    }
}

//! One good request for each route there is. A route that is missing here fails the tests that use this.

use conclave::api::routes::Route;
use serde_json::{Value, json};

use crate::client::{Ask, Client};
use crate::harness::{Account, Member, NEW_PASSWORD, PASSWORD, unique};
use crate::keystone::Desk;
use crate::rodmena::Holder;

/// A request that would succeed if its sender may.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    /// What proves whoever may send it, where that is not the token of somebody who is signed in to the native API.
    pub(crate) key: Option<String>,
    /// The account that it is about, where only a header says so.
    pub(crate) account: Option<String>,
}

impl Sample {
    /// What the route takes from the owner of all: the account's token, or the client key.
    pub(crate) fn proof<'p>(&'p self, token: &'p str) -> &'p str {
        self.key.as_deref().unwrap_or(token)
    }

    /// The request, without a token.
    pub(crate) fn ask(&self, client: &Client, node: usize) -> Ask {
        let mut ask = client.ask(node, self.method, &self.path);
        if let Some(account) = &self.account {
            ask = ask.header("x-account-id", account);
        }
        match &self.body {
            Some(body) => ask.json(body),
            None => ask,
        }
    }
}

/// What the parameters of a path stand for, and what bodies speak of.
#[derive(Clone, Debug)]
pub(crate) struct Things {
    pub(crate) account: Account,
    pub(crate) user: Member,
    pub(crate) service: Member,
    pub(crate) role: String,
    /// Of an account of its own, which belongs to a client key.
    pub(crate) holder: Holder,
    /// Of the account too, as the token service knows them.
    pub(crate) keystone: Desk,
}

impl Things {
    /// Makes one of each.
    pub(crate) async fn make(client: &Client, account: &Account) -> Self {
        let role = format!("role-{}", unique());
        account.role(client, &role, &["iam:roles:read"]).await;
        let service = account.service(client, &format!("robot-{}", unique()), &[]).await;
        let (user, holder) = (person(client, account).await, Holder::make(client).await);
        let keystone = Desk::make(client, account).await;
        Self { account: account.clone(), user, service, role, holder, keystone }
    }

    /// Makes anew what the route names and could take away.
    pub(crate) async fn renew(&mut self, client: &Client, route: &Route) {
        if route.method == "GET" {
            return;
        }
        if of_client_key(route) {
            self.holder = Holder::make(client).await;
            return;
        }
        let account = self.account.clone();
        if of_keystone(route) {
            self.keystone.renew(client, route).await;
            return;
        }
        let is_about_user = ["{user}", "{session}", "tokens/re"];
        if is_about_user.iter().any(|part| route.pattern.contains(part))
            || route.pattern.ends_with("{account}/password")
        {
            self.user = person(client, &account).await;
        }
        if route.pattern.contains("{service}") {
            self.service = account.service(client, &format!("robot-{}", unique()), &[]).await;
        }
        if route.pattern.contains("/roles/{role}") && !route.pattern.contains("/{user}/") {
            self.role = format!("role-{}", unique());
            account.role(client, &self.role, &["iam:roles:read"]).await;
        }
    }

    /// The request for a route, about these things.
    pub(crate) fn sample(&self, route: &Route) -> Sample {
        if of_client_key(route) {
            return self.holder.sample(route);
        }
        if of_keystone(route) {
            return self.keystone.sample(route);
        }
        let key = self.service.key.as_ref().map(|(id, _)| id.as_str()).unwrap_or_default();
        let path = route
            .pattern
            .replace("{account}", &self.account.id)
            .replace("{user}", &self.user.id)
            .replace("{service}", &self.service.id)
            .replace("{role}", &self.role)
            .replace("{session}", &self.user.session)
            .replace("{node}", if is_harmless(route) { "1" } else { ABSENT_TEXT })
            .replace("{token}", "00000000-0000-4000-8000-000000000000")
            .replace("{key}", key)
            .replace("{file}", "swagger-ui.css");
        let query = match route.name {
            "GET /v1/accounts/{account}/check" => format!("?permission=x&user={}", self.user.id),
            "GET /v1/accounts/{account}/who-can" => "?permission=x".to_owned(),
            _ => String::new(),
        };
        let path = path + &query;
        let body = self.body(route);
        Sample { name: route.name, method: route.method, path, body, key: None, account: None }
    }

    /// Only what must be there, so that leaving anything out is wrong.
    fn body(&self, route: &Route) -> Option<Value> {
        let name = format!("n{}", unique());
        let email = format!("{name}@stories.test");
        let account = &self.account;
        let credentials = json!({"email": account.email, "password": PASSWORD});
        let verb = route.pattern.rsplit('/').next().unwrap();
        Some(match (route.method, verb) {
            ("GET" | "DELETE", _)
            | (
                "POST",
                "disable" | "enable" | "signing-keys" | "reload" | "restore" | "promote" | "demote"
                | "rotate",
            )
            | ("PUT", "{role}") => {
                return None;
            }
            ("POST", _) if route.pattern.starts_with("/v1/cluster/members/") && verb == "revoke" => {
                return None;
            }
            ("POST", "setup") if route.pattern == "/v1/cluster/setup" => return None,
            ("POST", "setup") => json!({"secret": "none", "username": name, "password": PASSWORD}),
            ("POST", "replace") => json!({"with": 1}),
            ("POST", "step-down") => json!({"to": ABSENT}),
            ("POST", "join-tokens") => json!({"expires_in_s": 60}),
            ("POST", "SignUpAsRootUser" | "signUpAsRootUser" | "accounts") => {
                json!({"email": email, "password": PASSWORD})
            }
            ("POST", "SignInAsRootUser" | "signInAsRootUser") => credentials,
            ("POST", "SignUpAsIAMUser" | "signUpAsIAMUser") => {
                json!({"accountId": account.id, "email": email, "password": PASSWORD})
            }
            ("POST", "SignInAsIAMUser" | "signInAsIAMUser") => {
                let email = format!("{}@stories.test", self.user.name);
                json!({"accountId": account.id, "email": email, "password": PASSWORD})
            }
            ("POST", "admins") => json!({"username": name, "password": PASSWORD}),
            ("POST", "sign-in") if route.pattern == "/v1/sign-in" => credentials,
            ("POST", "sign-in") if route.pattern.contains("service-accounts") => {
                json!({"api_key": self.service.key.as_ref().unwrap().1})
            }
            ("POST", "sign-in") => json!({"login": account.email, "password": PASSWORD}),
            ("POST", "introspect" | "validate" | "revoke") => json!({"token": self.user.token}),
            ("POST", "refresh") => json!({"refresh_token": self.user.refresh}),
            ("POST", "check") if route.pattern.contains("/workflows/") => {
                json!({"steps": ["x"], "user": self.user.id})
            }
            ("POST", "check") => json!({"permission": "x", "user": self.user.id}),
            ("POST", "batch") => json!({"checks": [{"permission": "x", "user": self.user.id}]}),
            ("POST", "users") => json!({"name": name, "password": PASSWORD}),
            ("POST", "roles" | "service-accounts") => json!({"name": name}),
            ("POST", "keys") => json!({"label": "l"}),
            ("POST", "who") => json!({"steps": ["x"]}),
            ("POST", "transactions") => json!({"actions": [{"action": "create_role", "name": name}]}),
            ("PATCH", "{user}") => json!({"first_name": "F"}),
            ("PATCH", "settings") => json!({"lockout": {"failures": 7, "lock_for_s": 60 + unique()}}),
            ("PATCH", "{role}") => json!({"description": "D"}),
            ("PUT", "{user}") => json!({"firstName": "F"}),
            ("POST", "password") => {
                let login = &self.user.name;
                json!({"login": login, "current_password": PASSWORD, "new_password": NEW_PASSWORD})
            }
            ("POST", "password-strength") => json!({"password": PASSWORD}),
            ("PUT", "password") => json!({"new_password": NEW_PASSWORD}),
            (method, _) => panic!("no sample request for {method} {}", route.pattern),
        })
    }
}

/// A node that no cluster has. The cluster is shared: what would change its members is asked about this one,
/// and refused to operators for that reason alone.
const ABSENT: u64 = 99;
const ABSENT_TEXT: &str = "99";

/// Whether a route about a node changes nothing of a cluster of voters that others need.
fn is_harmless(route: &Route) -> bool {
    route.pattern.ends_with("/promote") || route.pattern.ends_with("/rotate")
}

/// Whether the route is of the surface that takes a client key.
pub(crate) fn of_client_key(route: &Route) -> bool {
    route.pattern.starts_with("/api/") && !route.pattern.starts_with("/api/v1/")
}

/// Whether the route is of the token service.
pub(crate) fn of_keystone(route: &Route) -> bool {
    route.pattern.starts_with("/api/v1/")
}

/// A user with a name and an address, signed in.
async fn person(client: &Client, account: &Account) -> Member {
    let name = format!("person-{}", unique());
    let body = json!({"name": name, "email": format!("{name}@stories.test"), "password": PASSWORD});
    account.send(client, 0, "POST", "/users", body).await.is(201);
    account.member(client, &name).await
}

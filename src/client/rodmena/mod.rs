//! The verbs of RODMENA `auth` (seed 003, contract part 3), on a cluster.
//!
//! They have the names and arguments of its `EnhancedAuthClient`. What differs: failures are errors and not
//! values; there is a breaker for each node, which no 4xx trips; a node that fails is left for the next.
//!
//! ```no_run
//! use conclave::client::rodmena::AuthClient;
//!
//! # async fn run() -> Result<(), conclave::client::Error> {
//! let key = uuid::Uuid::new_v4().to_string();
//! let client = AuthClient::new(key, ["http://127.0.0.1:8080", "http://127.0.0.1:8081"])?;
//! client.create_role("admin").await?;
//! client.add_permission("admin", "manage_users").await?;
//! client.add_membership("john_doe", "admin").await?;
//! assert!(client.user_has_permission("john_doe", "manage_users").await?);
//! # Ok(())
//! # }
//! ```

mod api_keys;
mod audit;
mod keys;
mod settings;
mod wire;
mod workflows;

pub use api_keys::{ApiKeyCheck, ApiKeyEntry, ApiKeys, NewApiKey, Revoked, ShownApiKey};
pub use audit::{AuditEntry, AuditPage};
pub use keys::{Recovered, Rotated};
pub use settings::Settings;
pub use workflows::{Run, Runner, Runners};

use std::fmt;

use reqwest::Method;
use serde::Deserialize;

use super::path::Target;
use super::proof::Proof;
use super::transport::Raw;
use super::{Call, Client, Error, Read, Write};
use crate::secret::Secret;
use wire::{bare, data};

/// A client of one tenant: whoever has its key.
#[derive(Clone)]
pub struct AuthClient {
    client: Client,
    proof: Proof,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Role {
    /// Its name.
    pub role: String,
    /// What it is for.
    pub description: Option<String>,
}

/// That a user has a role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// Who.
    pub user: String,
    /// Which.
    pub role: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct RoleName {
    role: String,
}

#[derive(Deserialize)]
struct HasPermission {
    has_permission: bool,
}

#[derive(Deserialize)]
struct Permissions {
    permissions: Vec<Named>,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Membership>,
}

#[derive(Deserialize)]
struct Done {
    result: bool,
}

#[derive(Deserialize)]
struct Pong {
    message: String,
}

impl fmt::Debug for AuthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthClient").field("client", &self.client).finish_non_exhaustive()
    }
}

impl AuthClient {
    /// The tenant of this key, a version 4 UUID, on these nodes.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn new(
        api_key: impl Into<String>,
        service_urls: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, Error> {
        Ok(Self::with(Client::new(service_urls)?, Secret::new(api_key.into())))
    }

    /// The tenant of this key, through the connections of this client.
    #[must_use]
    pub fn with(client: Client, api_key: Secret<String>) -> Self {
        Self { client, proof: Proof::Token(api_key) }
    }

    /// Whether a node answers. `PONG`.
    pub fn ping(&self) -> Call<String, Read> {
        let read = |raw| Ok(data::<Pong>(raw)?.message);
        Call::reading(&self.client, &Proof::Nobody, Method::GET, Target::new("/ping"), read)
    }

    /// Makes a role. `true` also where it was there.
    pub fn create_role(&self, role: &str) -> Call<bool, Write> {
        self.write(Method::POST, at("/api/role", [role]), bare)
    }

    /// Deletes a role, its members and permissions. `false` where there was none.
    pub fn delete_role(&self, role: &str) -> Call<bool, Write> {
        self.write(Method::DELETE, at("/api/role", [role]), done)
    }

    /// All roles.
    pub fn list_roles(&self) -> Call<Vec<Role>, Read> {
        self.get(Target::new("/api/roles"), bare)
    }

    /// Gives a user a role. `false` where there is no such role.
    pub fn add_membership(&self, user: &str, role: &str) -> Call<bool, Write> {
        self.write(Method::POST, at("/api/membership", [user, role]), bare)
    }

    /// Takes a role from a user. `true` also where it was not theirs.
    pub fn remove_membership(&self, user: &str, role: &str) -> Call<bool, Write> {
        self.write(Method::DELETE, at("/api/membership", [user, role]), bare)
    }

    /// Whether a user has a role.
    pub fn has_membership(&self, user: &str, role: &str) -> Call<bool, Read> {
        self.get(at("/api/membership", [user, role]), has_permission)
    }

    /// Gives a role a permission. `false` where there is no such role.
    pub fn add_permission(&self, role: &str, name: &str) -> Call<bool, Write> {
        self.write(Method::POST, at("/api/permission", [role, name]), bare)
    }

    /// Takes a permission from a role. `true` also where it had none.
    pub fn remove_permission(&self, role: &str, name: &str) -> Call<bool, Write> {
        self.write(Method::DELETE, at("/api/permission", [role, name]), bare)
    }

    /// Whether a role has a permission.
    pub fn has_permission(&self, role: &str, name: &str) -> Call<bool, Read> {
        self.get(at("/api/permission", [role, name]), bare)
    }

    /// Whether a user has a permission, by any role.
    pub fn user_has_permission(&self, user: &str, name: &str) -> Call<bool, Read> {
        self.get(at("/api/has_permission", [user, name]), has_permission)
    }

    /// What a user may do.
    pub fn get_user_permissions(&self, user: &str) -> Call<Vec<String>, Read> {
        let read = |raw| Ok(names(data::<Permissions>(raw)?.permissions));
        self.get(at("/api/user_permissions", [user]), read)
    }

    /// What a role lets its members do.
    pub fn get_role_permissions(&self, role: &str) -> Call<Vec<String>, Read> {
        self.get(at("/api/role_permissions", [role]), |raw| Ok(names(data(raw)?)))
    }

    /// The roles of a user.
    pub fn get_user_roles(&self, user: &str) -> Call<Vec<Membership>, Read> {
        self.get(at("/api/user_roles", [user]), bare)
    }

    /// Who has a role.
    pub fn get_role_members(&self, role: &str) -> Call<Vec<Membership>, Read> {
        self.get(at("/api/members", [role]), bare)
    }

    /// Which roles have a permission.
    pub fn which_roles_can(&self, name: &str) -> Call<Vec<String>, Read> {
        let read = |raw| Ok(bare::<Vec<RoleName>>(raw)?.into_iter().map(|row| row.role).collect());
        self.get(at("/api/which_roles_can", [name]), read)
    }

    /// Who has a permission: a row for each role that gives it.
    pub fn which_users_can(&self, name: &str) -> Call<Vec<Membership>, Read> {
        self.get(at("/api/which_users_can", [name]), bare)
    }

    /// Who can run a workflow, which is who has the permission of that name: a row for each role that gives it.
    pub fn get_users_for_workflow(&self, workflow: &str) -> Call<Vec<Membership>, Read> {
        self.get(at("/api/workflow/users", [workflow]), |raw| Ok(data::<Members>(raw)?.members))
    }

    /// Whether a user can run a workflow.
    pub fn check_user_workflow_permission(&self, user: &str, workflow: &str) -> Call<bool, Read> {
        let target = at("/api/workflow/user", [user]).word("can_run").name(workflow);
        self.get(target, has_permission)
    }

    fn get<T>(&self, target: Target, read: fn(Raw) -> Result<T, Error>) -> Call<T, Read> {
        Call::reading(&self.client, &self.proof, Method::GET, target, read)
    }

    /// A question in a body.
    fn query<T>(&self, target: Target, read: fn(Raw) -> Result<T, Error>) -> Call<T, Read> {
        Call::reading(&self.client, &self.proof, Method::POST, target, read)
    }

    fn write<T>(&self, method: Method, target: Target, read: fn(Raw) -> Result<T, Error>) -> Call<T, Write> {
        Call::writing(&self.client, &self.proof, method, target, read)
    }
}

/// A path of this surface: names stand in it and nowhere else.
fn at<const N: usize>(path: &'static str, names: [&str; N]) -> Target {
    names.into_iter().fold(Target::new(path), Target::name)
}

fn names(rows: Vec<Named>) -> Vec<String> {
    rows.into_iter().map(|row| row.name).collect()
}

fn done(raw: Raw) -> Result<bool, Error> {
    Ok(data::<Done>(raw)?.result)
}

fn has_permission(raw: Raw) -> Result<bool, Error> {
    Ok(data::<HasPermission>(raw)?.has_permission)
}

//! Roles: named sets of permissions.

use std::fmt::Display;
use std::time::SystemTime;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::wire;
use super::{Account, Answer, Call, Pages, Read, Write};

/// The roles of an account.
#[derive(Clone, Debug)]
pub struct Roles(pub(super) Account);

/// A role as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Role {
    /// Its name; case counts.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it lets its members do. A final `*` stands for every ending.
    pub permissions: Vec<String>,
    /// When it was made.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: SystemTime,
    /// When it was changed last.
    #[serde(deserialize_with = "wire::time")]
    pub updated_at: SystemTime,
}

/// A role to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it lets its members do. Nobody gives what they do not have themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
}

impl NewRole {
    /// Without permissions.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// And this permission.
    #[must_use]
    pub fn permission(mut self, permission: impl Into<String>) -> Self {
        self.permissions.push(permission.into());
        self
    }
}

/// What to change of a role; an empty description takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoleChanges {
    /// Another description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Permissions to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_permissions: Vec<String>,
    /// Permissions to take away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_permissions: Vec<String>,
}

impl Roles {
    /// Makes a role.
    pub fn create(&self, new: &NewRole) -> Call<Answer<Role>, Write> {
        self.0.write(Method::POST, self.0.below("roles")).json(new)
    }

    /// Shows a role.
    pub fn get(&self, role: impl Display) -> Call<Answer<Role>, Read> {
        self.0.get(self.0.below("roles").name(role))
    }

    /// Lists the roles.
    pub fn list(&self) -> Pages<Role> {
        Pages::new(&self.0, self.0.below("roles"))
    }

    /// Changes a role.
    pub fn update(&self, role: impl Display, changes: &RoleChanges) -> Call<Answer<Role>, Write> {
        self.0.write(Method::PATCH, self.0.below("roles").name(role)).json(changes)
    }

    /// Deletes a role and takes it from everybody.
    pub fn delete(&self, role: impl Display) -> Call<Answer<()>, Write> {
        self.0.order(Method::DELETE, self.0.below("roles").name(role))
    }
}

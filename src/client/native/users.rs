//! Users of an account.

use std::fmt::Display;
use std::time::SystemTime;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::wire;
use super::{Account, Answer, Call, Pages, Read, Write};
use crate::secret::Secret;

/// The users of an account. A user is named by id, name, e-mail address or `me`.
#[derive(Clone, Debug)]
pub struct Users(pub(super) Account);

/// A user as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Its id.
    pub id: Uuid,
    /// Whether it is the root user of the account.
    pub is_root: bool,
    /// The name it signs in with.
    pub name: Option<String>,
    /// The e-mail address it signs in with.
    pub email: Option<String>,
    /// For show.
    pub first_name: Option<String>,
    /// For show.
    pub last_name: Option<String>,
    /// Whether it may sign in.
    pub status: UserStatus,
    /// When it was made.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: SystemTime,
    /// When it was changed last.
    #[serde(deserialize_with = "wire::time")]
    pub updated_at: SystemTime,
}

/// Whether a user may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// It may.
    Active,
    /// It may not, until it is enabled.
    Disabled,
    /// It is gone.
    Deleted,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// A user to be made: with a name, an e-mail address or both, unique in the account.
#[derive(Clone, Debug, Serialize)]
pub struct NewUser {
    /// The name to sign in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The e-mail address to sign in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// For show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// For show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Its password.
    #[serde(serialize_with = "wire::exposed")]
    pub password: Secret<String>,
    /// Its roles. Only the root user may name some that do not exist yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl NewUser {
    /// With a name.
    pub fn named(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::new(password) }
    }

    /// With an e-mail address.
    pub fn with_email(email: impl Into<String>, password: impl Into<String>) -> Self {
        Self { email: Some(email.into()), ..Self::new(password) }
    }

    /// And this role.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    fn new(password: impl Into<String>) -> Self {
        Self {
            name: None,
            email: None,
            first_name: None,
            last_name: None,
            password: Secret::new(password.into()),
            roles: Vec::new(),
        }
    }
}

/// What to change of a user; an empty first or last name takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserChanges {
    /// Another name to sign in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Another first name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Another last name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
}

#[derive(Serialize)]
struct NewPassword {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::exposed_if_any")]
    current_password: Option<Secret<String>>,
    #[serde(serialize_with = "wire::exposed")]
    new_password: Secret<String>,
}

impl Users {
    /// Makes a user.
    pub fn create(&self, new: &NewUser) -> Call<Answer<User>, Write> {
        self.0.write(Method::POST, self.0.below("users")).json(new)
    }

    /// Shows a user.
    pub fn get(&self, user: impl Display) -> Call<Answer<User>, Read> {
        self.0.get(self.0.below("users").name(user))
    }

    /// Lists the users.
    pub fn list(&self) -> Pages<User> {
        Pages::new(&self.0, self.0.below("users"))
    }

    /// Changes a user.
    pub fn update(&self, user: impl Display, changes: &UserChanges) -> Call<Answer<User>, Write> {
        self.0.write(Method::PATCH, self.0.below("users").name(user)).json(changes)
    }

    /// Deletes a user and ends its sessions. Name and e-mail address are free again.
    pub fn delete(&self, user: impl Display) -> Call<Answer<()>, Write> {
        self.0.order(Method::DELETE, self.0.below("users").name(user))
    }

    /// Gives a user another password and ends its other sessions.
    pub fn set_password(&self, user: impl Display, new: impl Into<String>) -> Call<Answer<()>, Write> {
        self.password(user, None, new.into())
    }

    /// Changes one's own password, which takes the current one. Ends one's other sessions.
    pub fn change_password(
        &self,
        current: impl Into<String>,
        new: impl Into<String>,
    ) -> Call<Answer<()>, Write> {
        self.password("me", Some(Secret::new(current.into())), new.into())
    }

    /// Refuses a user from now on, and ends its sessions.
    pub fn disable(&self, user: impl Display) -> Call<Answer<User>, Write> {
        self.0.write(Method::POST, self.0.below("users").name(user).word("disable"))
    }

    /// Lets a user in again.
    pub fn enable(&self, user: impl Display) -> Call<Answer<User>, Write> {
        self.0.write(Method::POST, self.0.below("users").name(user).word("enable"))
    }

    fn password(
        &self,
        user: impl Display,
        current_password: Option<Secret<String>>,
        new: String,
    ) -> Call<Answer<()>, Write> {
        let body = NewPassword { current_password, new_password: Secret::new(new) };
        self.0.order(Method::PUT, self.0.below("users").name(user).word("password")).json(&body)
    }
}

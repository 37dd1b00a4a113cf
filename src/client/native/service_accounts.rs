//! Service accounts and their API keys.

use std::fmt::Display;
use std::time::SystemTime;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::wire;
use super::{Account, Answer, Call, Page, Pages, Read, Write};
use crate::secret::Secret;

/// The service accounts of an account. One is named by id, name or `me`.
#[derive(Clone, Debug)]
pub struct ServiceAccounts(pub(super) Account);

/// A service account as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServiceAccount {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it may sign in.
    pub status: ServiceStatus,
    /// When it was made.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: SystemTime,
    /// When it was changed last.
    #[serde(deserialize_with = "wire::time")]
    pub updated_at: SystemTime,
}

/// Whether a service account may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceStatus {
    /// It may.
    Active,
    /// It may not, until it is enabled.
    Disabled,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// A service account to be made.
#[derive(Clone, Debug, Serialize)]
pub struct NewServiceAccount {
    /// Its name, unique among the service accounts of the account.
    pub name: String,
    /// Its roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// What its first key looks like.
    pub key_form: KeyForm,
}

impl NewServiceAccount {
    /// With a key of the usual form.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), roles: Vec::new(), key_form: KeyForm::Prefixed }
    }

    /// And this role.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }
}

/// What an API key looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyForm {
    /// `cak_…`: scanners for secrets find it.
    #[default]
    Prefixed,
    /// A UUID, where a client expects one (seed 000).
    Uuid,
}

/// An API key, shown once.
#[derive(Clone, Debug, Deserialize)]
pub struct ShownApiKey {
    /// Names the key.
    pub key_id: Uuid,
    /// The key itself.
    pub api_key: Secret<String>,
}

/// A service account just made, with its first key.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceAccountWithKey {
    /// The service account.
    #[serde(flatten)]
    pub service: ServiceAccount,
    /// Its key.
    #[serde(flatten)]
    pub key: ShownApiKey,
}

/// An API key as it is listed: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ApiKey {
    /// Names the key.
    pub id: Uuid,
    /// What it is for.
    pub label: Option<String>,
    /// Whether it is good.
    pub status: ApiKeyStatus,
    /// When it was made.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: SystemTime,
    /// Until when it is good.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: SystemTime,
}

/// Whether an API key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyStatus {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// An API key to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewApiKey {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// For how many seconds it is good, at most the cluster's lifetime of API keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

impl ServiceAccounts {
    /// Makes a service account with a first API key, which is shown in this answer and never again.
    pub fn create(&self, new: &NewServiceAccount) -> Call<Answer<ServiceAccountWithKey>, Write> {
        self.0.write(Method::POST, self.0.below("service-accounts")).json(new)
    }

    /// Shows a service account.
    pub fn get(&self, service: impl Display) -> Call<Answer<ServiceAccount>, Read> {
        self.0.get(self.0.below("service-accounts").name(service))
    }

    /// Lists the service accounts.
    pub fn list(&self) -> Pages<ServiceAccount> {
        Pages::new(&self.0, self.0.below("service-accounts"))
    }

    /// Deletes a service account, its keys and sessions.
    pub fn delete(&self, service: impl Display) -> Call<Answer<()>, Write> {
        self.0.order(Method::DELETE, self.0.below("service-accounts").name(service))
    }

    /// Refuses a service account from now on.
    pub fn disable(&self, service: impl Display) -> Call<Answer<ServiceAccount>, Write> {
        let target = self.0.below("service-accounts").name(service).word("disable");
        self.0.write(Method::POST, target)
    }

    /// Lets a service account in again.
    pub fn enable(&self, service: impl Display) -> Call<Answer<ServiceAccount>, Write> {
        let target = self.0.below("service-accounts").name(service).word("enable");
        self.0.write(Method::POST, target)
    }

    /// Lists the API keys of a service account.
    pub fn keys(&self, service: impl Display) -> Call<Answer<Page<ApiKey>>, Read> {
        self.0.get(self.0.below("service-accounts").name(service).word("keys"))
    }

    /// Makes another API key, which is shown in this answer and never again.
    pub fn create_key(&self, service: impl Display, new: &NewApiKey) -> Call<Answer<ShownApiKey>, Write> {
        let target = self.0.below("service-accounts").name(service).word("keys");
        self.0.write(Method::POST, target).json(new)
    }

    /// Revokes an API key and the sessions it opened.
    pub fn revoke_key(&self, service: impl Display, key: impl Display) -> Call<Answer<()>, Write> {
        let target = self.0.below("service-accounts").name(service).word("keys").name(key);
        self.0.order(Method::DELETE, target)
    }
}

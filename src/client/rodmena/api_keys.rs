//! API keys of users (contract part 3.4).

use reqwest::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::wire::exposed;
use super::wire::data;
use super::{AuthClient, Call, Read, Target, Write, at};
use crate::secret::Secret;

/// An API key to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewApiKey {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Until when it is good (RFC 3339), at most 365 days from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// An API key, shown once.
#[derive(Clone, Debug, Deserialize)]
pub struct ShownApiKey {
    /// The key itself, `rak_…`.
    pub api_key: Secret<String>,
    /// Names the key.
    pub key_id: Uuid,
    /// Whose it is.
    pub user: String,
    /// What it is for.
    pub label: Option<String>,
    /// How it begins.
    pub key_prefix: String,
    /// When it was made.
    pub created: String,
    /// Until when it is good; for ever where it says nothing.
    pub expires_at: Option<String>,
}

/// An API key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ApiKeyEntry {
    /// Names the key.
    pub key_id: Uuid,
    /// How it begins.
    pub key_prefix: String,
    /// What it is for.
    pub label: Option<String>,
    /// Whether it is good.
    pub is_active: bool,
    /// When it was made.
    pub created: String,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// Until when it is good.
    pub expires_at: Option<String>,
    /// When it was used last.
    pub last_used_at: Option<String>,
}

/// The API keys of a user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ApiKeys {
    /// How many.
    pub count: u64,
    /// The keys.
    pub keys: Vec<ApiKeyEntry>,
}

/// What revoking a key gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Revoked {
    /// It is.
    pub revoked: bool,
    /// It was before.
    #[serde(default)]
    pub already_revoked: bool,
}

/// What is said of a key that somebody shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ApiKeyCheck {
    /// Whether it is good.
    pub valid: bool,
    /// Why not: `unknown_key`, `revoked` or `expired`.
    pub reason: Option<String>,
    /// Whose it is.
    pub user: Option<String>,
    /// Names the key.
    pub key_id: Option<Uuid>,
    /// What it is for.
    pub label: Option<String>,
    /// Until when it is good.
    pub expires_at: Option<String>,
    /// Whether its user has the permission that was asked about.
    pub has_permission: Option<bool>,
}

#[derive(Serialize)]
struct Expiry<'e> {
    expires_at: &'e str,
}

#[derive(Serialize)]
struct Shown<'s> {
    #[serde(serialize_with = "exposed")]
    api_key: Secret<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<&'s str>,
}

impl AuthClient {
    /// Makes an API key for a user. It is shown in this answer and never again, so the call is not repeated
    /// when its outcome is not known.
    pub fn create_api_key(&self, user: &str, new: &NewApiKey) -> Call<ShownApiKey, Write> {
        self.write(Method::POST, at("/api/apikeys/user", [user]), data).only_if_not_done().json(new)
    }

    /// The API keys of a user.
    pub fn list_api_keys(&self, user: &str) -> Call<ApiKeys, Read> {
        self.get(at("/api/apikeys/user", [user]), data)
    }

    /// Lets an API key end earlier than it would.
    pub fn set_api_key_expiry(&self, user: &str, key_id: Uuid, expires_at: &str) -> Call<ApiKeyEntry, Write> {
        let target = at("/api/apikeys/user", [user]).name(key_id);
        self.write(Method::PATCH, target, data).json(&Expiry { expires_at })
    }

    /// Revokes an API key.
    pub fn revoke_api_key(&self, user: &str, key_id: Uuid) -> Call<Revoked, Write> {
        self.write(Method::DELETE, at("/api/apikeys/user", [user]).name(key_id), data)
    }

    /// Whose an API key is, if it is good.
    pub fn validate_api_key(&self, api_key: impl Into<Secret<String>>) -> Call<ApiKeyCheck, Read> {
        let body = Shown { api_key: api_key.into(), permission: None };
        self.query(Target::new("/api/apikeys/validate"), data).json(&body)
    }

    /// As [`AuthClient::validate_api_key`], and whether its user has a permission.
    pub fn check_api_key_permission(
        &self,
        api_key: impl Into<Secret<String>>,
        permission: &str,
    ) -> Call<ApiKeyCheck, Read> {
        let body = Shown { api_key: api_key.into(), permission: Some(permission) };
        self.query(Target::new("/api/apikeys/check_permission"), data).json(&body)
    }
}

//! Signing in.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::call::answer;
use super::super::path::Target;
use super::super::proof::Proof;
use super::super::wire;
use super::{Account, Answer, Call, Client, Write};
use crate::secret::Secret;

/// Whether a refresh token is good once, or until its session ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshStyle {
    /// Each one is good once and gives the next; its reuse ends the session (RFC 9700).
    #[default]
    Rotating,
    /// The same one is good until the session ends (seed 000).
    Fixed,
}

/// What a sign-in or a refresh gives.
#[derive(Clone, Debug, Deserialize)]
pub struct Tokens {
    /// For `Authorization: Bearer`.
    pub access_token: Secret<String>,
    /// For the next access token; service accounts have none.
    pub refresh_token: Option<Secret<String>>,
    /// How long the access token is good.
    #[serde(deserialize_with = "seconds")]
    pub expires_in: Duration,
    /// Of which account the session is.
    pub account: String,
    /// The session.
    pub session: Uuid,
    /// When the session ends, whatever is refreshed.
    #[serde(deserialize_with = "wire::time")]
    pub session_expires_at: SystemTime,
    /// When they came.
    #[serde(skip, default = "Instant::now")]
    pub(in crate::client) received_at: Instant,
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
}

#[derive(Serialize)]
struct RootCredentials<'c> {
    email: &'c str,
    #[serde(serialize_with = "wire::exposed")]
    password: Secret<String>,
    refresh: RefreshStyle,
}

#[derive(Serialize)]
struct Credentials<'c> {
    login: &'c str,
    #[serde(serialize_with = "wire::exposed")]
    password: Secret<String>,
    refresh: RefreshStyle,
}

#[derive(Serialize)]
struct KeyCredentials<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    #[serde(serialize_with = "wire::exposed")]
    api_key: Secret<String>,
}

impl Client {
    /// Signs the root user with that e-mail address in, of whichever account.
    pub fn sign_in_as_root(&self, email: &str, password: impl Into<String>) -> Call<Answer<Tokens>, Write> {
        let password = Secret::new(password.into());
        let body = RootCredentials { email, password, refresh: RefreshStyle::Rotating };
        Call::writing(self, &Proof::Nobody, Method::POST, Target::new("/v1/sign-in"), answer).json(&body)
    }
}

impl Account {
    /// Signs a user in by name or e-mail address. Whatever is wrong, the refusal is `bad_credentials`.
    pub fn sign_in(&self, login: &str, password: impl Into<String>) -> Call<Answer<Tokens>, Write> {
        self.sign_in_with_style(login, password, RefreshStyle::Rotating)
    }

    /// As [`Account::sign_in`], with a refresh token of that style.
    pub fn sign_in_with_style(
        &self,
        login: &str,
        password: impl Into<String>,
        refresh: RefreshStyle,
    ) -> Call<Answer<Tokens>, Write> {
        let body = Credentials { login, password: Secret::new(password.into()), refresh };
        self.stranger().write(Method::POST, self.below("sign-in")).json(&body)
    }

    /// Signs a service account in with an API key. With a name, the key must be of that service account.
    pub fn sign_in_with_key(
        &self,
        name: Option<&str>,
        api_key: impl Into<Secret<String>>,
    ) -> Call<Answer<Tokens>, Write> {
        let body = KeyCredentials { name, api_key: api_key.into() };
        let target = self.below("service-accounts").word("sign-in");
        self.stranger().write(Method::POST, target).json(&body)
    }

    /// The account, asked in nobody's name: what opens a session needs none.
    pub(super) fn stranger(&self) -> Self {
        Self { proof: Proof::Nobody, ..self.clone() }
    }
}

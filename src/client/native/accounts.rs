//! Accounts: open one, look at it, its keys.

use std::time::SystemTime;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::call::answer;
use super::super::path::Target;
use super::super::proof::Proof;
use super::super::wire;
use super::{Account, Answer, Call, Client, Read, User, Write};
use crate::secret::Secret;

/// Somebody who opens an account and becomes its root user.
#[derive(Clone, Debug, Serialize)]
pub struct NewAccount {
    /// Unique among root users.
    pub email: String,
    /// The root user's password.
    #[serde(serialize_with = "wire::exposed")]
    pub password: Secret<String>,
    /// The root user's name to sign in with, beside the e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// For show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
}

impl NewAccount {
    /// With what there must be.
    pub fn new(email: impl Into<String>, password: impl Into<String>) -> Self {
        let (email, password) = (email.into(), Secret::new(password.into()));
        Self { email, password, name: None, first_name: None, last_name: None }
    }
}

/// An account as it is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountView {
    /// Twelve digits.
    pub id: String,
    /// Its root user.
    pub root: uuid::Uuid,
    /// The `iss` of its access tokens.
    pub issuer: String,
    /// Whether it can be used.
    pub state: AccountState,
    /// When it was opened.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: SystemTime,
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// It can.
    Open,
    /// Nobody of it can sign in.
    Closed,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// What opening an account gives.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenedAccount {
    /// The account.
    pub account: AccountView,
    /// Its root user.
    pub root: User,
}

/// The public keys of an account (RFC 7517).
#[derive(Clone, Debug, Deserialize)]
pub struct Jwks {
    /// The keys; kinds that are not known here are passed over where tokens are checked.
    pub keys: Vec<Jwk>,
}

/// A public key (RFC 7517, RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Jwk {
    /// Its name in token headers.
    pub kid: String,
    /// Its type: `OKP` for Ed25519.
    pub kty: String,
    /// Its curve, `Ed25519`.
    #[serde(default)]
    pub crv: String,
    /// How it signs, `EdDSA`.
    #[serde(default)]
    pub alg: String,
    /// What it is for, `sig`.
    #[serde(default)]
    pub r#use: String,
    /// The key itself, base64url.
    #[serde(default)]
    pub x: String,
}

impl Client {
    /// Opens an account.
    pub fn open_account(&self, new: &NewAccount) -> Call<Answer<OpenedAccount>, Write> {
        Call::writing(self, &Proof::Nobody, Method::POST, Target::new("/v1/accounts"), answer).json(new)
    }
}

impl Account {
    /// Shows it.
    pub fn show(&self) -> Call<Answer<AccountView>, Read> {
        self.get(self.at())
    }

    /// The public keys that check its tokens. [`crate::client::verify::Verifier`] keeps them for you.
    pub fn jwks(&self) -> Call<Answer<Jwks>, Read> {
        self.get(self.below("jwks.json"))
    }

    /// Signs with a new key from now on, and gives the key set. Tokens that were signed before stay good.
    pub fn rotate_signing_key(&self) -> Call<Answer<Jwks>, Write> {
        self.write(Method::POST, self.below("signing-keys"))
    }
}

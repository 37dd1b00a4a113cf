//! Tokens: refresh, validate, introspect, revoke.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::wire;
use super::{Account, Answer, Call, Read, Tokens, Write};
use crate::secret::Secret;

/// The tokens of an account.
#[derive(Clone, Debug)]
pub struct TokenCalls(pub(super) Account);

/// Whether an access token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Validity {
    /// Now, with its session and whoever it is of.
    pub valid: bool,
}

/// What a token is good for (RFC 7662). Of one that is not good only `active` is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Introspection {
    /// Whether it is good.
    pub active: bool,
    /// Whose it is: an id.
    pub sub: Option<String>,
    /// What that one signs in with.
    pub username: Option<String>,
    /// `root`, `user` or `service-account`.
    pub kind: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// Roles when it was issued.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Issuer.
    pub iss: Option<String>,
    /// Audience.
    pub aud: Option<String>,
    /// Issued at, in seconds since 1970.
    pub iat: Option<u64>,
    /// Not good before.
    pub nbf: Option<u64>,
    /// Good until, exclusive.
    pub exp: Option<u64>,
    /// Name of the token.
    pub jti: Option<String>,
}

#[derive(Serialize)]
struct Token {
    #[serde(serialize_with = "wire::exposed")]
    token: Secret<String>,
}

#[derive(Serialize)]
struct RefreshToken {
    #[serde(serialize_with = "wire::exposed")]
    refresh_token: Secret<String>,
}

impl TokenCalls {
    /// A new access token, and the next refresh token where they rotate. [`crate::client::Session`] does it
    /// for you.
    pub fn refresh(&self, refresh_token: impl Into<Secret<String>>) -> Call<Answer<Tokens>, Write> {
        let body = RefreshToken { refresh_token: refresh_token.into() };
        self.0.stranger().write(Method::POST, self.0.below("tokens").word("refresh")).json(&body)
    }

    /// Whether an access token is good now, by the word of the cluster.
    pub fn validate(&self, token: impl Into<Secret<String>>) -> Call<Answer<Validity>, Read> {
        let body = Token { token: token.into() };
        self.0.stranger().query(self.0.below("tokens").word("validate")).json(&body)
    }

    /// What an access token is good for. One's own is free; others' take a permission.
    pub fn introspect(&self, token: impl Into<Secret<String>>) -> Call<Answer<Introspection>, Read> {
        self.0.query(self.0.below("tokens").word("introspect")).json(&Token { token: token.into() })
    }

    /// Ends the session of an access or refresh token. It is no error where there is nothing to end.
    pub fn revoke(&self, token: impl Into<Secret<String>>) -> Call<Answer<()>, Write> {
        let body = Token { token: token.into() };
        self.0.stranger().order(Method::POST, self.0.below("tokens").word("revoke")).json(&body)
    }
}

//! Sessions: look at them, end them.

use std::fmt::Display;
use std::time::SystemTime;

use reqwest::Method;
use serde::Deserialize;
use uuid::Uuid;

use super::super::wire;
use super::{Account, Answer, Call, Page, Principal, Read, Write};

/// The sessions of an account.
#[derive(Clone, Debug)]
pub struct Sessions(pub(super) Account);

/// A session as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SessionView {
    /// Its id, the `sid` of its access tokens.
    pub id: Uuid,
    /// What opened it.
    pub method: SignInMethod,
    /// Its refresh tokens.
    pub refresh: SessionRefresh,
    /// When it was opened.
    #[serde(deserialize_with = "wire::time")]
    pub opened_at: SystemTime,
    /// When it was refreshed last.
    #[serde(deserialize_with = "wire::time")]
    pub used_at: SystemTime,
    /// When it ends by itself.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: SystemTime,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

/// What opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInMethod {
    /// A password.
    Password,
    /// An API key.
    ApiKey,
    /// A method of a later version.
    #[serde(other)]
    Unknown,
}

/// What refresh tokens a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRefresh {
    /// None: it ends with its access token.
    None,
    /// One that is good until the session ends.
    Fixed,
    /// Each is good once and gives the next.
    Rotating,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}

impl Sessions {
    /// Lists the live sessions of a principal.
    pub fn list(&self, principal: &Principal) -> Call<Answer<Page<SessionView>>, Read> {
        self.0.get(principal.below(&self.0).word("sessions"))
    }

    /// Ends all sessions of a principal. No node takes any of their tokens from the answer's revision on.
    pub fn end_all(&self, principal: &Principal) -> Call<Answer<()>, Write> {
        self.0.order(Method::DELETE, principal.below(&self.0).word("sessions"))
    }

    /// Ends a session.
    pub fn end(&self, session: impl Display) -> Call<Answer<()>, Write> {
        self.0.order(Method::DELETE, self.0.below("sessions").name(session))
    }

    /// Ends the session that asks. A second try of it is refused with 401, because it is over then;
    /// [`crate::client::Session::sign_out`] takes that for done.
    pub fn end_own(&self) -> Call<Answer<()>, Write> {
        self.end("me")
    }
}

//! Passwords by themselves: how good one would be, and changing one without being signed in.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::wire;
use super::{Account, Answer, Call, Read, Write};
use crate::secret::Secret;

/// How well a password withstands guessing, and whether it may be set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PasswordStrength {
    /// 0, guessed at once, to 4, beyond ten thousand million guesses.
    pub score: u8,
    /// The logarithm to base 10 of the guesses that are at least needed.
    pub guesses_log10: f64,
    /// The rules of the account that it breaks. A refusal `weak_password` has the same in its members.
    pub breaches: Vec<Breach>,
}

/// A rule that a password breaks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Breach {
    /// Stable, for programs.
    pub code: String,
    /// One sentence for people.
    pub message: String,
}

#[derive(Serialize)]
struct Question<'q> {
    #[serde(serialize_with = "wire::exposed")]
    password: Secret<String>,
    names: &'q [&'q str],
}

#[derive(Serialize)]
struct Change<'c> {
    login: &'c str,
    #[serde(serialize_with = "wire::exposed")]
    current_password: Secret<String>,
    #[serde(serialize_with = "wire::exposed")]
    new_password: Secret<String>,
}

impl Account {
    /// Tells how good a password would be. `names` are those of the person it is for, at most eight; without
    /// any it is for whoever asks.
    pub fn password_strength(
        &self,
        password: impl Into<String>,
        names: &[&str],
    ) -> Call<Answer<PasswordStrength>, Read> {
        let body = Question { password: Secret::new(password.into()), names };
        self.query(self.below("password-strength")).json(&body)
    }

    /// Changes a password by giving the present one, also one that has grown too old to sign in with
    /// (`password_expired`). Ends all sessions of its user.
    pub fn replace_password(
        &self,
        login: &str,
        current: impl Into<String>,
        new: impl Into<String>,
    ) -> Call<Answer<()>, Write> {
        let (current_password, new_password) = (Secret::new(current.into()), Secret::new(new.into()));
        let body = Change { login, current_password, new_password };
        self.stranger().order(Method::POST, self.below("password")).json(&body)
    }
}

//! What an access token says, and when it holds.

use conclave_cluster::LogTime;
use serde::{Deserialize, Serialize};

/// The claims of an access token (RFC 9068, with ours). Times are whole seconds since 1970.
///
/// Each one without a default has to be there and of its type when a token is read: a number is a JSON integer
/// from 0 to 2^64-1, not a text, float or list. Claims of a later version of this program are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer: the account's own.
    pub iss: String,
    /// Audience: one text or a list (RFC 7519 section 4.1.3).
    pub aud: Audience,
    /// Who: the principal's id.
    pub sub: String,
    /// Good until, exclusive.
    pub exp: u64,
    /// Not good before.
    pub nbf: u64,
    /// Issued at.
    pub iat: u64,
    /// Name of this token.
    pub jti: String,
    /// The session that it was issued in. When that has ended, so has the token.
    pub sid: String,
    /// The account.
    pub acct: String,
    /// What kind of principal, in the domain's words.
    pub kind: String,
    /// Names of the roles at the time of issue. For display: what counts is what the rows say now. Tokens of
    /// programs have none in families where only people have roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The principal's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The principal's e-mail address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What the token may be used for, in families whose tokens say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// `access` or `service`, in the same families.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// The client that the user signed in through, as it called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    /// Whether a token with this audience is for `who` and nobody else, in the one way that we write it.
    #[must_use]
    pub fn is(&self, who: &str) -> bool {
        matches!(self, Self::One(one) if one == who)
    }
}

/// How far ahead of ours the clock of the node that issued a token may be, in seconds. It widens `nbf` and
/// `iat` only: a token never lives longer than it says.
pub const LEEWAY_SECONDS: u64 = 5;

/// Why claims do not hold now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untimely {
    NotYet,
    Expired,
}

impl Claims {
    /// Whether they hold at a time, by themselves: whether the session lives is another question.
    pub(super) fn check_time(&self, now: LogTime) -> Result<(), Untimely> {
        let now = now.0 / 1000;
        if now >= self.exp {
            return Err(Untimely::Expired);
        }
        let soon = now.saturating_add(LEEWAY_SECONDS);
        if self.nbf > soon || self.iat > soon { Err(Untimely::NotYet) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(nbf: u64, iat: u64, exp: u64) -> Claims {
        let text = || "x".to_owned();
        Claims {
            iss: text(),
            aud: Audience::One(text()),
            sub: text(),
            exp,
            nbf,
            iat,
            jti: text(),
            sid: text(),
            acct: text(),
            kind: text(),
            roles: None,
            username: None,
            email: None,
            scopes: None,
            token_type: None,
            client_id: None,
        }
    }

    #[test]
    fn holds_from_nbf_to_before_exp() {
        let at = |seconds: u64, claims: &Claims| claims.check_time(LogTime(seconds * 1000));
        let usual = claims(1000, 1000, 1900);
        assert_eq!(at(994, &usual), Err(Untimely::NotYet));
        assert_eq!(at(995, &usual), Ok(()), "the issuer's clock may be ahead");
        assert_eq!(at(1899, &usual), Ok(()));
        assert_eq!(usual.check_time(LogTime(1_899_999)), Ok(()));
        assert_eq!(at(1900, &usual), Err(Untimely::Expired), "no leeway at the end");
        assert_eq!(at(1000, &claims(1000, 1006, 1900)), Err(Untimely::NotYet));
        assert_eq!(at(1000, &claims(u64::MAX, 0, u64::MAX)), Err(Untimely::NotYet));
        assert_eq!(claims(0, 0, u64::MAX).check_time(LogTime(u64::MAX)), Ok(()));
    }
}

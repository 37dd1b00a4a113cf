//! What token requests have in common: scopes, audiences, the grant type, and a client that proves itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use utoipa::ToSchema;
use warp::http::header::AUTHORIZATION;

use super::Call;
use super::error::of_client;
use crate::domain::{Label, Permission, Rejection};
use crate::http::problem::Problem;
use crate::http::query::decode;
use crate::secret::Secret;

/// The scopes that a request asks for, separated by spaces. None is all there are.
///
/// # Errors
/// 400 for a text that no scope can be.
pub(crate) fn scopes(text: Option<&str>) -> Result<Option<Vec<Permission>>, Problem> {
    let bad = |_| Problem::bad_request("invalid_scope", "scope: names of scopes, separated by spaces.");
    let words = text.unwrap_or_default().split(' ').filter(|word| !word.is_empty());
    let scopes: Vec<Permission> = words.map(Permission::parse).collect::<Result<_, _>>().map_err(bad)?;
    if scopes.len() > MAX_WORDS {
        return Err(Problem::bad_request("invalid_scope", format!("scope: at most {MAX_WORDS} scopes.")));
    }
    Ok(Some(scopes).filter(|scopes| !scopes.is_empty()))
}

/// The most scopes or audiences in one request.
pub(super) const MAX_WORDS: usize = 100;

/// Scopes as a response has them.
pub(crate) fn joined(scopes: &[Permission]) -> String {
    scopes.iter().map(Permission::as_str).collect::<Vec<_>>().join(" ")
}

/// Several texts: a list, or one text that separates them by spaces, which is all that a form can say.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneTexts)]
#[serde(untagged)]
pub(super) enum Texts {
    List(Vec<String>),
    Joined(String),
}

impl Texts {
    /// The audiences; none is as good as not asked.
    pub(super) fn audiences(&self) -> Result<Option<Vec<Label>>, Problem> {
        let texts: Vec<&str> = match self {
            Self::List(texts) => texts.iter().map(String::as_str).collect(),
            Self::Joined(text) => text.split(' ').collect(),
        };
        let bad = || Problem::bad_request("invalid_request", "audience: a list of at most 100 names.");
        let labels = texts.into_iter().filter(|text| !text.is_empty()).map(Label::parse);
        let labels: Vec<Label> = labels.collect::<Result<_, _>>().map_err(|_| bad())?;
        if labels.len() > MAX_WORDS {
            return Err(bad());
        }
        Ok(Some(labels).filter(|labels| !labels.is_empty()))
    }
}

/// Refuses another grant than the one of an endpoint (RFC 6749 section 5.2).
pub(super) fn must_grant(asked: &str, granted: &'static str) -> Result<(), Problem> {
    if asked == granted {
        return Ok(());
    }
    Err(Problem::bad_request("unsupported_grant_type", format!("grant_type: here it is {granted}.")))
}

/// A member that must be there.
pub(super) fn needed<T>(member: &'static str, value: Option<T>) -> Result<T, Problem> {
    let missing =
        || Problem::bad_request("invalid_request", format!("`{member}` is missing.")).with("field", member);
    value.ok_or_else(missing)
}

/// A client's name and secret, and whether they came by HTTP Basic.
pub(crate) struct Credentials {
    pub(crate) id: String,
    pub(crate) secret: Secret<String>,
    pub(super) is_basic: bool,
}

impl Credentials {
    /// From the header or from the body, but not from both (RFC 6749 section 2.3).
    ///
    /// # Errors
    /// 400 for none and for both, 401 for a header that is not well-formed.
    pub(super) fn of(
        call: &Call,
        id: Option<String>,
        secret: Option<Secret<String>>,
    ) -> Result<Self, Problem> {
        // A header of another scheme is of another use: HTTP libraries send the last token with every request.
        let header = call.one(&AUTHORIZATION)?.filter(|header| is_basic(header));
        let Some(header) = header else {
            let (id, secret) = (needed("client_id", id)?, needed("client_secret", secret)?);
            return Ok(Self { id, secret, is_basic: false });
        };
        // Who tries to prove itself by the header and fails is answered as one who fails (RFC 6749 section 5.2).
        let refused = || of_client(Rejection::BadCredentials.into(), true);
        let found = basic(header).ok_or_else(refused)?;
        if secret.is_some() || id.is_some_and(|id| id != found.id) {
            let detail = "A client proves itself once, in the header or in the body.";
            return Err(Problem::bad_request("invalid_request", detail));
        }
        Ok(found)
    }
}

fn is_basic(header: &str) -> bool {
    header.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

/// What HTTP Basic says (RFC 7617), each part in the encoding of forms (RFC 6749 section 2.3.1).
pub(crate) fn basic(header: &str) -> Option<Credentials> {
    let (_, coded) = header.split_once(' ')?;
    let text = Secret::new(String::from_utf8(STANDARD.decode(coded.trim_matches(' ')).ok()?).ok()?);
    let (id, secret) = text.expose().split_once(':')?;
    let (id, secret) = (decode(id, true)?, Secret::new(decode(secret, true)?));
    Some(Credentials { id, secret, is_basic: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_decoded_as_oauth_has_it() {
        let coded = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let found = |header: &str| basic(header).map(|found| (found.id, found.secret.expose().clone()));
        let pair = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(found(&coded("trading:a%3Ab%2B+c")), pair("trading", "a:b+ c"));
        assert_eq!(found(&coded("trading:a:b")), pair("trading", "a:b"));
        assert_eq!(found(&coded("x:y").replace("Basic", "bAsIc")), pair("x", "y"));
        assert!(is_basic("bAsIc eDp5") && is_basic("Basic") && !is_basic("Bearer eDp5"));
        for bad in ["", "Basic", "Basic !", &coded("nothing"), &coded("x:%zz"), "Basic //79"] {
            assert!(basic(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn scopes_are_words() {
        let parsed = scopes(Some(" read:profile  write:profile ")).unwrap().unwrap();
        assert_eq!(joined(&parsed), "read:profile write:profile");
        assert!(scopes(None).unwrap().is_none() && scopes(Some("")).unwrap().is_none());
        for bad in ["a\tb", "é", "a\u{0}", &"x".repeat(129), &"a ".repeat(MAX_WORDS + 1)] {
            assert_eq!(scopes(Some(bad)).unwrap_err().code(), "invalid_scope", "{bad}");
        }
    }
}

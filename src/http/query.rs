//! Query strings, read strictly, and percent-decoding.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;

use serde::de::DeserializeOwned;
use warp::Filter;

use super::json;
use super::problem::Problem;
use super::tree::Tree;

/// Reads a query string into `T`, whose fields are strings, numbers, booleans, unit enums, or options of
/// these.
///
/// # Errors
/// A name given twice, a broken escape, an unknown name (if `T` denies those) or a value that does
/// not fit is 400.
pub fn parse<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Problem> {
    let broken = || Problem::bad_request("invalid_query", "The query has a broken percent escape.");
    let twice = || Problem::bad_request("duplicate_parameter", "A query parameter is given twice.");
    json::typed(pairs(query.unwrap_or_default(), broken, twice)?)
}

/// The pairs of a query or a form, with what to say of a broken escape and of a name given twice.
pub(super) fn pairs(
    text: &str,
    broken: impl Fn() -> Problem,
    twice: impl Fn() -> Problem,
) -> Result<Tree, Problem> {
    let mut map = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, true).ok_or_else(&broken)?;
        let value = decode(value, true).ok_or_else(&broken)?;
        match map.entry(name) {
            Entry::Vacant(vacant) => vacant.insert(Tree::Word(value)),
            Entry::Occupied(_) => return Err(twice()),
        };
    }
    Ok(Tree::Map(map))
}

/// The query as a `T`. It never rejects, for the same reason as [`json::body`].
pub fn query<T: DeserializeOwned + Send + 'static>()
-> impl Filter<Extract = (Result<T, Problem>,), Error = Infallible> + Clone {
    warp::filters::query::raw()
        .map(Some)
        .or(warp::any().map(|| None))
        .unify()
        .map(|raw: Option<String>| parse(raw.as_deref()))
}

/// Undoes percent-encoding once. `None` when an escape is broken or the result is not UTF-8.
/// `form` reads `+` as a space, as queries do and paths do not.
#[must_use]
pub fn decode(text: &str, form: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if form => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: Option<u16>,
        after: Option<String>,
        #[serde(default)]
        all: bool,
        kind: Option<Kind>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        RootUser,
    }

    #[test]
    fn words_become_what_the_field_asks_for() {
        let page = parse::<Page>(Some("limit=20&after=5%2B+5&all=true&kind=root_user")).unwrap();
        let after = Some("5+ 5".to_owned());
        assert_eq!(page, Page { limit: Some(20), after, all: true, kind: Some(Kind::RootUser) });
        assert!(parse::<Page>(None).unwrap().limit.is_none());
    }

    #[test]
    fn bad_queries_are_refused() {
        for (query, says) in [
            ("limit=1&limit=2", "given twice"),
            ("limit=1&%6cimit=2", "given twice"),
            ("limt=1", "`limt` is not a field here"),
            ("limit=many", "`limit` is a string"),
            ("limit=-1", "`limit` is"),
            ("limit=70000", "`limit` is out of range"),
            ("all=yes", "`all` is a string"),
            ("after=%f", "broken"),
            ("after=%ff", "broken"),
            ("kind=root", "`kind` must be one of"),
        ] {
            let problem = parse::<Page>(Some(query)).unwrap_err();
            assert_eq!(problem.status(), 400);
            assert!(problem.detail().contains(says), "{query}: {}", problem.detail());
        }
    }

    #[test]
    fn decoding_is_done_once() {
        assert_eq!(decode("a%2520b+c", false).as_deref(), Some("a%20b+c"));
    }
}

//! JSON bodies, read strictly, and JSON replies.

use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::problem::Problem;
use super::tree::{Depth, Tree};

/// The longest body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The deepest nesting of lists and objects.
pub const MAX_DEPTH: usize = 32;

/// Reads a body. `T` should say `#[serde(deny_unknown_fields)]`.
///
/// # Errors
/// Refused with 413 when longer than [`MAX_BODY_BYTES`]; with 400 when it is no JSON, goes on after its
/// end, nests deeper than [`MAX_DEPTH`], gives a key twice at any depth, or does not fit `T`. The problem
/// names the field (also in the member `field`) and never quotes a value.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Problem::too_large(MAX_BODY_BYTES));
    }
    let tree = read(body).map_err(|error| {
        // What serde_json says here is about syntax, and what Depth says names keys: neither has values.
        Problem::bad_request("invalid_json", format!("The body is not acceptable JSON: {error}."))
    })?;
    typed(tree)
}

/// The typed value of a tree, or 400 `invalid_request`.
pub(super) fn typed<T: DeserializeOwned>(tree: Tree) -> Result<T, Problem> {
    T::deserialize(tree).map_err(|fault| {
        let problem = Problem::bad_request("invalid_request", fault.to_string());
        if fault.field.is_empty() { problem } else { problem.with("field", fault.field) }
    })
}

fn read(body: &[u8]) -> Result<Tree, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let tree = Depth(MAX_DEPTH).deserialize(&mut reader)?;
    reader.end()?;
    Ok(tree)
}

/// Checks what the body is said to be. Absent is fine: real clients send JSON without saying so.
///
/// # Errors
/// 415 for a `Content-Type` that is not JSON or given twice.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if is_json(value) => Ok(()),
        (Some(_), _) => Err(Problem::unsupported_media_type()),
    }
}

/// For surfaces that browsers reach with cookies, where a form of another site must not pass for JSON.
///
/// # Errors
/// As [`check_content_type`], and for an absent `Content-Type` too.
pub fn require_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(CONTENT_TYPE) {
        return Err(Problem::unsupported_media_type());
    }
    check_content_type(headers)
}

fn is_json(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The body as a `T`. It never rejects: the handler gets the problem and replies with it, because a
/// rejection would only send the request on to the next route.
#[must_use]
pub fn body<T: DeserializeOwned + Send + 'static>()
-> impl Filter<Extract = (Result<T, Problem>,), Error = Rejection> + Clone {
    warp::header::headers_cloned().and(warp::body::bytes()).map(|headers: HeaderMap, body: Bytes| {
        check_content_type(&headers)?;
        parse(&body)
    })
}

/// As [`body`], where an empty body is `None` whatever its content type.
#[must_use]
pub fn optional_body<T: DeserializeOwned + Send + 'static>()
-> impl Filter<Extract = (Result<Option<T>, Problem>,), Error = Rejection> + Clone {
    warp::header::headers_cloned().and(warp::body::bytes()).map(|headers: HeaderMap, body: Bytes| {
        if body.is_empty() {
            return Ok(None);
        }
        check_content_type(&headers)?;
        parse(&body).map(Some)
    })
}

/// A JSON reply.
pub fn reply(status: StatusCode, body: &impl Serialize) -> Response {
    let Ok(bytes) = serde_json::to_vec(body) else {
        tracing::error!("a reply that cannot be written as JSON");
        return warp::Reply::into_response(Problem::internal());
    };
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::secret::Secret;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NewUser {
        name: String,
        password: Option<Secret<String>>,
        age: Option<u8>,
        profile: Option<Profile>,
        #[serde(default)]
        orders: Vec<Order>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Profile {
        mails: Vec<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
    enum Order {
        Create { name: String },
        Delete,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Outer {
        Plain,
        Named(u32),
        Fields { a: u8 },
    }

    #[test]
    fn good_documents_become_values() {
        let body = br#" {"profile":{"mails":["a","b"]},"name":"\u00e9","age":7,"password":"hunter2",
            "orders":[{"do":"create","name":"x"},{"do":"delete"}]} "#;
        let user = parse::<NewUser>(body).unwrap();
        assert_eq!((user.name.as_str(), user.age, user.profile.unwrap().mails.len()), ("é", Some(7), 2));
        assert_eq!(user.password.unwrap().expose(), "hunter2");
        assert_eq!(user.orders, [Order::Create { name: "x".to_owned() }, Order::Delete]);
        let outer = parse::<Vec<Outer>>(br#"["plain",{"named":5},{"fields":{"a":1}}]"#).unwrap();
        assert_eq!(outer, [Outer::Plain, Outer::Named(5), Outer::Fields { a: 1 }]);
        assert_eq!(parse::<(u8, bool)>(b"[1,true]").unwrap(), (1, true));
    }

    /// Each bad document, the code of its problem, and what the problem must say.
    const BAD: [(&str, &str, &str); 23] = [
        ("", "invalid_json", "EOF"),
        ("{", "invalid_json", "EOF"),
        ("{} {}", "invalid_json", "trailing"),
        ("{}x", "invalid_json", "trailing"),
        ("\u{feff}{}", "invalid_json", "expected value"),
        (r#"{"name":"a",}"#, "invalid_json", "trailing comma"),
        (r#"{"name":"a","name":"b"}"#, "invalid_json", "`name` is given twice"),
        (r#"{"name":"a","n\u0061me":"b"}"#, "invalid_json", "`name` is given twice"),
        (r#"{"name":"a","profile":{"mails":[],"mails":[]}}"#, "invalid_json", "`mails` is given twice"),
        (r#"{"name":"a","orders":[{"do":"delete","do":"create"}]}"#, "invalid_json", "`do` is given twice"),
        (r#"{"name":"\ud800"}"#, "invalid_json", "hex escape"),
        (r#"{"name":NaN}"#, "invalid_json", "expected value"),
        ("[]", "invalid_request", "The request is a list, expected an object"),
        (r#"["a",null,null,null,[]]"#, "invalid_request", "The request is a list, expected an object"),
        (r#""hunter2""#, "invalid_request", "The request is a string"),
        ("{}", "invalid_request", "`name` is missing"),
        (r#"{"name":"a","hunter3":1}"#, "invalid_request", "`hunter3` is not a field here"),
        (r#"{"name":5}"#, "invalid_request", "`name` is an integer, expected a string"),
        (r#"{"name":null}"#, "invalid_request", "`name` is null"),
        (r#"{"name":"a","age":"hunter2"}"#, "invalid_request", "`age` is a string"),
        (r#"{"name":"a","age":424242}"#, "invalid_request", "`age` is out of range"),
        (
            r#"{"name":"a","profile":{"mails":["x",["hunter2"]]}}"#,
            "invalid_request",
            "`profile.mails.1` is a list",
        ),
        (r#"{"name":"a","password":424242}"#, "invalid_request", "`password` is not valid"),
    ];

    #[test]
    fn bad_documents_are_refused_without_quoting_values() {
        for (body, code, says) in BAD {
            let problem = parse::<NewUser>(body.as_bytes()).unwrap_err();
            assert_eq!((problem.status().as_u16(), problem.code()), (400, code), "{body}: {problem:?}");
            assert!(problem.detail().contains(says), "{body}: {}", problem.detail());
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
            assert!(!format!("{problem:?}").contains("424242"), "{problem:?}");
        }
        let problem = parse::<Vec<Outer>>(br#"["hunter2"]"#).unwrap_err();
        assert!(problem.detail().contains("`0` must be one of: plain, named, fields"), "{problem:?}");
        let problem = parse::<Vec<Order>>(br#"[{"do":"hunter2"}]"#).unwrap_err();
        assert!(problem.detail().contains("must be one of: create, delete"), "{problem:?}");
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let problem = parse::<NewUser>(b"{\"name\":\"\xff\xfe\"}").unwrap_err();
        assert_eq!(problem.code(), "invalid_json");
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(
            parse::<serde_json::Value>(nested(MAX_DEPTH).as_bytes()).unwrap()[0][0].as_array().unwrap().len(),
            1
        );
        for levels in [MAX_DEPTH + 1, 30_000] {
            let problem = parse::<serde_json::Value>(nested(levels).as_bytes()).unwrap_err();
            assert!(problem.detail().contains("nested too deep"), "{}", problem.detail());
        }
    }

    #[test]
    fn length_has_a_limit() {
        let body = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        assert!(parse::<String>(body(MAX_BODY_BYTES).as_bytes()).is_ok());
        assert_eq!(parse::<String>(body(MAX_BODY_BYTES + 1).as_bytes()).unwrap_err().status(), 413);
    }

    #[test]
    fn content_types() {
        let headers = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            }
            map
        };
        let good = ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"];
        for good in good {
            assert!(check_content_type(&headers(&[good])).is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/x-www-form-urlencoded", "", "json", "text/x+json"] {
            assert_eq!(check_content_type(&headers(&[bad])).unwrap_err().status(), 415, "{bad}");
        }
        assert!(check_content_type(&headers(&["application/json", "application/json"])).is_err());
        assert!(check_content_type(&headers(&[])).is_ok());
        assert!(require_content_type(&headers(&[])).is_err());
    }
}

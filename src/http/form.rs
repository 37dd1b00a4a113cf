//! Form bodies (`application/x-www-form-urlencoded`), read as strictly as JSON.

use serde::de::DeserializeOwned;
use warp::http::HeaderMap;
use warp::http::header::CONTENT_TYPE;

use super::json::{self, MAX_BODY_BYTES};
use super::problem::Problem;
use super::query::pairs;

/// Whether a body is said to be a form. A header that is given twice is for [`json::check_content_type`] to refuse.
#[must_use]
pub fn is_form(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Reads a form into `T`, whose fields are as those of a query.
///
/// # Errors
/// Refused with 413 when longer than [`MAX_BODY_BYTES`]; with 400 when it is no UTF-8, has a broken escape, gives
/// a name twice or does not fit `T`. The problem never quotes a value.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Problem::too_large(MAX_BODY_BYTES));
    }
    let broken = || Problem::bad_request("invalid_form", "The form has a broken percent escape.");
    let text = std::str::from_utf8(body).map_err(|_| broken())?;
    let twice = || Problem::bad_request("duplicate_parameter", "A field of the form is given twice.");
    json::typed(pairs(text, broken, twice)?)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use warp::http::HeaderValue;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Credentials {
        username: String,
        password: String,
        scope: Option<String>,
    }

    #[test]
    fn forms_become_values() {
        let form = parse::<Credentials>(b"username=a%40b.c&password=p%2B+w&scope=r:p+w:p&more=1").unwrap();
        assert_eq!((form.username.as_str(), form.password.as_str()), ("a@b.c", "p+ w"));
        assert_eq!(form.scope.as_deref(), Some("r:p w:p"));
    }

    #[test]
    fn bad_forms_are_refused_without_quoting_values() {
        for (body, code) in [
            (&b""[..], "invalid_request"),
            (b"username=a", "invalid_request"),
            (b"username=a&password=hunter2&password=hunter2", "duplicate_parameter"),
            (b"username=a&%70assword=hunter2&password=hunter2", "duplicate_parameter"),
            (b"username=a&password=hunter2%f", "invalid_form"),
            (b"username=a&password=hunter2%ff", "invalid_form"),
            (b"username=a&password=hunter2\xff", "invalid_form"),
            (b"{\"username\":\"a\",\"password\":\"hunter2\"}", "invalid_request"),
        ] {
            let problem = parse::<Credentials>(body).unwrap_err();
            assert_eq!((problem.status().as_u16(), problem.code()), (400, code), "{body:?}");
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
        }
        assert_eq!(parse::<Credentials>(&vec![b'a'; MAX_BODY_BYTES + 1]).unwrap_err().status(), 413);
    }

    #[test]
    fn a_form_says_that_it_is_one() {
        let says = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            is_form(&headers)
        };
        let form = "application/x-www-form-urlencoded";
        assert!(says(&[form]) && says(&["Application/X-WWW-Form-Urlencoded; charset=utf-8"]));
        assert!(!says(&[]) && !says(&["application/json"]) && !says(&[form, form]) && !says(&["text/plain"]));
    }
}

//! Paths: one spelling for each, and decoded parameters.

use std::fmt;
use std::str::FromStr;

use super::query::decode;

/// Whether a path is spelled in the one way that we route: no empty, `.` or `..` segment in any encoding,
/// no encoded or turned slash, no `;`, no broken escape, no control character.
///
/// # Why
/// A proxy in front that normalises such a path, and we that do not, would disagree on what is asked;
/// so we route none of them.
pub(crate) fn is_canonical(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    (rest.is_empty() || (!inner.is_empty() && inner.split('/').all(is_canonical_segment)))
        && !rest.contains([';', '\\'])
}

fn is_canonical_segment(segment: &str) -> bool {
    if segment.is_empty() {
        return false;
    }
    // The usual segment has nothing to decode.
    if !segment.contains(['%', '.']) {
        return segment.chars().all(|c| !c.is_control());
    }
    decode(segment, false).is_some_and(|plain| {
        plain != "." && plain != ".." && !plain.contains(['/', '\\']) && !plain.chars().any(char::is_control)
    })
}

/// A percent-decoded path parameter, as in `warp::path::param::<Segment>()`. Never empty; no control
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment(pub String);

/// The segment is empty, badly encoded or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path segment")]
pub struct BadSegment;

impl FromStr for Segment {
    type Err = BadSegment;

    fn from_str(raw: &str) -> Result<Self, BadSegment> {
        match decode(raw, false) {
            Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(Self(text)),
            Some(_) | None => Err(BadSegment),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_a_path_is_routed() {
        for good in
            ["/", "/v1", "/v1/users/alice@example.com", "/v1/a%20b", "/docs/", "/a.b/.well-known", "/%25"]
        {
            assert!(is_canonical(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "v1",
            "//",
            "//v1",
            "/v1//users",
            "/./v1",
            "/v1/.",
            "/v1/..",
            "/v1/../v1",
            "/v1/%2e",
            "/v1/%2E%2e/x",
            "/v1/.%2e",
            "/v1%2fusers",
            "/v1%2Fusers",
            "/v1%5cusers",
            "/v1\\users",
            "/v1;a=b",
            "/v1/users;x",
            "/v1/%",
            "/v1/%zz",
            "/v1/%00",
            "/v1/%0a",
            "/v1/%ff",
            "/v1/users//",
        ] {
            assert!(!is_canonical(bad), "{bad}");
        }
    }

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!("a%40b%252f".parse(), Ok(Segment("a@b%2f".to_owned())));
        for bad in ["", "%", "%0d", "%c3%28"] {
            assert_eq!(bad.parse::<Segment>(), Err(BadSegment), "{bad}");
        }
    }
}

//! Paths and queries from names that somebody chose.

use std::fmt::{Display, Write as _};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what RFC 3986 section 2.3 leaves alone.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Path and query of a request, or the first thing that is wrong with them.
#[derive(Clone, Debug)]
pub(super) struct Target {
    path: String,
    query: String,
    wrong: Option<&'static str>,
}

impl Target {
    /// A path that is written in this program.
    pub(super) fn new(path: &'static str) -> Self {
        Self { path: path.to_owned(), query: String::new(), wrong: None }
    }

    /// A name, as the next segment.
    ///
    /// # Why some are refused here
    /// An empty name would make of `DELETE /users/{user}` a request about all users, and `..` one about
    /// something else altogether: what is between us and the node takes dots away, in any encoding.
    pub(super) fn name(mut self, name: impl Display) -> Self {
        let text = name.to_string();
        if text.is_empty() {
            self.wrong = Some("a name is empty");
        } else if text == "." || text == ".." {
            self.wrong = Some("a name is only dots");
        }
        self.segment(&utf8_percent_encode(&text, &RESERVED))
    }

    /// A word of the API, as the next segment.
    pub(super) fn word(self, word: &'static str) -> Self {
        self.segment(&word)
    }

    /// A parameter of the query, if there is a value.
    pub(super) fn query(mut self, name: &'static str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            let sign = if self.query.is_empty() { '?' } else { '&' };
            let text = value.to_string();
            let encoded = utf8_percent_encode(&text, &RESERVED);
            // Writing to a text does not fail.
            let _ = write!(self.query, "{sign}{name}={encoded}");
        }
        self
    }

    /// The whole of it.
    pub(super) fn finish(self) -> Result<String, &'static str> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(self.path + &self.query),
        }
    }

    fn segment(mut self, text: &impl Display) -> Self {
        let _ = write!(self.path, "/{text}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        let path = |name: &str| Target::new("/v1/users").name(name).word("roles").finish();
        assert_eq!(path("john.doe@example.com").unwrap(), "/v1/users/john.doe%40example.com/roles");
        assert_eq!(path("a/../b?c#d%41 é").unwrap(), "/v1/users/a%2F..%2Fb%3Fc%23d%2541%20%C3%A9/roles");
        assert_eq!(path("...").unwrap(), "/v1/users/.../roles");
        for bad in ["", ".", ".."] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_are_encoded_and_left_out_where_there_is_no_value() {
        let target = Target::new("/x").query("a", Some("b&c=d")).query("n", None::<u8>).query("l", Some(5));
        assert_eq!(target.finish().unwrap(), "/x?a=b%26c%3Dd&l=5");
    }
}

//! Names as this surface takes them: those of the 3.x releases (contract part 3.1).

use crate::domain::{Permission, Rejection, RoleName, UserName};
use crate::http::problem::Problem;

/// A role, also called a group.
pub(super) fn role(text: &str) -> Result<RoleName, Problem> {
    if is(text, 64, "_-") { Ok(RoleName::parse(text)?) } else { Err(bad("role", ROLE)) }
}

/// A permission, or a workflow, which is the permission of that name.
pub(super) fn permission(text: &str) -> Result<Permission, Problem> {
    if is(text, 128, "_-") { Ok(Permission::parse(text)?) } else { Err(bad("permission", PERMISSION)) }
}

/// A workflow that somebody is to run: such names are no longer than those of roles.
pub(super) fn workflow(text: &str) -> Result<Permission, Problem> {
    if is(text, 64, "_-") { Ok(Permission::parse(text)?) } else { Err(bad("workflow", ROLE)) }
}

/// A user. Case counts.
pub(super) fn user(text: &str) -> Result<UserName, Problem> {
    if is(text, 64, "_-.@+:|") { Ok(UserName::parse(text)?) } else { Err(bad("user", USER)) }
}

/// The label of a key.
pub(super) fn is_label(text: &str) -> bool {
    is(text, 64, " _.-")
}

const ROLE: &str = "a name has 1 to 64 of: letters, digits, and _ -";
const PERMISSION: &str = "a name has 1 to 128 of: letters, digits, and _ -";
const USER: &str = "a name has 1 to 64 of: letters, digits, and _ - . @ + : |";

fn is(text: &str, longest: usize, extra: &str) -> bool {
    (1..=longest).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

fn bad(field: &str, rule: &str) -> Problem {
    Rejection::invalid(field, rule).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_rules_of_their_kind() {
        let long = "x".repeat(128);
        for (text, is_role, is_permission, is_user) in [
            ("admin", true, true, true),
            ("A-b_9", true, true, true),
            (&long[..64], true, true, true),
            (&long[..65], false, true, false),
            (&long, false, true, false),
            ("alice@example.com", false, false, true),
            ("a+b:c|d", false, false, true),
            ("", false, false, false),
            ("a b", false, false, false),
            ("a:b", false, false, true),
            ("*", false, false, false),
            ("a/b", false, false, false),
            ("é", false, false, false),
            ("%61", false, false, false),
        ] {
            assert_eq!(role(text).is_ok(), is_role, "{text}");
            assert_eq!(permission(text).is_ok(), is_permission, "{text}");
            assert_eq!(user(text).is_ok(), is_user, "{text}");
            assert_eq!(workflow(text).is_ok(), is_role, "{text}");
        }
        assert_eq!(role("a b").unwrap_err().status(), 400);
    }
}

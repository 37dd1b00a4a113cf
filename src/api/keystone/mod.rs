//! `/api/v1`: the token service of seeds 002 and 004, Keystone (contract part 4).
//!
//! # Why it answers as it does
//! - Requests may be in camelCase or `snake_case`, answers are in camelCase, but for the members of OAuth. What a
//!   request says beyond that is passed over, as its validator (pydantic) did; what is known is typed strictly.
//! - Bad input is 400, with one `details` entry for each fault, and not 422, which the contract allows as well: RFC
//!   6749 section 5.2 asks for 400 at the token endpoints, and one rule for the whole surface is one less to know.
//! - A route asks for a scope that the *token* has and that its owner still holds: a scope that was not asked for at
//!   the sign-in is not used behind the user's back, and a role that was taken away counts at once. What an
//!   administrator does is decided in the log besides, by the permissions of the native API (`iam:users:write` and
//!   the like), which the `*` of the role `admin` covers.
//! - A token lives as long as its session, so revoking an access token ends its refresh token too (RFC 7009 section
//!   2.1 allows it), and the other way round.
//! - The account is the default one, or that of `X-Account-Id`; with a token it is the token's, and the header must
//!   agree.

mod admin_clients;
mod admin_users;
pub(crate) mod body;
mod caller;
mod error;
mod fields;
mod introspection;
mod passwords;
mod profile;
mod registration;
mod revocation;
mod service_token;
mod tokens;
mod user_list;
mod user_view;

pub(super) use error::render;

use super::call::Call;
use super::docs::{Group, Operation};
use super::{Answer, Api, LimitClass, Route, in_class, route};

/// The scopes that routes ask for (contract part 4.1).
mod scope {
    pub(super) const READ_PROFILE: &str = "read:profile";
    pub(super) const WRITE_PROFILE: &str = "write:profile";
    pub(super) const ADMIN_USERS: &str = "admin:users";
    pub(super) const ADMIN_CLIENTS: &str = "admin:clients";
    pub(super) const ADMIN_SYSTEM: &str = "admin:system";
}

/// What its clients look for (contract part 4.2). Browsers of today go by the content policy, which every reply has.
pub(super) const HEADERS: [(&str, &str); 2] =
    [("x-frame-options", "DENY"), ("x-xss-protection", "1; mode=block")];

/// All routes below `/api/v1`.
#[must_use]
pub fn routes() -> Vec<Route> {
    let routes = [
        tokens::routes(),
        service_token::routes(),
        revocation::routes(),
        introspection::routes(),
        registration::routes(),
        profile::routes(),
        admin_users::routes(),
        admin_clients::routes(),
    ];
    in_class(LimitClass::Keystone, routes.concat())
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Group> {
    let group = |tag, about, operations| Group { tag, about, operations };
    let tokens = [
        tokens::operations(),
        service_token::operations(),
        revocation::operations(),
        introspection::operations(),
    ];
    let users = [registration::operations(), profile::operations()];
    let about = "OAuth tokens under `/api/v1`, in the default account or that of `X-Account-Id`. Bodies may be JSON \
         or forms.";
    vec![
        group("API v1 tokens", about, tokens.concat()),
        group("API v1 users", "Registering, and one's own profile.", users.concat()),
        group("API v1 administration", "People, for those with `admin:users`.", admin_users::operations()),
        group(
            "API v1 clients",
            "OAuth clients, for those with `admin:clients`.",
            admin_clients::operations(),
        ),
    ]
}

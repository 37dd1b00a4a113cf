//! `/api`: the authorization service of seed 003 (contract part 3). Roles, their permissions and members, in the
//! account of whoever holds the key that the client drew.
//!
//! # Why it answers as it does
//! - The real clients stop asking for a minute after five answers of 4xx in a row. So a write that finds nothing to
//!   do is a 200 that says `false`, and only what no client should send is refused.
//! - They send `Content-Type: application/json` with an empty body. Where everything is said by the path, nobody
//!   reads the body.
//! - A key needs no registration. One that owns no account yet reads as an empty one; the first write that has
//!   something to write opens it.
//! - Names are those of the 3.x releases, narrower than those of the rules behind: `*` and `:` mean nothing here.
//! - Refusals have one shape, also where the original answers with a page: its clients look at the status.
//! - A list is given whole, because there is no paging here and a list that was cut would say of the others that
//!   they may not. One that is too long is refused.

mod audit;
mod caller;
mod checks;
mod envelope;
mod keys;
mod memberships;
mod names;
mod permissions;
mod roles;
mod seen;
mod settings;
pub(crate) mod time;
mod user_keys;
mod workflows;

use super::call::Call;
use super::docs::{Group, Operation};
use super::{Answer, Api, LimitClass, Route, in_class, route};

pub use caller::gate;
pub use envelope::render;

/// All routes below `/api` that are not those of another surface.
#[must_use]
pub fn routes() -> Vec<Route> {
    let all = [
        roles::routes(),
        permissions::routes(),
        memberships::routes(),
        checks::routes(),
        workflows::routes(),
        user_keys::routes(),
        keys::routes(),
        settings::routes(),
        audit::routes(),
    ]
    .concat();
    in_class(LimitClass::Rodmena, all)
}

/// The same for the API document.
pub(super) fn operations() -> Group {
    let operations = [
        roles::operations(),
        permissions::operations(),
        memberships::operations(),
        checks::operations(),
        workflows::operations(),
        user_keys::operations(),
        keys::operations(),
        settings::operations(),
        audit::operations(),
    ]
    .concat();
    let about = "Roles, permissions and memberships under `/api`, in the account of whoever holds the client key: a \
         UUID of version 4 that the client draws itself. A write that finds nothing to do answers 200 with `false`.";
    Group { tag: "Authorization by client key", about, operations }
}

/// The one path that takes no key: whoever comes there has lost it.
const RECOVER: &str = "/api/keys/recover";

/// The most rows of a list.
const MAX_ROWS: usize = 50_000;

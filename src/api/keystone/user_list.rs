//! The list of users: searched, sorted, in pages by number.
//!
//! # Why it looks at everybody
//! A client asks for any page of any order and for the number of all, so each request goes over all users of
//! the account, off the threads that answer others. Only a sort key of each is kept; the users of the page itself
//! are read again. The native API pages by cursor and does not have to.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::user_view::ManagedView;
use crate::app::Permit;
use crate::app::passwords::names_of;
use crate::app::permit::ReadUsers;
use crate::domain::user::{self, User};
use crate::domain::{Email, Principal, Rejection, RoleName, Timestamp, UserId, lockout, membership};
use crate::http::problem::Problem;

/// Which users, in which order.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UserQuery {
    /// From 0.
    page: Option<usize>,
    /// 20 by default, at most 200.
    size: Option<usize>,
    /// `createdAt`, `username`, `email` or `lastLogin`, then `,asc` or `,desc`; `createdAt,desc` by default.
    sort: Option<String>,
    /// A part of the name, the e-mail address, the first or the last name, in any case.
    search: Option<String>,
    /// Only those who have this role.
    role: Option<String>,
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneUserPage)]
pub(super) struct UserPage {
    content: Vec<ManagedView>,
    pageable: Pageable,
}

/// Where the part is, and how much there is in all.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = KeystonePageable)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pageable {
    page: usize,
    size: usize,
    total_elements: usize,
    total_pages: usize,
}

/// A query that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    place: Place,
    field: Field,
    is_descending: bool,
    /// In lower case.
    search: Option<String>,
    role: Option<RoleName>,
}

/// Which page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    page: usize,
    size: usize,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    CreatedAt,
    LastLogin,
    Username,
    Email,
}

/// What a user is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Time(Timestamp),
    Text(String),
}

const CHUNK: usize = 512;

impl Place {
    /// Reads a page number and a size, of which the last is cut to `most`.
    ///
    /// # Errors
    /// 400 for a size of 0.
    pub(super) fn new(
        page: Option<usize>,
        size: Option<usize>,
        usual: usize,
        most: usize,
    ) -> Result<Self, Problem> {
        let size = size.unwrap_or(usual);
        if size == 0 {
            return Err(Rejection::invalid("size", "a page has at least one entry").into());
        }
        Ok(Self { page: page.unwrap_or_default(), size: size.min(most) })
    }

    /// How many come before the page.
    pub(super) const fn skipped(self) -> usize {
        self.page.saturating_mul(self.size)
    }

    pub(super) const fn size(self) -> usize {
        self.size
    }

    /// The page among so many.
    pub(super) const fn of(self, total: usize) -> Pageable {
        let total_pages = total.div_ceil(self.size);
        Pageable { page: self.page, size: self.size, total_elements: total, total_pages }
    }
}

impl UserQuery {
    /// Checks the query.
    ///
    /// # Errors
    /// 400 for an order that there is not, and for what is no role name.
    pub(super) fn parse(&self) -> Result<Listing, Problem> {
        let sort = self.sort.as_deref().unwrap_or("createdAt,desc");
        let (field, direction) = sort.split_once(',').unwrap_or((sort, "asc"));
        let field = match field {
            "createdAt" | "created_at" => Some(Field::CreatedAt),
            "lastLogin" | "last_login" => Some(Field::LastLogin),
            "username" => Some(Field::Username),
            "email" => Some(Field::Email),
            _ => None,
        };
        let is_descending = match direction.to_ascii_lowercase().as_str() {
            "asc" => Some(false),
            "desc" => Some(true),
            _ => None,
        };
        let (Some(field), Some(is_descending)) = (field, is_descending) else {
            let rule = "createdAt, username, email or lastLogin, then ,asc or ,desc";
            return Err(Rejection::invalid("sort", rule).into());
        };
        Ok(Listing {
            place: Place::new(self.page, self.size, 20, 200)?,
            field,
            is_descending,
            search: self.search.as_deref().map(str::to_lowercase).filter(|text| !text.is_empty()),
            role: self.role.as_deref().map(RoleName::parse).transpose()?,
        })
    }
}

impl Listing {
    /// The page. Blocks for as long as it takes to look at each user of the account.
    pub(super) fn run(&self, permit: &Permit<ReadUsers>, now: Timestamp) -> Result<UserPage, Problem> {
        let (rows, account) = (permit.rows(), permit.account());
        let mut found: Vec<(Key, UserId)> = Vec::new();
        let mut after = None;
        loop {
            let chunk = user::list(rows, account, after, CHUNK)?;
            for row in &chunk {
                if self.is_meant(permit, &row.value) {
                    found.push((self.key(permit, &row.value)?, row.value.id));
                }
            }
            after = match chunk.last() {
                Some(last) if chunk.len() == CHUNK => Some(last.value.id),
                Some(_) | None => break,
            };
        }
        found.sort_unstable();
        if self.is_descending {
            found.reverse();
        }
        let mut content = Vec::new();
        for (_, id) in found.iter().skip(self.place.skipped()).take(self.place.size()) {
            if let Some(row) = user::find(rows, account, *id)? {
                content.push(ManagedView::new(rows, account, &row.value, now)?);
            }
        }
        Ok(UserPage { content, pageable: self.place.of(found.len()) })
    }

    fn is_meant(&self, permit: &Permit<ReadUsers>, user: &User) -> bool {
        let has_role = self.role.as_ref().is_none_or(|role| {
            membership::is_member(permit.rows(), permit.account(), &Principal::User(user.id), role)
        });
        has_role && self.search.as_ref().is_none_or(|part| has_part(user, part))
    }

    fn key(&self, permit: &Permit<ReadUsers>, user: &User) -> Result<Key, Rejection> {
        Ok(match self.field {
            Field::CreatedAt => Key::Time(user.created_at),
            Field::LastLogin => {
                let attempts = lockout::find(permit.rows(), permit.account(), user.id)?;
                Key::Time(attempts.last_success.unwrap_or_default())
            }
            Field::Username => Key::Text(user.login().to_lowercase()),
            Field::Email => Key::Text(user.email.as_ref().map(Email::folded).unwrap_or_default()),
        })
    }
}

fn has_part(user: &User, part: &str) -> bool {
    names_of(user).into_iter().any(|text| text.to_lowercase().contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(sort: Option<&str>, size: Option<usize>) -> UserQuery {
        UserQuery { page: None, size, sort: sort.map(str::to_owned), search: None, role: None }
    }

    #[test]
    fn only_orders_that_there_are_and_pages_that_hold_something() {
        for good in ["createdAt,desc", "username", "email,ASC", "lastLogin,asc", "created_at,desc"] {
            assert!(query(Some(good), None).parse().is_ok(), "{good}");
        }
        for bad in ["", "password", "passwordHash,asc", "username,up", "username,asc,email", ",desc"] {
            let problem = query(Some(bad), None).parse().unwrap_err();
            assert_eq!(problem.code(), "invalid_value", "{bad}");
        }
        assert!(query(None, Some(0)).parse().is_err());
        assert_eq!(query(None, Some(100_000)).parse().unwrap().place.size(), 200);
    }

    #[test]
    fn pages_are_counted() {
        let place = Place::new(Some(usize::MAX), Some(20), 20, 200).unwrap();
        assert_eq!(place.skipped(), usize::MAX, "beyond the end of any list");
        for (total, pages) in [(0, 0), (1, 1), (20, 1), (21, 2)] {
            assert_eq!(place.of(total).total_pages, pages, "{total}");
        }
    }
}

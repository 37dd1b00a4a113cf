//! Whoever holds a client key: read from the header, and the account that it owns.

use std::fmt::Write as _;

use conclave_cluster::state::View;
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use super::{Api, Call, RECOVER};
use crate::app::holders::{Absent, Ordered};
use crate::app::{Failure, Request};
use crate::auth::client_key::ClientKey;
use crate::domain::{AccountId, Action, Rejection, Reply, SecretHash, Timestamp, holder};
use crate::http::problem::Problem;
use crate::replica::Freshness;

/// Lets nothing in that has no well-formed key, also where there is nothing to be let in to: 401 without one, 400
/// for one that is none.
///
/// # Errors
/// So.
pub fn gate(headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    if path == RECOVER { Ok(()) } else { key_in(headers).map(|_| ()) }
}

fn key_in(headers: &HeaderMap) -> Result<ClientKey, Problem> {
    let missing =
        || Problem::unauthenticated("no_key", "This takes Authorization: Bearer with the client key.");
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let header = given.next().ok_or_else(missing)?;
    if given.next().is_some() {
        let detail = "The header authorization is given twice.";
        return Err(Problem::bad_request("duplicate_header", detail));
    }
    let text = header.to_str().map_err(|_| missing())?;
    let mut words = text.split_ascii_whitespace();
    let key = match (words.next(), words.next(), words.next()) {
        (Some(scheme), Some(key), None) if scheme.eq_ignore_ascii_case("bearer") => key,
        _ => return Err(missing()),
    };
    ClientKey::parse(key).ok_or_else(|| {
        Problem::bad_request("invalid_key", "The client key is not a UUID of version 4, with hyphens.")
    })
}

/// The rows that a reading is answered from.
#[derive(Debug)]
pub(super) struct Reader {
    /// The hash of the key.
    pub(super) key: SecretHash,
    /// What it owns, if it owns anything.
    pub(super) account: Option<AccountId>,
    pub(super) rows: View,
    /// When that is: a look into the past judges keys by their time then.
    pub(super) now: Timestamp,
}

impl Reader {
    /// An answer from the account. A key that owns none reads as an empty one.
    pub(super) fn ask<T: Default>(
        &self,
        ask: impl FnOnce(&View, AccountId) -> Result<T, Rejection>,
    ) -> Result<T, Problem> {
        match self.account {
            Some(account) => Ok(ask(&self.rows, account)?),
            None => Ok(T::default()),
        }
    }
}

/// Whoever writes by a key.
#[derive(Debug)]
pub(super) struct Writer {
    /// The hash of the key.
    pub(super) key: SecretHash,
    /// The request as the log will know it.
    pub(super) request: Request,
}

impl Writer {
    /// Whoever sends the call.
    ///
    /// # Errors
    /// 401 and 400 for the key, 400 for an idempotency key that is none.
    pub(super) fn of(call: &Call) -> Result<Self, Problem> {
        let key = key_in(call.headers())?.hash();
        let name = key.as_bytes().iter().fold("key/".to_owned(), |mut name, byte| {
            // Writing into a string does not fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        Ok(Self { key, request: call.request("", &name)? })
    }
}

/// What came of a write that was not refused, or by a rule that its handler knows an answer to.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) key: SecretHash,
    pub(super) account: Option<AccountId>,
    /// The rows after it.
    pub(super) rows: View,
    /// The rule that was in the way.
    pub(super) refusal: Option<Rejection>,
    /// Whether anything is other than before.
    pub(super) is_change: bool,
}

impl Written {
    /// Whether it holds now, be it that it did before.
    pub(super) fn is_done(&self) -> bool {
        self.account.is_some() && self.refusal.is_none()
    }
}

impl Api {
    /// For reading in the account that the key owns.
    ///
    /// # Errors
    /// 401 and 400 for the key, 503 when the rows cannot be as fresh as asked.
    pub(super) async fn reading(&self, call: &Call) -> Result<Reader, Problem> {
        let key = key_in(call.headers())?.hash();
        let freshness = call.freshness()?;
        let now_freshness = match freshness {
            Freshness::AsOf(_) => Freshness::Linearizable,
            Freshness::Linearizable | Freshness::Bounded(_) | Freshness::AtLeast(_) => freshness,
        };
        let present = self.app.view(now_freshness, call.context.deadline).await?;
        let account = holder::account_of(&present, &key)?;
        Ok(match freshness {
            Freshness::AsOf(revision) => {
                let rows = present.as_of(revision).map_err(Failure::from)?;
                let now = Timestamp(rows.at().0);
                Reader { key, account, rows, now }
            }
            Freshness::Linearizable | Freshness::Bounded(_) | Freshness::AtLeast(_) => {
                let now = self.app.now(&present);
                Reader { key, account, rows: present, now }
            }
        })
    }

    /// Has something written in the account that the key owns. The rules that are `known` are no errors: the handler
    /// has an answer to them.
    ///
    /// # Errors
    /// Any other rule, or why it could not be done in time.
    pub(super) async fn write(
        &self,
        call: &Call,
        absent: Absent,
        action: Action,
        known: impl Fn(&Rejection) -> bool,
    ) -> Result<Written, Problem> {
        let writer = Writer::of(call)?;
        self.write_as(&writer, absent, action, known).await
    }

    /// As [`Api::write`], for a request that something was drawn for.
    ///
    /// # Errors
    /// As [`Api::write`].
    pub(super) async fn write_as(
        &self,
        writer: &Writer,
        absent: Absent,
        action: Action,
        known: impl Fn(&Rejection) -> bool,
    ) -> Result<Written, Problem> {
        let (key, request) = (writer.key, &writer.request);
        match self.app.order_by_key(key, absent, action, request).await {
            Ok(Ordered::Done { account, done }) => {
                let is_change = done.reply != Reply::Changed(false);
                let account = Some(account);
                Ok(Written { key, account, rows: done.view, refusal: None, is_change })
            }
            Ok(Ordered::NoAccount(rows)) => {
                Ok(Written { key, account: None, rows, refusal: None, is_change: false })
            }
            Err(Failure::Rejected(rejection)) if known(&rejection) => {
                // The answer holds at a revision that is at least that of the refusal.
                let rows = self.app.view(Freshness::Linearizable, request.deadline).await?;
                let account = holder::account_of(&rows, &key)?;
                Ok(Written { key, account, rows, refusal: Some(rejection), is_change: false })
            }
            Err(Failure::Rejected(Rejection::RegistrationClosed)) => {
                let detail = "This key owns no account, and this cluster opens none for new keys.";
                Err(Problem::forbidden("key_accounts_off", detail))
            }
            Err(Failure::Rejected(Rejection::Unauthenticated)) => {
                let detail = "This client key was replaced after the request was first sent.";
                Err(Problem::unauthenticated("key_replaced", detail))
            }
            Err(other) => Err(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    const KEY: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn status(values: &[&str]) -> u16 {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        gate(&headers, "/api/nowhere").map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn the_gate_wants_one_well_formed_key() {
        for good in [format!("Bearer {KEY}"), format!("bEARER  {}", KEY.to_uppercase())] {
            assert_eq!(status(&[&good]), 200, "{good}");
        }
        for missing in ["", "Bearer", "Bearer ", KEY, &format!("Basic {KEY}"), &format!("Bearer {KEY} x")] {
            assert_eq!(status(&[missing]), 401, "{missing}");
        }
        assert_eq!(status(&[]), 401);
        for bad in
            ["x", "a.b.c", "67e55044-10b1-126f-9247-bb680e5fe0c8", "{67e55044-10b1-426f-9247-bb680e5fe0c8}"]
        {
            assert_eq!(status(&[&format!("Bearer {bad}")]), 400, "{bad}");
        }
        let twice = format!("Bearer {KEY}");
        assert_eq!(status(&[&twice, &twice]), 400);
        assert!(super::super::routes().iter().any(|route| route.pattern == RECOVER));
        assert!(gate(&HeaderMap::new(), RECOVER).is_ok());
        assert!(gate(&HeaderMap::new(), "/api/keys/recover/").is_err());
    }
}

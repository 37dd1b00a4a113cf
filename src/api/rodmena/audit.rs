//! The audit trail as clients of this surface know it: both trails of the account as one, newest first, under the
//! names of the original. Users are shown by fingerprints, as there.
//!
//! # Bounds
//! A page is put together from the newest [`MAX_LOOKED_AT`] records: `total` counts those and no more, `offset` goes
//! no further. Older ones are read through the native API.

use std::fmt::Write as _;

use conclave_cluster::state::View;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{envelope, wraps};
use super::seen::Seen;
use super::time::naive;
use super::{Answer, Api, Call, Operation, Route, route};
use crate::domain::audit::{self, AuditRecord, Trail};
use crate::domain::{AccountId, Rejection};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/api/audit", list)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        wraps::<Entries>(Operation::read(
            "GET /api/audit",
            "authzListAudit",
            "Reads the audit trail, newest first",
        ))
        .about(
            "Of the newest 20000 records. What was asked comes about a fifth of a second after it was asked.",
        )
        .query::<AuditQuery>(),
    ]
}

/// Of more than these no page tells.
const MAX_LOOKED_AT: usize = 20_000;

/// After so many records others may have their turn.
const TURN: usize = 500;

/// What the original calls what.
const NAMES: [(&str, &str); 24] = [
    ("role.create", "CREATE_ROLE"),
    ("role.delete", "DELETE_ROLE"),
    ("role.grant", "ADD_PERMISSION"),
    ("role.withdraw", "REMOVE_PERMISSION"),
    ("role.assign", "ADD_MEMBERSHIP"),
    ("role.unassign", "REMOVE_MEMBERSHIP"),
    ("check.permission", "CHECK_PERMISSION"),
    ("check.membership", "CHECK_MEMBERSHIP"),
    ("list.roles", "LIST_ROLES"),
    ("list.permissions", "LIST_PERMISSIONS"),
    ("list.memberships", "LIST_MEMBERSHIPS"),
    ("list.user-permissions", "USER_PERMISSIONS"),
    ("account-key.rotate", "ROTATE_KEY"),
    ("user-key.create", "CREATE_API_KEY"),
    ("list.user-keys", "LIST_API_KEYS"),
    ("user-key.revoke", "REVOKE_API_KEY"),
    ("user-key.shorten", "UPDATE_API_KEY"),
    ("check.user-key", "VALIDATE_API_KEY"),
    ("check.user-key-permission", "CHECK_API_KEY_PERMISSION"),
    ("read.settings", "GET_SETTINGS"),
    ("settings.update", "UPDATE_SETTINGS"),
    ("audit.read", "GET_AUDIT"),
    ("account-key.issue-recovery", "GET_ROTATE_KEY"),
    ("account-key.recover", "RECOVER_KEY"),
];

/// Newest first.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// 1 to 500; 50 by default.
    limit: Option<usize>,
    /// How many to pass over.
    offset: Option<usize>,
    /// Only these, such as `CREATE_ROLE`, in any case.
    action: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzAudit)]
struct Entries {
    total: usize,
    limit: usize,
    offset: usize,
    entries: Vec<Entry>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzAuditEntry)]
struct Entry {
    /// Of this account alone; says nothing of the order.
    id: u64,
    timestamp: String,
    action: String,
    resource: String,
    details: Details,
    success: bool,
    /// The fingerprint of the user that it is about.
    user: Option<String>,
    ip_address: Option<String>,
    user_agent: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzAuditDetails)]
struct Details {
    revision: u64,
    /// How often, where the same was asked several times.
    count: u32,
    /// The answer, where a user was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    has_permission: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

async fn list(api: &Api, call: &Call) -> Answer {
    let query: AuditQuery = call.query()?;
    let (limit, offset) = (query.limit.unwrap_or(50), query.offset.unwrap_or(0));
    if !(1..=500).contains(&limit) {
        return Err(Problem::bad_request("invalid_limit", "limit is 1 to 500."));
    }
    if offset > MAX_LOOKED_AT {
        return Err(Problem::bad_request("invalid_offset", "offset is 0 to 20000."));
    }
    let reader = api.reading(call).await?;
    let mut page = Entries { total: 0, limit, offset, entries: Vec::new() };
    if let Some(account) = reader.account {
        let mut newest = Newest::new(&reader.rows, account)?;
        for looked_at in 0..MAX_LOOKED_AT {
            let Some(record) = newest.next()? else { break };
            let name = shown(&record.record.action);
            if query.action.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&name)) {
                continue;
            }
            if (offset..offset + limit).contains(&page.total) {
                page.entries.push(entry(api, account, record, name)?);
            }
            page.total += 1;
            if looked_at % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
    api.seen(call, &reader, Seen::new("audit.read", "all"));
    Ok(envelope(api, &reader.rows, "The audit trail", page))
}

/// The name of an action in the original; one that it does not have is shown in its manner.
fn shown(action: &str) -> String {
    match NAMES.iter().find(|(native, _)| *native == action) {
        Some((_, name)) => (*name).to_owned(),
        None => action.to_uppercase().replace(['.', '-'], "_"),
    }
}

/// A record, and which of all of the account it is.
struct Numbered {
    id: u64,
    record: AuditRecord,
}

/// Both trails from their newest records on, as one.
struct Newest<'r> {
    rows: &'r View,
    account: AccountId,
    acts: Option<AuditRecord>,
    checks: Option<AuditRecord>,
}

impl<'r> Newest<'r> {
    fn new(rows: &'r View, account: AccountId) -> Result<Self, Rejection> {
        let newest = |trail| audit::get(rows, account, trail, audit::head(rows, account, trail)?.sequence);
        Ok(Self { rows, account, acts: newest(Trail::Acts)?, checks: newest(Trail::Checks)? })
    }

    fn next(&mut self) -> Result<Option<Numbered>, Rejection> {
        let place =
            |record: &Option<AuditRecord>| record.as_ref().map(|found| (found.revision, found.sequence));
        let trail = if place(&self.acts) >= place(&self.checks) { Trail::Acts } else { Trail::Checks };
        let (slot, bit) = match trail {
            Trail::Acts => (&mut self.acts, 0),
            Trail::Checks => (&mut self.checks, 1),
        };
        let Some(record) = slot.take() else { return Ok(None) };
        if let Some(before) = record.sequence.checked_sub(1) {
            *slot = audit::get(self.rows, self.account, trail, before)?;
        }
        Ok(Some(Numbered { id: record.sequence * 2 + bit, record }))
    }
}

fn entry(api: &Api, account: AccountId, numbered: Numbered, action: String) -> Result<Entry, Problem> {
    let Numbered { id, record } = numbered;
    let told = Told::read(&record.target);
    let user = match told.user {
        Some(user) => Some(fingerprint(api, account, user)?),
        None => None,
    };
    let mut named: Vec<&str> = user.iter().map(String::as_str).chain(told.others).collect();
    if named.is_empty() {
        named.push("self");
    }
    let resource = named.join(":");
    // A question about a user was answered, whatever the answer is.
    let is_question =
        told.user.is_some() && (record.action == "check.permission" || record.action == "check.membership");
    Ok(Entry {
        id,
        timestamp: naive(record.at),
        action,
        resource,
        details: Details {
            revision: record.revision,
            count: record.count,
            has_permission: is_question.then_some(record.success),
            note: record.detail,
        },
        success: is_question || record.success,
        user,
        ip_address: record.origin.address,
        user_agent: record.origin.agent,
    })
}

fn fingerprint(api: &Api, account: AccountId, user: &str) -> Result<String, Problem> {
    let bytes = api.app.fingerprint(account, user)?;
    Ok(bytes.iter().fold("fpr_".to_owned(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// What a record's target names: `role/admin to subject/john` is a role and a user. No name holds a blank or a slash.
#[derive(Debug, PartialEq, Eq)]
struct Told<'t> {
    user: Option<&'t str>,
    others: Vec<&'t str>,
}

impl<'t> Told<'t> {
    fn read(target: &'t str) -> Self {
        let mut told = Self { user: None, others: Vec::new() };
        for word in target.split(' ').filter(|word| !["", "to", "from", "of"].contains(word)) {
            match word.split_once('/') {
                Some(("subject", named)) => {
                    let (user, key) =
                        named.split_once('/').map_or((named, None), |(user, key)| (user, Some(key)));
                    told.user = Some(user);
                    told.others.extend(key);
                }
                Some(("role", role)) => told.others.push(role),
                Some(_) | None => told.others.push(word),
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let mut seen = std::collections::BTreeSet::new();
        for (native, name) in NAMES {
            assert_eq!(shown(native), name);
            assert!(seen.insert(native) && seen.insert(name));
        }
        assert_eq!(shown("account.create"), "ACCOUNT_CREATE");
    }

    #[test]
    fn a_target_tells_its_user_apart() {
        let told = |user, others: &[&'static str]| Told { user, others: others.to_vec() };
        for (target, expected) in [
            ("role/admin to subject/john", told(Some("john"), &["admin"])),
            ("role/admin from subject/a|b:c", told(Some("a|b:c"), &["admin"])),
            ("role/admin of subject/to", told(Some("to"), &["admin"])),
            ("role/admin deploy", told(None, &["admin", "deploy"])),
            ("subject/john deploy", told(Some("john"), &["deploy"])),
            ("subject/john/67e55044", told(Some("john"), &["67e55044"])),
            ("subject/john workflow:nightly", told(Some("john"), &["workflow:nightly"])),
            ("settings", told(None, &["settings"])),
            ("", told(None, &[])),
        ] {
            assert_eq!(Told::read(target), expected, "{target}");
        }
    }
}

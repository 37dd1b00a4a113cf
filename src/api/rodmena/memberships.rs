//! Memberships: who has which role, from both sides.

use conclave_cluster::state::View;
use serde::Serialize;
use utoipa::ToSchema;

use super::checks::Verdict;
use super::envelope::{Conflict, answers, bare, conflict, envelope, lists, wraps};
use super::roles::NO_ROLE;
use super::seen::Seen;
use super::{Answer, Api, Call, MAX_ROWS, Operation, Route, names, route};
use crate::app::holders::Absent;
use crate::domain::{AccountId, Action, Principal, Rejection, RoleName, UserName, membership, role, subject};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/membership/{user}/{role}", add, user, role),
        route!(GET "/api/membership/{user}/{role}", check, user, role),
        route!(DELETE "/api/membership/{user}/{role}", remove, user, role),
        route!(GET "/api/user_roles/{user}", list_roles, user),
        route!(GET "/api/members/{role}", list_members, role),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        answers(Operation::write(
            "POST /api/membership/{user}/{role}",
            "authzAddMembership",
            "Gives a user a role",
        ))
        .about("Takes no body. `false` where there is no such role.")
        .refuses_with::<Conflict<'_>>(409, "`strict_users` is on, and the user has no live key of its own."),
        wraps::<Verdict>(Operation::read(
            "GET /api/membership/{user}/{role}",
            "authzHasMembership",
            "Whether a user has a role",
        )),
        answers(Operation::write(
            "DELETE /api/membership/{user}/{role}",
            "authzRemoveMembership",
            "Takes a role from a user",
        ))
        .about("`true` also where it had none."),
        lists::<MembershipView>(Operation::read(
            "GET /api/user_roles/{user}",
            "authzListUserRoles",
            "Lists the roles of a user",
        )),
        lists::<MembershipView>(Operation::read(
            "GET /api/members/{role}",
            "authzListRoleMembers",
            "Lists who has a role",
        ))
        .refuses(&[422]),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzMembership)]
pub(super) struct MembershipView {
    pub(super) user: String,
    pub(super) role: String,
}

/// What is said of a user that has no key in a strict account.
pub(super) const NOT_KEY_BACKED: &str = "user_not_key_backed";

async fn add(api: &Api, call: &Call, user: &str, role: &str) -> Answer {
    let (user, role) = (names::user(user)?, names::role(role)?);
    let tried = Seen::new("role.assign", format!("role/{role} to subject/{user}"));
    let known = |rule: &Rejection| *rule == NO_ROLE || *rule == Rejection::NotKeyBacked;
    let action = Action::AddMember { user: user.clone(), role };
    let written = api.write(call, Absent::Leave, action, known).await?;
    let result = written.is_done();
    api.tried(call, &written, result, tried);
    if written.refusal == Some(Rejection::NotKeyBacked) {
        let hint = format!(
            "This account has strict_users on, and {user} has no live API key: make one with POST \
             /api/apikeys/user/{user}, or turn strict_users off with PUT /api/settings."
        );
        return Ok(conflict(&written.rows, NOT_KEY_BACKED, &hint));
    }
    Ok(bare(&written.rows, result))
}

async fn remove(api: &Api, call: &Call, user: &str, role: &str) -> Answer {
    let (user, role) = (names::user(user)?, names::role(role)?);
    let tried = Seen::new("role.unassign", format!("role/{role} from subject/{user}"));
    let written = api.write(call, Absent::Leave, Action::RemoveMember { user, role }, |_| false).await?;
    api.tried(call, &written, true, tried);
    Ok(bare(&written.rows, true))
}

async fn check(api: &Api, call: &Call, user: &str, role: &str) -> Answer {
    let (user, role) = (names::user(user)?, names::role(role)?);
    let reader = api.reading(call).await?;
    let verdict = Verdict::about(&reader, &user, |rows, account, principal| {
        // A membership of a role that is not there gives nothing.
        Ok(membership::is_member(rows, account, principal, &role)
            && role::find(rows, account, &role)?.is_some())
    })?;
    let seen = Seen::new("check.membership", format!("role/{role} of subject/{user}"));
    api.seen(call, &reader, seen.answered(verdict.has_permission));
    Ok(envelope(api, &reader.rows, &format!("Whether {user} has role {role}"), verdict))
}

async fn list_roles(api: &Api, call: &Call, user: &str) -> Answer {
    let user = names::user(user)?;
    let reader = api.reading(call).await?;
    let principal = Principal::Subject(subject::id_of(&user));
    let roles = reader.ask(|rows, account| membership::roles_of(rows, account, &principal))?;
    let roles: Vec<MembershipView> =
        roles.into_iter().map(|role| MembershipView { user: user.to_string(), role: role.into() }).collect();
    api.seen(call, &reader, Seen::new("list.memberships", format!("subject/{user}")));
    Ok(bare(&reader.rows, roles))
}

async fn list_members(api: &Api, call: &Call, role: &str) -> Answer {
    let role = names::role(role)?;
    let reader = api.reading(call).await?;
    let members = reader.ask(|rows, account| members(rows, account, [&role]))?;
    must_fit(members.len())?;
    api.seen(call, &reader, Seen::new("list.memberships", format!("role/{role}")));
    Ok(bare(&reader.rows, members))
}

/// Who has one of these roles, a row for each of both: at most one more than fit.
pub(super) fn members<'r>(
    rows: &View,
    account: AccountId,
    roles: impl IntoIterator<Item = &'r RoleName>,
) -> Result<Vec<MembershipView>, Rejection> {
    let mut found = Vec::new();
    for role in roles {
        let room = (MAX_ROWS + 1).saturating_sub(found.len());
        for principal in membership::members_of(rows, account, role, None, room)? {
            let name = name_of(rows, account, &principal)?;
            found.push(MembershipView { user: name.into(), role: role.to_string() });
        }
    }
    Ok(found)
}

/// The name of a member. In an account that is owned by a key all members are plain names.
pub(super) fn name_of(rows: &View, account: AccountId, principal: &Principal) -> Result<UserName, Rejection> {
    match principal {
        Principal::Subject(id) => {
            subject::find(rows, account, *id)?.map(|found| found.name).ok_or(Rejection::Damaged)
        }
        Principal::User(_) | Principal::Service(_) => Err(Rejection::Damaged),
    }
}

/// Refuses a list that is too long rather than to leave some out.
pub(super) fn must_fit(rows: usize) -> Result<(), Problem> {
    if rows > MAX_ROWS {
        let what = "rows in a list".to_owned();
        return Err(Rejection::LimitReached { what, limit: MAX_ROWS as u64 }.into());
    }
    Ok(())
}

//! One's own profile and password.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::caller::{named, person, reader, writer};
use super::error::of_person;
use super::fields::Fields;
use super::revocation::Message;
use super::user_view::ProfileView;
use super::{Answer, Api, Call, Operation, Route, passwords, route, scope};
use crate::api::call::bad_id;
use crate::api::reply;
use crate::api::signed::expected;
use crate::app::{Caller, Failure};
use crate::domain::user::{self, UserChanges};
use crate::domain::{Principal, Rejection, Resource, UserId};
use crate::http::problem::Problem;
use crate::secret::Secret;
use conclave_cluster::state::View;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/v1/users/profile", show),
        route!(PUT "/api/v1/users/profile", change),
        route!(POST "/api/v1/users/change-password", change_password),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let names = json!({"firstName": "John", "lastName": "Smith"});
    let words = json!({
        "currentPassword": "SecurePassword123!",
        "newPassword": "NewSecurePassword456!",
        "confirmPassword": "NewSecurePassword456!",
    });
    vec![
        Operation::read("GET /api/v1/users/profile", "keystoneProfile", "Shows who asks")
            .about("Takes the scope `read:profile`.")
            .gives_tagged::<ProfileView>(),
        Operation::write("PUT /api/v1/users/profile", "keystoneUpdateProfile", "Changes who asks")
            .about("Takes the scope `write:profile`. Name, id and roles are not one's own to change.")
            .guarded()
            .takes::<Changes>(names)
            .gives_tagged::<ProfileView>()
            .refuses(&[409]),
        Operation::write(
            "POST /api/v1/users/change-password",
            "keystoneChangePassword",
            "Changes one's own password and ends one's other sessions",
        )
        .about("A wrong current password is 400 `invalid_grant`, and counts as a failed sign-in.")
        .takes::<Replacement>(words)
        .gives::<Message>()
        .refuses(&[423]),
    ]
}

/// Who asks; programs have been turned away before.
pub(super) fn myself(caller: &Caller) -> Result<UserId, Problem> {
    match caller.principal() {
        Principal::User(id) => Ok(id),
        Principal::Service(_) | Principal::Subject(_) => Err(Rejection::Unauthenticated.into()),
    }
}

async fn show(api: &Api, call: &Call) -> Answer {
    let signed = reader(api, call, scope::READ_PROFILE).await?;
    let id = myself(&signed.caller)?;
    shown(&signed.rows, &signed.caller, id, signed.rows.revision())
}

/// What to change; an empty first or last name takes it away.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneProfileChanges)]
#[serde(rename_all = "camelCase")]
struct Changes {
    #[serde(alias = "first_name")]
    first_name: Option<String>,
    #[serde(alias = "last_name")]
    last_name: Option<String>,
    email: Option<String>,
}

async fn change(api: &Api, call: &Call) -> Answer {
    let body: Changes = call.json()?;
    let mut fields = Fields::default();
    let changes = UserChanges {
        name: None,
        email: body.email.as_deref().and_then(|email| fields.email(email)),
        first_name: fields.label("firstName", body.first_name.as_deref()),
        last_name: fields.label("lastName", body.last_name.as_deref()),
    };
    fields.done()?;
    let (signed, request) = writer(api, call, scope::WRITE_PROFILE).await?;
    let id = myself(&signed.caller)?;
    let expect = expected(call, Some(Resource::User(id)))?;
    let done = api.app.update_user(&signed.caller, id, changes, None, expect, &request).await?;
    shown(&done.view, &signed.caller, id, done.revision)
}

/// A new password, twice, and the one before.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneNewPassword)]
struct Replacement {
    #[serde(rename = "currentPassword", alias = "current_password")]
    #[schema(value_type = String, format = Password)]
    current: Secret<String>,
    #[serde(rename = "newPassword", alias = "new_password")]
    #[schema(value_type = String, format = Password)]
    new: Secret<String>,
    #[serde(rename = "confirmPassword", alias = "confirm_password")]
    #[schema(value_type = String, format = Password)]
    confirmed: Secret<String>,
}

async fn change_password(api: &Api, call: &Call) -> Answer {
    let body: Replacement = call.json()?;
    let mut fields = Fields::default();
    // Both are the caller's own, so how long a comparison takes tells nobody anything.
    if body.new.expose() != body.confirmed.expose() {
        fields.fault("confirmPassword", "is not the new password");
    }
    let current = fields.password("currentPassword", body.current);
    let new = fields.password("newPassword", body.new);
    let (current, new) = fields.done_with(current.zip(new))?;
    let signed = person(api, call).await?;
    let id = myself(&signed.caller)?;
    let request = named(call, &signed.caller)?;
    let new = passwords::wanted(api, new);
    let done = api.app.change_password(&signed.caller, id, Some(current), new, &request).await;
    let done = done.map_err(|failure| {
        if failure == Failure::Rejected(Rejection::BadCredentials) {
            // Not 401: the token is good, and a client would throw it away.
            return Problem::bad_request("invalid_grant", "The current password is wrong.");
        }
        of_person(api, failure)
    })?;
    Ok(reply::at(done.revision, StatusCode::OK, &Message { message: "Password changed successfully" }))
}

fn shown(rows: &View, caller: &Caller, id: UserId, revision: u64) -> Answer {
    let stored = user::find(rows, caller.account(), id)?.ok_or_else(bad_id)?;
    let body = ProfileView::new(rows, caller.account(), &stored.value)?;
    Ok(reply::tagged(revision, stored.revision, StatusCode::OK, &body))
}

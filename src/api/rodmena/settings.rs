//! Settings of an account, as this surface knows them: whether its users must have keys of their own.
//!
//! The original has that on for new accounts since 3.0. Here it is off until it is asked for, because the quick
//! start gives a role to a user without a key.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::envelope::{envelope, wraps};
use super::seen::Seen;
use super::{Answer, Api, Call, Operation, Route, route};
use crate::app::holders::Absent;
use crate::domain::Action;
use crate::domain::settings::{self, SettingsChanges};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/api/settings", show), route!(PUT "/api/settings", change)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        wraps::<SettingsView>(Operation::read(
            "GET /api/settings",
            "authzGetSettings",
            "Shows the settings of the account",
        )),
        wraps::<SettingsView>(Operation::write(
            "PUT /api/settings",
            "authzPutSettings",
            "Changes the settings of the account",
        ))
        .about("With `strict_users` on, only a user with a live key of its own is given a role, or told yes.")
        .takes::<NewSettings>(json!({"strict_users": false}))
        .refuses(&[403]),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzSettings)]
struct SettingsView {
    strict_users: bool,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AuthzNewSettings)]
#[serde(deny_unknown_fields)]
struct NewSettings {
    strict_users: bool,
}

async fn show(api: &Api, call: &Call) -> Answer {
    let reader = api.reading(call).await?;
    let settings = reader.ask(|rows, account| settings::of(rows, account))?;
    let view = SettingsView { strict_users: settings.strict_users };
    api.seen(call, &reader, Seen::new("read.settings", "settings"));
    Ok(envelope(api, &reader.rows, "Settings of this account", view))
}

async fn change(api: &Api, call: &Call) -> Answer {
    let body: NewSettings = call.json()?;
    // What an account starts with need not be written.
    let absent = if body.strict_users { Absent::Open } else { Absent::Leave };
    let changes = SettingsChanges { strict_users: Some(body.strict_users), ..SettingsChanges::default() };
    let written = api.write(call, absent, Action::ChangeSettings(changes), |_| false).await?;
    api.tried(call, &written, true, Seen::new("settings.update", "settings"));
    let view = SettingsView { strict_users: body.strict_users };
    Ok(envelope(api, &written.rows, "Settings of this account", view))
}

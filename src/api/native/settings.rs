//! What an account decides for itself.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::passwords::PasswordsRule;
use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::api::signed::order;
use crate::app::permit::ReadSettings;
use crate::domain::lockout::Lockout;
use crate::domain::settings::{self, Registration, Retention, Settings, SettingsChanges};
use crate::domain::{Action, Lifetime, Resource, RoleName};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/settings", show, account),
        route!(PATCH "/v1/accounts/{account}/settings", change, account),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read("GET /v1/accounts/{account}/settings", "getSettings", "Shows the account's settings")
            .gives_tagged::<SettingsView>(),
        Operation::write(
            "PATCH /v1/accounts/{account}/settings",
            "updateSettings",
            "Changes the account's settings",
        )
        .about(
            "A member that is given is replaced as a whole. Who opens registration must hold the roles it gives. \
         A stricter rule for passwords locks nobody out, except that those beyond a greatest age must be \
         changed to sign in.",
        )
        .guarded()
        .takes::<SettingsPatch>(json!({
            "lockout": {"failures": 10, "lock_for_s": 900},
            "passwords": {"own": {"min_chars": 12}},
        }))
        .gives_tagged::<SettingsView>(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Settings)]
struct SettingsView {
    passwords: PasswordsRule,
    lockout: LockoutRule,
    /// Whether only subjects with a live key of their own become members.
    strict_users: bool,
    registration: RegistrationRule,
    retention: RetentionRule,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingsPatch {
    passwords: Option<PasswordsRule>,
    lockout: Option<LockoutRule>,
    strict_users: Option<bool>,
    registration: Option<RegistrationRule>,
    retention: Option<RetentionRule>,
}

/// When somebody who guesses passwords is locked out.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LockoutRule {
    /// Failures in a row that lock; at most 100, and 0 never does.
    failures: u32,
    /// Seconds that a lock lasts: a minute to a day.
    lock_for_s: u64,
}

/// Whether people let themselves in.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RegistrationRule {
    open: bool,
    /// The roles of whoever registers.
    #[serde(default)]
    #[schema(required = false)]
    roles: Vec<String>,
}

/// How long the audit trails are kept.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RetentionRule {
    /// Seconds that the trail of what was done goes back: a day at least.
    acts_for_s: u64,
    /// How many records of what was asked are kept: at most 1,000,000.
    checks: u64,
}

impl SettingsView {
    fn new(settings: &Settings) -> Self {
        let registration = match &settings.registration {
            Registration::Closed => RegistrationRule { open: false, roles: Vec::new() },
            Registration::Open { roles } => {
                RegistrationRule { open: true, roles: roles.iter().map(ToString::to_string).collect() }
            }
        };
        Self {
            passwords: settings.passwords.into(),
            lockout: LockoutRule {
                failures: settings.lockout.failures,
                lock_for_s: settings.lockout.lock_for.seconds(),
            },
            strict_users: settings.strict_users,
            registration,
            retention: RetentionRule {
                acts_for_s: settings.retention.acts.seconds(),
                checks: settings.retention.checks,
            },
        }
    }
}

impl SettingsPatch {
    fn parse(self) -> Result<SettingsChanges, Problem> {
        let lockout = self
            .lockout
            .map(|rule| Lockout { failures: rule.failures, lock_for: Lifetime::from_secs(rule.lock_for_s) });
        let retention = self
            .retention
            .map(|rule| Retention { acts: Lifetime::from_secs(rule.acts_for_s), checks: rule.checks });
        let registration = self.registration.map(RegistrationRule::parse).transpose()?;
        Ok(SettingsChanges {
            lockout,
            strict_users: self.strict_users,
            registration,
            retention,
            passwords: self.passwords.map(PasswordsRule::parse).transpose()?,
        })
    }
}

impl RegistrationRule {
    fn parse(self) -> Result<Registration, Problem> {
        let roles: Vec<RoleName> =
            self.roles.iter().map(|role| RoleName::parse(role)).collect::<Result<_, _>>()?;
        match (self.open, roles.is_empty()) {
            (true, _) => Ok(Registration::Open { roles }),
            (false, true) => Ok(Registration::Closed),
            (false, false) => {
                let rule = "registration: a closed one gives no roles.";
                Err(Problem::bad_request("invalid_value", rule))
            }
        }
    }
}

async fn show(api: &Api, call: &Call, account: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadSettings>(&signed.now, &signed.rows)?;
    let stored = settings::find(permit.rows(), permit.account())?;
    let (tag, settings) = stored.map(|row| (row.revision, row.value)).unwrap_or_default();
    Ok(reply::tagged(signed.rows.revision(), tag, StatusCode::OK, &SettingsView::new(&settings)))
}

async fn change(api: &Api, call: &Call, account: &str) -> Answer {
    let changes = call.json::<SettingsPatch>()?.parse()?;
    let (caller, request) = api.writer(call, account).await?;
    let order = order(call, &caller, &request, Some(Resource::Settings), Action::ChangeSettings(changes))?;
    let done = api.app.execute(&order, &request).await?;
    let stored = settings::find(&done.view, caller.account())?;
    let (tag, settings) = stored.map(|row| (row.revision, row.value)).unwrap_or_default();
    Ok(reply::tagged(done.revision, tag, StatusCode::OK, &SettingsView::new(&settings)))
}

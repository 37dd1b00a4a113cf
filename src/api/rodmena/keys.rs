//! The client key: replaced by its holder, or by whoever holds what was given out for the case that it is lost.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::caller::Writer;
use super::envelope::{Conflict, conflict, envelope, wraps};
use super::seen::Seen;
use super::{Answer, Api, Call, Operation, Route, route};
use crate::app::Failure;
use crate::app::holders::Absent;
use crate::auth::client_key::ClientKey;
use crate::domain::{AccountId, Action, Rejection, SecretHash, holder};
use crate::http::problem::Problem;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/keys/rotate", rotate),
        route!(POST "/api/keys/get_rotate_key", issue_recovery),
        route!(POST "/api/keys/recover", recover),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let recovery = json!({"rotate_key": "rrk_0000000000000000000000000000000000000000000"});
    vec![
        wraps::<Rotated>(Operation::write(
            "POST /api/keys/rotate",
            "authzRotateKey",
            "Replaces the client key by a new one",
        ))
        .about(
            "Takes no body. The old key owns nothing from then on. Send an `Idempotency-Key`: with it a retry is \
             given the same new key, which is shown nowhere else.",
        ),
        wraps::<RotateKey>(Operation::write(
            "POST /api/keys/get_rotate_key",
            "authzGetRotateKey",
            "Gives out, once, what replaces a lost client key",
        ))
        .about("Takes no body.")
        .refuses(&[403])
        .refuses_with::<Conflict<'_>>(409, "It was given out before."),
        wraps::<Recovered>(Operation::write(
            "POST /api/keys/recover",
            "authzRecoverKey",
            "Gives the account a new client key, for what was given out for that",
        ))
        .about("Takes no client key. What is presented has been used then; a new one is given out.")
        .open()
        .takes::<Recovery>(recovery)
        .refuses(&[401]),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRotated)]
struct Rotated {
    /// Shown this once.
    new_key: String,
    migrated: Migrated,
}

/// What the new key owns.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = AuthzMigrated)]
struct Migrated {
    roles: usize,
    /// Users that have a role.
    memberships: usize,
    /// Permissions that a role has.
    permissions: usize,
    api_keys: usize,
    settings: usize,
}

async fn rotate(api: &Api, call: &Call) -> Answer {
    let writer = Writer::of(call)?;
    let next = api.app.draw_client_key(&writer.request)?;
    let action = Action::RotateHolder { next: next.hash() };
    let written = api.write_as(&writer, Absent::Leave, action, |_| false).await?;
    let migrated = match written.account {
        Some(account) => {
            let held = holder::holdings(&written.rows, account)?;
            Migrated {
                roles: held.roles,
                memberships: held.members,
                permissions: held.permissions,
                api_keys: held.subject_keys,
                settings: usize::from(held.has_settings),
            }
        }
        // Nothing is replaced by nothing.
        None => Migrated::default(),
    };
    let rotated = Rotated { new_key: next.text().expose().clone(), migrated };
    Ok(envelope(api, &written.rows, "Replaced the client key", rotated))
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRotateKey)]
struct RotateKey {
    /// Shown this once.
    rotate_key: String,
}

async fn issue_recovery(api: &Api, call: &Call) -> Answer {
    let writer = Writer::of(call)?;
    let secret = api.app.draw_recovery(&writer.request)?;
    let action = Action::SetRecovery { secret: SecretHash::of(secret.expose()) };
    let known = |rule: &Rejection| *rule == Rejection::RecoveryIssued;
    let written = api.write_as(&writer, Absent::Open, action, known).await?;
    if written.refusal.is_some() {
        api.tried(call, &written, false, Seen::new("account-key.issue-recovery", ""));
        let hint = "It was given out before and is stored as a hash only. If it is lost, keep the client key safe: \
             POST /api/keys/rotate still replaces that.";
        return Ok(conflict(&written.rows, "rotate_key_already_issued", hint));
    }
    let message = "What replaces the client key when it is lost, shown this once";
    Ok(envelope(api, &written.rows, message, RotateKey { rotate_key: secret.expose().clone() }))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AuthzRecovery)]
#[serde(deny_unknown_fields)]
struct Recovery {
    /// `rrk_` and 43 letters and digits.
    #[schema(value_type = String)]
    rotate_key: Secret<String>,
    /// The new client key, a UUID of version 4 that owns nothing; drawn where it is missing.
    #[schema(value_type = Option<String>)]
    new_client_key: Option<Secret<String>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRecovered)]
struct Recovered {
    /// Shown this once.
    client_key: String,
    /// Shown this once; the one before is used up.
    rotate_key: String,
}

async fn recover(api: &Api, call: &Call) -> Answer {
    let body: Recovery = call.json()?;
    let wanted = match &body.new_client_key {
        None => None,
        Some(text) => Some(ClientKey::parse(text.expose()).ok_or_else(|| {
            Problem::from(Rejection::invalid(
                "new_client_key",
                "a client key is a UUID of version 4, with hyphens",
            ))
        })?),
    };
    match api.app.recover_key(body.rotate_key.expose(), wanted, &call.request("", "")?).await {
        Ok(recovered) => {
            let answer = Recovered {
                client_key: recovered.key.text().expose().clone(),
                rotate_key: recovered.recovery.expose().clone(),
            };
            Ok(envelope(
                api,
                &recovered.done.view,
                "The account has a new client key, shown this once",
                answer,
            ))
        }
        Err(Failure::Rejected(Rejection::BadCredentials)) => {
            // It cannot be told whose it was meant to be.
            api.tried_in(AccountId::CLUSTER, call, Seen::new("account-key.recover", "").answered(false));
            Err(Problem::unauthenticated("bad_rotate_key", "The rotate key is not good."))
        }
        Err(Failure::Rejected(Rejection::KeyTaken)) => {
            let detail =
                "The new client key owns an account already: choose another, or none, to have one drawn.";
            Err(Problem::bad_request("key_taken", detail))
        }
        Err(other) => Err(other.into()),
    }
}

//! Failures as HTTP: one table of statuses, without a default arm.

use serde_json::json;
use warp::http::StatusCode;

use crate::app::Failure;
use crate::auth::password::Password;
use crate::auth::policy::Breach;
use crate::domain::Rejection;
use crate::http::limit;
use crate::http::problem::Problem;
use conclave_cluster::Unavailable;
use conclave_cluster::state::AsOfError;

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(rejection) => rejection.into(),
            Failure::Password(_) => Self::bad_request(
                "invalid_password",
                format!(
                    "A password has 1 to {} characters, at most {} bytes.",
                    Password::MAX_CHARS,
                    Password::MAX_BYTES
                ),
            ),
            Failure::WeakPassword(breaches) => weak_password(&breaches),
            Failure::PasswordExpired { account } => Self::forbidden(
                "password_expired",
                format!(
                    "The password is right, and too old to sign in with. Change it by POST \
                     /v1/accounts/{account}/password."
                ),
            )
            .with("account", account.as_str()),
            Failure::Unavailable(unavailable) => of_unavailable(unavailable),
            Failure::Busy { retry_after } => {
                let seconds = retry_after.as_secs().max(1);
                Self::unavailable("busy", "Too much is waiting already. Nothing was done.", seconds)
            }
            Failure::Limited(exceeded) => limit::exceeded(exceeded),
            Failure::Endangers(reason) => Self::conflict("would_endanger_cluster", reason),
            Failure::SwitchedOff { setting } => Self::forbidden(
                "switched_off",
                format!("An operator has switched this off ({setting}). Nothing was done."),
            ),
            // What clients of these surfaces are told is the same for all that is wrong with a sign-in.
            Failure::Locked { .. } | Failure::Disabled => Rejection::BadCredentials.into(),
            Failure::NothingGranted => {
                Self::bad_request("invalid_scope", "Nothing of what is asked for can be given.")
            }
            Failure::Upgrading(waits_for) => Self::unavailable(
                "upgrading",
                format!("The cluster is being upgraded: {waits_for}. Nothing was done."),
                5,
            ),
            Failure::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The idempotency key was used for another request.",
            ),
            Failure::Revision(AsOfError::TooOld { oldest }) => {
                Self::new(StatusCode::GONE, "revision_gone", "The rows of that revision are no longer kept.")
                    .with("oldest_revision", oldest)
            }
            Failure::Revision(AsOfError::NotYet { newest }) => {
                Self::bad_request("revision_ahead", "There is no such revision yet.")
                    .with("newest_revision", newest)
            }
            Failure::NotReady => Self::unavailable("not_ready", "This node is still starting.", 1),
            Failure::Internal(reason) => {
                tracing::error!(reason, "a request failed");
                Self::internal()
            }
        }
    }
}

/// All breaches at once, also in the detail: some surfaces show nothing else.
fn weak_password(breaches: &[Breach]) -> Problem {
    let sentences = breaches.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let each = |breach: &Breach| json!({"code": breach.code(), "message": breach.to_string()});
    Problem::bad_request("weak_password", sentences)
        .with("breaches", breaches.iter().map(each).collect::<Vec<_>>())
}

fn of_unavailable(unavailable: Unavailable) -> Problem {
    let problem = match unavailable {
        Unavailable::NoLeader | Unavailable::NotLeader { .. } => {
            Problem::unavailable("no_leader", "The cluster has no leader at the moment. Nothing was done.", 1)
        }
        Unavailable::TooLong => Problem::too_large(conclave_cluster::Proposal::MAX_COMMAND_BYTES),
        Unavailable::Overloaded => {
            Problem::unavailable("busy", "Too much is waiting already. Nothing was done.", 1)
        }
        Unavailable::Stopping => {
            Problem::unavailable("stopping", "This node is stopping. Nothing was done.", 1)
        }
        Unavailable::Timeout { outcome_unknown: false } => {
            Problem::unavailable("timeout", "The cluster did not answer in time. Nothing was done.", 1)
        }
        Unavailable::Timeout { outcome_unknown: true } | Unavailable::Unreachable => Problem::unavailable(
            "outcome_unknown",
            "The cluster did not answer in time. Whether it was done is not known: ask, or retry with the same \
             Idempotency-Key.",
            1,
        ),
    };
    problem.with("outcome_unknown", unavailable.is_outcome_unknown())
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let code = rejection.code();
        let said = format!("{rejection}.");
        match rejection {
            Rejection::Invalid { field, .. } => Self::bad_request(code, said).with("field", field),
            Rejection::Misplaced(_) => Self::bad_request(code, said),
            Rejection::Unauthenticated => {
                Self::unauthenticated("invalid_token", "The access token is not good, or no longer.")
            }
            Rejection::BadCredentials => Self::unauthenticated(code, "The credentials are wrong."),
            Rejection::BadRefreshToken => Self::unauthenticated(code, "The refresh token is not good."),
            Rejection::Forbidden(permission) => {
                Self::forbidden(code, format!("This takes {permission}.")).with("permission", permission)
            }
            Rejection::NotFound(_) => Self::not_found(said),
            Rejection::AccountIdTaken
            | Rejection::EmailTaken
            | Rejection::NameTaken
            | Rejection::RoleExists
            | Rejection::KeyTaken
            | Rejection::RecoveryIssued
            | Rejection::NotKeyBacked
            | Rejection::NodeRemoved
            | Rejection::IdTaken => Self::conflict(code, said),
            Rejection::RegistrationClosed | Rejection::JoinToken(_) => Self::forbidden(code, said),
            Rejection::PreconditionFailed { resource, actual, .. } => {
                Self::precondition_failed(said).with("resource", resource).with("revision", actual)
            }
            Rejection::LimitReached { limit, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, said).with("limit", limit)
            }
            Rejection::UnknownCommand => {
                Self::new(StatusCode::NOT_IMPLEMENTED, code, "Not every node of the cluster knows this yet.")
            }
            Rejection::Damaged => {
                tracing::error!("a stored row does not decode");
                Self::internal()
            }
        }
    }
}

//! Backups of the cluster or of one account, for operators.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::http::header::HeaderValue;
use warp::http::{Method, StatusCode};

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::call::REVISION;
use crate::api::reply::{self, time};
use crate::api::signed::account_id;
use crate::app::backups::{NotRestored, Restored};
use crate::http::problem::Problem;
use crate::http::stream;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/cluster/backup", save),
        route!(POST "/v1/cluster/accounts/{account}/restore", restore, account),
    ]
}

/// Whether the body of a request is taken in parts, and not read before the handler has it.
pub(in crate::api) fn takes_upload(method: &Method, path: &str) -> bool {
    let below = path.strip_prefix("/v1/cluster/accounts/").and_then(|rest| rest.strip_suffix("/restore"));
    method == Method::POST && below.is_some_and(|account| !account.contains('/'))
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::local("GET /v1/cluster/backup", "saveBackup", "A backup of everything, or of one account")
            .about(
                "The rows of one revision, which the header names, sealed under the cluster's key. It comes in \
                 parts, for as long as it takes; it is whole only with its own end in it: check it with `conclave \
                 backup verify`.",
            )
            .operator()
            .stamped()
            .query::<BackupQuery>()
            .refuses(&[400, 404, 429, 503])
            .gives_bytes(),
        Operation::local(
            "POST /v1/cluster/accounts/{account}/restore",
            "restoreAccount",
            "Puts an account back to a backup",
        )
        .about(
            "Takes a backup of the account, or of the whole cluster. Nothing changes before all of it has come and \
             was found whole; then the account's rows are replaced as a whole. Keys and sessions that were revoked \
             or ended since the backup stay so. Signing keys and audit trails stay as they are.",
        )
        .operator()
        .stamped()
        .takes_bytes()
        .refuses(&[400, 409, 422, 503])
        .gives::<RestoredView>(),
    ]
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct BackupQuery {
    /// Only this account.
    account: Option<String>,
}

/// An account that was put back.
#[derive(Serialize, ToSchema)]
#[schema(as = RestoredAccount)]
struct RestoredView {
    account: String,
    /// The revision that the backup is of.
    backup_revision: u64,
    #[schema(format = DateTime)]
    backup_created_at: String,
    /// Rows of the account in the backup.
    rows: u64,
    /// The revision at which the account changed.
    revision: u64,
}

async fn save(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let query: BackupQuery = call.query()?;
    let account = query.account.as_deref().map(account_id).transpose()?;
    let backup = api.app.backup(account, call.context.deadline).await?;
    let mut response = stream::reply("application/octet-stream", backup.parts);
    response.headers_mut().insert(REVISION, HeaderValue::from(backup.revision));
    Ok(response)
}

async fn restore(api: &Api, call: &Call, account: &str) -> Answer {
    api.operator(call)?;
    let account = account_id(account)?;
    let Some(upload) = &call.context.upload else {
        return Err(Problem::bad_request("no_backup", "The body is a backup."));
    };
    let Restored { backup_revision, backup_created, rows, revision } =
        api.app.restore_account(account, upload.into_parts(), call.origin()).await?;
    let body = RestoredView {
        account: account.to_string(),
        backup_revision,
        backup_created_at: time(backup_created),
        rows,
        revision,
    };
    Ok(reply::at(revision, StatusCode::OK, &body))
}

impl From<NotRestored> for Problem {
    fn from(error: NotRestored) -> Self {
        let detail = format!("{error}. The account is as it was.");
        match error {
            NotRestored::Unusable(_) => Self::bad_request("backup_unusable", detail),
            NotRestored::OtherAccount(_) => Self::bad_request("backup_of_another_account", detail),
            NotRestored::Absent => Self::bad_request("account_not_in_backup", detail),
            NotRestored::TooLarge => Self::bad_request("account_too_large", detail),
            NotRestored::SealedOtherwise { .. } => Self::conflict("backup_sealed_with_another_key", detail),
            NotRestored::Failed(failure) => failure.into(),
        }
    }
}

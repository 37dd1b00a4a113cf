//! The key-encryption keys of this node, for operators of this machine.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::app::rotation::{KeyReport, NotReloaded, Reloaded};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/v1/cluster/keys", status), route!(POST "/v1/cluster/keys/reload", reload)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::local("GET /v1/cluster/keys", "keyStatus", "Which key seals what, as this node sees it")
            .about("Keys by their names; no key is shown. Answers without asking other nodes.")
            .operator()
            .stamped()
            .gives::<KeysView>(),
        Operation::local("POST /v1/cluster/keys/reload", "reloadKeys", "Read the key file again and seal under its first key")
            .about(
                "Wraps the data keys on this node's disk again, and seals the secrets in the rows again, as many as \
                 there is time for: repeat while `outdated` is not 0. Refuses keys that do not open everything, and \
                 changes nothing then.",
            )
            .operator()
            .stamped()
            .refuses(&[409, 503])
            .gives::<ReloadedView>(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Keys)]
struct KeysView {
    /// That which seals first, then those that open, then those that are missing here.
    keys: Vec<KeyView>,
    /// How many data keys and secrets are not sealed under the first key.
    outdated: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
struct KeyView {
    /// Its name, from which nothing follows.
    id: String,
    /// `seals`, `opens` or `missing`.
    role: &'static str,
    /// Data keys on this node's disk that it wraps.
    data_keys: usize,
    /// Secrets in the rows, which all nodes share, that it seals.
    secrets: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReloadedKeys)]
struct ReloadedView {
    /// Data keys on this node's disk that were wrapped again.
    data_keys: usize,
    /// Secrets in the rows that were sealed again.
    secrets: usize,
    now: KeysView,
}

impl KeysView {
    fn new(report: &KeyReport) -> Self {
        let mut uses: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for data_key in &report.data_keys {
            if let Some(id) = &data_key.key {
                uses.entry(id.clone()).or_default().0 += 1;
            }
        }
        for id in &report.secrets {
            uses.entry(id.to_string()).or_default().1 += 1;
        }
        let mut keys = Vec::new();
        for (index, id) in report.keys.iter().enumerate() {
            let id = id.to_string();
            let (data_keys, secrets) = uses.remove(&id).unwrap_or_default();
            keys.push(KeyView { id, role: if index == 0 { "seals" } else { "opens" }, data_keys, secrets });
        }
        keys.extend(uses.into_iter().map(|(id, (data_keys, secrets))| KeyView {
            id,
            role: "missing",
            data_keys,
            secrets,
        }));
        let outdated = keys.iter().skip(1).map(|key| key.data_keys + key.secrets).sum();
        Self { keys, outdated }
    }
}

async fn status(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let report = api.app.key_report().await?;
    Ok(reply::at(report.revision, StatusCode::OK, &KeysView::new(&report)))
}

async fn reload(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let Reloaded { data_keys, secrets, report } = api.app.reload_keys(call.context.deadline).await?;
    let body = ReloadedView { data_keys, secrets, now: KeysView::new(&report) };
    Ok(reply::at(report.revision, StatusCode::OK, &body))
}

impl From<NotReloaded> for Problem {
    fn from(error: NotReloaded) -> Self {
        match error {
            // Names the file, never what is in it.
            NotReloaded::Unreadable(error) => Self::conflict("key_file_unusable", format!("{error}.")),
            NotReloaded::StillNeeded { .. } => Self::conflict("key_still_needed", format!("{error}.")),
            NotReloaded::Failed(failure) => failure.into(),
        }
    }
}

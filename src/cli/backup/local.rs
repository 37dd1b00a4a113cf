//! What needs no node: a new cluster from a backup, and what lies in a folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conclave_cluster::archive::{self, Archive, ArchiveError};
use conclave_cluster::offline::{Seed, seed};
use conclave_cluster::state::{Limits, Transaction};
use conclave_cluster::{Clock, LogTime, Member, SystemClock};
use serde_json::json;

use super::Report;
use crate::app::KeyRing;
use crate::auth::key_file::KeySource;
use crate::auth::seal::{Sealer, key_of};
use crate::cli::Failure;
use crate::config::Config;
use crate::domain::restore::{self, Dropped, Renewal};
use crate::domain::{AccountId, Read, Rejection, Timestamp, account, reseal};
use crate::replica::Rules;

/// Why the rows of a backup make no cluster.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Backup(#[from] ArchiveError),
    #[error("the rows of the backup: {0}")]
    Rows(#[from] Rejection),
    #[error("{what} is sealed with key {id}: put that key into the key file too")]
    SealedOtherwise { what: String, id: String },
}

/// Makes a new cluster of one node.
pub(super) fn restore(config: &Config, file: &Path, keep_api_keys: bool, json: bool) -> Result<(), Failure> {
    let keys = Arc::new(KeyRing::given(KeySource::of(config))?);
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let input = File::open(file).map_err(|error| failed(&error))?;
    let mut archive = Archive::open(input, &*keys).map_err(|error| failed(&error))?;
    let header = archive.header().clone();
    if let Some(account) = &header.part {
        let what = format!("it is a backup of account {account} only: restore it with --account {account}");
        return Err(failed(&what).into());
    }
    let sealer = keys.sealer();
    let plan = Seed {
        data: &config.data,
        keys,
        machine: &Rules,
        limits: Limits::default(),
        member: Member { peer_addr: config.peer_advertise.clone(), api_url: config.base_url() },
        revision: header.revision,
        at: header.at,
        now: SystemClock.now(),
    };
    let rows = std::iter::from_fn(|| archive.next_row().map_err(Unusable::from).transpose());
    let detail = format!("backup of cluster {} at revision {}", header.cluster, header.revision);
    let change = |at: LogTime, revision: u64, rows: &mut Transaction<'_>| {
        check_sealed(rows, &sealer)?;
        let why = Renewal::Restored { keep_api_keys };
        Ok(restore::renew(rows, Timestamp(at.0), revision, why, &detail)?)
    };
    let (identity, dropped) = seed(&plan, rows, change).map_err(|error| failed(&error))?;
    let Dropped { accounts, sessions, api_keys, recovery_secrets } = dropped;
    let revision = header.revision + 1;
    if json {
        let dropped =
            json!({"sessions": sessions, "api_keys": api_keys, "recovery_secrets": recovery_secrets});
        let report = json!({
            "cluster": identity.cluster.to_string(), "node": identity.node.0, "data": config.data,
            "revision": revision, "accounts": accounts, "dropped": dropped,
        });
        println!("{report}");
        return Ok(());
    }
    println!("{} is node {} of the new cluster {}", config.data.display(), identity.node, identity.cluster);
    println!("revision  {revision}, behind {} of the backup", header.revision);
    println!("holds     {accounts} accounts");
    println!("dropped   {sessions} sessions, {api_keys} API keys, {recovery_secrets} recovery secrets");
    println!("Start it with the same settings; other nodes join it anew, with empty folders.");
    Ok(())
}

/// Looks whether the keys at hand open the secrets in the rows: a node would find out only when it has started.
fn check_sealed(rows: &dyn Read, sealer: &Sealer) -> Result<(), Unusable> {
    let at_hand: BTreeSet<_> = sealer.key_ids().collect();
    let mut next = account::next(rows, None);
    while let Some(account) = next {
        next = account::next(rows, Some(account));
        if account == AccountId::CLUSTER {
            continue;
        }
        for (secret, sealed) in reseal::list(rows, account)? {
            if let Some(id) = key_of(sealed.as_bytes()).filter(|id| !at_hand.contains(id)) {
                let what = format!("{secret:?} of account {account}");
                return Err(Unusable::SealedOtherwise { what, id: id.to_string() });
            }
        }
    }
    Ok(())
}

/// Lists what lies in a folder, newest first.
pub(super) fn list(config: &Config, folder: Option<PathBuf>, as_json: bool) -> Result<(), Failure> {
    let folder = folder.or_else(|| config.backup.as_ref().map(|backup| backup.folder.clone()));
    let folder = folder.ok_or("name a folder, or set backup_folder")?;
    let keys = KeyRing::given(KeySource::of(config))?;
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Ok(file) = File::open(&path) else { continue };
        if let Ok((header, key)) = archive::read_header(file, &keys) {
            let bytes = path.metadata().map_err(failed)?.len();
            found.push(Report { bytes, ..Report::of_header(&path, header, key) });
        }
    }
    found.sort_by(|a, b| (&b.created_at, b.revision).cmp(&(&a.created_at, a.revision)));
    for report in &found {
        if as_json {
            let Report { file, bytes, cluster, revision, created_at, account, .. } = report;
            println!(
                "{}",
                json!({"file": file, "bytes": bytes, "cluster": cluster, "revision": revision,
                    "created_at": created_at, "account": account})
            );
        } else {
            let of = report.account.as_deref().unwrap_or("whole cluster");
            let Report { created_at, revision, bytes, file, .. } = report;
            println!("{created_at}  {revision:>12}  {bytes:>12}  {of}  {}", file.display());
        }
    }
    Ok(())
}

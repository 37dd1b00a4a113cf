//! `conclave backup`: save one from a running cluster, check it, make a new cluster of it, put an account back.
//!
//! ```text
//! conclave backup save FILE                     the node of this machine, while it serves
//! conclave backup verify FILE                   needs the key file and no node
//! conclave backup restore FILE --data DIR       a new cluster of one node, in an empty folder
//! conclave backup restore FILE --account ID     one account of the running cluster
//! ```

mod local;
mod save;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use conclave_cluster::archive::{self, Contents, Header};
use serde::{Deserialize, Serialize};

use super::{Failure, PlaceArgs, transfer};
use crate::app::KeyRing;
use crate::auth::key_file::KeySource;
use crate::clock::rfc3339;
use crate::config::Config;
use crate::domain::{restore, rows};

/// What `backup` does.
#[derive(Debug, Subcommand)]
pub(super) enum BackupCommand {
    /// Save a backup through the node of this machine, while it serves. An earlier file of that name is replaced
    /// once the new one is whole.
    Save {
        #[command(flatten)]
        place: PlaceArgs,
        /// The file.
        file: PathBuf,
        /// Only this account.
        #[arg(long, value_name = "ID")]
        account: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check a backup to its end, and say what it holds. Needs the key file, and no node.
    Verify {
        #[command(flatten)]
        place: PlaceArgs,
        /// The file.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a new cluster of one node from a backup, in an empty data folder; or, with --account, put one account
    /// of the running cluster back.
    Restore {
        #[command(flatten)]
        place: PlaceArgs,
        /// The file.
        file: PathBuf,
        /// The account to put back, through the node of this machine.
        #[arg(long, value_name = "ID", conflicts_with = "keep_api_keys")]
        account: Option<String>,
        /// In a new cluster: keep API keys good, also those that were revoked after the backup was made, which
        /// nobody can know.
        #[arg(long)]
        keep_api_keys: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the backups in a folder, by their headers.
    List {
        #[command(flatten)]
        place: PlaceArgs,
        /// The folder; that of the settings (`backup_folder`) by default.
        folder: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl BackupCommand {
    pub(super) fn place(&self) -> &PlaceArgs {
        match self {
            Self::Save { place, .. }
            | Self::Verify { place, .. }
            | Self::Restore { place, .. }
            | Self::List { place, .. } => place,
        }
    }
}

pub(super) async fn run(config: Config, command: BackupCommand) -> Result<(), Failure> {
    match command {
        BackupCommand::Save { file, account, json, .. } => {
            let report = save::run(&config, &file, account.as_deref()).await?;
            print(&report, json, "is saved")
        }
        BackupCommand::Verify { file, json, .. } => {
            let report =
                off_runtime(move || Report::of(&file, &KeyRing::given(KeySource::of(&config))?)).await?;
            print(&report, json, "is whole")
        }
        BackupCommand::Restore { file, account: Some(account), json, .. } => {
            let path = format!("/v1/cluster/accounts/{}/restore", in_path(&account)?);
            // The node looks for itself; but it would cut off a long file in the middle, and its reason with it.
            let (keys, checked) = (KeySource::of(&config), file.clone());
            off_runtime(move || Report::of(&checked, &KeyRing::given(keys)?)).await?;
            let answer = transfer::post_file(&config, &path, &file).await?;
            if json {
                println!("{}", answer.trim_end());
            } else {
                let done: PutBack = serde_json::from_str(&answer)?;
                println!("account {} is put back to {}", done.account, file.display());
                println!("backup    revision {} of {}", done.backup_revision, done.backup_created_at);
                println!("rows      {}", done.rows);
                println!("revision  {}", done.revision);
            }
            Ok(())
        }
        BackupCommand::Restore { file, account: None, keep_api_keys, json, .. } => {
            off_runtime(move || local::restore(&config, &file, keep_api_keys, json)).await
        }
        BackupCommand::List { folder, json, .. } => {
            off_runtime(move || local::list(&config, folder, json)).await
        }
    }
}

/// What a node answers when it has put an account back.
#[derive(Debug, Deserialize)]
struct PutBack {
    account: String,
    backup_revision: u64,
    backup_created_at: String,
    rows: u64,
    revision: u64,
}

/// What a backup is, as it is printed.
#[derive(Clone, Debug, Serialize)]
struct Report {
    file: PathBuf,
    bytes: u64,
    cluster: String,
    node: u64,
    program: String,
    revision: u64,
    /// Log time of the revision.
    at: String,
    created_at: String,
    /// The only account in it, if it is not of the whole cluster.
    account: Option<String>,
    /// The key-encryption key that opens it, by its name.
    key: Option<String>,
    rows: u64,
    accounts: u64,
    /// Rows that this version of the program does not know.
    unknown_rows: u64,
}

impl Report {
    /// Reads a backup to its end.
    fn of(file: &Path, keys: &KeyRing) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let open = || File::open(file).map_err(|error| failed(&error));
        let (_, key) = archive::read_header(open()?, keys).map_err(|error| failed(&error))?;
        let (mut accounts, mut unknown_rows, mut last) = (0, 0, Vec::new());
        let mut look = |key: &[u8], row: &conclave_cluster::state::Row| {
            unknown_rows += u64::from(!restore::is_known(key, &row.value));
            if let Some(account) = rows::account_of(key).filter(|account| **account != *last) {
                last = account.to_vec();
                accounts += u64::from(account != crate::domain::AccountId::CLUSTER.as_bytes());
            }
        };
        let read = archive::verify(open()?, keys, &mut look).map_err(|error| failed(&error))?;
        let Contents { header, rows, .. } = read;
        let bytes = file.metadata()?.len();
        Ok(Self { bytes, rows, accounts, unknown_rows, ..Self::of_header(file, header, key) })
    }

    fn of_header(file: &Path, header: Header, key: Option<String>) -> Self {
        Self {
            file: file.to_owned(),
            bytes: 0,
            cluster: header.cluster.to_string(),
            node: header.node.0,
            program: header.program,
            revision: header.revision,
            at: rfc3339(header.at),
            created_at: rfc3339(header.created),
            account: header.part,
            key,
            rows: 0,
            accounts: 0,
            unknown_rows: 0,
        }
    }
}

fn print(report: &Report, json: bool, what: &str) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let Report { revision, at, rows, accounts, bytes, cluster, node, created_at, .. } = report;
    println!("{} {what}", report.file.display());
    println!("revision  {revision} of {at}");
    println!("holds     {rows} rows of {accounts} accounts, {bytes} bytes");
    println!("made      {created_at} by node {node} of cluster {cluster}");
    if let Some(account) = &report.account {
        println!("account   {account} only");
    }
    if let Some(key) = &report.key {
        println!("key       {key}");
    }
    if report.unknown_rows > 0 {
        println!(
            "unknown   {} rows that this version does not read: restore with a newer one",
            report.unknown_rows
        );
    }
    Ok(())
}

/// Reading and writing whole files is no work for the runtime's workers.
async fn off_runtime<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(job).await?
}

/// An account in a path or query, where it can only be one.
fn in_path(account: &str) -> Result<String, Failure> {
    Ok(crate::domain::AccountId::parse(account)?.to_string())
}

/// What a failed write means to an operator.
fn writing(file: &Path, error: &io::Error) -> String {
    let file = file.display();
    if matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    ) {
        format!(
            "{file}: there is no room for it ({error}). Nothing is left of it; an earlier one is as it was"
        )
    } else {
        format!("{file} cannot be written: {error}. An earlier one is as it was")
    }
}

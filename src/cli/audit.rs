//! `conclave audit`: a trail as a file, and whether that file is whole.
//!
//! # Why a file
//! A chain proves nothing to whoever must trust the node that holds it. So the trail is carried off as it is,
//! with the bytes that were hashed, and checked without any node: by this program or by another one, see
//! [`Chain`](crate::domain::audit::Chain) for the bytes. What a file cannot prove by itself is that nobody made
//! the whole chain anew; for that, keep a hash (of `GET …/audit/head`) elsewhere and give it to `verify`.

mod export;
pub(crate) mod verify;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::{Failure, PlaceArgs};
use crate::api::record::HeadView;
use crate::config::Config;

/// What can be done with a trail.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Write a trail to a file, one JSON object a line, as the node of this machine has it.
    Export(ExportArgs),
    /// Check an exported trail, without any node: each hash, each field, no gap, both ends.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The account [default: the cluster itself, which holds what belongs to no account].
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// What was done, or what was asked.
    #[arg(long, value_parser = ["acts", "checks"], default_value = "acts")]
    trail: String,
    /// A new file to write [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A file with an access token; also in the environment, as `CONCLAVE_TOKEN` [default: the operator's token,
    /// made from the key file].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The exported trail.
    file: PathBuf,
    /// A hash that one of the records must have, as it was noted down elsewhere.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
}

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstLine {
    format: String,
    head: HeadView,
}

const FORMAT: &str = "conclave audit 1";

/// The settings that the command needs: verifying needs none.
pub(super) fn place(command: &AuditCommand) -> Option<&PlaceArgs> {
    match command {
        AuditCommand::Export(args) => Some(&args.place),
        AuditCommand::Verify(_) => None,
    }
}

pub(super) async fn run(command: AuditCommand, config: Option<&Config>) -> Result<(), Failure> {
    match (command, config) {
        (AuditCommand::Export(args), Some(config)) => export::export(&args, config).await,
        (AuditCommand::Export(_), None) => Err("the settings are missing".into()),
        (AuditCommand::Verify(args), _) => {
            let whole = verify::file(&args.file, args.head.as_deref())?;
            // Not `println!`, which panics where nobody reads on.
            Ok(writeln!(std::io::stdout(), "{whole}")?)
        }
    }
}

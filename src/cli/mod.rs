//! The command line: what an operator types, and the signals and exit codes that answer.
//!
//! Must not know how a node is built: the caller hands that in, see [`run`].
//!
//! # Why
//! - Exit code 2 for what the operator must change (arguments, settings), 1 for what went wrong.
//! - No flag for a secret: command lines are seen by every user of a machine.

mod admin;
pub mod ask;
pub(crate) mod audit;
mod backup;
mod doctor;
mod health;
mod join;
mod keys;
mod members;
mod nodes;
mod operator;
mod pinned;
mod recover;
mod secrets;
mod settings;
mod setup;
mod stop;
mod tokens;
mod transfer;

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::config::{Config, ConfigError, Flags};
use crate::dev;
use crate::telemetry::{self, Telemetry};

pub use stop::{Stop, end_in_time};

/// Conclave: identity and access management in a cluster of equal nodes.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole cluster on this machine: real nodes, as processes, on loopback.
    Dev(DevArgs),
    /// Make what `dev` makes (folders, certificates, one key file, settings) without starting any node.
    Prepare(DevArgs),
    /// Run one node. The first start makes a cluster of its own, unless the settings say where others are.
    Start(StartArgs),
    /// Let this machine into a cluster, by a join token, and run its node.
    Join(JoinArgs),
    /// Make, list and take back join tokens.
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// List the members of the cluster and how they are, as the node of this machine sees them.
    Members(MembersArgs),
    /// Give a learner a vote.
    Promote(nodes::NodeArgs),
    /// Make a voter a learner: it gets the log, answers, and does not vote.
    Demote(nodes::NodeArgs),
    /// Take a node out of the cluster for ever.
    Remove(nodes::NodeArgs),
    /// Put another node in the place of one that is dead or is to go.
    Replace(nodes::ReplaceArgs),
    /// Have another voter lead.
    StepDown(nodes::StepDownArgs),
    /// List, replace and revoke the nodes' certificates.
    #[command(subcommand)]
    Certs(nodes::CertsCommand),
    /// Make a link by which the first administrator comes in, once, within 30 minutes.
    Setup(MembersArgs),
    /// Make the secrets that the nodes of a new cluster share which find each other by themselves.
    Secrets {
        /// Where to put them.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Say by the exit code whether the node of this machine is ready.
    Health(PlaceArgs),
    /// Look at all that makes a node or its cluster ill: disk, keys, clocks, certificates, members, states. Exits with 1
    /// when something fails.
    Doctor(MembersArgs),
    /// Print every setting: what it does, its default, its names in the environment. A file of settings to begin with.
    Settings,
    /// Look at the key-encryption keys, or replace them while the nodes serve.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Administer the default account, that of `/api/v1`.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Carry an audit trail off, and check one that was.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Save a backup, check one, restore from one.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    Recover(recover::RecoverArgs),
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Make an administrator, the first one or another, through the node of this machine.
    Create {
        #[command(flatten)]
        place: PlaceArgs,
        /// What it signs in with.
        #[arg(long, value_name = "NAME", default_value = "admin")]
        username: String,
        /// Its e-mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Read the password from standard input, one line; without this one is made and printed.
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Show which key seals what on the node of this machine. No key is shown, only names.
    Status {
        #[command(flatten)]
        place: PlaceArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have the node of this machine read its key file again and seal everything under the first key.
    Reload {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Add a new key to the key file, last: it opens, and seals nothing yet.
    Add {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Make the last key of the key file the first: it seals from the next reload on.
    Promote {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Remove all keys but the first from the key file. A node refuses the reload while it needs them.
    Drop {
        #[command(flatten)]
        place: PlaceArgs,
    },
}

impl KeysCommand {
    fn place(&self) -> &PlaceArgs {
        match self {
            Self::Status { place, .. }
            | Self::Reload { place }
            | Self::Add { place }
            | Self::Promote { place }
            | Self::Drop { place } => place,
        }
    }
}

#[derive(Debug, Args)]
struct DevArgs {
    /// Nodes, 1 to 9 [default: 3, or as many as the folder holds].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: Option<u16>,
    /// HTTP port of the first node; the others follow. Peers use the ports 1000 above.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder for data, settings and logs of all nodes.
    #[arg(long, value_name = "DIR", default_value = "conclave-dev")]
    data: PathBuf,
}

#[derive(Debug, Args)]
struct StartArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Address of the HTTP API.
    #[arg(long, value_name = "ADDR:PORT")]
    http_listen: Option<String>,
    /// Address of the port for peers.
    #[arg(long, value_name = "ADDR:PORT")]
    peer_listen: Option<String>,
    /// How peers reach this node.
    #[arg(long, value_name = "HOST:PORT")]
    peer_advertise: Option<String>,
    /// How clients reach this node.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// A peer of the cluster to join; may be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// What is logged: error, warn, info, debug, trace, or module=level, ...
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How it is written: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Stop when standard input ends: how `dev` ties its nodes to itself.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

#[derive(Debug, Args)]
struct JoinArgs {
    /// The token; - reads it from standard input. In the environment: `CONCLAVE_JOIN_TOKEN`.
    token: Option<String>,
    /// Only get a place in the cluster; `conclave start` runs the node then.
    #[arg(long)]
    no_start: bool,
    #[command(flatten)]
    start: StartArgs,
}

#[derive(Debug, Args)]
struct MembersArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// Settings in TOML.
    #[arg(long, value_name = "FILE", env = "CONCLAVE_CONFIG")]
    config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
}

/// An access token for commands that ask a node: a client's, and so no setting.
const TOKEN_VARIABLE: &str = "CONCLAVE_TOKEN";

/// Why a command failed; its text is for the operator.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Does what the arguments of the process say. `serve` runs a node until it is told to stop.
pub fn run<F>(serve: impl FnOnce(Config, Stop) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    // On bad arguments this prints and exits with 2 by itself.
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, 1),
    };
    let outcome = if let Command::Start(args) = &cli.command {
        start(args, &runtime, serve)
    } else if let Command::Join(args) = &cli.command {
        join(args, &runtime, serve)
    } else {
        runtime.block_on(carry_out(cli.command))
    };
    // What is still computing has had its time to drain.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error, if is_for_operator(&*error) { 2 } else { 1 }),
    }
}

/// Whether other arguments or settings would mend it.
fn is_for_operator(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<ConfigError>() || error.is::<join::BadToken>()
}

/// Runs the node of this machine until it is told to stop.
fn start<F>(args: &StartArgs, runtime: &Runtime, serve: impl FnOnce(Config, Stop) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let config = load(&args.place, args.flags())?;
    let telemetry = start_telemetry(&config, runtime);
    let ended = runtime.block_on(async { serve(config, Stop::new(args.stop_with_stdin)?).await });
    runtime.block_on(telemetry.end());
    ended
}

/// Lets this machine into a cluster and runs its node.
fn join<F>(args: &JoinArgs, runtime: &Runtime, serve: impl FnOnce(Config, Stop) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let token = join::token(args.token.as_deref())?;
    let config = load(&args.start.place, args.start.flags())?;
    let telemetry = start_telemetry(&config, runtime);
    let ended = runtime.block_on(async {
        join::enrol_here(&config, &token).await?;
        if args.no_start {
            return Ok(());
        }
        let telling = tokio::spawn(join::tell(config.clone()));
        let ended = serve(config, Stop::new(args.start.stop_with_stdin)?).await;
        telling.abort();
        ended
    });
    runtime.block_on(telemetry.end());
    ended
}

/// Does what a command says that runs no node of its own.
async fn carry_out(command: Command) -> Result<(), Failure> {
    let settings = |place: &PlaceArgs| load(place, place.flags());
    match command {
        Command::Start(_) | Command::Join(_) => Err("this command runs a node".into()),
        Command::Dev(args) => {
            let options = dev::Options { nodes: args.nodes, port: args.port, folder: args.data };
            Ok(dev::run(options, Stop::new(false)?).await?)
        }
        Command::Prepare(args) => {
            let options = dev::Options { nodes: args.nodes, port: args.port, folder: args.data };
            Ok(dev::prepare(&options)?)
        }
        // Not `print!`, which panics where nobody reads on.
        Command::Settings => Ok(std::io::stdout().write_all(settings::text().as_bytes())?),
        Command::Secrets { folder } => secrets::make(&folder),
        Command::Token(command) => tokens::run(&settings(command.place())?, &command).await,
        Command::Members(args) => members::print(&settings(&args.place)?, args.json).await,
        Command::Promote(args) => nodes::promote(&settings(&args.place)?, &args).await,
        Command::Demote(args) => nodes::demote(&settings(&args.place)?, &args).await,
        Command::Remove(args) => nodes::remove(&settings(&args.place)?, &args).await,
        Command::Replace(args) => nodes::replace(&settings(&args.place)?, &args).await,
        Command::StepDown(args) => nodes::step_down(&settings(&args.place)?, &args).await,
        Command::Certs(command) => nodes::certs(&settings(command.place())?, &command).await,
        Command::Setup(args) => setup::print(&settings(&args.place)?, args.json).await,
        Command::Health(place) => health::check(&settings(&place)?).await,
        Command::Doctor(args) => doctor::run(settings(&args.place), args.json).await,
        Command::Keys(command) => keys::run(&settings(command.place())?, &command).await,
        Command::Admin(command) => {
            let AdminCommand::Create { place, .. } = &command;
            admin::run(&settings(place)?, &command).await
        }
        Command::Audit(command) => {
            let config = audit::place(&command).map(settings).transpose()?;
            audit::run(command, config.as_ref()).await
        }
        Command::Backup(command) => backup::run(settings(command.place())?, command).await,
        Command::Recover(args) => recover::run(settings(&args.place)?, args).await,
    }
}

fn start_telemetry(config: &Config, runtime: &Runtime) -> Telemetry {
    let telemetry = telemetry::start(config, runtime.handle());
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    telemetry
}

/// Prints a line for whoever reads on; not `println!`, which panics where nobody does.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn load(place: &PlaceArgs, flags: Flags) -> Result<Config, ConfigError> {
    let is_token = |name: &std::ffi::OsStr| name == TOKEN_VARIABLE || name == join::TOKEN_VARIABLE;
    let settings = std::env::vars_os().filter(|(name, _)| !is_token(name));
    Config::load(flags, place.config.as_deref(), settings)
}

fn failed(error: &(impl Display + ?Sized), code: u8) -> ExitCode {
    eprintln!("conclave: {error}");
    ExitCode::from(code)
}

impl PlaceArgs {
    fn flags(&self) -> Flags {
        Flags::default().with("data", self.data.as_deref())
    }
}

impl StartArgs {
    fn flags(&self) -> Flags {
        self.place
            .flags()
            .with("http_listen", self.http_listen.as_deref())
            .with("peer_listen", self.peer_listen.as_deref())
            .with("peer_advertise", self.peer_advertise.as_deref())
            .with("public_url", self.public_url.as_deref())
            .with_list("join", self.join.clone())
            .with("log_level", self.log_level.as_deref())
            .with("log_format", self.log_format.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}

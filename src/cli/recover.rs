//! `conclave recover`: going on from one node when the majority of its cluster is lost for ever.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use clap::Args;
use conclave_cluster::offline::{self, LastKnown, Stopped};
use conclave_cluster::state::{Limits, Transaction};
use conclave_cluster::{Clock, DataFolder, LogTime, Member, SystemClock};
use serde_json::json;

use super::{Failure, PlaceArgs};
use crate::app::KeyRing;
use crate::auth::key_file::KeySource;
use crate::clock::rfc3339;
use crate::config::Config;
use crate::domain::restore::{self, Renewal};
use crate::domain::{Rejection, Timestamp};
use crate::replica::Rules;

/// Go on with what this node alone has, when the majority is lost for ever. The node must not run.
#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Says that this node's data is what the new cluster begins with.
    #[arg(long, required = true)]
    from_this_node: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: Config, args: RecoverArgs) -> Result<(), Failure> {
    tokio::task::spawn_blocking(move || recover(&config, &args)).await?
}

fn recover(config: &Config, args: &RecoverArgs) -> Result<(), Failure> {
    let keys = Arc::new(KeyRing::given(KeySource::of(config))?);
    if let Some(aside) = offline::finish(&config.data)? {
        let aside = aside.display().to_string();
        if args.json {
            println!("{}", json!({"finished": true, "old_parts": aside}));
        } else {
            println!("A recovery that had been interrupted is finished. The old parts are in {aside}.");
        }
        return Ok(());
    }
    if DataFolder::owner(&config.data)?.is_none() {
        return Err(format!("{} is no node's data folder: name it with --data", config.data.display()).into());
    }
    let node = Stopped::open::<Rejection>(&config.data, keys, Arc::new(Rules), Limits::default())?;
    let known = node.last_known().clone();
    if !args.yes {
        confirm(config, &known)?;
    }
    let member = Member { peer_addr: config.peer_advertise.clone(), api_url: config.base_url() };
    let old = known.identity;
    let detail = format!("node {} of cluster {} at revision {}", old.node, old.cluster, known.revision);
    let change = |at: LogTime, revision: u64, rows: &mut Transaction<'_>| {
        restore::renew(rows, Timestamp(at.0), revision, Renewal::Recovered, &detail)
    };
    let (done, dropped) = node.recover(member, SystemClock.now(), change)?;
    let aside = done.aside.map(|aside| aside.display().to_string()).unwrap_or_default();
    if args.json {
        let report = json!({
            "cluster": done.identity.cluster.to_string(), "node": done.identity.node.0,
            "revision": done.revision, "old_cluster": old.cluster.to_string(), "old_parts": aside,
            "dropped": {"sessions": dropped.sessions, "recovery_secrets": dropped.recovery_secrets},
        });
        println!("{report}");
        return Ok(());
    }
    println!("Node {} is alone in the new cluster {}.", done.identity.node, done.identity.cluster);
    println!("revision  {}", done.revision);
    println!("dropped   {} sessions, {} recovery secrets", dropped.sessions, dropped.recovery_secrets);
    println!("old parts {aside}: delete them once all is well");
    println!("Start it without peers to join; new nodes join it with empty folders. Old nodes never can.");
    Ok(())
}

/// Shows what is at stake and asks for the word.
fn confirm(config: &Config, known: &LastKnown) -> Result<(), Failure> {
    let others = known.members.iter().filter(|(node, ..)| *node != known.identity.node);
    let others: Vec<String> =
        others.map(|(node, member, _)| format!("{node} ({})", member.peer_addr)).collect();
    let voters = known.members.iter().filter(|(.., is_voter)| *is_voter).count();
    let LastKnown { identity, revision, at, unconfirmed, .. } = known;
    eprintln!("This makes a new cluster of node {} alone, from {}.", identity.node, config.data.display());
    eprintln!();
    eprintln!("last revision here  {revision}, of {}", rfc3339(*at));
    eprintln!("not known as kept   {unconfirmed} entries of the log: they count from now on");
    eprintln!("old cluster         {}, {voters} voters", identity.cluster);
    eprintln!("never again part    nodes {}", others.join(", "));
    eprintln!();
    eprintln!("What others had acknowledged and this node had not received is lost. Users sign in again.");
    eprintln!(
        "Do it only when the majority is lost for ever: if those nodes come back, there are two clusters."
    );
    if !io::stdin().is_terminal() {
        return Err("nobody is asked where there is no terminal: repeat it with --yes".into());
    }
    eprint!("Type `recover` to go on: ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "recover" { Ok(()) } else { Err("nothing was done".into()) }
}

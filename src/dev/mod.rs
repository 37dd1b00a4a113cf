//! `conclave dev`: a whole cluster on one machine, as real processes on loopback.
//!
//! Must not know how a node works: it writes settings, starts `conclave start`, and asks over HTTP.
//!
//! # Why
//! - Processes, not tasks: what is tried here (kill -9, a full disk, a stopped process) is what production
//!   does, through the same code.
//! - A node is tied to us by its standard input, which ends however we end, even by kill -9: it then stops
//!   gracefully, and no orphan keeps a port. Nodes have a process group of their own, so that Ctrl-C reaches
//!   them through us only, and once.
//! - The first credentials are made at random and never written down: a development cluster that becomes a
//!   production one has no password that others know.

mod folder;
mod nodes;

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::cli::Stop;
use crate::cli::ask::ask;
use crate::clock::SystemClock;
use crate::secret::Secret;

use folder::Folder;
use nodes::{Nodes, Started};

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes; `None` is as many as the folder holds, or 3.
    pub nodes: Option<u16>,
    /// HTTP port of the first node.
    pub port: u16,
    /// Where everything lies.
    pub folder: PathBuf,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Another program listens on a port that we need.
    #[error("port {port} is taken ({source}); stop what uses it, or choose other ports with --port")]
    PortTaken {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The ports do not fit below 65536.
    #[error("--port {0} is too high: peers use the ports 1000 above")]
    PortTooHigh(u16),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] folder::FolderError),
    /// A process cannot be started or watched.
    #[error("cannot run node {node}: {source}")]
    Process {
        /// The node.
        node: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A node ended before it was ready.
    #[error("node {node} ended ({status}) before it was ready; the end of {}:\n{tail}", log.display())]
    Died {
        /// The node.
        node: u16,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of that.
        tail: String,
    },
    /// A node runs, but is not ready in time.
    #[error("node {node} is not ready after {} s; see {}", READY_WITHIN.as_secs(), log.display())]
    NotReady {
        /// The node.
        node: u16,
        /// Its log.
        log: PathBuf,
    },
    /// The cluster does not make the first account.
    #[error("cannot sign up the first root user: {0}")]
    SignUp(String),
    /// There is no randomness for a password.
    #[error("no randomness from the operating system")]
    Randomness,
    /// Every node has ended.
    #[error("no node is left")]
    AllGone,
}

const READY_WITHIN: Duration = Duration::from_mins(1);
const ROOT_EMAIL: &str = "root@dev.conclave.internal";

/// Runs the cluster until `stop`.
///
/// # Errors
/// When the cluster does not come up, or every node has ended by itself.
pub async fn run(options: Options, mut stop: Stop) -> Result<(), DevError> {
    let folder = Folder::open(&options.folder)?;
    let count = folder.count(options.nodes)?;
    let ports = folder.ports(options.port, count)?;
    check_free(&ports)?;
    folder.prepare(&ports, &SystemClock)?;
    println!("conclave dev: starting {count} nodes, all data in {}", folder.path().display());
    let mut nodes = Nodes::start(&folder, &ports)?;
    let outcome = tokio::select! {
        outcome = live(&mut nodes) => outcome,
        () = stop.asked() => Ok(()),
    };
    println!("conclave dev: stopping all nodes");
    nodes.stop().await;
    outcome
}

/// Makes what [`run`] needs and starts nothing: for nodes that something else runs, such as a container
/// engine. May be repeated; what is there stays.
///
/// # Errors
/// When the folder cannot be used.
pub fn prepare(options: &Options) -> Result<(), DevError> {
    let folder = Folder::open(&options.folder)?;
    let count = folder.count(options.nodes)?;
    folder.prepare(&folder.ports(options.port, count)?, &SystemClock)?;
    println!("conclave prepare: {count} nodes in {}", folder.path().display());
    Ok(())
}

/// From the first start to the last node's end.
async fn live(nodes: &mut Nodes) -> Result<(), DevError> {
    nodes.ready(READY_WITHIN).await?;
    let greeting = greeting(nodes.started()).await?;
    print!("{greeting}");
    loop {
        let (ended, status) = nodes.next_end().await?;
        println!(
            "conclave dev: node {} (pid {}) ended: {status}. The others go on. To bring it back:\n  {}",
            ended.node,
            ended.pid,
            nodes::start_command(&ended.settings)
        );
        if nodes.are_all_gone() {
            return Err(DevError::AllGone);
        }
    }
}

/// What a newcomer needs: where the nodes are, and who may come in.
async fn greeting(nodes: &[Started]) -> Result<String, DevError> {
    let credentials = match nodes.first() {
        Some(first) => sign_up(first.http).await?,
        None => return Err(DevError::AllGone),
    };
    let mut text = format!("\n  {:<6}{:<24}{:<7}{:<9}{}\n", "node", "url", "port", "pid", "log");
    for node in nodes {
        let url = format!("http://{}", node.http);
        // Writing into a string does not fail, here and below.
        let _ = writeln!(
            text,
            "  {:<6}{url:<24}{:<7}{:<9}{}",
            node.node,
            node.http.port(),
            node.pid,
            node.log.display()
        );
    }
    text.push_str(&credentials);
    text.push_str("\n  Ctrl-C stops all nodes; the data stays.\n\n");
    Ok(text)
}

/// Makes the first account, unless an earlier run did.
async fn sign_up(node: SocketAddr) -> Result<String, DevError> {
    let password = random_password()?;
    let body = json!({ "email": ROOT_EMAIL, "password": password.expose() }).to_string();
    let answer = ask(node, "POST", "/iam/v1/SignUpAsRootUser", Some(&body))
        .await
        .map_err(|error| DevError::SignUp(error.to_string()))?;
    match answer.status {
        201 => {
            let user: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let account = user.get("accountId").and_then(Value::as_str).unwrap_or("(see the reply)");
            Ok(format!(
                "\n  A first root user, shown now and stored nowhere:\n    account   {account}\n    \
                 email     {ROOT_EMAIL}\n    password  {}\n",
                password.expose()
            ))
        }
        409 => Ok(format!(
            "\n  The root user {ROOT_EMAIL} exists since an earlier start, which showed its password.\n"
        )),
        status => Err(DevError::SignUp(format!("{status}: {}", answer.body))),
    }
}

/// 144 random bits as 24 characters.
fn random_password() -> Result<Secret<String>, DevError> {
    let mut bytes = [0; 18];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DevError::Randomness)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// The addresses of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    http: SocketAddr,
    peers: SocketAddr,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Says which port is taken before anything is started.
fn check_free(ports: &[Ports]) -> Result<(), DevError> {
    let mut held = Vec::new();
    for address in ports.iter().flat_map(|ports| [ports.http, ports.peers]) {
        let listener = TcpListener::bind(address);
        held.push(listener.map_err(|source| DevError::PortTaken { port: address.port(), source })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let holder = TcpListener::bind(taken).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = check_free(&[Ports { http: free, peers: taken }]).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} is taken", taken.port())), "{error}");
        drop(holder);
        assert!(check_free(&[Ports { http: free, peers: taken }]).is_ok());
    }

    #[test]
    fn passwords_are_long_and_never_the_same() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.expose().len(), 24);
        assert_ne!(one.expose(), other.expose());
    }
}

//! How nodes that were all set up from the same files become one cluster, or find the one there is.
//!
//! ```text
//! each node          draws a ticket, once, and keeps it; asks all addresses who is there
//! a member answers   -> join its cluster
//! all that are expected seek, and nobody else does
//!                    -> the one with the lowest ticket asks every other to yield to it; each yields once,
//!                       for ever; with all of them it founds the cluster, and the others join it
//! ```
//!
//! # Why two clusters cannot come of it
//! Whoever founds has the promise of every node that was expected, and none promises twice, also not after a restart. A
//! node whose disk was emptied draws another ticket, but finds members then, or somebody who has promised
//! already. As long as one that is expected does not answer nobody founds anything: with a node that cannot be asked,
//! a cluster may be running.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::enrol::{self, EnrolError, EnrolHandler, Listener, Trust};
use conclave_cluster::pki::Authority;
use futures_util::future::{BoxFuture, join_all};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::letter::{self, Knock, Reply};

/// What became of looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This node is to found the cluster.
    Nobody,
    /// There is a cluster, with members at these addresses.
    Cluster { peers: Vec<String> },
}

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    pub data: &'a Path,
    pub listen: SocketAddr,
    /// Peers, or one name that resolves to all of them; `host:port` each. May name this node too.
    pub addresses: &'a [String],
    /// How many nodes form the first cluster.
    pub expect: usize,
}

/// Why a search ended without an outcome.
#[derive(Debug, thiserror::Error)]
pub enum NotDiscovered {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: not what a search for other nodes has written; remove it if the data folder is new", .0.display())]
    Damaged(PathBuf),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: SocketAddr, reason: String },
    #[error("no randomness from the operating system")]
    Randomness,
    #[error(
        "{seen} nodes look for each other, and discover_expect says {expect}: with all settings equal, start those only"
    )]
    TooMany { seen: usize, expect: usize },
}

/// What a seeking node keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    ticket: Uuid,
    yielded_to: Option<Uuid>,
}

/// Answers others that seek, while this node does.
struct Seeker {
    path: PathBuf,
    own: Mutex<Ticket>,
}

/// The file of a node that seeks; removed once it has found.
const FILE: &str = "seeking.toml";

/// Looks until there is something to do. Ends with an error only for what waiting does not mend.
///
/// # Errors
/// See [`NotDiscovered`].
pub async fn discover(search: Search<'_>, authority: &Authority) -> Result<Found, NotDiscovered> {
    let seeker = Arc::new(Seeker::open(search.data)?);
    let listening = Listener::bind(search.listen, authority, Arc::<Seeker>::clone(&seeker)).await;
    let address = search.listen;
    let _listening =
        listening.map_err(|error| NotDiscovered::Listen { address, reason: error.to_string() })?;
    let mut said = None;
    loop {
        let own = seeker.ticket();
        let answers = ask_all(search.addresses, authority, &Knock::Look { ticket: own.ticket }).await;
        let mut seeking = BTreeMap::from([(own.ticket, None)]);
        for (address, answer) in &answers {
            match answer {
                Ok(Reply::Member { peers, .. }) => return Ok(Found::Cluster { peers: peers.clone() }),
                Ok(Reply::Seeking { ticket, .. }) => {
                    seeking.entry(*ticket).or_insert_with(|| Some(address.clone()));
                }
                Ok(Reply::Admitted(_) | Reply::Refused { .. } | Reply::NotNow { .. }) | Err(_) => {}
            }
        }
        let (seen, expect) = (seeking.len(), search.expect);
        let tickets: BTreeSet<Uuid> = seeking.keys().copied().collect();
        if seen > expect {
            return Err(NotDiscovered::TooMany { seen, expect });
        }
        if seen == expect && seeking.keys().next() == Some(&own.ticket) && seeker.yield_to(own.ticket)? {
            let others: Vec<String> = seeking.into_values().flatten().collect();
            let answers = ask_all(&others, authority, &Knock::Yield { to: own.ticket }).await;
            let is_yielded = |answer: &Result<Reply, EnrolError>| matches!(answer, Ok(Reply::Seeking { yielded_to: Some(to), .. }) if *to == own.ticket);
            if answers.len() == expect - 1 && answers.iter().all(|(_, answer)| is_yielded(answer)) {
                return Ok(Found::Nobody);
            }
        }
        let is_lost = seen == expect && own.yielded_to.is_some_and(|to| !tickets.contains(&to));
        tell(&mut said, seen, expect, &answers, is_lost.then_some(&*seeker.path));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Forgets the search, once the data folder belongs to a member.
///
/// # Errors
/// When the file cannot be removed.
pub fn forget(data: &Path) -> io::Result<()> {
    match fs::remove_file(data.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

type Answers = Vec<(String, Result<Reply, EnrolError>)>;

/// Asks whoever the addresses lead to, each once, all at the same time.
async fn ask_all(addresses: &[String], authority: &Authority, knock: &Knock) -> Answers {
    let mut all: Vec<String> = Vec::new();
    for address in addresses {
        // A name may stand for many nodes. One that does not resolve is reported by the question itself.
        match tokio::net::lookup_host(address).await {
            Ok(found) => all.extend(found.map(|address| address.to_string())),
            Err(_) => all.push(address.clone()),
        }
    }
    all.sort_unstable();
    all.dedup();
    let request = Bytes::from(letter::encode(knock));
    join_all(all.into_iter().map(|address| async {
        let asked = enrol::ask(&address, Trust::Authority(authority), request.clone(), ANSWER).await;
        let reply = asked.and_then(|answer| {
            letter::decode(&answer).ok_or_else(|| EnrolError::NotPeerPort {
                address: address.clone(),
                reason: "an answer that cannot be read: it may run another release".to_owned(),
            })
        });
        (address, reply)
    }))
    .await
}

/// Says now and then what is missing. `promised` is the file with a promise to a node that is not there any more.
fn tell(said: &mut Option<Instant>, seen: usize, expect: usize, answers: &Answers, promised: Option<&Path>) {
    if said.is_some_and(|last| last.elapsed() < SAY_EVERY) {
        return;
    }
    *said = Some(Instant::now());
    tracing::info!(seen, expect, "looking for the other nodes");
    if let Some(path) = promised {
        tracing::warn!(
            path = %path.display(),
            "all nodes look for each other, and this one has promised to let one found the cluster that is gone, as one \
             is whose disk was emptied: if no cluster ever came of it, stop all nodes, remove this file on each, and \
             start them again"
        );
    }
    for error in answers.iter().filter_map(|(_, answer)| answer.as_ref().err()) {
        tracing::info!(%error, "looking for the other nodes");
    }
}

impl Seeker {
    fn open(data: &Path) -> Result<Self, NotDiscovered> {
        let path = data.join(FILE);
        let failed = |source| NotDiscovered::File { path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).create(data).map_err(failed)?;
        let own = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|_| NotDiscovered::Damaged(path.clone()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; 16];
                aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NotDiscovered::Randomness)?;
                let own =
                    Ticket { ticket: uuid::Builder::from_random_bytes(bytes).into_uuid(), yielded_to: None };
                write(&path, &own).map_err(failed)?;
                own
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, own: Mutex::new(own) })
    }

    fn ticket(&self) -> Ticket {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Promises to let `to` found the cluster; whether that is so then. It is on the disk before it is said.
    fn yield_to(&self, to: Uuid) -> Result<bool, NotDiscovered> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.yielded_to.is_none() {
            let next = Ticket { yielded_to: Some(to), ..own.clone() };
            write(&self.path, &next)
                .map_err(|source| NotDiscovered::File { path: self.path.clone(), source })?;
            *own = next;
        }
        Ok(own.yielded_to == Some(to))
    }

    fn answer(&self, is_candidate: bool, request: &[u8]) -> Reply {
        let refused = |reason: &str| Reply::Refused { code: "refused".to_owned(), reason: reason.to_owned() };
        let Some(knock) = letter::decode::<Knock>(request) else {
            return refused("this node runs another release and cannot read that");
        };
        if !is_candidate {
            return Reply::NotNow { reason: "this node is no member yet".to_owned() };
        }
        match knock {
            Knock::Join(_) => Reply::NotNow { reason: "this node is no member yet".to_owned() },
            Knock::Look { .. } => self.seeking(),
            Knock::Yield { to } => {
                if let Err(error) = self.yield_to(to) {
                    tracing::error!(%error, "cannot keep a promise");
                    return Reply::NotNow { reason: "its disk fails".to_owned() };
                }
                self.seeking()
            }
        }
    }

    fn seeking(&self) -> Reply {
        let Ticket { ticket, yielded_to } = self.ticket();
        Reply::Seeking { ticket, yielded_to }
    }
}

impl EnrolHandler for Seeker {
    fn enrol(&self, is_candidate: bool, request: Bytes) -> BoxFuture<'static, Bytes> {
        let reply = self.answer(is_candidate, &request);
        Box::pin(std::future::ready(Bytes::from(letter::encode(&reply))))
    }
}

fn write(path: &Path, ticket: &Ticket) -> io::Result<()> {
    let text = toml::to_string(ticket).map_err(io::Error::other)?;
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

const PAUSE: Duration = Duration::from_millis(300);
const ANSWER: Duration = Duration::from_secs(3);
const SAY_EVERY: Duration = Duration::from_secs(5);

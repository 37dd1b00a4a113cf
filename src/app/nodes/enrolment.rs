//! The side of the node that wants in: a key of its own, a certificate for it, the cluster's key file, a data folder.
//!
//! # Why it can be broken off anywhere
//! The key is made once and kept in the data folder until that belongs to a member. With it the same node asks again
//! and gets the same id. The folder's identity is written last.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::enrol::{self, EnrolError, Trust};
use conclave_cluster::pki::{Authority, CertificateRequest};
use conclave_cluster::{Clock, ClusterId, DataFolder, FolderError, Identity, NodeId};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::letter::{self, Admitted, JoinProof, JoinRequest, Knock, Reply};
use crate::auth::join_token::JoinToken;
use crate::auth::kek::Kek;
use crate::auth::key_file::{KekError, KeySource};
use crate::clock::rfc3339;
use crate::domain::level::{LEVEL, RELEASE};

/// By what a node wants to be let in.
#[derive(Debug)]
pub enum Ticket<'a> {
    Token(&'a JoinToken),
    /// It holds the authority, and knows of members at these addresses.
    Authority {
        authority: &'a Authority,
        peers: &'a [String],
        learner: bool,
    },
}

/// Why a node did not get in. Each text says what to do; nothing was changed unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum NotEnrolled {
    #[error("{} belongs to node {} of cluster {} already: start it with `conclave start`, or take an empty folder", data.display(), owner.node, owner.cluster)]
    Member { data: PathBuf, owner: Identity },
    #[error(
        "the join token expired at {expired}, and it is {now} here: make another one with `conclave token create`, or set this machine's clock"
    )]
    Expired { expired: String, now: String },
    #[error("the cluster refuses: {reason}")]
    Refused { code: String, reason: String },
    #[error("no member could let this node in: {0}")]
    Nobody(String),
    #[error("no member could let this node in: {0}")]
    Unmet(EnrolError),
    #[error(transparent)]
    Keys(#[from] KekError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot make a key: {0}")]
    Key(String),
    #[error("what the cluster answered is not for this node: {0}")]
    Foreign(String),
}

/// Gets the data folder a place in the cluster, unless it has one there already; says which node it is.
///
/// # Errors
/// See [`NotEnrolled`].
pub async fn enrol(
    data: &Path,
    keys: &KeySource,
    ticket: Ticket<'_>,
    clock: &dyn Clock,
    patience: Duration,
) -> Result<Identity, NotEnrolled> {
    let (trust, addresses, cluster) = match &ticket {
        Ticket::Token(token) => {
            let cluster = ClusterId(token.cluster);
            let trust = Trust::Fingerprint { cluster, fingerprint: token.fingerprint };
            (trust, token.addresses.as_slice(), cluster)
        }
        Ticket::Authority { authority, peers, .. } => {
            (Trust::Authority(authority), *peers, authority.cluster())
        }
    };
    if let Some(owner) = DataFolder::owner(data)? {
        // The same command once more, after it had done its work.
        if owner.cluster == cluster && !joining_file(data).exists() {
            return Ok(owner);
        }
        if owner.cluster != cluster {
            return Err(NotEnrolled::Member { data: data.to_owned(), owner });
        }
    }
    if let Ticket::Token(token) = &ticket
        && token.expires_ms <= clock.now().0
        && !joining_file(data).exists()
    {
        let expired = rfc3339(conclave_cluster::LogTime(token.expires_ms));
        return Err(NotEnrolled::Expired { expired, now: rfc3339(clock.now()) });
    }
    let made = key_of(data)?;
    let has_keys = keys.missing()?.is_none();
    let names = if has_keys { keys.read()?.key_ids().map(|id| id.to_string()).collect() } else { Vec::new() };
    let proof = match &ticket {
        Ticket::Token(token) => JoinProof::Token { id: token.id, secret: *token.secret().expose() },
        Ticket::Authority { learner, .. } => JoinProof::Authority { learner: *learner },
    };
    let knock = Knock::Join(Box::new(JoinRequest {
        proof,
        certificate_request: made.request.clone(),
        now_ms: clock.now().0,
        version: RELEASE.to_owned(),
        level: LEVEL,
        keys: names,
    }));
    let request = Bytes::from(letter::encode(&knock));
    let admitted = ask_in_turn(addresses, trust, &request, Instant::now() + patience).await?;
    settle(data, keys, has_keys, cluster, made, *admitted)
}

/// Asks one member after the other until one decides.
async fn ask_in_turn(
    addresses: &[String],
    trust: Trust<'_>,
    request: &Bytes,
    deadline: Instant,
) -> Result<Box<Admitted>, NotEnrolled> {
    let mut last = NotEnrolled::Nobody("the token names no address".to_owned());
    let mut is_first = true;
    while is_first || Instant::now() < deadline {
        for address in addresses {
            let asked = enrol::ask(address, trust, request.clone(), ANSWER).await;
            match asked.map(|answer| letter::decode::<Reply>(&answer)) {
                Ok(Some(Reply::Admitted(admitted))) => return Ok(admitted),
                Ok(Some(Reply::Refused { code, reason })) => {
                    return Err(NotEnrolled::Refused { code, reason });
                }
                Ok(Some(Reply::NotNow { reason })) => {
                    last = NotEnrolled::Nobody(format!("{address} says: {reason}"));
                }
                Ok(Some(Reply::Member { .. } | Reply::Seeking { .. }) | None) => {
                    last = NotEnrolled::Nobody(format!("{address} answered what cannot be read"));
                }
                Err(error) => {
                    let is_final = matches!(
                        error,
                        EnrolError::Clock { .. }
                            | EnrolError::OtherCluster { .. }
                            | EnrolError::OtherClock { .. }
                    );
                    last = NotEnrolled::Unmet(error);
                    // Asking again changes no clock and no cluster; another address may be right.
                    if is_final && addresses.len() == 1 {
                        return Err(last);
                    }
                }
            }
        }
        is_first = false;
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}

fn settle(
    data: &Path,
    keys: &KeySource,
    has_keys: bool,
    cluster: ClusterId,
    made: CertificateRequest,
    admitted: Admitted,
) -> Result<Identity, NotEnrolled> {
    let Admitted { cluster: named, node, certificate, authority, peers, key_file, .. } = admitted;
    if ClusterId(named) != cluster {
        return Err(NotEnrolled::Foreign(format!("it names cluster {named}")));
    }
    match (keys, key_file) {
        (KeySource::File(path), Some(text)) if !has_keys => Kek::write_new_file(path, &text.0)?,
        (KeySource::File(_) | KeySource::Setting(_), _) => {}
    }
    let identity = Identity { cluster, node: NodeId(node) };
    DataFolder::adopt(data, identity, &made.complete(certificate, authority), &peers)?;
    let path = joining_file(data);
    fs::remove_file(&path).map_err(|source| NotEnrolled::File { path, source })?;
    Ok(identity)
}

/// The key of a node on its way in; kept until it is in.
fn key_of(data: &Path) -> Result<CertificateRequest, NotEnrolled> {
    let path = joining_file(data);
    let failed = |source| NotEnrolled::File { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let at = text.find(REQUEST_BEGINS).ok_or_else(|| {
                NotEnrolled::Key(format!("{} is damaged: remove it and try again", path.display()))
            })?;
            let (key, request) = text.split_at(at);
            Ok(CertificateRequest { request: request.to_owned(), key: Zeroizing::new(key.to_owned()) })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = CertificateRequest::create().map_err(|error| NotEnrolled::Key(error.to_string()))?;
            fs::create_dir_all(data).map_err(failed)?;
            let text = Zeroizing::new(format!("{}{}", *made.key, made.request));
            let beside = path.with_extension("new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)
                .map_err(failed)?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            fs::rename(&beside, &path).map_err(failed)?;
            Ok(made)
        }
        Err(error) => Err(failed(error)),
    }
}

fn joining_file(data: &Path) -> PathBuf {
    data.join("joining.pem")
}

const REQUEST_BEGINS: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(300);

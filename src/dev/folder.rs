//! The folder of a development cluster: one data folder, settings file and log for each node, one key file
//! for all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use conclave_cluster::pki::{Authority, PkiError};
use conclave_cluster::{Clock, DataFolder, NodeId};
use toml::{Table, Value};

use super::{DevError, Ports, loopback};
use crate::auth::kek::Kek;
use crate::auth::key_file::KekError;

/// A folder that no other `conclave dev` uses now.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    // Held for its lock, which ends with the process even when that is killed.
    lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another `conclave dev` runs there.
    #[error("another conclave dev runs in {}", .0.display())]
    InUse(PathBuf),
    /// The folder holds more nodes than asked for: without them there may be no majority.
    #[error("{} holds {holds} nodes, not {asked}; say --nodes {holds}, or take another folder with --data", path.display())]
    OtherCount {
        /// The folder.
        path: PathBuf,
        /// Nodes in it.
        holds: u16,
        /// Nodes asked for.
        asked: u16,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A node's data folder cannot be prepared.
    #[error(transparent)]
    Node(#[from] conclave_cluster::FolderError),
    /// Certificates cannot be made or read.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The key file cannot be made or read.
    #[error(transparent)]
    Key(#[from] KekError),
}

/// How far the port for peers is above that for HTTP.
const PEERS_ABOVE: u16 = 1000;

/// For programs in the making, which try and fail more often than people who sign in.
const LIMITS: [(&str, &str); 5] = [
    ("rate_limit_login", "1000/minute"),
    ("rate_limit_refresh", "1000/minute"),
    ("rate_limit_service", "1000/minute"),
    ("rate_limit_register", "1000/minute"),
    ("rate_limit_api", "10000/minute"),
];

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, FolderError> {
        make(path)?;
        // Absolute, because the settings in it are used from anywhere.
        let path = path.canonicalize().map_err(at(path))?;
        let name = path.join("lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(at(&name))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(FolderError::File { path: name, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn data(&self, node: u16) -> PathBuf {
        self.path.join(format!("node-{node}"))
    }

    pub(super) fn settings(&self, node: u16) -> PathBuf {
        self.path.join(format!("node-{node}.toml"))
    }

    pub(super) fn log(&self, node: u16) -> PathBuf {
        self.path.join(format!("node-{node}.log"))
    }

    /// How many nodes to run. More than there are is fine: the new ones join.
    pub(super) fn count(&self, asked: Option<u16>) -> Result<u16, FolderError> {
        let mut holds = 0;
        while DataFolder::owner(&self.data(holds + 1))?.is_some() {
            holds += 1;
        }
        match asked {
            None if holds == 0 => Ok(3),
            None => Ok(holds),
            Some(asked) if asked < holds => {
                Err(FolderError::OtherCount { path: self.path.clone(), holds, asked })
            }
            Some(asked) => Ok(asked),
        }
    }

    /// The addresses of the nodes. HTTP follows `port`; peers stay where they first were, because the
    /// members of a cluster know each other by these addresses.
    pub(super) fn ports(&self, port: u16, count: u16) -> Result<Vec<Ports>, DevError> {
        let too_high = || DevError::PortTooHigh(port);
        let mut ports: Vec<Ports> = Vec::new();
        for node in 1..=count {
            let http = port.checked_add(node - 1).ok_or_else(too_high)?;
            let peers = match self.earlier_peers(node) {
                Some(peers) => peers,
                None => loopback(http.checked_add(PEERS_ABOVE).ok_or_else(too_high)?),
            };
            ports.push(Ports { http: loopback(http), peers });
        }
        Ok(ports)
    }

    fn earlier_peers(&self, node: u16) -> Option<SocketAddr> {
        let table: Table = fs::read_to_string(self.settings(node)).ok()?.parse().ok()?;
        table.get("peer_listen")?.as_str()?.parse().ok()
    }

    /// Makes what is missing: authority and certificates, the key file, the settings of each node. May be
    /// repeated, also after it was cut short.
    pub(super) fn prepare(&self, ports: &[Ports], clock: &impl Clock) -> Result<(), FolderError> {
        let now = clock.now();
        let first = self.data(1);
        let authority = self.authority(&first, clock)?;
        let key_file = self.path.join("conclave.kek");
        Kek::read_or_create_file(&key_file)?;
        for (node, own) in (1..).zip(ports) {
            DataFolder::prepare(&self.data(node), &authority, NodeId(node.into()), now)?;
            let others = ports.iter().filter(|other| *other != own).map(|other| other.peers.to_string());
            // The first node founds the cluster; the others ask whichever node answers.
            let join = if node == 1 { Vec::new() } else { others.map(Value::String).collect() };
            let mut table = Table::from_iter([
                ("data".to_owned(), Value::String(self.data(node).display().to_string())),
                ("http_listen".to_owned(), Value::String(own.http.to_string())),
                ("peer_listen".to_owned(), Value::String(own.peers.to_string())),
                ("key_file".to_owned(), Value::String(key_file.display().to_string())),
                ("join".to_owned(), Value::Array(join)),
                // Whoever waits for a cluster at the keyboard waits for no further proof.
                ("promote_after".to_owned(), Value::String("0s".to_owned())),
            ]);
            table.extend(LIMITS.map(|(name, rate)| (name.to_owned(), Value::String(rate.to_owned()))));
            let path = self.settings(node);
            let text = format!("# Written by `conclave dev` at each start.\n{table}");
            fs::write(&path, text).map_err(at(&path))?;
        }
        Ok(())
    }
}

impl Folder {
    /// The authority of the nodes. Node 1 gives its copy to the cluster, as any founder does; this one stays, so that
    /// the folder can be given more nodes.
    fn authority(&self, first: &Path, clock: &impl Clock) -> Result<Authority, FolderError> {
        let own = self.path.join(Authority::KEY_FILE);
        match DataFolder::owner(first)? {
            Some(identity) if own.exists() => Ok(Authority::load(&self.path, identity.cluster)?),
            // Made by an earlier release.
            Some(identity) => {
                let authority = Authority::load(first, identity.cluster)?;
                authority.save(&self.path)?;
                Ok(authority)
            }
            None => {
                make(first)?;
                let authority = Authority::create(clock.now())?;
                authority.save(&self.path)?;
                authority.save(first)?;
                Ok(authority)
            }
        }
    }
}

impl Drop for Folder {
    /// Closing is not enough: a process that is being started at this moment holds a copy of the descriptor until
    /// it has become another program, and with it the lock.
    fn drop(&mut self) {
        // If it fails, closing is all there is.
        let _ = self.lock.unlock();
    }
}

/// Makes a folder that only its owner may enter.
fn make(path: &Path) -> Result<(), FolderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::{Config, Flags};

    fn prepared(path: &Path, port: u16, nodes: u16) -> Vec<Ports> {
        let folder = Folder::open(path).unwrap();
        let ports = folder.ports(port, nodes).unwrap();
        folder.prepare(&ports, &SystemClock).unwrap();
        ports
    }

    #[test]
    fn a_new_folder_gets_nodes_of_one_cluster_with_settings_that_load() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("dev");
        let ports = prepared(&path, 8080, 3);
        assert_eq!(ports[2], Ports { http: loopback(8082), peers: loopback(9082) });
        let folder = Folder::open(&path).unwrap();
        let mut clusters = Vec::new();
        for node in 1..=3 {
            let config = Config::load(Flags::default(), Some(&folder.settings(node)), Vec::new()).unwrap();
            assert_eq!(config.http_listen.port(), 8079 + node);
            assert!(config.limits.login.is_some_and(|rate| rate.count().get() >= 1000));
            assert_eq!(config.join.len(), if node == 1 { 0 } else { 2 });
            assert!(!config.join.contains(&config.peer_advertise));
            let identity = DataFolder::open(&config.data).unwrap().identity();
            assert_eq!(identity.node, NodeId(node.into()));
            clusters.push(identity.cluster);
            assert!(Kek::read_file(&config.key_file).is_ok());
        }
        clusters.dedup();
        assert_eq!(clusters.len(), 1);
    }

    #[test]
    fn a_used_folder_keeps_its_nodes_keys_and_peer_ports() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        prepared(path, 8080, 3);
        let key = fs::read(path.join("conclave.kek")).unwrap();
        let certificate = fs::read(path.join("node-2/node.pem")).unwrap();
        let folder = Folder::open(path).unwrap();
        assert_eq!(folder.count(None).unwrap(), 3);
        assert_eq!(folder.count(Some(5)).unwrap(), 5);
        assert!(matches!(folder.count(Some(1)), Err(FolderError::OtherCount { holds: 3, asked: 1, .. })));
        drop(folder);
        let ports = prepared(path, 18080, 4);
        assert_eq!(ports[1], Ports { http: loopback(18081), peers: loopback(9081) });
        assert_eq!(ports[3], Ports { http: loopback(18083), peers: loopback(19083) });
        assert_eq!(fs::read(path.join("conclave.kek")).unwrap(), key);
        assert_eq!(fs::read(path.join("node-2/node.pem")).unwrap(), certificate);
        let folder = Folder::open(path).unwrap();
        assert_eq!(folder.count(None).unwrap(), 4);
    }

    #[test]
    fn one_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let first = Folder::open(temporary.path()).unwrap();
        assert!(matches!(Folder::open(temporary.path()), Err(FolderError::InUse(_))));
        drop(first);
        assert!(Folder::open(temporary.path()).is_ok());
    }

    #[test]
    fn ports_that_do_not_fit_are_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        assert!(matches!(folder.ports(65_000, 3), Err(DevError::PortTooHigh(65_000))));
    }
}

//! Making the folder of a node that alone is a cluster, with rows from the start.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use super::OfflineError;
use super::swap::{self, Unfinished};
use crate::clock::LogTime;
use crate::files;
use crate::folder::{DataFolder, take_lock};
use crate::identity::{Identity, NodeId};
use crate::log::disk::DiskLog;
use crate::log::{LogDevice, VoteRecord};
use crate::machine::Machine;
use crate::pki::Authority;
use crate::raft::{Member, StoredMembership, convert, membership};
use crate::seal::{KeyWrapper, Vault};
use crate::state::{Folder, Key, Limits, LogPosition, Meta, Row, State, Store, Transaction};

/// What a new cluster is made from, beside its rows.
pub struct Seed<'s> {
    /// The empty folder; made if it is not there.
    pub data: &'s Path,
    /// Wraps the keys of what is sealed in it.
    pub keys: Arc<dyn KeyWrapper>,
    /// Tells groups of rows apart.
    pub machine: &'s dyn Machine,
    /// As the cluster's nodes have them.
    pub limits: Limits,
    /// How the node is reached; its first start corrects it.
    pub member: Member,
    /// The highest revision of the rows: the new cluster goes on behind it.
    pub revision: u64,
    /// The log time of that revision: time does not run backwards either.
    pub at: LogTime,
    /// Now.
    pub now: LogTime,
}

/// Makes the folder of a new one-node cluster whose state is these rows, after `change` has changed them at the
/// next revision. A crash leaves a folder that no start accepts, and over which this can be repeated. Blocks: call
/// it off the runtime's workers. All rows are in memory, as in every node.
///
/// # Errors
/// See [`OfflineError`]; the rows' own errors and those of `change` are passed on.
pub fn seed<T, E>(
    seed: &Seed<'_>,
    rows: impl Iterator<Item = Result<(Key, Row), E>>,
    change: impl FnOnce(LogTime, u64, &mut Transaction<'_>) -> Result<T, E>,
) -> Result<(Identity, T), OfflineError<E>> {
    let data = seed.data;
    check_empty(data)?;
    files::create_folder(data)?;
    let _lock = take_lock(data)?;
    let unfinished = Unfinished::begin(data)?;
    let meta = Meta { revision: seed.revision, at: seed.at, ..Meta::default() };
    let mut state = State::of_rows(seed.machine, seed.limits, rows, meta).map_err(OfflineError::Rows)?;
    let done = state.amend(seed.machine, seed.now, change).map_err(OfflineError::Rows)?;
    // The new cluster has no past: what was changed just now is not to be seen there.
    let mut state = state.without_past(seed.machine);
    let node = NodeId(1);
    let position = LogPosition { term: 1, node: node.0, index: 0 };
    become_alone(&mut state, position, seed.member.clone())?;
    let identity = build(&unfinished.path(), node, &state, &seed.keys, seed.now)?;
    unfinished.settle(None)?;
    Ok((identity, done))
}

/// Makes `node` the only member, by an entry at `position` that the log need not have.
pub(super) fn become_alone<E>(
    state: &mut State,
    position: LogPosition,
    member: Member,
) -> Result<(), OfflineError<E>> {
    let members = BTreeMap::from([(position.node, member)]);
    let membership = membership(vec![BTreeSet::from([position.node])], members);
    let membership = membership.map_err(|error| OfflineError::State(error.to_string()))?;
    let stored = StoredMembership::new(Some(convert::log_id(position)), membership);
    let bytes = convert::encode_membership(&stored).map_err(OfflineError::Entry)?;
    state.apply_membership(position, &bytes);
    Ok(())
}

/// Makes a whole data folder of `node`, of a new cluster, with that state.
pub(super) fn build<E>(
    path: &Path,
    node: NodeId,
    state: &State,
    keys: &Arc<dyn KeyWrapper>,
    now: LogTime,
) -> Result<Identity, OfflineError<E>> {
    let authority = Authority::create(now)?;
    authority.save(path)?;
    let identity = Identity { cluster: authority.cluster(), node };
    let vault = Arc::new(Vault::new(path, identity, Arc::clone(keys)));
    let folder = Folder::new(path.join(DataFolder::STATE), Arc::clone(&vault));
    Store::lay_down(&folder, state).map_err(|fault| OfflineError::State(fault.to_string()))?;
    let begins_behind = state.applied().unwrap_or_default();
    let log = DiskLog::open(&path.join(DataFolder::LOG), &vault)?;
    let written = wait(async {
        let (done, voted) = tokio::sync::oneshot::channel();
        let vote = VoteRecord { term: begins_behind.term, node: node.0, committed: false };
        log.save_vote(vote, Box::new(move |outcome| drop(done.send(outcome))));
        log.purge(begins_behind).await?;
        log.close().await?;
        voted.await.unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()))
    });
    written.and_then(|written| written).map_err(|error| OfflineError::State(error.to_string()))?;
    DataFolder::prepare(path, &authority, node, now)?;
    files::sync_folder(path)?;
    Ok(identity)
}

/// Runs what waits for a thread of its own and needs no runtime.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(future))
}

/// What a file system puts into every folder, and what an interrupted try leaves, does not count.
fn check_empty<E>(data: &Path) -> Result<(), OfflineError<E>> {
    let entries = match std::fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(files::at(data)(error).into()),
    };
    for entry in entries {
        let name = entry.map_err(files::at(data))?.file_name();
        let name = name.to_string_lossy();
        if !(name == "lock" || name == "lost+found" || swap::is_ours(&name)) {
            return Err(OfflineError::NotEmpty(data.to_owned()));
        }
    }
    Ok(())
}

//! Going on with what one node has, when the majority of its cluster is lost for ever.
//!
//! # Why
//!
//! - **Everything in the log is applied**, also what this node does not know to be committed: it may have been
//!   acknowledged by those that are lost. What it holds and nobody acknowledged becomes true with it, which its
//!   caller was told could be.
//! - **The node keeps its number.** Numbers are unique within a cluster, and this is a new one; to the operator it
//!   is still the same machine, and positions in the log stay comparable with the old folder's.
//! - **The old state is read and never written**: entries are applied in memory. So whoever finds after all that
//!   the others live, and has not gone through with it, starts the old node again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::EntryPayload;

use super::OfflineError;
use super::seed::{become_alone, build, wait};
use super::swap::Unfinished;
use crate::clock::LogTime;
use crate::folder::DataFolder;
use crate::identity::{Identity, NodeId};
use crate::log::disk::DiskLog;
use crate::log::{LogDevice, LogState};
use crate::machine::Machine;
use crate::raft::{Member, StoredMembership, convert};
use crate::seal::{KeyWrapper, Vault};
use crate::start::is_new;
use crate::state::{Disk, Folder, Limits, LogPosition, State, Store, Transaction};

/// A node that does not run, with all that it has: state and log. Holds the folder's lock.
pub struct Stopped {
    folder: DataFolder,
    state: State,
    term: u64,
    last_known: LastKnown,
    keys: Arc<dyn KeyWrapper>,
    machine: Arc<dyn Machine>,
}

/// What a stopped node knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastKnown {
    /// Which node of which cluster it is.
    pub identity: Identity,
    /// The revision of the last command that it has.
    pub revision: u64,
    /// Log time of the last entry that it has.
    pub at: LogTime,
    /// The last entry that it has.
    pub last: Option<LogPosition>,
    /// How many of its entries it does not know to be committed.
    pub unconfirmed: u64,
    /// All members that it knows of, itself too, and whether they vote.
    pub members: Vec<(NodeId, Member, bool)>,
}

/// What became of a stopped node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The new cluster, and the node within it.
    pub identity: Identity,
    /// The revision that it begins with.
    pub revision: u64,
    /// Where the old folder's parts are, until somebody deletes them.
    pub aside: Option<PathBuf>,
}

impl Stopped {
    /// Reads all that the node in `data` has. Changes nothing that a start would not change. Blocks: call it off
    /// the runtime's workers.
    ///
    /// # Errors
    /// When the node runs, was never a member, or has itself lost its log or state.
    pub fn open<E>(
        data: &Path,
        keys: Arc<dyn KeyWrapper>,
        machine: Arc<dyn Machine>,
        limits: Limits,
    ) -> Result<Self, OfflineError<E>> {
        let folder = DataFolder::open(data)?;
        let vault = Arc::new(Vault::new(data, folder.identity(), Arc::clone(&keys)));
        vault.check()?;
        let log = DiskLog::open(&folder.log(), &vault)?;
        let disk = Disk::Folder(Folder::new(folder.state(), vault));
        let (store, recovery) = Store::open(&disk, Arc::clone(&machine), limits)
            .map_err(|fault| OfflineError::State(fault.to_string()))?;
        let mut state = State::clone(store.view().state());
        store.close();
        let held = wait(log.state()).and_then(|held| held).map_err(OfflineError::Entry)?;
        if is_new(&folder, &held, &recovery, state.applied())? {
            return Err(OfflineError::NeverStarted(data.to_owned()));
        }
        let applied = apply_log(&mut state, &*machine, &log, &held);
        wait(log.close()).and_then(|closed| closed).map_err(OfflineError::Entry)?;
        applied.map_err(OfflineError::Entry)?;
        let last_known = last_known(&folder, &state, &held).map_err(OfflineError::Entry)?;
        let term = held.vote.map_or(0, |vote| vote.term).max(state.applied().map_or(0, |last| last.term));
        Ok(Self { folder, state, term, last_known, keys, machine })
    }

    /// What it knows of its cluster, to be shown before anything is done.
    #[must_use]
    pub fn last_known(&self) -> &LastKnown {
        &self.last_known
    }

    /// Makes it the only node of a new cluster, after `change` has changed its rows at the next revision. The old
    /// parts of the folder are kept beside the new ones. Blocks, as [`Stopped::open`].
    ///
    /// # Errors
    /// Those of the disk and of `change`. The folder is as it was then, or [`super::finish`] ends it.
    pub fn recover<T, E>(
        self,
        member: Member,
        now: LogTime,
        change: impl FnOnce(LogTime, u64, &mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<(Recovered, T), OfflineError<E>> {
        let Self { folder, mut state, term, keys, machine, .. } = self;
        let done = state.amend(&*machine, now, change).map_err(OfflineError::Rows)?;
        let node = folder.identity().node;
        let index = state.applied().map_or(0, |last| last.index + 1);
        become_alone(&mut state, LogPosition { term: term + 1, node: node.0, index }, member)?;
        let unfinished = Unfinished::begin(folder.path())?;
        let identity = build(&unfinished.path(), node, &state, &keys, now)?;
        // Whole seconds are enough: a folder is not recovered twice in one.
        let aside = unfinished.settle(Some(&format!("{BEFORE_RECOVERY}{}", now.0 / 1000)))?;
        Ok((Recovered { identity, revision: state.revision(), aside }, done))
    }
}

/// Applies the entries that the state does not have.
fn apply_log(
    state: &mut State,
    machine: &dyn Machine,
    log: &DiskLog,
    held: &LogState,
) -> std::io::Result<()> {
    let end = held.last.map_or(0, |last| last.index + 1);
    loop {
        let start = state.applied().map_or(0, |applied| applied.index + 1);
        if start >= end {
            return Ok(());
        }
        let entries = wait(log.read(start..end, Some(AT_ONCE_BYTES)))??;
        if entries.is_empty() {
            return Err(std::io::Error::other(format!("entry {start} is missing")));
        }
        for entry in &entries {
            let position = entry.position;
            match convert::decode_entry(entry)?.payload {
                EntryPayload::Blank => drop(state.apply_blank(position)),
                EntryPayload::Normal(batch) => {
                    drop(state.apply_entry(machine, position, batch.at, &batch.proposals));
                }
                EntryPayload::Membership(membership) => {
                    let stored = StoredMembership::new(Some(convert::log_id(position)), membership);
                    drop(state.apply_membership(position, &convert::encode_membership(&stored)?));
                }
            }
        }
    }
}

fn last_known(folder: &DataFolder, state: &State, held: &LogState) -> std::io::Result<LastKnown> {
    let membership = convert::decode_membership(state.membership())?;
    let is_voter = |id: u64| membership.voter_ids().any(|voter| voter == id);
    let members = membership.nodes().map(|(id, member)| (NodeId(*id), member.clone(), is_voter(*id)));
    let end = |position: Option<LogPosition>| position.map_or(0, |position| position.index + 1);
    Ok(LastKnown {
        identity: folder.identity(),
        revision: state.revision(),
        at: state.at(),
        last: state.applied(),
        unconfirmed: end(state.applied()).saturating_sub(end(held.committed)),
        members: members.collect(),
    })
}

impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopped").field("last_known", &self.last_known).finish_non_exhaustive()
    }
}

/// What the folder of the old parts is called, before the time in seconds since 1970.
pub(crate) const BEFORE_RECOVERY: &str = "before-recovery-";
const AT_ONCE_BYTES: usize = 4 << 20;

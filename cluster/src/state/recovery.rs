//! What a node starts from: its durable copy if it is whole, else its newest good snapshot, else nothing, and
//! then it says so.

use std::path::PathBuf;

use tracing::warn;

use crate::machine::Machine;

use super::fault::{Damage, Fault};
use super::image::{Limits, State};
use super::media::{Loaded, Media};
use super::meta::LogPosition;
use super::snapshot::{self, SnapshotInfo};

/// What was found at the start, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// There has never been a state here.
    Empty,
    /// The durable copy was whole. It can be older than what was reported durable: after rot in its file sled
    /// goes back, without a word, to a batch before it. The log has what follows, because it is purged no
    /// further than the newest snapshot, and a copy older than that is not used. Only where that snapshot
    /// has rotted too does the log begin behind the last entry applied here: compare.
    Clean,
    /// The durable copy was damaged, missing, or older than the newest snapshot, which has replaced it. The
    /// log has what follows.
    RebuiltFromSnapshot {
        /// The last entry in the snapshot.
        snapshot: Option<LogPosition>,
        /// What was wrong with the copy.
        why: String,
        /// Where the damaged copy is now.
        aside: Option<PathBuf>,
    },
    /// The durable copy was damaged or missing, and there is no good snapshot: the state is empty. Only a log
    /// that reaches back to its very first entry, or a snapshot from the leader, can bring it back. Until
    /// then this node must not pass for a fresh one; every start says so again.
    Lost {
        /// What was wrong.
        why: String,
        /// Where the damaged copy is now.
        aside: Option<PathBuf>,
    },
}

pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) recovery: Recovery,
    pub(super) newest_snapshot: Option<SnapshotInfo>,
}

/// Finds the state to start from, and has `media` follow it.
pub(super) fn recover(media: &dyn Media, machine: &dyn Machine, limits: Limits) -> Result<Recovered, Fault> {
    let copy = media.load(machine, limits)?;
    let mut snapshots = Snapshots::find(media)?;
    let (state, recovery, afresh) = match copy {
        Loaded::Whole(state) if state.meta().lost => {
            let why = "lost at an earlier start".to_owned();
            (*state, Recovery::Lost { why, aside: None }, false)
        }
        Loaded::Whole(state) => (*state, Recovery::Clean, false),
        Loaded::Nothing if snapshots.is_empty() && !snapshots.rejected => {
            (State::empty(limits), Recovery::Empty, true)
        }
        Loaded::Nothing => {
            let why = "there are snapshots but no state".to_owned();
            (lost(limits), Recovery::Lost { why, aside: None }, true)
        }
        Loaded::Damaged(Damage(why)) => {
            warn!(%why, "the durable state is damaged; it is moved aside");
            let aside = media.set_aside()?;
            (lost(limits), Recovery::Lost { why, aside }, true)
        }
    };
    let Some((newer, snapshot)) = snapshots.newer_than(&state, media, machine, limits)? else {
        media.begin(&state, afresh)?;
        return Ok(Recovered { state, recovery, newest_snapshot: snapshots.newest() });
    };
    let (why, aside) = match recovery {
        Recovery::Lost { why, aside } => (why, aside),
        Recovery::Empty | Recovery::Clean | Recovery::RebuiltFromSnapshot { .. } => {
            ("it was older than the snapshot".to_owned(), None)
        }
    };
    warn!(%why, snapshot = %snapshot.id(), "the durable state is rebuilt from a snapshot");
    media.begin(&newer, true)?;
    let recovery = Recovery::RebuiltFromSnapshot { snapshot: newer.applied(), why, aside };
    Ok(Recovered { state: newer, recovery, newest_snapshot: Some(snapshot) })
}

fn lost(limits: Limits) -> State {
    let mut state = State::empty(limits);
    state.meta.lost = true;
    state
}

/// The snapshots whose beginnings are good, newest first.
struct Snapshots {
    found: Vec<SnapshotInfo>,
    // Whether one was not good.
    rejected: bool,
}

impl Snapshots {
    fn find(media: &dyn Media) -> Result<Self, Fault> {
        let failed = |error| Fault::io("reading the snapshots", &error);
        let mut all = Self { found: Vec::new(), rejected: false };
        for id in media.snapshots().map_err(failed)? {
            let (input, bytes) = media.open_snapshot(&id).map_err(failed)?;
            match snapshot::read_meta(input).map(|meta| SnapshotInfo::new(&meta, bytes)) {
                Ok(info) if info.id() == id => all.found.push(info),
                Ok(_) => all.reject(media, &id, &Damage::new("it has another's name"))?,
                Err(damage) => all.reject(media, &id, &damage)?,
            }
        }
        Ok(all)
    }

    fn reject(&mut self, media: &dyn Media, id: &str, damage: &Damage) -> Result<(), Fault> {
        warn!(id, %damage, "a snapshot is damaged; it is moved aside");
        self.rejected = true;
        media.reject_snapshot(id).map_err(|error| Fault::io("moving a damaged snapshot", &error))
    }

    fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn newest(&self) -> Option<SnapshotInfo> {
        self.found.first().cloned()
    }

    /// The newest snapshot that is good to its end and has more than `state`.
    fn newer_than(
        &mut self,
        state: &State,
        media: &dyn Media,
        machine: &dyn Machine,
        limits: Limits,
    ) -> Result<Option<(State, SnapshotInfo)>, Fault> {
        let index = |position: Option<LogPosition>| position.map(|position| position.index);
        while let Some(info) = self.newest() {
            // Where all was lost, even a snapshot from before the first entry says that nothing was.
            let has_more = index(info.applied) > index(state.applied()) || state.meta().lost;
            if !has_more {
                return Ok(None);
            }
            let id = info.id();
            let opened = media.open_snapshot(&id).map_err(|error| Fault::io("reading a snapshot", &error))?;
            match snapshot::read(opened.0, machine, limits) {
                Ok(newer) => return Ok(Some((newer, info))),
                Err(damage) => {
                    self.reject(media, &id, &damage)?;
                    self.found.remove(0);
                }
            }
        }
        Ok(None)
    }
}

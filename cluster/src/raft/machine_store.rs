//! openraft's state machine over our [`Store`].

use std::io;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{EntryPayload, OptionalSend};

use super::{Answers, LogId, StoredMembership, Types, convert};
use crate::state::{self, Fault, SnapshotInfo, SnapshotReader, SnapshotWriter, Store};

/// The state as openraft sees it; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct MachineStore {
    store: Store,
}

/// A snapshot, as openraft passes it around.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// One that was built here. Its bytes are read when somebody wants them.
    Built,
    /// One to be sent.
    Sent(SnapshotReader),
    /// One that has arrived.
    Received(SnapshotWriter),
}

impl MachineStore {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl RaftStateMachine<Types> for MachineStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let view = self.store.view();
        let membership = convert::decode_membership(&view.meta().membership)?;
        Ok((view.applied().map(convert::log_id), membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            self.store.room().await.map_err(fault)?;
            let position = convert::position(entry.log_id);
            let answers = match entry.payload {
                EntryPayload::Blank => self.store.apply(position, state::Entry::Blank),
                EntryPayload::Normal(batch) => {
                    let commands = state::Entry::Commands { at: batch.at, proposals: &batch.proposals };
                    self.store.apply(position, commands)
                }
                EntryPayload::Membership(membership) => {
                    let stored = StoredMembership::new(Some(entry.log_id), membership);
                    let membership = convert::encode_membership(&stored)?;
                    self.store.apply(position, state::Entry::Membership(&membership))
                }
            };
            let answers = Answers(answers.map_err(fault)?);
            if let Some(responder) = responder {
                responder.send(answers);
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Self> {
        Some(self.clone())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, data: SnapshotData) -> io::Result<()> {
        let received = match data {
            SnapshotData::Received(received) => received,
            // openraft's way to put a state machine back to its own snapshot.
            SnapshotData::Sent(mut own) => {
                let mut copy = self.store.receive_snapshot().map_err(fault)?;
                while let Some(bytes) = own.next(COPY_BYTES)? {
                    copy.write(&bytes)?;
                }
                copy
            }
            SnapshotData::Built => return Err(io::Error::other("a snapshot without bytes")),
        };
        let installed = self.store.install_snapshot(received).await.map_err(io::Error::other)?;
        if installed.applied.map(convert::log_id) != meta.last_log_id {
            return Err(io::Error::other("the snapshot is not the one that was announced"));
        }
        tracing::info!(applied = ?installed.applied, revision = installed.revision, "installed a snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, SnapshotData>>> {
        let Some((info, reader)) = self.store.open_snapshot().await.map_err(fault)? else { return Ok(None) };
        Ok(Some(SnapshotOf::<Types, SnapshotData> {
            meta: meta(&info)?,
            snapshot: SnapshotData::Sent(reader),
        }))
    }
}

impl RaftSnapshotBuilder<Types> for MachineStore {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, SnapshotData>> {
        let info = self.store.build_snapshot().await.map_err(fault)?;
        tracing::debug!(applied = ?info.applied, bytes = info.bytes, "built a snapshot");
        Ok(SnapshotOf::<Types, SnapshotData> { meta: meta(&info)?, snapshot: SnapshotData::Built })
    }
}

fn meta(info: &SnapshotInfo) -> io::Result<SnapshotMetaOf<Types>> {
    Ok(SnapshotMetaOf::<Types> {
        last_log_id: info.applied.map(convert::log_id),
        last_membership: convert::decode_membership(&info.membership)?,
    })
}

/// A fault ends the node: openraft stops at any error of its storage.
fn fault(fault: Fault) -> io::Error {
    io::Error::other(fault)
}

const COPY_BYTES: usize = 1 << 20;

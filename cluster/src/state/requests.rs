//! Remembered requests: why a retry never acts twice.

use bytes::Bytes;
use imbl::OrdMap;

use crate::clock::LogTime;
use crate::machine::RequestId;

/// What was decided for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) fingerprint: u64,
    pub(super) revision: u64,
    pub(super) at: LogTime,
    pub(super) reply: Bytes,
}

/// All requests that are remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    by_id: OrdMap<RequestId, Remembered>,
    // Each decided command has a revision of its own, so this is one id each, oldest first.
    by_revision: OrdMap<u64, RequestId>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Remembered> {
        self.by_id.get(&id)
    }

    pub(super) fn remember(&mut self, id: RequestId, remembered: Remembered) {
        self.by_revision.insert(remembered.revision, id);
        self.by_id.insert(id, remembered);
    }

    pub(super) fn oldest(&self) -> Option<(RequestId, LogTime)> {
        let (_, id) = self.by_revision.get_min()?;
        Some((*id, self.by_id.get(id)?.at))
    }

    pub(super) fn forget(&mut self, id: RequestId) -> Option<Remembered> {
        let remembered = self.by_id.remove(&id)?;
        self.by_revision.remove(&remembered.revision);
        Some(remembered)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestId, &Remembered)> {
        self.by_id.iter().map(|(id, remembered)| (*id, remembered))
    }
}

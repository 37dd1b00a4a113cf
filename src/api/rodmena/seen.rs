//! What this surface saw, for the audit trail: questions, and writes that changed nothing. A write that changes
//! something is written down by the command that does it.

use super::caller::{Reader, Written};
use super::{Api, Call};
use crate::domain::audit::Observation;
use crate::domain::{AccountId, Actor, ApiKeyId, SubjectId};

/// Something that was asked or tried.
#[derive(Debug)]
pub(super) struct Seen {
    action: &'static str,
    target: String,
    success: bool,
    detail: String,
    used: Option<(SubjectId, ApiKeyId)>,
}

impl Seen {
    /// By the stable name of what was asked, and about what.
    pub(super) fn new(action: &'static str, target: impl Into<String>) -> Self {
        Self { action, target: target.into(), success: true, detail: String::new(), used: None }
    }

    /// Whether the answer was yes.
    pub(super) fn answered(mut self, yes: bool) -> Self {
        self.success = yes;
        self
    }

    /// What else there is to say; never a secret.
    pub(super) fn detailed(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// A key of a user that was asked about, and so used.
    pub(super) fn used(mut self, key: (SubjectId, ApiKeyId)) -> Self {
        self.used = Some(key);
        self
    }
}

impl Api {
    /// Takes note of a question. Where the key owns no account there is no trail, and nothing to tell.
    pub(super) fn seen(&self, call: &Call, reader: &Reader, seen: Seen) {
        if let Some(account) = reader.account {
            self.note(account, Actor::KeyHolder(reader.key), call, seen);
        }
    }

    /// Takes note of a write that changed nothing.
    pub(super) fn tried(&self, call: &Call, written: &Written, result: bool, tried: Seen) {
        if let (Some(account), false) = (written.account, written.is_change) {
            self.note(account, Actor::KeyHolder(written.key), call, tried.answered(result));
        }
    }

    /// Takes note of what a stranger tried.
    pub(super) fn tried_in(&self, account: AccountId, call: &Call, tried: Seen) {
        self.note(account, Actor::Anonymous, call, tried);
    }

    fn note(&self, account: AccountId, by: Actor, call: &Call, seen: Seen) {
        let Seen { action, target, success, detail, used } = seen;
        let observation = call.seen(by, action, target, success);
        self.app.observe(account, Observation { detail, used, ..observation });
    }
}

//! What was seen and is not written yet: by account, bounded, equal ones as one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::app::Request;
use crate::domain::audit::{MAX_OBSERVATIONS, Observation, Trail};
use crate::domain::{AccountId, Actor, Origin};

/// So many records of an account are not left to wait for the end of the window.
pub(super) const ENOUGH: usize = 64;
/// The most records of one account that wait.
pub(super) const PER_ACCOUNT: usize = 1_024;
/// The most that wait in all. An account has no more than there is room left for others, so that even many
/// busy ones leave some to the rest.
pub(super) const IN_ALL: usize = 65_536;
/// Well below what a command may have.
const MAX_BATCH_BYTES: usize = 128 * 1024;

/// Everything that waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    accounts: BTreeMap<AccountId, Seen>,
    /// Those whose turn it is, in the order in which it came.
    due: VecDeque<AccountId>,
    in_all: usize,
    lost: u64,
    is_closed: bool,
}

/// What waits of one account.
#[derive(Debug, Default)]
struct Seen {
    acts: Queue,
    checks: Queue,
    /// Whether a batch is under way, or has to be tried again.
    is_writing: bool,
    /// Its records.
    writing: usize,
    again: Option<Batch>,
    is_due: bool,
}

/// What waits of one trail of an account, oldest first.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    in_order: BTreeMap<u64, Arc<[u8]>>,
    // By what makes them equal: their stored form with a count of zero.
    known: BTreeMap<Arc<[u8]>, Observation>,
    /// How many were dropped since that was last written down.
    lost: u32,
}

/// Some records of an account that are written by one command.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) account: AccountId,
    pub(super) seen: Vec<Observation>,
    /// Names the command, also when it is tried again.
    pub(super) request: Request,
    /// Without those that say what was lost.
    counted: usize,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }
}

impl Waiting {
    /// Adds an observation; says whether the account's turn has come because of it.
    pub(super) fn add(&mut self, account: AccountId, mut observation: Observation) -> bool {
        let count = std::mem::replace(&mut observation.count, 0);
        // What does not encode could not be stored either.
        let Ok(key) = postcard::to_stdvec(&observation) else { return false };
        let seen = self.accounts.entry(account).or_default();
        let trail = observation.trail;
        if let Some(equal) = seen.queue(trail).known.get_mut(&*key) {
            equal.count = equal.count.saturating_add(count);
            return false;
        }
        observation.count = count;
        let room = PER_ACCOUNT.min(IN_ALL.saturating_sub(self.in_all));
        if seen.len() >= room {
            let (has_room, lost) = seen.make_room(&observation);
            self.lost = self.lost.saturating_add(lost.into());
            if !has_room {
                return false;
            }
            self.in_all = self.in_all.saturating_sub(1);
        }
        seen.queue(trail).push(key.into(), observation);
        self.in_all += 1;
        if !seen.has_enough() || seen.is_due || seen.is_writing {
            return false;
        }
        seen.is_due = true;
        self.due.push_back(account);
        true
    }

    /// The window is over.
    pub(super) fn all_are_due(&mut self) {
        for (account, seen) in &mut self.accounts {
            if !seen.is_due {
                seen.is_due = true;
                self.due.push_back(*account);
            }
        }
    }

    /// What is to be written next.
    pub(super) fn next_due(&mut self) -> Option<Batch> {
        while let Some(account) = self.due.pop_front() {
            let Some(seen) = self.accounts.get_mut(&account) else { continue };
            seen.is_due = false;
            if let Some(batch) = seen.again.take() {
                return Some(batch);
            }
            if seen.is_writing {
                continue;
            }
            match seen.take(account) {
                Some(batch) => return Some(batch),
                None => drop(self.accounts.remove(&account)),
            }
        }
        None
    }

    /// The batch is done with.
    pub(super) fn settle(&mut self, batch: &Batch) {
        self.in_all = self.in_all.saturating_sub(batch.counted);
        let Some(seen) = self.accounts.get_mut(&batch.account) else { return };
        (seen.is_writing, seen.writing) = (false, 0);
        if seen.is_empty() {
            self.accounts.remove(&batch.account);
        } else if seen.has_enough() && !seen.is_due {
            seen.is_due = true;
            self.due.push_back(batch.account);
        }
    }

    /// As [`Waiting::settle`], of what will never be written.
    pub(super) fn give_up(&mut self, batch: &Batch) {
        let lost: u64 = batch.seen.iter().map(|observation| u64::from(observation.count)).sum();
        self.lost = self.lost.saturating_add(lost);
        self.settle(batch);
    }

    /// The batch has another try in its account's next turn.
    pub(super) fn put_back(&mut self, batch: Batch) {
        if let Some(seen) = self.accounts.get_mut(&batch.account) {
            seen.again = Some(batch);
        }
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.all_are_due();
    }

    /// Whether it was closed, and nothing waits any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed && self.accounts.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.in_all
    }

    /// How many observations were dropped.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }
}

impl Seen {
    fn queue(&mut self, trail: Trail) -> &mut Queue {
        match trail {
            Trail::Acts => &mut self.acts,
            Trail::Checks => &mut self.checks,
        }
    }

    fn len(&self) -> usize {
        self.acts.len() + self.checks.len() + self.writing
    }

    fn has_enough(&self) -> bool {
        self.acts.len() + self.checks.len() >= ENOUGH
    }

    fn is_empty(&self) -> bool {
        self.len() == 0 && self.acts.lost == 0 && self.checks.lost == 0
    }

    /// Drops the oldest check, or for a denial the oldest denial where there is no check; else the newcomer has
    /// no room. Says whether it has, and how many observations are lost by it.
    fn make_room(&mut self, newcomer: &Observation) -> (bool, u32) {
        if let Some(lost) = self.checks.drop_oldest() {
            return (true, lost);
        }
        if newcomer.trail == Trail::Acts
            && let Some(lost) = self.acts.drop_oldest()
        {
            return (true, lost);
        }
        let queue = self.queue(newcomer.trail);
        queue.lost = queue.lost.saturating_add(newcomer.count);
        (false, newcomer.count)
    }

    /// As much as one command takes, and what was lost before it.
    fn take(&mut self, account: AccountId) -> Option<Batch> {
        let mut seen = Vec::new();
        for trail in [Trail::Acts, Trail::Checks] {
            let lost = std::mem::take(&mut self.queue(trail).lost);
            seen.extend((lost > 0).then(|| loss(trail, lost)));
        }
        let (losses, mut bytes) = (seen.len(), 0);
        for queue in [&mut self.acts, &mut self.checks] {
            while seen.len() < MAX_OBSERVATIONS && bytes < MAX_BATCH_BYTES {
                let Some((key, observation)) = queue.pop() else { break };
                bytes += key.len();
                seen.push(observation);
            }
        }
        if seen.is_empty() {
            return None;
        }
        (self.is_writing, self.writing) = (true, seen.len() - losses);
        let request = Request::once(Instant::now(), Origin::default());
        Some(Batch { account, counted: self.writing, seen, request })
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.in_order.len()
    }

    fn push(&mut self, key: Arc<[u8]>, observation: Observation) {
        self.in_order.insert(self.next, Arc::clone(&key));
        self.known.insert(key, observation);
        self.next += 1;
    }

    fn pop(&mut self) -> Option<(Arc<[u8]>, Observation)> {
        let (_, key) = self.in_order.pop_first()?;
        self.known.remove_entry(&key)
    }

    /// Drops the oldest, and says how many observations that was.
    fn drop_oldest(&mut self) -> Option<u32> {
        let (_, dropped) = self.pop()?;
        self.lost = self.lost.saturating_add(dropped.count);
        Some(dropped.count)
    }
}

/// The record that says how many observations of its trail were dropped.
fn loss(trail: Trail, count: u32) -> Observation {
    Observation {
        trail,
        by: Actor::System,
        origin: Origin::default(),
        action: "audit.lose".to_owned(),
        target: String::new(),
        success: false,
        detail: "more was seen than could be written down".to_owned(),
        count,
        used: None,
    }
}

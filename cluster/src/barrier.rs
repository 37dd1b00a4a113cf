//! Linearizable reads on any node.
//!
//! # Why
//!
//! A barrier asks the leader how far the log is committed, after a majority has confirmed that it still leads,
//! and waits until this node has applied that much. One round serves everybody who was waiting when it began;
//! who comes later waits for the next one, because an answer that was under way already might be too old for
//! them. So a thousand readers cost two rounds, not a thousand.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{self, Instant};

use crate::core::{Asked, Core};
use crate::error::Unavailable;
use crate::network::Peer;
use crate::state::View;
use crate::wire::{Request, Response};

/// Where callers wait for the next round. Its task ends with it.
pub(crate) struct Barrier {
    callers: mpsc::Sender<Caller>,
    /// When the last round that succeeded began.
    last: watch::Receiver<Option<Instant>>,
}

struct Caller {
    deadline: Instant,
    reply: oneshot::Sender<Result<View, Unavailable>>,
}

impl Barrier {
    pub(crate) fn start(core: Arc<Core>) -> Self {
        let (callers, queue) = mpsc::channel(MOST_CALLERS);
        let (began, last) = watch::channel(None);
        tokio::spawn(run(core, queue, began));
        Self { callers, last }
    }

    /// A view that shows everything acknowledged anywhere before this call.
    pub(crate) async fn pass(&self, deadline: Instant) -> Result<View, Unavailable> {
        let (reply, passed) = oneshot::channel();
        match self.callers.try_send(Caller { deadline, reply }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(Unavailable::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Unavailable::Stopping),
        }
        match time::timeout_at(deadline, passed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Unavailable::Stopping),
            Err(_) => Err(Unavailable::Timeout { outcome_unknown: false }),
        }
    }

    /// Whether a round that began at most `age` ago has succeeded.
    pub(crate) fn is_younger_than(&self, age: Duration) -> bool {
        self.last.borrow().is_some_and(|began| began.elapsed() <= age)
    }
}

async fn run(core: Arc<Core>, mut queue: mpsc::Receiver<Caller>, began: watch::Sender<Option<Instant>>) {
    let mut callers: Vec<Caller> = Vec::new();
    let mut attempt = 0;
    loop {
        if callers.is_empty() {
            attempt = 0;
            match queue.recv().await {
                Some(caller) => callers.push(caller),
                None => return,
            }
        }
        while let Ok(caller) = queue.try_recv() {
            callers.push(caller);
        }
        callers.retain(|caller| !caller.reply.is_closed());
        let Some(latest) = callers.iter().map(|caller| caller.deadline).max() else { continue };
        let start = Instant::now();
        let result = round(&core, latest).await;
        match result {
            Ok(()) => {
                began.send_replace(Some(start));
                let view = core.store.view();
                for caller in callers.drain(..) {
                    // A caller may have given up.
                    drop(caller.reply.send(Ok(view.clone())));
                }
            }
            Err(Unavailable::Stopping) => reject(&mut callers, Unavailable::Stopping),
            Err(error) => {
                if !core.pause(attempt, latest).await {
                    reject(&mut callers, error);
                }
                attempt += 1;
            }
        }
    }
}

fn reject(callers: &mut Vec<Caller>, error: Unavailable) {
    for caller in callers.drain(..) {
        drop(caller.reply.send(Err(error)));
    }
}

async fn round(core: &Core, deadline: Instant) -> Result<(), Unavailable> {
    if core.is_stopping() {
        return Err(Unavailable::Stopping);
    }
    // A leader that is gone must not hold up everybody until their deadlines.
    let patience = Duration::from_millis(core.timing.election_max_ms.saturating_mul(2));
    let until = deadline.min(Instant::now() + patience);
    let index = match core.leader() {
        None => return Err(Unavailable::NoLeader),
        Some(leader) if leader == core.node() => match time::timeout_at(until, core.own_read_index()).await {
            Ok(position) => position?.index,
            Err(_) => return Err(Unavailable::Timeout { outcome_unknown: false }),
        },
        Some(leader) => {
            let member = core.member_of(leader).ok_or(Unavailable::NoLeader)?;
            let peer = Peer { node: Some(leader), addr: member.peer_addr };
            let within = until.saturating_duration_since(Instant::now());
            match core.ask(peer, &Request::ReadIndex, within, Some(leader)).await {
                Asked::Answered(Response::ReadIndex(position)) => position?.index,
                Asked::Answered(_) | Asked::NotSent | Asked::Unknown | Asked::TimedOut => {
                    return Err(Unavailable::NoLeader);
                }
            }
        }
    };
    core.applied(index, deadline).await
}

const MOST_CALLERS: usize = 16_384;

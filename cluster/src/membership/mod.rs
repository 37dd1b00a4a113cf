//! Who belongs to the cluster: founding it, joining it, voting in it, leaving it.
//!
//! # Why
//!
//! The membership lives in the log; settings only say whom to ask first. The leader makes one change at a time,
//! and only one that leaves a majority which works (`safety`): what would not, is refused with what to do about
//! it. A change is carried through even when nobody waits for it any more, so it is done or not done (`change`).
//!
//! A node joins by asking again and again (`join`): first it becomes a learner, then, once it has caught up, a
//! voter, here or by the layer above ([`crate::Config::promotes`]). Each step is safe to repeat, so it does not
//! matter which answer got lost. Nobody enters, and nobody moves, before the leader has reached it where it says
//! it is: a wrong address never comes into the membership, where it could cost a majority.
//!
//! A voter that comes back with an empty disk has forgotten whom it voted for and what it acknowledged. Letting
//! it in under its old id could elect a leader that misses acknowledged entries, so that is refused for good.
//!
//! A node that stops leaves the membership as it is; a leader hands over first (`handover`).

use std::collections::BTreeMap;

use crate::core::Core;
use crate::error::{StartError, Unavailable};

pub(crate) mod change;
pub(crate) mod handover;
pub(crate) mod health;
pub(crate) mod join;
pub(crate) mod safety;

pub use safety::{After, Wish};

/// Why a membership was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It must not be, as the cluster stands; says why, and what to do.
    #[error("{0}")]
    Refused(String),
}

/// Makes this node the only member of a new cluster.
pub(crate) async fn found(core: &Core) -> Result<(), StartError> {
    let members = BTreeMap::from([(core.node().0, core.member.clone())]);
    core.raft.initialize(members).await.map_err(|error| StartError::Raft(error.to_string()))
}

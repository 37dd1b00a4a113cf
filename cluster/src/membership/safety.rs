//! Whether a change of the voters is safe: a pure question about who votes and who answers.
//!
//! # Why
//!
//! Raft itself refuses only what would leave it without a voter. It takes out a node that works while another is
//! down, and stops for good. So a change is checked here first, against what the leader knows of each member.
//!
//! A voter counts when it answers and keeps up, and was not given up. Two rules follow, for what is left after
//! the change: those who count are a majority; and a voter that counts does not go while one that does not
//! stays, if then every other would be needed. The second has a way out at any time, since a voter that does not
//! count may always go first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::NodeId;

/// A change of who votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A learner is to vote.
    Promote(NodeId),
    /// A voter is to become a learner, and to stay one.
    Demote(NodeId),
    /// A member is to go.
    Remove(NodeId),
}

/// The cluster once a wish is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// How many voters may fail from then on before the cluster stops. Those that are down already are counted
    /// as failed.
    pub tolerance: usize,
}

/// The members, as their leader sees them.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    pub(crate) leader: NodeId,
    pub(crate) members: BTreeMap<NodeId, Standing>,
    /// Ids that were given up: whoever has one is not heard any more, and none is used again.
    pub(crate) gone: BTreeSet<NodeId>,
    /// Who has been silent for longer is down.
    pub(crate) patience: Duration,
}

/// A member, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) is_voter: bool,
    /// Since it last answered; nothing when it has not answered this leader yet.
    pub(crate) silence: Option<Duration>,
    /// Entries that it has yet to confirm; nothing when it has confirmed none.
    pub(crate) lag: Option<u64>,
}

impl Situation {
    /// What a wish leads to, or in words for an operator why it is not granted, and what to do. One that is
    /// fulfilled already changes nothing.
    pub(crate) fn check(&self, wish: Wish) -> Result<After, String> {
        let (node, voters) = match wish {
            Wish::Promote(node) => {
                let is_voter = self.member(node)?.is_voter;
                if self.gone.contains(&node) {
                    return Err(given_up(node));
                }
                if !is_voter {
                    self.must_be_fit(node)?;
                }
                (node, self.voters().into_iter().chain([node]).collect())
            }
            Wish::Demote(node) => {
                self.member(node)?;
                (node, self.voters_without(node))
            }
            Wish::Remove(node) => (node, self.voters_without(node)),
        };
        if voters != self.voters() {
            self.must_go_on(node, &voters)?;
        }
        let tolerance = self.tolerance(&voters);
        Ok(After { voters, tolerance })
    }

    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.members.iter().filter(|(_, standing)| standing.is_voter).map(|(node, _)| *node).collect()
    }

    /// Whether it answers, keeps up and was not given up. The leader always is.
    pub(crate) fn is_healthy(&self, node: NodeId) -> bool {
        self.complaint(node, KEEPS_UP).is_none()
    }

    /// Whether it could be made a voter without holding up the others.
    pub(crate) fn has_caught_up(&self, node: NodeId) -> bool {
        self.complaint(node, CLOSE_ENOUGH).is_none()
    }

    /// How many of `voters` may fail before the others are no majority; those that are down have failed.
    pub(crate) fn tolerance(&self, voters: &BTreeSet<NodeId>) -> usize {
        self.healthy(voters).saturating_sub(majority(voters.len()))
    }

    fn member(&self, node: NodeId) -> Result<&Standing, String> {
        self.members.get(&node).ok_or_else(|| {
            format!("node {node} is not a member; those are {}", list(self.members.keys().copied()))
        })
    }

    fn voters_without(&self, node: NodeId) -> BTreeSet<NodeId> {
        self.voters().into_iter().filter(|voter| *voter != node).collect()
    }

    fn healthy(&self, nodes: &BTreeSet<NodeId>) -> usize {
        nodes.iter().filter(|node| self.is_healthy(**node)).count()
    }

    /// What is wrong with a member, for one that may lack so many entries.
    fn complaint(&self, node: NodeId, most: u64) -> Option<String> {
        if self.gone.contains(&node) {
            return Some("has been given up".to_owned());
        }
        if node == self.leader {
            return None;
        }
        let Some(Standing { silence, lag, .. }) = self.members.get(&node).copied() else {
            return Some("is not a member".to_owned());
        };
        match (silence, lag) {
            (None, _) => Some(format!("has not answered node {}, which leads", self.leader)),
            (Some(silence), _) if silence > self.patience => {
                Some(format!("has not answered for {} s", silence.as_secs().max(1)))
            }
            (Some(_), None) => Some("has no part of the log yet".to_owned()),
            (Some(_), Some(lag)) => (lag > most).then(|| format!("lacks {lag} entries of the log")),
        }
    }

    fn must_be_fit(&self, node: NodeId) -> Result<(), String> {
        self.complaint(node, CLOSE_ENOUGH).map_or(Ok(()), |complaint| {
            Err(format!(
                "node {node} {complaint}: as a voter it would hold up the others. See to it that it runs and \
                 catches up, and try again"
            ))
        })
    }

    /// `node` comes or goes, and `voters` are left.
    fn must_go_on(&self, node: NodeId, voters: &BTreeSet<NodeId>) -> Result<(), String> {
        let is_leaving = !voters.contains(&node);
        if voters.is_empty() {
            return Err(format!(
                "node {node} is the last voter: without it the cluster would be gone. Let another node join first"
            ));
        }
        let down: Vec<NodeId> = voters.iter().copied().filter(|voter| !self.is_healthy(*voter)).collect();
        let needed = majority(voters.len());
        if voters.len() - down.len() < needed {
            let left = list(voters.iter().copied());
            return Err(format!(
                "the voters would be {left}, {needed} of them are needed, and {}. Bring that back first, or remove \
                 what will not come back",
                self.complaints(&down)
            ));
        }
        if is_leaving && self.is_healthy(node) && !down.is_empty() && self.tolerance(voters) == 0 {
            return Err(format!(
                "node {node} works, and {}: without node {node} not one voter more could fail. Remove what will \
                 not come back first, or bring it back",
                self.complaints(&down)
            ));
        }
        Ok(())
    }

    fn complaints(&self, nodes: &[NodeId]) -> String {
        let each = nodes.iter().map(|node| {
            format!("node {node} {}", self.complaint(*node, KEEPS_UP).unwrap_or_else(|| "works".to_owned()))
        });
        each.collect::<Vec<_>>().join(", ")
    }
}

/// Why an id that was given up is not taken again.
pub(crate) fn given_up(node: NodeId) -> String {
    format!("node {node} was removed from this cluster, and its id is never used again: join under a new one")
}

/// How many of so many voters decide.
pub(crate) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many of so many voters may fail when all of them work.
pub(crate) fn can_lose(voters: usize) -> usize {
    voters.saturating_sub(majority(voters))
}

fn list(nodes: impl Iterator<Item = NodeId>) -> String {
    nodes.map(|node| node.to_string()).collect::<Vec<_>>().join(", ")
}

/// How many entries a learner may lack when it becomes a voter: about what arrives while it is made one.
pub(crate) const CLOSE_ENOUGH: u64 = 100;
/// How many entries a member that keeps up may lack: what a busy leader writes while a disk stalls for a moment.
/// One that lacks more would hold up the next write when it is needed for it.
pub(crate) const KEEPS_UP: u64 = 1_000;

#[cfg(test)]
mod tests;

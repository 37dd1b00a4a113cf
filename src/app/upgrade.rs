//! Upgrading node by node: who runs which program, and raising the cluster's level when all know the next one.
//!
//! # Why two questions before the level rises
//! That every member runs a program that knows a level says nothing of tomorrow: a node may be stopped right after
//! it was asked and be started again with its old program, which would take what it finds in its log for
//! something else. So each member is asked to promise, on its disk, that no program starts there again that does
//! not know the level (`Cluster::require_level`), and the level is raised when all have. They are asked for the
//! promise only when all run such a program, for it ends the time in which a node can go back.
//!
//! # Why the leader asks, again and again
//! It alone knows all members, and nobody has to tell it that a node came back with another program. A member that
//! has promised may be down: a promise holds. One that has not is waited for, or removed by an operator.
//! While nothing can rise nobody is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conclave_cluster::{NodeId, Unavailable};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::nodes::letter::{Answer, Errand};
use super::{App, Failure, Request};
use crate::domain::level::{self, FIRST, LEVEL, RELEASE};
use crate::domain::{AccountId, Action, Actor, Command, Origin};
use crate::replica::Freshness;

/// The program of a member, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub node: u64,
    /// Its release; none of a program that is too old to say, and while it is not known.
    pub release: Option<String>,
    /// The newest level that it knows: 1 of a program that is too old to say; none while it is not known.
    pub level: Option<u32>,
    /// How long ago it said so.
    pub age: Option<Duration>,
}

impl Program {
    fn knows(&self, level: u32) -> bool {
        self.level.is_some_and(|known| known >= level)
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, release, level, .. } = self;
        match (release, level) {
            (Some(release), _) => write!(f, "node {node} runs {release}"),
            (None, Some(_)) => write!(f, "node {node} runs an earlier release"),
            (None, None) => write!(f, "node {node} does not say what it runs"),
        }
    }
}

/// What members have said.
#[derive(Debug, Default)]
pub(super) struct Programs {
    said: Mutex<BTreeMap<NodeId, Said>>,
}

#[derive(Clone, Debug)]
struct Said {
    at: Instant,
    release: Option<String>,
    level: u32,
    promised: u32,
}

impl Programs {
    fn said(&self) -> MutexGuard<'_, BTreeMap<NodeId, Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_others(&self, members: &BTreeSet<NodeId>) {
        self.said().retain(|node, _| members.contains(node));
    }

    fn described(&self, node: NodeId, release: Option<String>, level: u32) {
        let mut said = self.said();
        let promised = said.get(&node).map_or(FIRST, |said| said.promised);
        said.insert(node, Said { at: Instant::now(), release, level, promised });
    }

    fn promised(&self, node: NodeId, level: u32) {
        if let Some(said) = self.said().get_mut(&node) {
            said.promised = said.promised.max(level);
        }
    }

    fn have_all_promised(&self, members: &BTreeSet<NodeId>, level: u32) -> bool {
        let said = self.said();
        members.iter().all(|node| said.get(node).is_some_and(|said| said.promised >= level))
    }

    fn are_younger_than(&self, age: Duration, members: &BTreeSet<NodeId>) -> bool {
        let said = self.said();
        members.iter().all(|node| said.get(node).is_some_and(|said| said.at.elapsed() < age))
    }

    fn of(&self, node: NodeId) -> Program {
        let said = self.said().get(&node).cloned();
        Program {
            node: node.0,
            level: said.as_ref().map(|said| said.level),
            age: said.as_ref().map(|said| said.at.elapsed()),
            release: said.and_then(|said| said.release),
        }
    }
}

impl App {
    /// The cluster's level, as this node knows it: it may be behind, and is never ahead.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn level(&self) -> Result<u32, Failure> {
        Ok(level::of(&self.cluster.view())?)
    }

    /// What each member runs, in the order of their ids. All are asked, for a second at most; of one that does
    /// not answer the last answer counts that it gave this node.
    pub async fn descriptions(&self, deadline: Instant) -> Vec<Program> {
        let members = self.member_ids();
        self.programs.forget_others(&members);
        let patience = deadline.min(Instant::now() + ANSWER);
        join_all(members.iter().map(|node| self.describe(*node, patience))).await;
        members.iter().map(|node| self.programs.of(*node)).collect()
    }

    /// Raises the level whenever it can be, on the leader, until it is dropped.
    pub async fn keep_level(self: Arc<Self>) {
        let mut waits_for = String::new();
        loop {
            if self.cluster.is_leader() && self.is_open() {
                match self.raise_level(Instant::now() + PATIENCE).await {
                    Ok(None) => {}
                    Ok(Some(behind)) if behind == waits_for => {}
                    Ok(Some(behind)) => {
                        tracing::info!(known = LEVEL, "the cluster's level waits: {behind}");
                        waits_for = behind;
                    }
                    Err(failure) => tracing::debug!(%failure, "the cluster's level waits"),
                }
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Raises the level as far as all members know, and says who is in the way of this program's.
    ///
    /// # Errors
    /// When the cluster cannot be read or written.
    pub(super) async fn raise_level(&self, deadline: Instant) -> Result<Option<String>, Failure> {
        if self.level()? >= LEVEL {
            return Ok(None);
        }
        let now = level::of(&self.view(Freshness::Linearizable, deadline).await?)?;
        let programs = self.descriptions(deadline).await;
        let to = programs.iter().map(|program| program.level.unwrap_or(FIRST)).fold(LEVEL, u32::min);
        if to <= now {
            return Ok(in_the_way(&programs, LEVEL));
        }
        let members = self.member_ids();
        let patience = deadline.min(Instant::now() + ANSWER);
        join_all(members.iter().map(|node| self.ask_promise(*node, to, patience))).await;
        // Whoever joined meanwhile has not promised either.
        if !self.programs.have_all_promised(&self.member_ids(), to) {
            return Ok(Some("not every node has promised to stay with its program".to_owned()));
        }
        let command = Command {
            account: AccountId::CLUSTER,
            by: Actor::System,
            origin: Origin::default(),
            expect: Vec::new(),
            action: Action::RaiseLevel { to },
        };
        self.execute(&command, &Request::once(deadline, Origin::default())).await?;
        tracing::info!(level = to, "the cluster's level has risen: all members know it");
        Ok(in_the_way(&programs, LEVEL))
    }

    /// Refuses what the cluster is not ready for, because it needs that level, and says who is behind. For a step
    /// that can only end in such a command, so that it is refused before anything else is done.
    ///
    /// # Errors
    /// [`Failure::Upgrading`].
    pub(super) async fn needs_level(&self, needed: u32, deadline: Instant) -> Result<(), Failure> {
        if needed <= self.level()? {
            return Ok(());
        }
        // This node may be behind.
        if needed <= level::of(&self.view(Freshness::Linearizable, deadline).await?)? {
            return Ok(());
        }
        let members = self.member_ids();
        let programs = if self.programs.are_younger_than(FRESH, &members) {
            members.iter().map(|node| self.programs.of(*node)).collect()
        } else {
            self.descriptions(deadline.min(Instant::now() + ANSWER)).await
        };
        Err(Failure::Upgrading(match in_the_way(&programs, needed) {
            Some(behind) => {
                format!("{behind}, which does not know this; retry when all nodes are upgraded")
            }
            None => "all nodes run the new release by now; retry in a few seconds".to_owned(),
        }))
    }

    /// What this node answers to another that asks what it runs.
    pub(super) fn described() -> Answer {
        Answer::Described { release: RELEASE.to_owned(), level: LEVEL }
    }

    /// Promises that no program starts on this node's data again that does not know `level`.
    pub(super) async fn promise(&self, level: u32) -> Result<Answer, Failure> {
        if level > LEVEL {
            return Err(Failure::Endangers(format!("{RELEASE} does not know level {level}")));
        }
        let cluster = self.cluster.clone();
        let written = tokio::task::spawn_blocking(move || cluster.require_level(level)).await;
        match written {
            Ok(Ok(())) => Ok(Answer::Promised { level }),
            Ok(Err(error)) => {
                tracing::error!(%error, "a level cannot be promised");
                Err(Failure::Internal("a level cannot be promised"))
            }
            Err(_) => Err(Failure::Internal("a promise panicked")),
        }
    }

    async fn describe(&self, node: NodeId, deadline: Instant) {
        match self.run_errand(Some(node), &Errand::Describe, deadline).await {
            Ok(Answer::Described { release, level }) => self.programs.described(node, Some(release), level),
            // So a program answers that cannot read the question. Should it be a new one that is overloaded, the
            // level waits a little longer.
            Ok(Answer::Refused { .. }) | Err(Failure::Unavailable(Unavailable::Overloaded)) => {
                self.programs.described(node, None, FIRST);
            }
            Ok(other) => tracing::debug!(%node, ?other, "a node did not say what it runs"),
            Err(failure) => tracing::debug!(%node, %failure, "a node did not say what it runs"),
        }
    }

    async fn ask_promise(&self, node: NodeId, level: u32, deadline: Instant) {
        match self.run_errand(Some(node), &Errand::Promise { level }, deadline).await {
            Ok(Answer::Promised { level }) => self.programs.promised(node, level),
            Ok(other) => tracing::warn!(%node, ?other, "a node does not promise a level"),
            Err(failure) => tracing::debug!(%node, %failure, "a node does not promise a level"),
        }
    }

    fn member_ids(&self) -> BTreeSet<NodeId> {
        self.cluster.status().members.iter().map(|member| member.node).collect()
    }
}

/// The first few that do not know `level`.
fn in_the_way(programs: &[Program], level: u32) -> Option<String> {
    let behind: Vec<String> = programs
        .iter()
        .filter(|program| !program.knows(level))
        .map(ToString::to_string)
        .take(NAMED)
        .collect();
    (!behind.is_empty()).then(|| behind.join(", "))
}

/// Between two looks at the members' programs.
const ROUND: Duration = Duration::from_secs(3);
/// For one round.
const PATIENCE: Duration = Duration::from_secs(5);
/// For an answer of a member.
const ANSWER: Duration = Duration::from_secs(1);
/// What was said so lately is not asked again for somebody who is refused.
const FRESH: Duration = Duration::from_secs(2);
/// A refusal names so many nodes.
const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_promise_outlasts_later_answers_but_not_the_member() {
        let programs = Programs::default();
        for node in [1, 2] {
            programs.described(NodeId(node), Some("0.2.0".to_owned()), 2);
        }
        programs.promised(NodeId(1), 2);
        assert!(!programs.have_all_promised(&ids(&[1, 2]), 2));
        programs.promised(NodeId(2), 2);
        programs.described(NodeId(2), None, 1);
        assert!(programs.have_all_promised(&ids(&[1, 2]), 2));
        assert!(!programs.have_all_promised(&ids(&[1, 2, 3]), 2), "one that joined meanwhile");
        assert!(!programs.have_all_promised(&ids(&[1, 2]), 3));
        programs.forget_others(&ids(&[1]));
        assert!(!programs.have_all_promised(&ids(&[1, 2]), 2));
    }

    #[test]
    fn who_is_in_the_way_is_named() {
        let programs = Programs::default();
        programs.described(NodeId(1), Some("0.2.0".to_owned()), 2);
        programs.described(NodeId(2), None, 1);
        let all: Vec<Program> = ids(&[1, 2, 3]).into_iter().map(|node| programs.of(node)).collect();
        assert_eq!(in_the_way(&all[..1], 2), None);
        let behind = "node 2 runs an earlier release, node 3 does not say what it runs";
        assert_eq!(in_the_way(&all, 2).as_deref(), Some(behind));
        assert_eq!(in_the_way(&all[..1], 3).as_deref(), Some("node 1 runs 0.2.0"));
        // Unknown is no better than old.
        assert_eq!(in_the_way(&all[2..], 1).as_deref(), Some("node 3 does not say what it runs"));
    }
}

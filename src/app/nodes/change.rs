//! What an operator orders about members. Carried out on the leader, one change after the other.

use std::time::Duration;

use conclave_cluster::{NodeId, Refused, Wish};
use tokio::time::Instant;

use super::letter::{Answer, Change, Changed, Errand, Seen};
use super::{App, Failure, Request};
use crate::auth::join_token::JoinToken;
use crate::domain::level::OPERATIONS;
use crate::domain::node::{self, JoinTokenId, NodeNumber, NodeOrder, Part};
use crate::domain::{Lifetime, Noun, Rejection};
use crate::replica::Freshness;

/// A join token as it is kept.
#[derive(Clone, Debug)]
pub struct KeptToken {
    pub id: JoinTokenId,
    pub token: node::JoinToken,
}

/// Why handing over to a certain node did not come to that, if it did not.
fn another_leads(change: Change, changed: Changed) -> Option<String> {
    let Change::StepDown { to: Some(to) } = change else { return None };
    (changed.leader != to).then(|| format!("node {} leads now, and not node {to}: try again", changed.leader))
}

/// The node that a change takes out for ever.
fn gives_up(change: Change) -> Option<u64> {
    match change {
        Change::Remove { node } | Change::Replace { old: node, .. } => Some(node),
        Change::Promote { .. } | Change::Demote { .. } | Change::StepDown { .. } => None,
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The most addresses in a join token.
const MOST_ADDRESSES: usize = 9;
const PAUSE: Duration = Duration::from_millis(100);

impl App {
    /// Makes a join token. `replaces` is the node to give up once the new one has its place.
    ///
    /// # Errors
    /// The rule that refused it, or why it could not be done.
    pub async fn create_join_token(
        &self,
        good_for: Lifetime,
        part: Part,
        replaces: Option<u64>,
        request: &Request,
    ) -> Result<(JoinToken, u64), Failure> {
        self.needs_level(OPERATIONS, request.deadline).await?;
        self.view(Freshness::Linearizable, request.deadline).await?;
        let authority = self.node_authority()?;
        let status = self.cluster.status();
        let members = status.members.iter().filter(|member| Some(member.node.0) != replaces);
        let addresses: Vec<String> =
            members.map(|member| member.member.peer_addr.clone()).take(MOST_ADDRESSES).collect();
        if let Some(old) = replaces {
            self.must_be_member(old)?;
        }
        let mut mint = self.mint(request)?;
        let drawn = (mint.uuid()?, [mint.uuid()?, mint.uuid()?]);
        let cluster = self.cluster_id().0;
        let mut token = JoinToken::new(cluster, authority.fingerprint(), drawn, 0, addresses);
        let order = NodeOrder::CreateToken {
            token: JoinTokenId(token.id),
            secret: token.hash(),
            good_for,
            part,
            replaces: replaces.map(NodeNumber),
        };
        let done = self.order_nodes(order, request).await?;
        token.expires_ms = done.at.plus(good_for).0;
        Ok((token, done.revision))
    }

    /// The join tokens that are kept, used and expired ones among them.
    ///
    /// # Errors
    /// While the cluster cannot be read.
    pub async fn join_tokens(
        &self,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<(u64, Vec<KeptToken>), Failure> {
        let view = self.view(freshness, deadline).await?;
        let kept = node::tokens(&view)?.into_iter().map(|(id, token)| KeptToken { id, token }).collect();
        Ok((view.revision(), kept))
    }

    /// Takes a join token back.
    ///
    /// # Errors
    /// [`Rejection::NotFound`] when there is none such.
    pub async fn revoke_join_token(&self, id: JoinTokenId, request: &Request) -> Result<u64, Failure> {
        Ok(self.order_nodes(NodeOrder::RevokeToken { token: id }, request).await?.revision)
    }

    /// Has the leader change the membership.
    ///
    /// # Errors
    /// [`Failure::Endangers`] with the reason and the remedy; why it cannot be done now.
    pub async fn change_members(&self, change: Change, deadline: Instant) -> Result<Changed, Failure> {
        match change {
            Change::Promote { .. }
            | Change::Demote { .. }
            | Change::Remove { .. }
            | Change::Replace { .. } => {
                self.needs_level(OPERATIONS, deadline).await?;
            }
            Change::StepDown { .. } => {}
        }
        loop {
            let answer = self.run_errand(None, &Errand::Change(change), deadline).await;
            if let Some(changed) = self.own_end(change) {
                return Ok(changed);
            }
            let is_time = Instant::now() + PAUSE < deadline;
            let changed = match answer {
                Ok(Answer::Changed(changed)) => changed,
                // It may have just handed over, as the one to be removed does. Each change may be ordered again.
                Ok(Answer::NotNow { .. }) if is_time => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // The others close the connections of a node that they removed, the one with the answer too, and
                // tell it why when it calls again.
                Err(Failure::Unavailable(_)) if is_time && gives_up(change) == Some(self.own_number()) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Ok(other) => return Err(super::errands::refusal(other)),
                Err(failure) => return Err(failure),
            };
            match another_leads(change, changed) {
                None => return Ok(changed),
                // It was faster than the one that is to lead; now it is asked to let that one.
                Some(_) if is_time => tokio::time::sleep(PAUSE).await,
                Some(reason) => return Err(Failure::Endangers(reason)),
            }
        }
    }

    /// How the cluster stands after this node was taken out by this change, once the others refuse it. This node
    /// may never hear of the entry that did it.
    fn own_end(&self, change: Change) -> Option<Changed> {
        let own = self.own_number();
        let status = self.cluster.status();
        // Not for a revoked certificate.
        let is_removed = status.refused == Some(Refused::removal(NodeId(own)));
        if gives_up(change) != Some(own) || !is_removed {
            return None;
        }
        let left = status.members.iter().filter(|member| member.is_voter && member.node.0 != own).count();
        let leader = status.leader.map(|leader| leader.node.0).filter(|leader| *leader != own);
        Some(Changed {
            is_changed: true,
            voters: count(left),
            tolerance: count(left.saturating_sub(1) / 2),
            leader: leader.unwrap_or(0),
        })
    }

    fn own_number(&self) -> u64 {
        self.cluster.identity().node.0
    }

    /// The members as the leader sees them, or nothing when it cannot be asked.
    pub async fn seen_members(&self, deadline: Instant) -> Option<Vec<Seen>> {
        match self.run_errand(None, &Errand::Members, deadline).await {
            Ok(Answer::Members(seen)) => Some(seen),
            Ok(_) | Err(_) => None,
        }
    }

    /// Carries a change out; on the leader.
    pub(super) async fn carry_out(&self, change: Change, request: &Request) -> Result<Changed, Failure> {
        // One after the other: what is checked must still be so when it is done.
        let _only_one = self.changing.lock().await;
        let is_changed = match change {
            Change::Promote { node } => {
                let number = NodeNumber(node);
                self.cluster.preview(Wish::Promote(NodeId(node))).await?;
                let done =
                    self.order_nodes(NodeOrder::SetPart { node: number, part: Part::Voter }, request).await?;
                let was_voter = self.is_voter(node);
                self.cluster.promote(NodeId(node)).await?;
                !was_voter || done.reply == crate::domain::Reply::Changed(true)
            }
            Change::Demote { node } => {
                let number = NodeNumber(node);
                self.cluster.preview(Wish::Demote(NodeId(node))).await?;
                let order = NodeOrder::SetPart { node: number, part: Part::Learner };
                let done = self.order_nodes(order, request).await?;
                let was_voter = self.is_voter(node);
                self.cluster.demote(NodeId(node)).await?;
                was_voter || done.reply == crate::domain::Reply::Changed(true)
            }
            Change::Remove { node } => self.give_up(node, request).await?,
            Change::Replace { old, new } => {
                self.must_be_member(old)?;
                self.must_be_member(new)?;
                if old == new {
                    return Err(Failure::Endangers("a node cannot take its own place".to_owned()));
                }
                if !self.is_voter(new) {
                    let promote = NodeOrder::SetPart { node: NodeNumber(new), part: Part::Voter };
                    self.cluster.preview(Wish::Promote(NodeId(new))).await?;
                    self.order_nodes(promote, &request.step(1)).await?;
                    self.cluster.promote(NodeId(new)).await?;
                }
                self.give_up(old, &request.step(2)).await?
            }
            // Handing over to oneself would start an election that another may win.
            Change::StepDown { to: Some(to) }
                if to == self.cluster.identity().node.0 && self.cluster.is_leader() =>
            {
                false
            }
            Change::StepDown { to } => {
                self.cluster.transfer_leader(to.map(NodeId), request.deadline).await?;
                true
            }
        };
        Ok(self.standing(is_changed))
    }

    /// Takes a node out for ever: written down, then out of the membership. Fencing follows from both, on each node.
    async fn give_up(&self, node: u64, request: &Request) -> Result<bool, Failure> {
        let id = NodeId(node);
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let known = node::find(&view, NodeNumber(node))?;
        let is_member = self.cluster.status().members.iter().any(|member| member.node == id);
        if known.is_none() && !is_member {
            return Err(Rejection::NotFound(Noun::Node).into());
        }
        if id == self.cluster.identity().node {
            // Whoever leads next takes this one out: the caller asks again, and the keeper would by itself.
            self.cluster.preview(Wish::Remove(id)).await?;
            self.cluster.transfer_leader(None, request.deadline).await?;
            return Err(conclave_cluster::Unavailable::NotLeader { leader: None }.into());
        }
        self.cluster.preview(Wish::Remove(id)).await?;
        if known.is_none() {
            let part = Part::Voter;
            self.order_nodes(NodeOrder::Register { node: NodeNumber(node), part }, &request.step(3)).await?;
        }
        let done = self.order_nodes(NodeOrder::Remove { node: NodeNumber(node) }, &request.step(4)).await?;
        self.cluster.remove(id).await?;
        Ok(is_member || done.reply == crate::domain::Reply::Changed(true))
    }

    /// Takes out what was written down as removed, and what a newcomer was to replace; on the leader.
    pub(super) async fn remove_by_itself(&self, node: u64, request: &Request) -> Result<(), Failure> {
        let _only_one = self.changing.lock().await;
        self.give_up(node, request).await.map(drop)
    }

    fn must_be_member(&self, node: u64) -> Result<(), Failure> {
        let status = self.cluster.status();
        if status.members.iter().any(|member| member.node.0 == node) {
            return Ok(());
        }
        let ids: Vec<String> = status.members.iter().map(|member| member.node.to_string()).collect();
        Err(Failure::Endangers(format!("node {node} is not a member; those are {}", ids.join(", "))))
    }

    pub(super) fn is_voter(&self, node: u64) -> bool {
        self.cluster.status().members.iter().any(|member| member.node.0 == node && member.is_voter)
    }

    fn standing(&self, is_changed: bool) -> Changed {
        let status = self.cluster.status();
        let voters = status.members.iter().filter(|member| member.is_voter).count();
        Changed {
            is_changed,
            voters: count(voters),
            tolerance: count(status.tolerance.unwrap_or(status.can_lose)),
            leader: status.leader.map_or(0, |leader| leader.node.0),
        }
    }

    /// The members as this node, which leads, sees them.
    pub(super) fn members_seen_here(&self) -> Vec<Seen> {
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let members = self.cluster.status().members.into_iter();
        members
            .map(|member| Seen {
                node: member.node.0,
                is_voter: member.is_voter,
                lag: member.lag,
                contact_ms: member.last_contact.map(millis),
                is_healthy: member.is_healthy,
            })
            .collect()
    }
}

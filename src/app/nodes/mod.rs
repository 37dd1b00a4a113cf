//! The nodes of the cluster: letting them in, giving them their places and certificates, taking them out.
//!
//! `letter` is what nodes say to each other about it; `admission` lets a new one in, `discovery` finds a cluster or
//! others that want one, `change` is what an operator orders, `keeper` what happens by itself, `certificates` what
//! nodes show each other, `report` how they are.
//!
//! # Why
//! - **Who votes is Raft's membership**, changed by the leader alone and one node at a time, after it has looked at who
//!   answers. The rows hold what Raft cannot say (`domain::node`), and the keeper brings the two together. So
//!   whatever was broken off half-way is finished by whoever leads next.
//! - **A node that is to go is written down first, then taken out of the membership, then fenced.** Fenced
//!   before, it could not confirm its own removal, and of two nodes none would be left.
//! - A node that stops changes no membership, whatever stops it.

pub mod admission;
mod certificates;
pub mod change;
mod discovery;
mod enrolment;
mod errands;
mod keeper;
pub mod letter;
pub mod report;

use conclave_cluster::pki::Authority;
use conclave_cluster::{ChangeError, ClusterId, Unavailable};

use super::{App, Done, Failure, Request};
use crate::auth::seal::Place;
use crate::domain::node::{self, NodeAuthority, NodeOrder};
use crate::domain::{AccountId, Action, Actor, Command, Read, Sealed};

pub use admission::Doorkeeper;
pub use discovery::{Found, NotDiscovered, Search, discover, forget};
pub use enrolment::{NotEnrolled, Ticket, enrol};
pub use errands::NodeErrands;

/// Where the private key of the nodes' authority is sealed.
pub(super) const AUTHORITY_KEY: Place<'_> = Place { account: "", record: "nodes", purpose: "authority key" };

impl App {
    /// Orders something about nodes, in the name of the cluster.
    pub(super) async fn order_nodes(&self, order: NodeOrder, request: &Request) -> Result<Done, Failure> {
        let command = Command {
            account: AccountId::CLUSTER,
            by: Actor::System,
            origin: request.origin.clone(),
            expect: Vec::new(),
            action: Action::OrderNodes(order),
        };
        self.execute(&command, request).await
    }

    /// The authority that issues the nodes' certificates: from the rows, or from the disk of the founder, which has it
    /// until it is in the rows.
    fn authority_in(&self, rows: &dyn Read) -> Result<Authority, Failure> {
        let unusable = |_| Failure::Internal("the nodes' authority is damaged");
        let cluster = self.cluster.identity().cluster;
        if let Some(stored) = node::authority(rows)? {
            let NodeAuthority { certificate, key } = stored.value;
            let opened = self.keyring.sealer().open(&AUTHORITY_KEY, key.as_bytes());
            let opened = opened.map_err(|_| Failure::Internal("the nodes' authority does not open"))?;
            let key = std::str::from_utf8(opened.expose());
            let key = key.map_err(|_| Failure::Internal("the nodes' authority is damaged"))?;
            return Authority::from_pem(cluster, &certificate, key).map_err(unusable);
        }
        let own = self
            .cluster
            .authority()
            .map_err(|_| Failure::Internal("the authority on the disk is damaged"))?;
        own.ok_or(Failure::NotReady)
    }

    /// As [`App::authority_in`], of rows that hold all that this node has seen: the authority moves from the disk into
    /// the rows while the node serves, and a view from before would show it in neither place.
    pub(super) fn node_authority(&self) -> Result<Authority, Failure> {
        match self.authority_in(&self.cluster.view()) {
            Err(Failure::NotReady) => self.authority_in(&self.cluster.view()),
            found => found,
        }
    }

    /// Puts the authority into the rows where this node still has it on its disk, and removes it there.
    async fn install_authority(&self, request: &Request) -> Result<(), Failure> {
        let view = self.view(crate::replica::Freshness::Linearizable, request.deadline).await?;
        let damaged = |_| Failure::Internal("the authority on the disk is damaged");
        let Some(own) = self.cluster.authority().map_err(damaged)? else { return Ok(()) };
        if node::authority(&view)?.is_none() {
            let sealed = self.keyring.sealer().seal(&AUTHORITY_KEY, own.key_pem().as_bytes());
            let key = Sealed::new(sealed.map_err(|_| Failure::Internal("no randomness"))?);
            let new = NodeAuthority { certificate: own.certificate_pem().to_owned(), key };
            self.order_nodes(NodeOrder::InstallAuthority(new), request).await?;
        }
        // It is in the rows, on a majority of the disks, and opens: else the copy here is the only one.
        let view = self.view(crate::replica::Freshness::Linearizable, request.deadline).await?;
        if self.authority_in(&view)?.fingerprint() == own.fingerprint() && node::authority(&view)?.is_some() {
            let forgotten = self.cluster.forget_authority_key();
            forgotten.map_err(|_| Failure::Internal("the authority's key is still on the disk"))?;
            tracing::info!(
                "the authority's key is in the rows now, sealed, and no longer in the data folder"
            );
        }
        Ok(())
    }

    /// The cluster's id, as the authority's certificates name it.
    fn cluster_id(&self) -> ClusterId {
        self.cluster.identity().cluster
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            ChangeError::Refused(reason) => Self::Endangers(reason),
        }
    }
}

/// What to tell an operator, who is told more than clients are.
fn said(failure: &Failure) -> String {
    if let Failure::Unavailable(Unavailable::NoLeader | Unavailable::NotLeader { .. }) = failure {
        return "no leader at the moment".to_owned();
    }
    failure.to_string()
}

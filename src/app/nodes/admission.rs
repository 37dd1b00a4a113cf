//! Letting a new node in: by a join token, or because it holds the authority's key.
//!
//! # Why nothing is lost when it goes wrong
//! A node is known by its key, which it makes once and keeps. So whoever comes again, because an answer was lost or an
//! address was wrong, gets the same id and the token is not used twice. That it is let in gives it an id and a
//! certificate, and no place: the leader dials it back at the address it gives before it becomes a learner, and it
//! votes when it has caught up. No mistake up to there can touch the quorum.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::enrol::EnrolHandler;
use conclave_cluster::pki;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::letter::{self, Admitted, JoinProof, JoinRequest, KeyFileText, Knock, Reply};
use super::{App, Failure, Request, said};
use crate::auth::join_token;
use crate::domain::level::RELEASE;
use crate::domain::node::{self, Admission, JoinTokenId, NodeNumber, NodeOrder, Part};
use crate::domain::{Origin, Rejection};
use crate::replica::Freshness;

/// Answers who knocks, with an [`App`] that somebody else holds.
pub struct Doorkeeper(pub Weak<App>);

impl EnrolHandler for Doorkeeper {
    fn enrol(&self, is_candidate: bool, request: Bytes) -> BoxFuture<'static, Bytes> {
        let app = self.0.upgrade();
        Box::pin(async move {
            let reply = match (app, letter::decode::<Knock>(&request)) {
                (Some(app), Some(knock)) => app.answer_knock(is_candidate, knock).await,
                (None, _) => Reply::NotNow { reason: "the node is starting or stopping".to_owned() },
                (_, None) => {
                    refused("unknown_release", "this node runs another release and cannot read that")
                }
            };
            letter::encode(&reply).into()
        })
    }
}

impl App {
    async fn answer_knock(self: Arc<Self>, is_candidate: bool, knock: Knock) -> Reply {
        match knock {
            Knock::Look { .. } | Knock::Yield { .. } => {
                Reply::Member { cluster: self.cluster_id().0, peers: self.peer_addresses() }
            }
            Knock::Join(join) => {
                let request = Request::once(Instant::now() + PATIENCE, Origin::default());
                match self.let_in(is_candidate, *join, &request).await {
                    Ok(admitted) => Reply::Admitted(Box::new(admitted)),
                    Err(NotLetIn::Refused { code, reason }) => refused(code, &reason),
                    Err(NotLetIn::Failed(Failure::Rejected(rejection))) => {
                        refused(rejection.code(), &advice(&rejection))
                    }
                    Err(NotLetIn::Failed(Failure::Endangers(reason))) => refused("refused", &reason),
                    Err(NotLetIn::Failed(failure)) => Reply::NotNow { reason: said(&failure) },
                }
            }
        }
    }

    async fn let_in(
        &self,
        is_candidate: bool,
        join: JoinRequest,
        request: &Request,
    ) -> Result<Admitted, NotLetIn> {
        // What the newcomer can mend is looked at before its token is used.
        self.check_clock(join.now_ms)?;
        self.check_level(&join)?;
        let key_file = self.key_file_for(&join.keys)?;
        let print = pki::request_fingerprint(&join.certificate_request).map_err(|error| {
            NotLetIn::refused("bad_certificate_request", format!("the certificate request: {error}"))
        })?;
        let by = match &join.proof {
            JoinProof::Token { id, secret } => {
                Admission::Token { token: JoinTokenId(*id), secret: join_token::hash_of(secret) }
            }
            JoinProof::Authority { learner } if is_candidate => {
                Admission::Authority { part: if *learner { Part::Learner } else { Part::Voter } }
            }
            JoinProof::Authority { .. } => {
                return Err(NotLetIn::refused(
                    "not_candidate",
                    "a node that brings no token must show the authority's certificate".to_owned(),
                ));
            }
        };
        self.register_members(request).await?;
        let done = self.order_nodes(NodeOrder::Admit { by, key: print }, request).await?;
        let (number, row) =
            node::find_by_key(&done.view, &print)?.ok_or(Failure::Internal("an admitted node has no row"))?;
        let signed = self.sign_certificate(number, &join.certificate_request, &request.step(1)).await?;
        tracing::info!(node = number.0, version = join.version, "let a node in");
        Ok(Admitted {
            cluster: self.cluster_id().0,
            node: number.0,
            certificate: signed.certificate,
            authority: signed.authority,
            peers: self.peer_addresses(),
            key_file,
            is_learner: row.part == Part::Learner,
        })
    }

    /// Writes down whoever is a member and not written down yet, as a founder right after its start: the next id is
    /// counted from those that are.
    async fn register_members(&self, request: &Request) -> Result<(), Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        for (step, member) in (100..).zip(&self.cluster.status().members) {
            let node = NodeNumber(member.node.0);
            if node::find(&view, node)?.is_none() {
                self.order_nodes(NodeOrder::Register { node, part: Part::Voter }, &request.step(step))
                    .await?;
            }
        }
        Ok(())
    }

    /// A program that does not know the cluster's level could not read its rows.
    fn check_level(&self, join: &JoinRequest) -> Result<(), NotLetIn> {
        let now = self.level().map_err(NotLetIn::Failed)?;
        if join.level >= now {
            return Ok(());
        }
        let JoinRequest { version, level, .. } = join;
        let reason = format!(
            "the new node runs release {version} (level {level}), and this cluster is at level {now}: install \
             {RELEASE} there and try again. The token is still good"
        );
        Err(NotLetIn::refused("older_release", reason))
    }

    fn check_clock(&self, theirs_ms: u64) -> Result<(), NotLetIn> {
        let ours = self.clock.now().0;
        let apart = Duration::from_millis(ours.abs_diff(theirs_ms));
        if apart <= MOST_SKEW {
            return Ok(());
        }
        let (apart, which) = (apart.as_secs(), if theirs_ms < ours { "behind" } else { "ahead of" });
        let reason = format!(
            "the clock of the new node is {apart} s {which} that of the node it asked; set it (NTP) and try again. \
             Nothing was changed, the token is still good"
        );
        Err(NotLetIn::refused("clock_skew", reason))
    }

    /// The cluster's key file for a node that has no key; nothing for one that has the right one.
    fn key_file_for(&self, theirs: &[String]) -> Result<Option<KeyFileText>, NotLetIn> {
        let sealer = self.keyring.sealer();
        let mut ours = sealer.key_ids().map(|id| id.to_string());
        let Some(current) = ours.next() else { return Ok(None) };
        if theirs.contains(&current) {
            return Ok(None);
        }
        if !theirs.is_empty() {
            let reason = format!(
                "the new node has a key-encryption key of its own, and this cluster's is {current}: give it the \
                 cluster's key file, or none, and it is given to it"
            );
            return Err(NotLetIn::refused("foreign_key_file", reason));
        }
        match self.keyring.file_text() {
            Some(text) => Ok(Some(KeyFileText(text))),
            None => Err(NotLetIn::refused(
                "no_key",
                "the members have their key-encryption key from the setting encryption_key: give the new node the \
                 same"
                    .to_owned(),
            )),
        }
    }

    fn peer_addresses(&self) -> Vec<String> {
        self.cluster.status().members.into_iter().map(|member| member.member.peer_addr).collect()
    }
}

/// Why a node is not let in.
enum NotLetIn {
    Refused { code: &'static str, reason: String },
    Failed(Failure),
}

impl NotLetIn {
    const fn refused(code: &'static str, reason: String) -> Self {
        Self::Refused { code, reason }
    }
}

impl From<Failure> for NotLetIn {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Rejection> for NotLetIn {
    fn from(rejection: Rejection) -> Self {
        Self::Failed(rejection.into())
    }
}

fn refused(code: &str, reason: &str) -> Reply {
    Reply::Refused { code: code.to_owned(), reason: reason.to_owned() }
}

fn advice(rejection: &Rejection) -> String {
    if matches!(rejection, Rejection::JoinToken(_)) {
        return format!("{rejection}; make another one with `conclave token create`");
    }
    rejection.to_string()
}

/// Less than what certificates and tokens are wrong by.
const MOST_SKEW: Duration = Duration::from_mins(1);
/// Below the patience of the connection.
const PATIENCE: Duration = Duration::from_secs(8);

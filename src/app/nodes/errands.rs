//! What a node does for another, and how it asks another.

use std::sync::{Arc, Weak};

use conclave_cluster::{NodeId, Unavailable};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::letter::{self, Answer, Errand};
use super::{App, Failure, Request, said};
use crate::domain::Origin;
use crate::domain::node::NodeNumber;
use crate::tenants::orders::Errands;

/// Does errands with an [`App`] that somebody else holds.
pub struct NodeErrands(pub Weak<App>);

impl Errands for NodeErrands {
    fn run(&self, from: NodeId, request: Vec<u8>, deadline: Instant) -> BoxFuture<'static, Vec<u8>> {
        let app = self.0.upgrade();
        Box::pin(async move {
            let answer = match (app, letter::decode::<Errand>(&request)) {
                (Some(app), Some(errand)) => app.do_errand(from, errand, deadline).await,
                (None, _) => Answer::NotNow { reason: "the node is starting or stopping".to_owned() },
                (_, None) => Answer::Refused {
                    reason: "the node runs another release and does not know how".to_owned(),
                },
            };
            letter::encode(&answer)
        })
    }
}

impl App {
    /// Asks another node, this one, or the leader.
    pub(in crate::app) async fn run_errand(
        &self,
        node: Option<NodeId>,
        errand: &Errand,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let answer = self.orders.errand(node, letter::encode(errand), deadline).await?;
        letter::decode(&answer).ok_or(Failure::Internal("a node answered what cannot be read"))
    }

    async fn do_errand(self: Arc<Self>, from: NodeId, errand: Errand, deadline: Instant) -> Answer {
        let request = Request::once(deadline, Origin::default());
        let done = match errand {
            Errand::Change(change) => self.carry_out(change, &request).await.map(Answer::Changed),
            Errand::Sign { certificate_request } => {
                let signed = self.sign_certificate(NodeNumber(from.0), &certificate_request, &request).await;
                signed.map(|signed| Answer::Signed {
                    certificate: signed.certificate,
                    authority: signed.authority,
                    serial: signed.serial,
                })
            }
            Errand::Members => Ok(Answer::Members(self.members_seen_here())),
            Errand::Rotate => self
                .rotate_certificate(deadline)
                .await
                .map(|facts| Answer::Rotated { serial: facts.serial, expires_ms: facts.not_after.0 }),
            Errand::Report => Ok(Answer::Report(Box::new(self.report().await))),
            Errand::Describe => Ok(Self::described()),
            Errand::Promise { level } => self.promise(level).await,
        };
        done.unwrap_or_else(|failure| answer_of(&failure))
    }
}

/// What the asking node is told.
fn answer_of(failure: &Failure) -> Answer {
    if let Failure::Endangers(_) | Failure::Rejected(_) = failure {
        return Answer::Refused { reason: failure.to_string() };
    }
    Answer::NotNow { reason: said(failure) }
}

/// What an answer means that is not the one hoped for.
pub(super) fn refusal(answer: Answer) -> Failure {
    match answer {
        Answer::Refused { reason } => Failure::Endangers(reason),
        Answer::NotNow { reason } => {
            tracing::info!(reason, "another node could not do what it was asked");
            Failure::Unavailable(Unavailable::NoLeader)
        }
        Answer::Changed(_)
        | Answer::Signed { .. }
        | Answer::Members(_)
        | Answer::Rotated { .. }
        | Answer::Report(_)
        | Answer::Described { .. }
        | Answer::Promised { .. } => Failure::Internal("a node answered something else"),
    }
}

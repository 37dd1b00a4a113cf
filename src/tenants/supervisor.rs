//! Sees actors crash, and puts fresh ones into their seats.

use std::sync::{Arc, Weak};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::Shared;
use super::seats::Seats;

pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) seats: Weak<Seats>,
}

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                tracing::error!(%error, "the actor of an account crashed; a fresh one takes its seat");
                if let Some(seats) = self.seats.upgrade() {
                    seats.replace(&self.shared, &myself, actor.get_id());
                }
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

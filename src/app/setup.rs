//! The setup link: how the first administrator of a new cluster comes in, without a default password.
//!
//! An operator has a link made, which is good for half an hour; whoever opens it chooses name and password. The first
//! administrator is made once and never again, so the link works once, whichever nodes are asked.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::accounts::Person;
use super::{App, Done, Failure, Request};
use crate::auth::token::SecretHash;
use crate::domain::{
    AccountId, Action, Actor, Command, Expectation, Lifetime, Origin, Rejection, Resource, Stored, UserId,
    cluster,
};
use crate::replica::Freshness;
use crate::secret::Secret;

/// How long a link is good.
pub const SETUP_LIFETIME: Lifetime = Lifetime::from_secs(30 * 60);

impl App {
    /// Makes a new link; one made before is void.
    ///
    /// # Errors
    /// [`Failure::Endangers`] when there has been an administrator; why it cannot be done now.
    pub async fn offer_setup(&self, request: &Request) -> Result<Secret<String>, Failure> {
        if !self.wants_first_admin(request).await? {
            return Err(Failure::Endangers(
                "this cluster has been set up: make further administrators with `conclave admin create`"
                    .to_owned(),
            ));
        }
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::Internal("no randomness"))?;
        let secret = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        let command = Command {
            account: AccountId::CLUSTER,
            by: Actor::System,
            origin: request.origin.clone(),
            expect: Vec::new(),
            action: Action::OfferSetup { secret: SecretHash::of(secret.expose()), good_for: SETUP_LIFETIME },
        };
        self.execute(&command, request).await?;
        Ok(secret)
    }

    /// The link of a cluster that has just been founded: nothing where it has been set up, or somebody has one.
    ///
    /// # Errors
    /// While the cluster cannot be read or written.
    pub async fn first_setup(&self, patience: Duration) -> Result<Option<Secret<String>>, Failure> {
        let request = Request::once(Instant::now() + patience, Origin::default());
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        if cluster::setup_offer(&view)?.is_some() || !self.wants_first_admin(&request).await? {
            return Ok(None);
        }
        self.offer_setup(&request).await.map(Some)
    }

    /// Makes the first administrator for whoever has the link.
    ///
    /// # Errors
    /// [`Rejection::BadCredentials`] when the link is not good, or no longer; the rule that refused it.
    pub async fn set_up(
        &self,
        secret: &Secret<String>,
        person: Person,
        request: &Request,
    ) -> Result<(UserId, Done), Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let offer = cluster::setup_offer(&view)?;
        let good = offer.filter(|offer| {
            offer.value.secret.is(&SecretHash::of(secret.expose()))
                && self.now(&view) < offer.value.expires_at
        });
        let Some(Stored { revision, .. }) = good else { return Err(Rejection::BadCredentials.into()) };
        // While the password is hashed an operator may make this link void.
        let still = Expectation { resource: Resource::SetupOffer, revision };
        match self.create_first_admin(person, vec![still], request).await {
            Ok(Some(made)) => Ok(made),
            // Whoever was first has made it.
            Ok(None) | Err(Failure::Rejected(Rejection::PreconditionFailed { .. })) => {
                Err(Rejection::BadCredentials.into())
            }
            Err(failure) => Err(failure),
        }
    }
}

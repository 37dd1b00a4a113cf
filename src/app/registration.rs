//! People who let themselves in, where an account is open to them.

use super::accounts::Person;
use super::{App, Done, Failure, Request};
use crate::domain::settings::{self, Registration};
use crate::domain::{AccountId, Action, Actor, Command, Noun, Rejection, UserId};
use crate::replica::Freshness;
use crate::tenants::Gate;

impl App {
    /// Makes a user who asks by themselves, with the roles that the account gives to such people.
    ///
    /// # Errors
    /// [`Rejection::RegistrationClosed`] where the account or this node lets nobody in. So for an account that
    /// does not exist: the answer does not tell which there are. [`Failure::Limited`] beyond
    /// `rate_limit_register`.
    pub async fn register(
        &self,
        account: AccountId,
        person: Person,
        request: &Request,
    ) -> Result<(UserId, Done), Failure> {
        if !self.settings().doors.registration {
            return Err(Rejection::RegistrationClosed.into());
        }
        self.admit(Gate::Register, None, request).await?;
        // Looked at before there is any work; the last word is that of the log.
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        if settings::of(&view, account)?.registration == Registration::Closed {
            return Err(Rejection::RegistrationClosed.into());
        }
        let id = UserId::new(self.mint(request)?.uuid()?);
        let new = self.new_user(account, id, person, Vec::new(), request).await?;
        let command = Command {
            account,
            by: Actor::Anonymous,
            origin: request.origin.clone(),
            expect: Vec::new(),
            action: Action::Register(new),
        };
        match self.execute(&command, request).await {
            Ok(done) => Ok((id, done)),
            Err(Failure::Rejected(Rejection::NotFound(Noun::Account))) => {
                Err(Rejection::RegistrationClosed.into())
            }
            Err(other) => Err(other),
        }
    }
}

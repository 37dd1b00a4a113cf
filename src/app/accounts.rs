//! Opening accounts, and what concerns a whole one.

use super::passwords::WantedPassword;
use super::{App, Caller, Done, Failure, Request};
use crate::domain::account::NewAccount;
use crate::domain::user::NewUser;
use crate::domain::{
    AccountId, Action, Actor, Command, Email, Expectation, Label, Lifetime, Rejection, UserId, UserName,
};
use crate::tenants::Gate;

/// What somebody says to be let in.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: Option<UserName>,
    pub email: Option<Email>,
    pub first_name: Option<Label>,
    pub last_name: Option<Label>,
    pub password: WantedPassword,
}

/// An account number is drawn so often until a free one is found; with a billion accounts the chance that
/// all are taken is below one in ten to the eleventh.
const DRAWS: u32 = 5;

impl App {
    /// Opens an account with its root user.
    ///
    /// # Errors
    /// [`Rejection::EmailTaken`] when another root user has the e-mail address; [`Failure::WeakPassword`];
    /// [`Failure::SwitchedOff`] and [`Failure::Limited`] as the settings say.
    pub async fn sign_up(
        &self,
        person: Person,
        request: &Request,
    ) -> Result<(AccountId, UserId, Done), Failure> {
        if !self.settings().doors.sign_up {
            return Err(Failure::SwitchedOff { setting: "sign_up" });
        }
        self.admit(Gate::Register, None, request).await?;
        let mut mint = self.mint(request)?;
        let id = UserId::new(mint.uuid()?);
        // An account that is not there yet has no policy of its own.
        let policy = person.password.of_surface;
        let password = self.judged(&policy, &person.password.password, &person.names(), None).await?;
        for step in 0..DRAWS {
            let account = AccountId::parse(&mint.account_id()?)?;
            let kid = mint.uuid()?.simple().to_string();
            let root = NewUser {
                id,
                name: person.name.clone(),
                email: person.email.clone(),
                first_name: person.first_name.clone(),
                last_name: person.last_name.clone(),
                password: password.clone(),
                roles: Vec::new(),
            };
            let action = Action::CreateAccount(NewAccount { root, key: self.new_key(account, kid)? });
            let by = Actor::Anonymous;
            let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
            match self.execute(&command, &request.step(step)).await {
                Ok(done) => return Ok((account, id, done)),
                Err(Failure::Rejected(Rejection::AccountIdTaken)) => {}
                Err(other) => return Err(other),
            }
        }
        Err(Failure::Internal("no free account number was drawn"))
    }

    /// Signs with a new key from now on. The old one is kept as long as a token that it signed can live: no
    /// setting and no client makes one longer than a day.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn rotate_signing_key(
        &self,
        caller: &Caller,
        expect: Vec<Expectation>,
        request: &Request,
    ) -> Result<Done, Failure> {
        let kid = self.mint(request)?.uuid()?.simple().to_string();
        let key = self.new_key(caller.account(), kid)?;
        let retire_after = Lifetime::from_secs(86_400 + 60);
        let action = Action::RotateSigningKey { key, retire_after };
        self.execute(&caller.orders(request, expect, action), request).await
    }
}

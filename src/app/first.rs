//! What a cluster starts with: the default account, its roles, and its first administrator.

use super::accounts::Person;
use super::{App, Done, Failure, Request};
use crate::domain::account::{self, DefaultAccount, Owner};
use crate::domain::policy::PasswordPolicy;
use crate::domain::role::NewRole;
use crate::domain::{
    AccountId, Action, Actor, Command, Expectation, Origin, Permission, Rejection, Reply, RoleName, UserId,
};
use crate::replica::Freshness;
use tokio::time::{Duration, Instant};

/// The role of administrators in the default account.
pub const ADMIN: &str = "admin";
/// The role of those who register themselves there.
pub const REGISTERED: &str = "user";

/// The roles of the default account and what they hold (contract part 4.1). The `*` of the administrator is
/// what lets it give any role to others; it is no scope, so no token says it.
const ROLES: [(&str, &[&str]); 4] = [
    (ADMIN, &["*", "admin:users", "admin:clients", "admin:system", "read:profile", "write:profile"]),
    ("service", &["service:api"]),
    ("trader", &["read:trades", "write:trades"]),
    (REGISTERED, &["read:profile", "write:profile"]),
];

impl App {
    /// Opens the default account, unless it is there. Every node calls this when it starts.
    ///
    /// # Errors
    /// While the cluster cannot be read or written.
    pub async fn open_default_account(&self, request: &Request) -> Result<(), Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        if account::find(&view, AccountId::DEFAULT)?.is_some() {
            return Ok(());
        }
        let kid = self.mint(request)?.uuid()?.simple().to_string();
        let roles = ROLES.iter().map(|(name, held)| {
            let permissions = held.iter().map(|text| Permission::parse(text)).collect::<Result<_, _>>()?;
            Ok(NewRole { name: RoleName::parse(name)?, description: None, permissions })
        });
        let new = DefaultAccount {
            key: self.new_key(AccountId::DEFAULT, kid)?,
            roles: roles.collect::<Result<_, Rejection>>()?,
            registered: vec![RoleName::parse(REGISTERED)?],
        };
        self.execute(&by_system(Action::OpenDefaultAccount(new), request), request).await?;
        Ok(())
    }

    /// Whether the default account still waits for its first administrator.
    ///
    /// # Errors
    /// While the cluster cannot be read.
    pub async fn wants_first_admin(&self, request: &Request) -> Result<bool, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let found = account::find(&view, AccountId::DEFAULT)?;
        Ok(found.is_some_and(|row| row.value.owner == Owner::Cluster { has_had_admin: false }))
    }

    /// Makes the first administrator of the default account, if it is as expected; `None` where there has been one.
    /// Of several nodes that do so at once, the first in the log wins.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn create_first_admin(
        &self,
        person: Person,
        expect: Vec<Expectation>,
        request: &Request,
    ) -> Result<Option<(UserId, Done)>, Failure> {
        let new = self.new_admin(person, request).await?;
        let id = new.id;
        let command = Command { expect, ..by_system(Action::CreateFirstAdmin(new), request) };
        let done = self.execute(&command, request).await?;
        let is_first = done.reply == Reply::Changed(true);
        Ok(is_first.then_some((id, done)))
    }

    /// Makes the administrator that the settings name, if there has been none; says whether it did. Every node calls
    /// this when it starts.
    ///
    /// # Errors
    /// While the cluster cannot be read or written; and the rule that refused it, for good.
    pub async fn bootstrap_admin(&self, person: &Person, patience: Duration) -> Result<bool, Failure> {
        let request = Request::once(Instant::now() + patience, Origin::default());
        // Most starts are not the first, and need no hash.
        if !self.wants_first_admin(&request).await? {
            return Ok(false);
        }
        Ok(self.create_first_admin(person.clone(), Vec::new(), &request).await?.is_some())
    }

    /// Makes a further administrator, in the name of the operator of this machine.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn create_admin(&self, person: Person, request: &Request) -> Result<(UserId, Done), Failure> {
        if self.wants_first_admin(request).await?
            && let Some(made) = self.create_first_admin(person.clone(), Vec::new(), &request.step(1)).await?
        {
            return Ok(made);
        }
        let new = self.new_admin(person, request).await?;
        let id = new.id;
        Ok((id, self.execute(&by_system(Action::CreateUser(new), request), request).await?))
    }

    async fn new_admin(
        &self,
        mut person: Person,
        request: &Request,
    ) -> Result<crate::domain::user::NewUser, Failure> {
        // It comes by no surface, whoever asks.
        person.password.of_surface = PasswordPolicy::MODERN;
        let id = UserId::new(self.mint(request)?.uuid()?);
        self.new_user(AccountId::DEFAULT, id, person, vec![RoleName::parse(ADMIN)?], request).await
    }
}

fn by_system(action: Action, request: &Request) -> Command {
    let origin = request.origin.clone();
    Command { account: AccountId::DEFAULT, by: Actor::System, origin, expect: Vec::new(), action }
}

//! What concerns users and service accounts in several steps: hashing, minting, proving the old password.

use super::accounts::Person;
use super::admit::Tried;
use super::passwords::{WantedPassword, password_policy, stored_password};
use super::tokens::stored_hash;
use super::{App, Caller, Done, Failure, Request};
use crate::auth::hasher::Checked;
use crate::auth::mint::ApiKeyForm;
use crate::auth::password::Password;
use crate::domain::lockout::{RefusedSignIn, Why};
use crate::domain::service::{Client, NewApiKey, NewServiceAccount};
use crate::domain::user::{NewUser, UserChanges};
use crate::domain::{
    AccountId, Action, ApiKeyId, Expectation, Label, Lifetime, Principal, Rejection, Reply, RoleName,
    ServiceId, UserId, UserName,
};
use crate::secret::Secret;
use crate::tenants::Gate;

/// A key that is shown once.
#[derive(Debug)]
pub struct MintedKey {
    pub id: ApiKeyId,
    pub key: Secret<String>,
}

impl App {
    /// Creates a user in the caller's account.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn create_user(
        &self,
        caller: &Caller,
        person: Person,
        roles: Vec<RoleName>,
        request: &Request,
    ) -> Result<(UserId, Done), Failure> {
        let id = UserId::new(self.mint(request)?.uuid()?);
        let new = self.new_user(caller.account(), id, person, roles, request).await?;
        let done =
            self.execute(&caller.orders(request, Vec::new(), Action::CreateUser(new)), request).await?;
        Ok((id, done))
    }

    /// A user of an account with its password judged and hashed, ready for the command of that request.
    ///
    /// # Errors
    /// [`Failure::WeakPassword`].
    pub(crate) async fn new_user(
        &self,
        account: AccountId,
        id: UserId,
        person: Person,
        roles: Vec<RoleName>,
        request: &Request,
    ) -> Result<NewUser, Failure> {
        let view = self.rows_for(request).await?;
        let policy = password_policy(&view, account, person.password.of_surface)?;
        let password = self.judged(&policy, &person.password.password, &person.names(), None).await?;
        let Person { name, email, first_name, last_name, .. } = person;
        Ok(NewUser { id, name, email, first_name, last_name, password, roles })
    }

    /// Changes a user's names and, if given, the password: both or neither.
    ///
    /// # Errors
    /// The rule that refused it; [`Failure::WeakPassword`].
    pub async fn update_user(
        &self,
        caller: &Caller,
        user: UserId,
        changes: UserChanges,
        password: Option<WantedPassword>,
        expect: Vec<Expectation>,
        request: &Request,
    ) -> Result<Done, Failure> {
        let action = match password {
            None => Action::UpdateUser { user, changes },
            Some(password) => {
                let view = self.rows_for(request).await?;
                let set = self.setting(&view, caller, user, password, &changes, None).await?;
                Action::Transaction(vec![Action::UpdateUser { user, changes }, set])
            }
        };
        self.execute(&caller.orders(request, expect, action), request).await
    }

    /// Replaces a password. Whoever changes their own must know the current one; it must still be the same
    /// when the change is decided.
    ///
    /// # Errors
    /// [`Rejection::BadCredentials`] when the current password is wrong or missing; [`Failure::WeakPassword`].
    pub async fn change_password(
        &self,
        caller: &Caller,
        user: UserId,
        current: Option<Password>,
        new: WantedPassword,
        request: &Request,
    ) -> Result<Done, Failure> {
        let view = self.rows_for(request).await?;
        let none = UserChanges::default();
        if caller.principal() != Principal::User(user) {
            let action = self.setting(&view, caller, user, new, &none, None).await?;
            return self.execute(&caller.orders(request, Vec::new(), action), request).await;
        }
        let current = current.ok_or(Rejection::BadCredentials)?;
        let tried = Tried { account: Some(caller.account()), login: caller.name() };
        self.admit(Gate::SignIn, Some(tried), request).await?;
        let (stored, expect) = stored_password(&view, caller.account(), user)?;
        match self.hasher.verify(current.clone(), stored.value.hash.phc()).await? {
            Checked::Right { .. } => {
                let action = Action::ProvePassword { user, revision: stored.revision };
                let order = caller.orders(request, Vec::new(), action);
                proven(&self.execute(&order, &request.step(PROOF)).await?.reply)?;
            }
            Checked::Wrong => {
                let refused = RefusedSignIn::new(Some(user), caller.name(), Why::WrongPassword);
                return Err(self.refuse(&view, Some(caller.account()), refused, request).await);
            }
        }
        let proven = Some((&current, &stored.value));
        let action = self.setting(&view, caller, user, new, &none, proven).await?;
        self.execute(&caller.orders(request, vec![expect], action), request).await
    }

    /// Creates a service account with its first API key.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn create_service_account(
        &self,
        caller: &Caller,
        name: UserName,
        roles: Vec<RoleName>,
        form: ApiKeyForm,
        client: Option<Client>,
        request: &Request,
    ) -> Result<(ServiceId, MintedKey, Done), Failure> {
        let mut mint = self.mint(request)?;
        let id = ServiceId::new(mint.uuid()?);
        let minted = MintedKey { id: ApiKeyId::new(mint.uuid()?), key: mint.api_key(form)? };
        let key = self.new_api_key(&minted, None, None);
        let action = Action::CreateServiceAccount(NewServiceAccount { id, name, roles, key, client });
        let done = self.execute(&caller.orders(request, Vec::new(), action), request).await?;
        Ok((id, minted, done))
    }

    /// Adds an API key to a service account.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn add_api_key(
        &self,
        caller: &Caller,
        service: ServiceId,
        label: Option<Label>,
        lifetime: Option<Lifetime>,
        request: &Request,
    ) -> Result<(MintedKey, Done), Failure> {
        let mut mint = self.mint(request)?;
        let minted = MintedKey { id: ApiKeyId::new(mint.uuid()?), key: mint.api_key(ApiKeyForm::Prefixed)? };
        let key = self.new_api_key(&minted, label, lifetime);
        let action = Action::AddApiKey { service, key };
        let done = self.execute(&caller.orders(request, Vec::new(), action), request).await?;
        Ok((minted, done))
    }

    fn new_api_key(&self, minted: &MintedKey, label: Option<Label>, lifetime: Option<Lifetime>) -> NewApiKey {
        let longest = self.settings().api_key;
        let lifetime = lifetime.map_or(longest, |asked| asked.min(longest));
        NewApiKey { id: minted.id, hash: stored_hash(minted.key.expose()), label, lifetime }
    }
}

/// The step of a request that proves the current password.
const PROOF: u32 = 101;

/// What the log said to a right password.
fn proven(reply: &Reply) -> Result<(), Failure> {
    match reply {
        Reply::SignInLocked { until } => Err(Failure::Locked { until: *until }),
        Reply::SignInRefused { .. } => Err(Rejection::BadCredentials.into()),
        Reply::Done | Reply::Changed(_) | Reply::SessionOpened { .. } | Reply::ReuseEndedSession { .. } => {
            Ok(())
        }
    }
}

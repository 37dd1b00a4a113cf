//! OAuth clients (seed 004): service accounts that have a title, audiences, scopes of their own and a secret.
//!
//! # Why a role for each client
//! A scope is a permission, and permissions are held through roles. So a client's own scopes are the permissions of
//! a role of its own, [`scope_role`], which comes and goes with the client in one transaction. Nothing else has
//! to know of scopes, and taking one away counts at once.
//!
//! # Why two secrets
//! A secret cannot be changed everywhere at one moment. So rotating makes a new one and leaves the one before good,
//! until the next rotation or until it is asked to end at once. At most two are meant to be live; two rotations at
//! the same moment may leave a third, which the next one ends.

use std::collections::BTreeSet;

use super::tokens::stored_hash;
use super::users::MintedKey;
use super::{App, Caller, Done, Failure, Request};
use crate::auth::mint::{ApiKeyForm, Mint};
use crate::domain::role::{self, NewRole, RoleChanges};
use crate::domain::service::{self, Client, NewApiKey, NewServiceAccount, ServiceAccount};
use crate::domain::{
    AccountId, Action, ApiKeyId, Expectation, Label, Lifetime, Noun, Permission, Principal, Read, Rejection,
    Resource, RoleName, ServiceId, Stored, UserName, membership,
};
use crate::replica::Freshness;

/// What a new client is.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// The name that it gives with its secret, `client_id`. At most [`MAX_NAME`] characters that a role name
    /// has too.
    pub name: UserName,
    pub client: Client,
    pub scopes: BTreeSet<Permission>,
    /// Roles beside its own.
    pub roles: Vec<RoleName>,
    pub enabled: bool,
}

/// What to change; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ClientChanges {
    pub title: Option<Label>,
    pub audiences: Option<Vec<Label>>,
    pub token_lifetime: Option<TokenLifetime>,
    pub scopes: Option<BTreeSet<Permission>>,
    pub roles: Option<Vec<RoleName>>,
    pub enabled: Option<bool>,
}

/// How long a client's tokens are to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLifetime {
    /// As long as those of any client.
    Usual,
    Own(Lifetime),
}

/// The longest name of a client: with its prefix it is the name of a role.
pub const MAX_NAME: usize = 64 - PREFIX.len();

const PREFIX: &str = "client:";
/// A hundred years: a client's secret does not expire, and every reader of times can show when.
const NEVER: Lifetime = Lifetime::from_secs(100 * 365 * 86_400);
/// A change that was overtaken by another is worked out again so often.
const ATTEMPTS: u32 = 3;

/// The role that holds a client's own scopes.
///
/// # Errors
/// [`Rejection::Invalid`] for a name that no client has.
pub fn scope_role(name: &UserName) -> Result<RoleName, Rejection> {
    RoleName::parse(&format!("{PREFIX}{name}"))
}

/// The scopes that are a client's own, and its other roles.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode.
pub fn grants_of(
    rows: &dyn Read,
    account: AccountId,
    client: &ServiceAccount,
) -> Result<(BTreeSet<Permission>, Vec<RoleName>), Rejection> {
    let own = scope_role(&client.name).ok();
    let scopes = match &own {
        Some(name) => role::find(rows, account, name)?.map(|row| row.value.permissions),
        None => None,
    };
    let mut roles = membership::roles_of(rows, account, &Principal::Service(client.id))?;
    roles.retain(|role| Some(role) != own.as_ref());
    Ok((scopes.unwrap_or_default(), roles))
}

impl App {
    /// Makes a client with its secret.
    ///
    /// # Errors
    /// [`Rejection::NameTaken`] or [`Rejection::RoleExists`] where there is one of that name.
    pub async fn create_client(
        &self,
        caller: &Caller,
        new: NewClient,
        request: &Request,
    ) -> Result<(ServiceId, MintedKey, Done), Failure> {
        let mut mint = self.mint(request)?;
        let id = ServiceId::new(mint.uuid()?);
        let (minted, key) = new_secret(&mut mint)?;
        let own = scope_role(&new.name)?;
        let mut roles = new.roles;
        roles.push(own.clone());
        let role = NewRole { name: own, description: None, permissions: new.scopes };
        let client = Some(new.client);
        let account = NewServiceAccount { id, name: new.name, roles, key, client };
        let mut actions = vec![Action::CreateRole(role), Action::CreateServiceAccount(account)];
        if !new.enabled {
            actions.push(Action::SetServiceStatus { service: id, active: false });
        }
        let order = caller.orders(request, Vec::new(), Action::Transaction(actions));
        let done = self.execute(&order, request).await?;
        Ok((id, minted, done))
    }

    /// Changes a client: all that is said, or nothing. `seen` is the revision that the caller saw, if it
    /// minds; a change that others overtook is worked out again otherwise.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn change_client(
        &self,
        caller: &Caller,
        id: ServiceId,
        changes: &ClientChanges,
        seen: Option<u64>,
        request: &Request,
    ) -> Result<Done, Failure> {
        let mut attempt = 0;
        loop {
            let view = self.view(Freshness::Linearizable, request.deadline).await?;
            let (stored, client) = find(&view, caller.account(), id)?;
            let revision = seen.unwrap_or(stored.revision);
            let mut expect = vec![Expectation { resource: Resource::ServiceAccount(id), revision }];
            let action = Action::SetClient { service: id, client: changes.client(&client) };
            let mut actions = changes.actions(&view, caller.account(), &stored.value, &mut expect)?;
            actions.push(action);
            let order = caller.orders(request, expect, Action::Transaction(actions));
            attempt += 1;
            match self.execute(&order, &request.step(attempt)).await {
                Err(Failure::Rejected(Rejection::PreconditionFailed { .. }))
                    if seen.is_none() && attempt < ATTEMPTS => {}
                other => return other,
            }
        }
    }

    /// Deletes a client, its secrets, its tokens and the role of its scopes.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn delete_client(
        &self,
        caller: &Caller,
        id: ServiceId,
        expect: Vec<Expectation>,
        request: &Request,
    ) -> Result<Done, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let first = self.rows_found_first(&view, request);
        let rows = first.as_ref().unwrap_or(&view);
        let (stored, _) = find(rows, caller.account(), id)?;
        let own = scope_role(&stored.value.name)?;
        let mut actions = vec![Action::DeleteServiceAccount { service: id }];
        if role::find(rows, caller.account(), &own)?.is_some() {
            actions.push(Action::DeleteRole { role: own });
        }
        self.execute(&caller.orders(request, expect, Action::Transaction(actions)), request).await
    }

    /// Gives a client a new secret. The latest one before stays good, unless `at_once`; older ones end. Where one
    /// ends, so do the client's tokens: one of them may have been got with it.
    ///
    /// # Errors
    /// The rule that refused it.
    pub async fn rotate_secret(
        &self,
        caller: &Caller,
        id: ServiceId,
        at_once: bool,
        request: &Request,
    ) -> Result<(MintedKey, Done), Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        find(&view, caller.account(), id)?;
        let now = self.now(&view);
        let mut live: Vec<_> = service::list_keys(&view, caller.account(), id)?
            .into_iter()
            .map(|row| row.value)
            .filter(|key| key.is_good(now))
            .collect();
        live.sort_by_key(|key| std::cmp::Reverse(key.created_at));
        let ended = live.iter().skip(usize::from(!at_once));
        let mut actions: Vec<_> =
            ended.map(|key| Action::RevokeApiKey { service: id, key: key.id }).collect();
        let (minted, key) = new_secret(&mut self.mint(request)?)?;
        actions.push(Action::AddApiKey { service: id, key });
        let order = caller.orders(request, Vec::new(), Action::Transaction(actions));
        Ok((minted, self.execute(&order, request).await?))
    }
}

impl ClientChanges {
    /// What has to be done to a client as `rows` have it, and what of them must still be so then.
    fn actions(
        &self,
        rows: &dyn Read,
        account: AccountId,
        before: &ServiceAccount,
        expect: &mut Vec<Expectation>,
    ) -> Result<Vec<Action>, Rejection> {
        let id = before.id;
        let own = scope_role(&before.name)?;
        let mut actions = Vec::new();
        let role = role::find(rows, account, &own)?;
        // Somebody may have deleted it where roles are kept.
        let has_own = role.is_some() || self.scopes.is_some();
        if let Some(wanted) = &self.scopes {
            let revision = role.as_ref().map_or(0, |row| row.revision);
            expect.push(Expectation { resource: Resource::Role(own.clone()), revision });
            actions.push(match role {
                Some(Stored { value: role, .. }) => {
                    let add = wanted.difference(&role.permissions).cloned().collect();
                    let remove = role.permissions.difference(wanted).cloned().collect();
                    let changes = RoleChanges { description: None, add, remove };
                    Action::UpdateRole { role: own.clone(), changes }
                }
                None => Action::CreateRole(NewRole {
                    name: own.clone(),
                    description: None,
                    permissions: wanted.clone(),
                }),
            });
        }
        if self.scopes.is_some() || self.roles.is_some() {
            let mut roles = match &self.roles {
                Some(roles) => roles.clone(),
                None => grants_of(rows, account, before)?.1,
            };
            roles.extend(has_own.then_some(own));
            actions.push(Action::SetRoles { principal: Principal::Service(id), roles });
        }
        if let Some(active) = self.enabled {
            actions.push(Action::SetServiceStatus { service: id, active });
        }
        Ok(actions)
    }

    fn client(&self, before: &Client) -> Client {
        Client {
            title: self.title.clone().unwrap_or_else(|| before.title.clone()),
            audiences: self.audiences.clone().unwrap_or_else(|| before.audiences.clone()),
            token_lifetime: match self.token_lifetime {
                None => before.token_lifetime,
                Some(TokenLifetime::Usual) => None,
                Some(TokenLifetime::Own(lifetime)) => Some(lifetime),
            },
        }
    }
}

/// The client with that id, and what it is as one. Other service accounts are none.
///
/// # Errors
/// [`Rejection::NotFound`] where there is none.
pub fn find(
    rows: &dyn Read,
    account: AccountId,
    id: ServiceId,
) -> Result<(Stored<ServiceAccount>, Client), Rejection> {
    let found = service::find(rows, account, id)?;
    let client = found.and_then(|row| row.value.client.clone().map(|client| (row, client)));
    client.ok_or(Rejection::NotFound(Noun::ServiceAccount))
}

fn new_secret(mint: &mut Mint) -> Result<(MintedKey, NewApiKey), Failure> {
    let minted = MintedKey { id: ApiKeyId::new(mint.uuid()?), key: mint.api_key(ApiKeyForm::Prefixed)? };
    let hash = stored_hash(minted.key.expose());
    let key = NewApiKey { id: minted.id, hash, label: None, lifetime: NEVER };
    Ok((minted, key))
}

//! Service accounts: programs that sign in with an API key.

use serde::{Deserialize, Serialize};

use super::rows::tables;
use super::{
    AccountId, ApiKeyId, Context, Label, Lifetime, Noun, Principal, Read, Rejection, Reply, RoleName,
    SecretHash, ServiceId, Stored, Timestamp, UserName, membership, session,
};

/// A program that acts in an account. It shares no names with users (contract part 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    pub id: ServiceId,
    pub name: UserName,
    pub is_active: bool,
    /// See [`super::principal::Standing::epoch`].
    pub epoch: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// What it is to others as an OAuth client, if it is one (seed 004).
    pub client: Option<Client>,
}

/// A service account as an OAuth client. Its scopes are the permissions of its roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// What people call it.
    pub title: Label,
    /// Whom its tokens may be for; at most [`Client::MAX_AUDIENCES`].
    pub audiences: Vec<Label>,
    /// How long its tokens are good, where that is not left to the nodes.
    pub token_lifetime: Option<Lifetime>,
}

impl Client {
    /// The most audiences of one client.
    pub const MAX_AUDIENCES: usize = 50;
    const LIFETIMES: std::ops::RangeInclusive<u64> = 60_000..=86_400_000;

    fn check(&self) -> Result<(), Rejection> {
        if self.audiences.len() > Self::MAX_AUDIENCES {
            return Err(Rejection::LimitReached {
                what: "audiences".to_owned(),
                limit: Self::MAX_AUDIENCES as u64,
            });
        }
        match self.token_lifetime {
            Some(Lifetime(ms)) if !Self::LIFETIMES.contains(&ms) => {
                Err(Rejection::invalid("token_lifetime", "a client's tokens are good for a minute to a day"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// An API key; the key itself is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub hash: SecretHash,
    pub label: Option<Label>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// What a new service account needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewServiceAccount {
    pub id: ServiceId,
    pub name: UserName,
    pub roles: Vec<RoleName>,
    pub key: NewApiKey,
    pub client: Option<Client>,
}

/// What a new API key needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApiKey {
    pub id: ApiKeyId,
    pub hash: SecretHash,
    pub label: Option<Label>,
    pub lifetime: Lifetime,
}

/// The most API keys a service account may have that are neither revoked nor expired.
pub const MAX_LIVE_KEYS: usize = 25;

impl ApiKey {
    /// Whether the key opens a session at `now`.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// The service account with that id.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode; so for the others here.
pub fn find(
    rows: &dyn Read,
    account: AccountId,
    id: ServiceId,
) -> Result<Option<Stored<ServiceAccount>>, Rejection> {
    tables::SERVICE.get(rows, account, id.uuid().as_bytes())
}

/// The service account with that name.
///
/// # Errors
/// As [`find`].
pub fn find_by_name(rows: &dyn Read, account: AccountId, name: &str) -> Result<Option<ServiceId>, Rejection> {
    Ok(tables::SERVICE_NAME.get(rows, account, name.to_lowercase().as_bytes())?.map(|row| row.value))
}

/// The API key with that hash, good or not, and whose it is.
///
/// # Errors
/// As [`find`].
pub fn find_key(
    rows: &dyn Read,
    account: AccountId,
    hash: &SecretHash,
) -> Result<Option<(ServiceId, ApiKey)>, Rejection> {
    let Some(pointer) = tables::API_KEY_HASH.get(rows, account, hash.as_bytes())? else { return Ok(None) };
    let (service, key) = pointer.value;
    let key = tables::API_KEY.get(rows, account, &key_path(service, key))?;
    Ok(key.map(|row| (service, row.value)))
}

/// At most `limit` service accounts behind `after`, by id.
///
/// # Errors
/// As [`find`].
pub fn list(
    rows: &dyn Read,
    account: AccountId,
    after: Option<ServiceId>,
    limit: usize,
) -> Result<Vec<Stored<ServiceAccount>>, Rejection> {
    let after = after.map(|id| id.uuid().as_bytes().to_vec());
    let page = tables::SERVICE.scan(rows, account, &[], after.as_deref(), limit)?;
    Ok(page.into_iter().map(|(_, row)| row).collect())
}

/// Every API key of a service account, revoked and expired ones too.
///
/// # Errors
/// As [`find`].
pub fn list_keys(
    rows: &dyn Read,
    account: AccountId,
    service: ServiceId,
) -> Result<Vec<Stored<ApiKey>>, Rejection> {
    let keys = tables::API_KEY.scan(rows, account, service.uuid().as_bytes(), None, usize::MAX)?;
    Ok(keys.into_iter().map(|(_, row)| row).collect())
}

pub(super) fn create(context: &mut Context<'_>, new: &NewServiceAccount) -> Result<Reply, Rejection> {
    new.client.as_ref().map_or(Ok(()), Client::check)?;
    let name = new.name.folded();
    if tables::SERVICE_NAME.has(context.rows, context.account, name.as_bytes()) {
        return Err(Rejection::NameTaken);
    }
    // Sessions of one that was deleted would come back to life with its id.
    let has_old_sessions = session::has_any(context.rows, context.account, &Principal::Service(new.id))?;
    if has_old_sessions || find(context.rows, context.account, new.id)?.is_some() {
        return Err(Rejection::IdTaken);
    }
    tables::SERVICE_NAME.put(context.rows, context.account, name.as_bytes(), &new.id)?;
    let service = ServiceAccount {
        id: new.id,
        name: new.name.clone(),
        is_active: true,
        epoch: 0,
        created_at: context.at,
        updated_at: context.at,
        client: new.client.clone(),
    };
    save(context, &service)?;
    for role in &new.roles {
        membership::add(context, &Principal::Service(new.id), role)?;
    }
    add_key(context, new.id, &new.key)
}

pub(super) fn delete(context: &mut Context<'_>, id: ServiceId) -> Result<Reply, Rejection> {
    let service = existing(context, id)?;
    for key in list_keys(context.rows, context.account, id)? {
        tables::API_KEY_HASH.delete(context.rows, context.account, key.value.hash.as_bytes());
        tables::API_KEY.delete(context.rows, context.account, &key_path(id, key.value.id));
    }
    membership::remove_all(context, &Principal::Service(id))?;
    tables::SERVICE_NAME.delete(context.rows, context.account, service.name.folded().as_bytes());
    tables::SERVICE.delete(context.rows, context.account, id.uuid().as_bytes());
    Ok(Reply::Done)
}

/// Changes what the service account is as a client.
pub(super) fn set_client(
    context: &mut Context<'_>,
    id: ServiceId,
    client: &Client,
) -> Result<Reply, Rejection> {
    client.check()?;
    let mut service = existing(context, id)?;
    if service.client.as_ref() == Some(client) {
        return Ok(Reply::Changed(false));
    }
    service.client = Some(client.clone());
    service.updated_at = context.at;
    save(context, &service)?;
    Ok(Reply::Changed(true))
}

pub(super) fn set_active(
    context: &mut Context<'_>,
    id: ServiceId,
    is_active: bool,
) -> Result<Reply, Rejection> {
    let mut service = existing(context, id)?;
    if service.is_active == is_active {
        return Ok(Reply::Changed(false));
    }
    service.is_active = is_active;
    service.epoch += 1;
    service.updated_at = context.at;
    save(context, &service)?;
    Ok(Reply::Changed(true))
}

pub(super) fn add_key(context: &mut Context<'_>, id: ServiceId, new: &NewApiKey) -> Result<Reply, Rejection> {
    existing(context, id)?;
    let keys = list_keys(context.rows, context.account, id)?;
    if keys.iter().filter(|key| key.value.is_good(context.at)).count() >= MAX_LIVE_KEYS {
        return Err(Rejection::LimitReached {
            what: "live API keys".to_owned(),
            limit: MAX_LIVE_KEYS as u64,
        });
    }
    let is_taken = tables::API_KEY_HASH.has(context.rows, context.account, new.hash.as_bytes());
    if is_taken || keys.iter().any(|key| key.value.id == new.id) {
        return Err(Rejection::IdTaken);
    }
    let key = ApiKey {
        id: new.id,
        hash: new.hash,
        label: new.label.clone(),
        created_at: context.at,
        expires_at: context.at.plus(new.lifetime),
        revoked_at: None,
    };
    tables::API_KEY.put(context.rows, context.account, &key_path(id, new.id), &key)?;
    tables::API_KEY_HASH.put(context.rows, context.account, new.hash.as_bytes(), &(id, new.id))?;
    Ok(Reply::Done)
}

/// Revokes a key, and ends the sessions that the service account opened: one of them may be the key's.
pub(super) fn revoke_key(
    context: &mut Context<'_>,
    id: ServiceId,
    key: ApiKeyId,
) -> Result<Reply, Rejection> {
    existing(context, id)?;
    let path = key_path(id, key);
    let stored = tables::API_KEY.get(context.rows, context.account, &path)?;
    let mut key = stored.ok_or(Rejection::NotFound(Noun::ApiKey))?.value;
    if key.revoked_at.is_some() {
        return Ok(Reply::Changed(false));
    }
    key.revoked_at = Some(context.at);
    tables::API_KEY.put(context.rows, context.account, &path, &key)?;
    next_epoch(context, id)?;
    Ok(Reply::Changed(true))
}

/// Ends every session of the service account but those opened later.
pub(super) fn next_epoch(context: &mut Context<'_>, id: ServiceId) -> Result<u64, Rejection> {
    let mut service = existing(context, id)?;
    service.epoch += 1;
    save(context, &service)?;
    Ok(service.epoch)
}

fn existing(context: &Context<'_>, id: ServiceId) -> Result<ServiceAccount, Rejection> {
    let found = find(context.rows, context.account, id)?;
    found.map(|row| row.value).ok_or(Rejection::NotFound(Noun::ServiceAccount))
}

fn save(context: &mut Context<'_>, service: &ServiceAccount) -> Result<(), Rejection> {
    tables::SERVICE.put(context.rows, context.account, service.id.uuid().as_bytes(), service)
}

fn key_path(service: ServiceId, key: ApiKeyId) -> Vec<u8> {
    [service.uuid().as_bytes().as_slice(), key.uuid().as_bytes()].concat()
}

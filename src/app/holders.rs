//! Whoever holds an account's key: what it orders, opening an account for it, and replacing it (contract part 3).
//!
//! # Why two commands to open
//! A key needs no registration: its first write opens the account that it owns from then on. That is a command
//! of its own before the write, because an order is signed by the key, and a key signs where it owns something.
//! Of several nodes that open for one key at once the first in the log counts, and the others write into that.

use std::time::Duration;

use conclave_cluster::state::View;

use super::{App, Done, Failure, Request};
use crate::auth::client_key::{self, ClientKey};
use crate::domain::holder::{self, Recovery};
use crate::domain::subject_key::NewSubjectKey;
use crate::domain::{AccountId, Action, Actor, ApiKeyId, Command, Label, Rejection, SecretHash, Timestamp};
use crate::replica::Freshness;
use crate::secret::Secret;

/// What to do where the key owns no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Open one: the order writes something.
    Open,
    /// Nothing: the order would find nothing to change.
    Leave,
}

/// What became of an order by a key.
#[derive(Debug)]
pub enum Ordered {
    /// Carried out in the account that the key owns.
    Done { account: AccountId, done: Done },
    /// The key owns none, as these rows have it.
    NoAccount(View),
}

/// What has replaced a lost key. Both are shown once.
#[derive(Debug)]
pub struct Recovered {
    pub account: AccountId,
    pub key: ClientKey,
    /// What replaces the next one that is lost.
    pub recovery: Secret<String>,
    pub done: Done,
}

/// How often an order looks for its account anew because the key was replaced meanwhile.
const ATTEMPTS: u32 = 3;
/// How often an account number is drawn until a free one is found.
const DRAWS: u32 = 5;
/// The steps of a request that open an account, apart from those that write into it.
const OPENING: u32 = 100;
/// How many characters of a key of a subject are kept, for people to tell keys apart.
const PREFIX_CHARS: usize = 12;

impl App {
    /// Has an order carried out in the account that the key owns.
    ///
    /// # Errors
    /// The rule that refused it. [`Rejection::RegistrationClosed`] where an account would have to be opened and
    /// this node opens none; [`Rejection::Unauthenticated`] for a retry by a key that was replaced since.
    pub async fn order_by_key(
        &self,
        key: SecretHash,
        absent: Absent,
        action: Action,
        request: &Request,
    ) -> Result<Ordered, Failure> {
        for attempt in 0..ATTEMPTS {
            let account = match (self.owned_by(key, attempt, request).await?, absent) {
                (Ok(account), _) => account,
                (Err(rows), Absent::Leave) => return Ok(Ordered::NoAccount(rows)),
                (Err(_), Absent::Open) => match self.open_key_account(key, attempt, request).await? {
                    Some(account) => account,
                    None => continue,
                },
            };
            let (by, origin) = (Actor::KeyHolder(key), request.origin.clone());
            let command = Command { account, by, origin, expect: Vec::new(), action: action.clone() };
            let request = if attempt == 0 { request.clone() } else { request.step(attempt) };
            match self.execute(&command, &request).await {
                Ok(done) => return Ok(Ordered::Done { account, done }),
                // The key was replaced after this node had looked.
                Err(Failure::Rejected(Rejection::Unauthenticated)) => {}
                Err(other) => return Err(other),
            }
        }
        Err(Failure::Busy { retry_after: Duration::from_secs(1) })
    }

    /// The account that the key owns, or the rows that know of none. What this node knows is enough for a first try, since ownership is judged
    /// again in log order; that there is none is only said after asking the leader. A retry finds the account
    /// that its first try found, also when that took the key away.
    async fn owned_by(
        &self,
        key: SecretHash,
        attempt: u32,
        request: &Request,
    ) -> Result<Result<AccountId, View>, Failure> {
        if attempt == 0
            && let Some(account) = holder::account_of(&self.cluster.view(), &key)?
        {
            return Ok(Ok(account));
        }
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        if let Some(account) = holder::account_of(&view, &key)? {
            return Ok(Ok(account));
        }
        if let Some(first) = self.rows_found_first(&view, request)
            && let Some(account) = holder::account_of(&first, &key)?
        {
            // Its first answer was for an owner, and may hold a secret: nobody else is given it again, nor what
            // would be drawn for this request in another account.
            return if attempt == 0 { Ok(Ok(account)) } else { Err(Rejection::Unauthenticated.into()) };
        }
        Ok(Err(view))
    }

    /// Opens an account for the key; `None` where another request did it first.
    async fn open_key_account(
        &self,
        key: SecretHash,
        attempt: u32,
        request: &Request,
    ) -> Result<Option<AccountId>, Failure> {
        if !self.settings.doors.key_accounts {
            return Err(Rejection::RegistrationClosed.into());
        }
        let request = request.step(OPENING + attempt);
        let mut mint = self.mint(&request)?;
        for step in 0..DRAWS {
            let account = AccountId::parse(&mint.account_id()?)?;
            let (by, origin) = (Actor::Anonymous, request.origin.clone());
            let action = Action::OpenKeyAccount { key };
            let command = Command { account, by, origin, expect: Vec::new(), action };
            match self.execute(&command, &request.step(step)).await {
                Ok(_) => return Ok(Some(account)),
                Err(Failure::Rejected(Rejection::KeyTaken)) => return Ok(None),
                Err(Failure::Rejected(Rejection::AccountIdTaken)) => {}
                Err(other) => return Err(other),
            }
        }
        Err(Failure::Internal("no free account number was drawn"))
    }

    /// Draws a key that is to own an account.
    ///
    /// # Errors
    /// [`Failure::NotReady`] while the cluster's secrets are not open; so for the other draws.
    pub fn draw_client_key(&self, request: &Request) -> Result<ClientKey, Failure> {
        Ok(self.mint(request)?.client_key()?)
    }

    /// Draws what replaces a client key when it is lost.
    ///
    /// # Errors
    /// As [`App::draw_client_key`].
    pub fn draw_recovery(&self, request: &Request) -> Result<Secret<String>, Failure> {
        Ok(self.mint(request)?.recovery_secret()?)
    }

    /// Draws a key for a subject; the text of it is shown once.
    ///
    /// # Errors
    /// As [`App::draw_client_key`].
    pub fn draw_subject_key(
        &self,
        label: Option<Label>,
        expires_at: Option<Timestamp>,
        request: &Request,
    ) -> Result<(NewSubjectKey, Secret<String>), Failure> {
        let mut mint = self.mint(request)?;
        let (id, secret) = (ApiKeyId::new(mint.uuid()?), mint.subject_key()?);
        let prefix: String = secret.expose().chars().take(PREFIX_CHARS).collect();
        let hash = SecretHash::of(secret.expose());
        Ok((NewSubjectKey { id, hash, prefix: Label::parse(&prefix)?, label, expires_at }, secret))
    }

    /// Gives an account a new key, `wanted` or a drawn one, for the secret that replaces a lost one. That secret
    /// has been used then, and a new one is given out.
    ///
    /// # Errors
    /// [`Rejection::BadCredentials`] for a secret that is none, [`Rejection::KeyTaken`] where `wanted` owns another
    /// account.
    pub async fn recover_key(
        &self,
        presented: &str,
        wanted: Option<ClientKey>,
        request: &Request,
    ) -> Result<Recovered, Failure> {
        if !client_key::is_recovery(presented) {
            return Err(Rejection::BadCredentials.into());
        }
        let presented = SecretHash::of(presented);
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let account = match holder::account_of_recovery(&view, &presented)? {
            Some(account) => Some(account),
            // A retry: its first try has used the secret.
            None => match self.rows_found_first(&view, request) {
                Some(first) => holder::account_of_recovery(&first, &presented)?,
                None => None,
            },
        };
        let account = account.ok_or(Rejection::BadCredentials)?;
        let mut mint = self.mint(request)?;
        let key = match wanted {
            Some(key) => key,
            None => mint.client_key()?,
        };
        let recovery = mint.recovery_secret()?;
        let next = SecretHash::of(recovery.expose());
        let action = Action::Recover(Recovery { presented, key: key.hash(), next });
        let (by, origin) = (Actor::Anonymous, request.origin.clone());
        let command = Command { account, by, origin, expect: Vec::new(), action };
        let done = self.execute(&command, request).await?;
        Ok(Recovered { account, key, recovery, done })
    }

    /// What stands for a name where the name itself is not to be shown: the same on every node.
    ///
    /// # Errors
    /// [`Failure::NotReady`] while the cluster's secrets are not open.
    pub fn fingerprint(&self, account: AccountId, text: &str) -> Result<[u8; 16], Failure> {
        let key = self.mint_key.get().ok_or(Failure::NotReady)?;
        Ok(key.fingerprint(account.as_str(), text))
    }
}

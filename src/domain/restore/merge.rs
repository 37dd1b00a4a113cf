//! An account as a backup has it and as the cluster has it, made one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::account::{self, Account, AccountState, Owner};
use super::super::holder::KeyHolder;
use super::super::rows::{prefix_of, tables};
use super::super::service::{ApiKey, ServiceAccount};
use super::super::subject_key::SubjectKey;
use super::super::user::{self, User, UserStatus};
use super::super::{
    AccountId, Context, RawRow, Read, Rejection, Rows, SessionId, Stored, Timestamp, session,
};
use super::{all, below, keys_below, tidy};

/// Rows of one account by their whole keys.
#[derive(Default)]
pub(super) struct Backup(pub(super) BTreeMap<Vec<u8>, Arc<[u8]>>);

impl Backup {
    pub(super) fn of_parts(context: &Context<'_>) -> Result<Self, Rejection> {
        let prefix = prefix_of(context.account);
        let mut backup = Self::default();
        for (_, part) in tables::RESTORE_PART.scan(context.rows, context.account.as_bytes())? {
            for row in part.value.rows {
                backup.0.insert([&prefix[..], &row.key].concat(), row.value.into());
            }
        }
        Ok(backup)
    }

    /// Takes over the row as it stands elsewhere, if it does.
    fn copy(&mut self, from: &dyn Read, key: Vec<u8>) {
        if let Some(row) = from.get(&key) {
            self.0.insert(key, row.value);
        }
    }
}

impl Read for Backup {
    fn get(&self, key: &[u8]) -> Option<RawRow> {
        self.0.get(key).map(|value| RawRow { revision: 0, value: value.clone() })
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
    ) {
        for (key, value) in self.0.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)) {
            let is_after = after.is_none_or(|after| key.as_slice() > after);
            if is_after && visit(key, RawRow { revision: 0, value: value.clone() }).is_break() {
                break;
            }
        }
    }
}

impl Rows for Backup {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key.to_vec(), value.into());
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

/// The account in the cluster and in the backup.
pub(super) struct Merge<'m> {
    pub(super) now: &'m dyn Read,
    pub(super) at: Timestamp,
    pub(super) account: AccountId,
    pub(super) backup: &'m Backup,
}

impl Merge<'_> {
    /// The rows of the account from now on.
    pub(super) fn merged(&self) -> Result<Backup, Rejection> {
        let mut rows = Backup::default();
        let known = account::find(self.now, self.account)?.map(|row| row.value);
        for (key, value) in &self.backup.0 {
            let tag = key.get(1 + AccountId::DIGITS).copied().unwrap_or_default();
            let is_the_clusters = known.is_some() && CLUSTER_TAGS.contains(&tag);
            if !is_the_clusters && !CREDENTIAL_TAGS.contains(&tag) {
                rows.0.insert(key.clone(), value.clone());
            }
        }
        if known.is_some() {
            for tag in CLUSTER_TAGS {
                for key in keys_below(self.now, &below(self.account, tag)) {
                    rows.copy(self.now, key);
                }
            }
        }
        self.account(&mut rows, known.as_ref())?;
        self.holder(&mut rows)?;
        self.principals(&mut rows)?;
        self.sessions(&mut rows)?;
        self.keys(&mut rows)?;
        tidy(&mut rows, self.account)?;
        Ok(rows)
    }

    fn account(&self, rows: &mut Backup, known: Option<&Account>) -> Result<(), Rejection> {
        let found = account::find(self.backup, self.account)?;
        let mut account = found.ok_or_else(|| Rejection::invalid("backup", "it has no such account"))?.value;
        let is_other = |known: &Account| match (known.owner, account.owner) {
            // Every cluster has one, under the same id.
            (Owner::Cluster { .. }, Owner::Cluster { .. }) => false,
            (Owner::Root(_) | Owner::KeyHolder, _) | (_, Owner::Root(_) | Owner::KeyHolder) => {
                (known.owner, known.created_at) != (account.owner, account.created_at)
            }
        };
        if known.is_some_and(is_other) {
            return Err(Rejection::AccountIdTaken);
        }
        if let (Owner::Cluster { has_had_admin }, Some(Owner::Cluster { has_had_admin: before })) =
            (account.owner, known.map(|known| known.owner))
        {
            account.owner = Owner::Cluster { has_had_admin: has_had_admin || before };
        }
        tables::ACCOUNT.put(rows, self.account, &[], &account)
    }

    /// Whoever has the account's key by what the cluster knows; a secret that recovers it is never taken over.
    fn holder(&self, rows: &mut Backup) -> Result<(), Rejection> {
        if let Some(known) = tables::HOLDER.get(self.now, self.account, &[])? {
            return tables::HOLDER.put(rows, self.account, &[], &known.value);
        }
        match tables::HOLDER.get(self.backup, self.account, &[])? {
            Some(row) => {
                let holder = KeyHolder { recovery: None, ..row.value };
                tables::HOLDER.put(rows, self.account, &[], &holder)
            }
            None => Ok(()),
        }
    }

    /// Epochs never fall, and locks are not lifted.
    fn principals(&self, rows: &mut Backup) -> Result<(), Rejection> {
        for (id, row) in all(tables::USER.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let Some(known) = tables::USER.get(self.now, self.account, &id)? else { continue };
            let epoch = row.epoch.max(known.value.epoch);
            tables::USER.put(rows, self.account, &id, &User { epoch, ..row })?;
            if tables::ATTEMPTS.has(self.now, self.account, &id) {
                rows.copy(self.now, tables::ATTEMPTS.key(self.account, &id));
            }
        }
        for (id, row) in all(tables::SERVICE.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let Some(known) = tables::SERVICE.get(self.now, self.account, &id)? else { continue };
            let epoch = row.epoch.max(known.value.epoch);
            tables::SERVICE.put(rows, self.account, &id, &ServiceAccount { epoch, ..row })?;
        }
        Ok(())
    }

    fn sessions(&self, rows: &mut Backup) -> Result<(), Rejection> {
        for (id, row) in all(tables::SESSION.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let session = SessionId::new(uuid::Uuid::from_slice(&id).map_err(|_| Rejection::Damaged)?);
            let live = match session::live(self.now, self.account, session, self.at) {
                Ok(live) => live.session,
                Err(Rejection::Unauthenticated) => continue,
                Err(other) => return Err(other),
            };
            // Ids of sessions that were forgotten may be drawn again.
            if (live.principal, live.opened_at) != (row.principal, row.opened_at) {
                continue;
            }
            rows.copy(self.now, tables::SESSION.key(self.account, &id));
            let of_principal = [live.principal.key().as_slice(), &id].concat();
            rows.copy(self.now, tables::PRINCIPAL_SESSION.key(self.account, &of_principal));
            let expiry = [&live.expires_at.0.to_be_bytes()[..], &id].concat();
            rows.copy(self.now, tables::SESSION_EXPIRY.key(self.account, &expiry));
            for (path, hash) in
                all(tables::SESSION_REFRESH.scan(self.now, self.account, &id, None, usize::MAX))?
            {
                rows.copy(self.now, tables::SESSION_REFRESH.key(self.account, &path));
                rows.copy(self.now, tables::REFRESH.key(self.account, hash.as_bytes()));
            }
        }
        Ok(())
    }

    fn keys(&self, rows: &mut Backup) -> Result<(), Rejection> {
        for (path, key) in all(tables::API_KEY.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let known = tables::API_KEY.get(self.now, self.account, &path)?;
            if known.is_some_and(|known: Stored<ApiKey>| known.value.hash == key.hash) {
                rows.copy(self.now, tables::API_KEY.key(self.account, &path));
                rows.copy(self.now, tables::API_KEY_HASH.key(self.account, key.hash.as_bytes()));
            }
        }
        for (path, key) in all(tables::SUBJECT_KEY.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let known = tables::SUBJECT_KEY.get(self.now, self.account, &path)?;
            if known.is_some_and(|known: Stored<SubjectKey>| known.value.hash == key.hash) {
                rows.copy(self.now, tables::SUBJECT_KEY.key(self.account, &path));
                rows.copy(self.now, tables::SUBJECT_KEY_HASH.key(self.account, key.hash.as_bytes()));
            }
        }
        Ok(())
    }
}

/// What is unique among all accounts follows the account's rows, or refuses them.
pub(super) fn move_indexes(context: &mut Context<'_>, rows: &Backup) -> Result<(), Rejection> {
    let account = context.account;
    let (before, after) = (root_email(context.rows, account)?, root_email(rows, account)?);
    if before != after {
        if let Some(before) = before {
            tables::ROOT_EMAIL.delete(context.rows, before.as_bytes());
        }
        if let Some(after) = after {
            if tables::ROOT_EMAIL.get(context.rows, after.as_bytes())?.is_some() {
                return Err(Rejection::EmailTaken);
            }
            tables::ROOT_EMAIL.put(context.rows, after.as_bytes(), &account)?;
        }
    }
    // A holder that the cluster knows was taken over as it is.
    if tables::HOLDER.has(context.rows, account, &[]) {
        return Ok(());
    }
    if let Some(holder) = tables::HOLDER.get(rows, account, &[])? {
        let key = holder.value.key;
        if tables::HOLDER_KEY.get(context.rows, key.as_bytes())?.is_some() {
            return Err(Rejection::KeyTaken);
        }
        tables::HOLDER_KEY.put(context.rows, key.as_bytes(), &account)?;
    }
    Ok(())
}

/// The folded e-mail address by which the account's root user is found.
fn root_email(rows: &dyn Read, account: AccountId) -> Result<Option<String>, Rejection> {
    let Some(found) = account::find(rows, account)? else { return Ok(None) };
    let (Some(root), AccountState::Open) = (found.value.root(), found.value.state) else { return Ok(None) };
    let user = user::find(rows, account, root)?.map(|row| row.value);
    let user = user.filter(|user| user.status != UserStatus::Deleted);
    Ok(user.and_then(|user| Some(user.email?.folded())))
}

/// What a backup alone does not bring back.
const CREDENTIAL_TAGS: [u8; 10] = [
    tables::HOLDER.tag(),
    tables::SESSION.tag(),
    tables::PRINCIPAL_SESSION.tag(),
    tables::REFRESH.tag(),
    tables::SESSION_EXPIRY.tag(),
    tables::SESSION_REFRESH.tag(),
    tables::API_KEY.tag(),
    tables::API_KEY_HASH.tag(),
    tables::SUBJECT_KEY.tag(),
    tables::SUBJECT_KEY_HASH.tag(),
];

/// What stays as the cluster has it.
const CLUSTER_TAGS: [u8; 3] = [tables::SIGNING_KEY.tag(), tables::AUDIT_HEAD.tag(), tables::AUDIT.tag()];

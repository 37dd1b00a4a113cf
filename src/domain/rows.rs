//! Rows and typed tables: the only way from a rule to what is stored.
//!
//! | key | value |
//! |---|---|
//! | `a`, account (12 digits), table (1 byte), rest | a row of one account |
//! | `g`, table (1 byte), rest | a row of the whole cluster |
//!
//! An account's rows are one contiguous range, so that no table can forget the account. A value is a
//! version byte and the postcard form of its type: a type may grow only under a new version.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::node::{JoinToken, Node, NodeAuthority};
use super::{AccountId, Rejection};

/// A stored row: the revision of the command that wrote it, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRow {
    pub revision: u64,
    pub value: Arc<[u8]>,
}

/// Reads rows, at one moment of the log.
pub trait Read {
    /// The row with that key.
    fn get(&self, key: &[u8]) -> Option<RawRow>;

    /// Calls `visit` for the rows whose key starts with `prefix` and is greater than `after`, in order,
    /// until it breaks.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
    );
}

/// Reads and writes rows, inside one command.
pub trait Rows: Read {
    /// Writes a row, over the old one if there is one.
    fn put(&mut self, key: &[u8], value: Vec<u8>);
    /// Takes a row away; nothing happens if there is none.
    fn delete(&mut self, key: &[u8]);
}

/// A decoded row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<V> {
    /// The revision at which the row was last written: its `ETag`.
    pub revision: u64,
    pub value: V,
}

/// Rows found by a scan, each with the rest of its key.
pub type Page<V> = Vec<(Vec<u8>, Stored<V>)>;

/// A table of rows in each account. `K` builds the rest of the key.
#[derive(Debug)]
pub struct Table<V> {
    tag: u8,
    value: PhantomData<fn() -> V>,
}

const VERSION: u8 = 1;

impl<V: Serialize + DeserializeOwned> Table<V> {
    const fn new(tag: u8) -> Self {
        Self { tag, value: PhantomData }
    }

    /// The table's tag.
    pub(super) const fn tag(&self) -> u8 {
        self.tag
    }

    /// The table as one of [`tables::OF_ACCOUNTS`].
    const fn kind(&self) -> Kind {
        Kind { tag: self.tag, decodes: |value| from_bytes::<V>(value).is_ok() }
    }

    /// The whole key of a row.
    #[must_use]
    pub fn key(&self, account: AccountId, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(2 + AccountId::DIGITS + rest.len());
        key.push(b'a');
        key.extend_from_slice(account.as_bytes());
        key.push(self.tag);
        key.extend_from_slice(rest);
        key
    }

    /// The row under `rest`.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if it does not decode.
    pub fn get(
        &self,
        rows: &dyn Read,
        account: AccountId,
        rest: &[u8],
    ) -> Result<Option<Stored<V>>, Rejection> {
        rows.get(&self.key(account, rest)).map(|row| decode(&row)).transpose()
    }

    /// Whether there is a row under `rest`.
    #[must_use]
    pub fn has(&self, rows: &dyn Read, account: AccountId, rest: &[u8]) -> bool {
        rows.get(&self.key(account, rest)).is_some()
    }

    /// Writes the row under `rest`.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if the value does not encode, which no value of ours does.
    pub fn put(
        &self,
        rows: &mut dyn Rows,
        account: AccountId,
        rest: &[u8],
        value: &V,
    ) -> Result<(), Rejection> {
        rows.put(&self.key(account, rest), encode(value)?);
        Ok(())
    }

    /// Takes the row under `rest` away.
    pub fn delete(&self, rows: &mut dyn Rows, account: AccountId, rest: &[u8]) {
        rows.delete(&self.key(account, rest));
    }

    /// At most `limit` rows whose rest starts with `prefix` and is greater than `after`, in key order,
    /// each with its rest.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if one does not decode.
    pub fn scan(
        &self,
        rows: &dyn Read,
        account: AccountId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<V>, Rejection> {
        let head = self.key(account, &[]).len();
        let after = after.map(|rest| self.key(account, rest));
        let mut found = Vec::new();
        let mut damage = None;
        if limit == 0 {
            return Ok(found);
        }
        rows.scan(&self.key(account, prefix), after.as_deref(), &mut |key, row| match decode(&row) {
            Ok(row) => {
                found.push((key.get(head..).unwrap_or_default().to_vec(), row));
                if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            Err(rejection) => {
                damage = Some(rejection);
                ControlFlow::Break(())
            }
        });
        damage.map_or(Ok(found), Err)
    }
}

/// A table whose type of value is left open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    tag: u8,
    decodes: fn(&[u8]) -> bool,
}

/// Whether this can be a row of an account, by the part of its key behind the account and by its value: of a table
/// that there is, and of a type that decodes.
pub(crate) fn is_row(below_account: &[u8], value: &[u8]) -> bool {
    let Some(tag) = below_account.first() else { return false };
    tables::OF_ACCOUNTS.iter().any(|kind| kind.tag == *tag && (kind.decodes)(value))
}

/// What all keys of an account's rows begin with.
#[must_use]
pub fn prefix_of(account: AccountId) -> Vec<u8> {
    [&b"a"[..], account.as_bytes()].concat()
}

/// A table of the whole cluster: few, and none holds what belongs to an account.
#[derive(Debug)]
pub struct GlobalTable<V> {
    tag: u8,
    value: PhantomData<fn() -> V>,
}

impl<V: Serialize + DeserializeOwned> GlobalTable<V> {
    const fn new(tag: u8) -> Self {
        Self { tag, value: PhantomData }
    }

    fn key(&self, rest: &[u8]) -> Vec<u8> {
        [&[b'g', self.tag], rest].concat()
    }

    /// The row under `rest`.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if it does not decode.
    pub fn get(&self, rows: &dyn Read, rest: &[u8]) -> Result<Option<Stored<V>>, Rejection> {
        rows.get(&self.key(rest)).map(|row| decode(&row)).transpose()
    }

    /// Writes the row under `rest`.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if the value does not encode.
    pub fn put(&self, rows: &mut dyn Rows, rest: &[u8], value: &V) -> Result<(), Rejection> {
        rows.put(&self.key(rest), encode(value)?);
        Ok(())
    }

    /// Takes the row under `rest` away.
    pub fn delete(&self, rows: &mut dyn Rows, rest: &[u8]) {
        rows.delete(&self.key(rest));
    }

    /// All rows whose rest starts with `prefix`, in key order, each with its rest.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if one does not decode.
    pub fn scan(&self, rows: &dyn Read, prefix: &[u8]) -> Result<Page<V>, Rejection> {
        let head = self.key(&[]).len();
        let mut found = Vec::new();
        rows.scan(&self.key(prefix), None, &mut |key, row| {
            found.push(decode(&row).map(|row| (key.get(head..).unwrap_or_default().to_vec(), row)));
            ControlFlow::Continue(())
        });
        found.into_iter().collect()
    }
}

/// The account of a row key, for the digest of each account; `None` for rows of the whole cluster.
#[must_use]
pub fn account_of(key: &[u8]) -> Option<&[u8]> {
    match key.split_first() {
        Some((b'a', rest)) => rest.get(..AccountId::DIGITS),
        _ => None,
    }
}

/// The first account behind `after` that has any row: one step, however many rows the accounts have.
pub(super) fn next_account(rows: &dyn Read, after: Option<AccountId>) -> Option<AccountId> {
    // No table has the tag 0xff, so that no key of the account is greater.
    let behind = after.map(|id| [&b"a"[..], id.as_bytes(), &[0xff]].concat());
    let mut found = None;
    rows.scan(b"a", behind.as_deref(), &mut |key, _| {
        found = account_of(key).and_then(|id| AccountId::parse(std::str::from_utf8(id).ok()?).ok());
        ControlFlow::Break(())
    });
    found
}

/// Joins the parts of a key; each but the last must hold no NUL or have a fixed length.
pub(super) fn joined(head: &[u8], last: &[u8]) -> Vec<u8> {
    [head, &[0], last].concat()
}

fn encode<V: Serialize>(value: &V) -> Result<Vec<u8>, Rejection> {
    postcard::to_extend(value, vec![VERSION]).map_err(|_| Rejection::Damaged)
}

fn decode<V: DeserializeOwned>(row: &RawRow) -> Result<Stored<V>, Rejection> {
    Ok(Stored { revision: row.revision, value: from_bytes(&row.value)? })
}

/// Reads a value as it is stored.
pub(super) fn from_bytes<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Rejection> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            // Bytes that nobody reads are damage too.
            Ok(_) | Err(_) => Err(Rejection::Damaged),
        },
        _ => Err(Rejection::Damaged),
    }
}

/// Every table, with its tag: a tag is never used again for something else.
pub(super) mod tables {
    use super::super::account::Account;
    use super::super::audit::{AuditHead, AuditRecord};
    use super::super::cluster::{ClusterSecrets, SetupOffer};
    use super::super::holder::KeyHolder;
    use super::super::key::SigningKey;
    use super::super::lockout::Attempts;
    use super::super::membership::Membership;
    use super::super::restore::{Restore, RestorePart};
    use super::super::role::Role;
    use super::super::service::{ApiKey, ServiceAccount};
    use super::super::session::{RefreshPointer, Session};
    use super::super::settings::Settings;
    use super::super::subject::Subject;
    use super::super::subject_key::SubjectKey;
    use super::super::user::{Password, User};
    use super::super::{AccountId, ApiKeyId, SecretHash, ServiceId, SubjectId, UserId};
    use super::{GlobalTable, JoinToken, Kind, Node, NodeAuthority, Table};

    pub(crate) const ACCOUNT: Table<Account> = Table::new(0x01);
    pub(crate) const HOLDER: Table<KeyHolder> = Table::new(0x02);
    pub(crate) const SETTINGS: Table<Settings> = Table::new(0x03);
    /// By user id.
    pub(crate) const USER: Table<User> = Table::new(0x10);
    /// By folded name.
    pub(crate) const USER_NAME: Table<UserId> = Table::new(0x11);
    /// By folded e-mail address.
    pub(crate) const USER_EMAIL: Table<UserId> = Table::new(0x12);
    /// By user id. Apart from the user, so that its revision changes with the password only.
    pub(crate) const PASSWORD: Table<Password> = Table::new(0x13);
    /// By user id. Apart from the user, whose revision a sign-in does not change.
    pub(crate) const ATTEMPTS: Table<Attempts> = Table::new(0x14);
    /// By subject id.
    pub(crate) const SUBJECT: Table<Subject> = Table::new(0x18);
    /// By subject id, then key id.
    pub(crate) const SUBJECT_KEY: Table<SubjectKey> = Table::new(0x19);
    /// By the hash of the key.
    pub(crate) const SUBJECT_KEY_HASH: Table<(SubjectId, ApiKeyId)> = Table::new(0x1a);
    /// By service account id.
    pub(crate) const SERVICE: Table<ServiceAccount> = Table::new(0x20);
    /// By folded name.
    pub(crate) const SERVICE_NAME: Table<ServiceId> = Table::new(0x21);
    /// By service account id, then key id.
    pub(crate) const API_KEY: Table<ApiKey> = Table::new(0x22);
    /// By the hash of the key.
    pub(crate) const API_KEY_HASH: Table<(ServiceId, ApiKeyId)> = Table::new(0x23);
    /// By name.
    pub(crate) const ROLE: Table<Role> = Table::new(0x30);
    /// By permission, NUL, role.
    pub(crate) const PERMISSION_ROLE: Table<()> = Table::new(0x31);
    /// By principal, then role.
    pub(crate) const MEMBERSHIP: Table<Membership> = Table::new(0x40);
    /// By role, NUL, principal.
    pub(crate) const ROLE_MEMBER: Table<()> = Table::new(0x41);
    /// By session id.
    pub(crate) const SESSION: Table<Session> = Table::new(0x50);
    /// By principal, then session id.
    pub(crate) const PRINCIPAL_SESSION: Table<()> = Table::new(0x51);
    /// By the hash of the refresh token.
    pub(crate) const REFRESH: Table<RefreshPointer> = Table::new(0x52);
    /// By expiry (big endian), then session id.
    pub(crate) const SESSION_EXPIRY: Table<()> = Table::new(0x53);
    /// By session id, then generation (big endian).
    pub(crate) const SESSION_REFRESH: Table<SecretHash> = Table::new(0x54);
    /// By key id.
    pub(crate) const SIGNING_KEY: Table<SigningKey> = Table::new(0x60);
    /// By trail.
    pub(crate) const AUDIT_HEAD: Table<AuditHead> = Table::new(0x70);
    /// By trail, then sequence number (big endian).
    pub(crate) const AUDIT: Table<AuditRecord> = Table::new(0x71);

    /// By folded e-mail address of a root user.
    pub(crate) const ROOT_EMAIL: GlobalTable<AccountId> = GlobalTable::new(0x01);
    pub(crate) const CLUSTER_SECRETS: GlobalTable<ClusterSecrets> = GlobalTable::new(0x02);
    /// By the hash of the key that owns an account.
    pub(crate) const HOLDER_KEY: GlobalTable<AccountId> = GlobalTable::new(0x03);
    /// By the hash of the secret that gives an account a new key.
    pub(crate) const HOLDER_RECOVERY: GlobalTable<AccountId> = GlobalTable::new(0x04);
    /// By the number of the node, big-endian.
    pub(crate) const NODE: GlobalTable<Node> = GlobalTable::new(0x05);
    /// By the id of the token.
    pub(crate) const JOIN_TOKEN: GlobalTable<JoinToken> = GlobalTable::new(0x06);
    pub(crate) const NODE_AUTHORITY: GlobalTable<NodeAuthority> = GlobalTable::new(0x07);
    pub(crate) const SETUP_OFFER: GlobalTable<SetupOffer> = GlobalTable::new(0x08);
    /// By account: the restore that is on its way.
    pub(crate) const RESTORE: GlobalTable<Restore> = GlobalTable::new(0x20);
    /// By account, then number (big endian).
    pub(crate) const RESTORE_PART: GlobalTable<RestorePart> = GlobalTable::new(0x21);

    /// Every table that accounts have: what is not here is not taken from a backup.
    pub(crate) const OF_ACCOUNTS: [Kind; 27] = [
        ACCOUNT.kind(),
        HOLDER.kind(),
        SETTINGS.kind(),
        USER.kind(),
        USER_NAME.kind(),
        USER_EMAIL.kind(),
        PASSWORD.kind(),
        ATTEMPTS.kind(),
        SUBJECT.kind(),
        SUBJECT_KEY.kind(),
        SUBJECT_KEY_HASH.kind(),
        SERVICE.kind(),
        SERVICE_NAME.kind(),
        API_KEY.kind(),
        API_KEY_HASH.kind(),
        ROLE.kind(),
        PERMISSION_ROLE.kind(),
        MEMBERSHIP.kind(),
        ROLE_MEMBER.kind(),
        SESSION.kind(),
        PRINCIPAL_SESSION.kind(),
        REFRESH.kind(),
        SESSION_EXPIRY.kind(),
        SESSION_REFRESH.kind(),
        SIGNING_KEY.kind(),
        AUDIT_HEAD.kind(),
        AUDIT.kind(),
    ];
    /// The cluster's level; see [`super::super::level`].
    pub(crate) const LEVEL: GlobalTable<u32> = GlobalTable::new(0x0f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_account() {
        let account = AccountId::parse("123456789012").unwrap();
        let key = tables::USER.key(account, b"rest");
        assert_eq!(account_of(&key), Some(account.as_bytes()));
        assert_eq!(account_of(b"g\x01x"), None);
        assert_eq!(account_of(b"a12"), None);
    }
}

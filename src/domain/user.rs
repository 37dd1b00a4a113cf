//! Users: the root of an account and everybody it lets in.

use serde::{Deserialize, Serialize};

use super::rows::{Table, tables};
use super::{
    AccountId, Context, Email, Label, Noun, PasswordHash, Principal, Read, Rejection, Reply, RoleName, Rows,
    Stored, Timestamp, UserId, UserName, account, lockout, membership, session,
};

/// A person. At least one of `name` and `email` is there: it is what the person signs in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub is_root: bool,
    pub name: Option<UserName>,
    pub email: Option<Email>,
    pub first_name: Option<Label>,
    pub last_name: Option<Label>,
    pub status: UserStatus,
    /// Grows to end all sessions at once; see [`super::principal::Standing::epoch`].
    pub epoch: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whether a user may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserStatus {
    Active,
    /// For a time: keeps name, address and roles.
    Disabled,
    /// For good: name and address are free again, roles are gone.
    Deleted,
}

/// A stored password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    pub hash: PasswordHash,
    /// When it was set; a new hash of the same password does not move it.
    pub set_at: Timestamp,
    /// The ones before it, newest first: a new password may have to differ from them.
    pub previous: Vec<PasswordHash>,
}

/// The most earlier passwords that are kept.
pub const MAX_PASSWORD_HISTORY: u8 = 24;

/// What a new user needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    pub id: UserId,
    pub name: Option<UserName>,
    pub email: Option<Email>,
    pub first_name: Option<Label>,
    pub last_name: Option<Label>,
    pub password: PasswordHash,
    /// Roles from the start. They need not exist yet (contract part 2) when the root user asks.
    pub roles: Vec<RoleName>,
}

/// What to change; `None` leaves a member as it is, an empty label takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChanges {
    pub name: Option<UserName>,
    pub email: Option<Email>,
    pub first_name: Option<Label>,
    pub last_name: Option<Label>,
}

impl User {
    /// Whether the user may act.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == UserStatus::Active
    }

    /// What the user signs in with: the name, else the e-mail address.
    #[must_use]
    pub fn login(&self) -> String {
        let name = self.name.as_ref().map(ToString::to_string);
        name.or_else(|| self.email.as_ref().map(ToString::to_string)).unwrap_or_default()
    }
}

/// The user with that id, deleted or not.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode; so for the others here.
pub fn find(rows: &dyn Read, account: AccountId, user: UserId) -> Result<Option<Stored<User>>, Rejection> {
    tables::USER.get(rows, account, user.uuid().as_bytes())
}

/// The user who signs in with that e-mail address or name. Deleted users have neither.
///
/// # Errors
/// As [`find`].
pub fn find_by_login(rows: &dyn Read, account: AccountId, login: &str) -> Result<Option<UserId>, Rejection> {
    let folded = login.to_lowercase();
    let by_email = tables::USER_EMAIL.get(rows, account, folded.as_bytes())?;
    match by_email {
        Some(row) => Ok(Some(row.value)),
        None => Ok(tables::USER_NAME.get(rows, account, folded.as_bytes())?.map(|row| row.value)),
    }
}

/// The stored password; its revision changes with the password and nothing else.
///
/// # Errors
/// As [`find`].
pub fn find_password(
    rows: &dyn Read,
    account: AccountId,
    user: UserId,
) -> Result<Option<Stored<Password>>, Rejection> {
    tables::PASSWORD.get(rows, account, user.uuid().as_bytes())
}

/// At most `limit` users behind `after`, by id, without the deleted.
///
/// # Errors
/// As [`find`].
pub fn list(
    rows: &dyn Read,
    account: AccountId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<Stored<User>>, Rejection> {
    let mut users = Vec::new();
    let mut cursor = after.map(|id| id.uuid().as_bytes().to_vec());
    while users.len() < limit {
        let page = tables::USER.scan(rows, account, &[], cursor.as_deref(), limit)?;
        let is_last = page.len() < limit;
        cursor = page.last().map(|(key, _)| key.clone());
        users.extend(
            page.into_iter().map(|(_, row)| row).filter(|row| row.value.status != UserStatus::Deleted),
        );
        if is_last {
            break;
        }
    }
    users.truncate(limit);
    Ok(users)
}

pub(super) fn create(context: &mut Context<'_>, new: &NewUser, is_root: bool) -> Result<Reply, Rejection> {
    if new.name.is_none() && new.email.is_none() {
        return Err(Rejection::invalid("name", "a user has a name, an e-mail address, or both"));
    }
    if is_root && new.email.is_none() {
        return Err(Rejection::invalid("email", "a root user has an e-mail address"));
    }
    if find(context.rows, context.account, new.id)?.is_some() {
        return Err(Rejection::IdTaken);
    }
    let user = User {
        id: new.id,
        is_root,
        name: new.name.clone(),
        email: new.email.clone(),
        first_name: new.first_name.clone(),
        last_name: new.last_name.clone(),
        status: UserStatus::Active,
        epoch: 0,
        created_at: context.at,
        updated_at: context.at,
    };
    claim(context, &user, None)?;
    save(context.rows, context.account, &user)?;
    let password = Password { hash: new.password.clone(), set_at: context.at, previous: Vec::new() };
    tables::PASSWORD.put(context.rows, context.account, new.id.uuid().as_bytes(), &password)?;
    for role in &new.roles {
        membership::add(context, &Principal::User(new.id), role)?;
    }
    Ok(Reply::Done)
}

pub(super) fn update(
    context: &mut Context<'_>,
    id: UserId,
    changes: &UserChanges,
) -> Result<Reply, Rejection> {
    let before = existing(context.rows, context.account, id)?;
    let mut user = before.clone();
    let label = |new: &Option<Label>, old: &Option<Label>| match new {
        Some(text) if text.as_str().is_empty() => None,
        Some(text) => Some(text.clone()),
        None => old.clone(),
    };
    user.first_name = label(&changes.first_name, &before.first_name);
    user.last_name = label(&changes.last_name, &before.last_name);
    user.name = changes.name.clone().or_else(|| before.name.clone());
    user.email = changes.email.clone().or_else(|| before.email.clone());
    if user == before {
        return Ok(Reply::Changed(false));
    }
    user.updated_at = context.at;
    claim(context, &user, Some(&before))?;
    save(context.rows, context.account, &user)?;
    Ok(Reply::Changed(true))
}

pub(super) fn set_status(
    context: &mut Context<'_>,
    id: UserId,
    status: UserStatus,
) -> Result<Reply, Rejection> {
    let mut user = existing(context.rows, context.account, id)?;
    if status == UserStatus::Deleted {
        return Err(Rejection::Misplaced("deleting is an action of its own".to_owned()));
    }
    if user.is_root {
        return Err(Rejection::Forbidden("another root user, which no account has,".to_owned()));
    }
    if user.status == status {
        return Ok(Reply::Changed(false));
    }
    user.status = status;
    // A session does not come back to life with its user.
    user.epoch += 1;
    user.updated_at = context.at;
    save(context.rows, context.account, &user)?;
    Ok(Reply::Changed(true))
}

pub(super) fn set_password(
    context: &mut Context<'_>,
    id: UserId,
    hash: &PasswordHash,
    history: u8,
) -> Result<Reply, Rejection> {
    let mut user = existing(context.rows, context.account, id)?;
    let mut previous = match find_password(context.rows, context.account, id)? {
        Some(Stored { value, .. }) => [vec![value.hash], value.previous].concat(),
        None => Vec::new(),
    };
    previous.truncate(usize::from(history.min(MAX_PASSWORD_HISTORY)));
    let password = Password { hash: hash.clone(), set_at: context.at, previous };
    tables::PASSWORD.put(context.rows, context.account, id.uuid().as_bytes(), &password)?;
    user.updated_at = context.at;
    save(context.rows, context.account, &user)?;
    session::end_all(context, &Principal::User(id), context.caller.session())?;
    Ok(Reply::Done)
}

pub(super) fn rehash(context: &mut Context<'_>, id: UserId, hash: &PasswordHash) -> Result<Reply, Rejection> {
    existing(context.rows, context.account, id)?;
    let found = find_password(context.rows, context.account, id)?;
    let mut password = found.ok_or(Rejection::NotFound(Noun::User))?.value;
    password.hash = hash.clone();
    tables::PASSWORD.put(context.rows, context.account, id.uuid().as_bytes(), &password)?;
    Ok(Reply::Done)
}

pub(super) fn delete(context: &mut Context<'_>, id: UserId) -> Result<Reply, Rejection> {
    let mut user = existing(context.rows, context.account, id)?;
    release(context, &user);
    if user.is_root {
        account::close(context)?;
    }
    membership::remove_all(context, &Principal::User(id))?;
    tables::PASSWORD.delete(context.rows, context.account, id.uuid().as_bytes());
    lockout::forget(context, id);
    user.status = UserStatus::Deleted;
    user.epoch += 1;
    user.updated_at = context.at;
    save(context.rows, context.account, &user)?;
    Ok(Reply::Done)
}

/// Ends every session of the user but those opened later.
pub(super) fn next_epoch(context: &mut Context<'_>, id: UserId) -> Result<u64, Rejection> {
    let mut user = existing(context.rows, context.account, id)?;
    user.epoch += 1;
    save(context.rows, context.account, &user)?;
    Ok(user.epoch)
}

/// The user, unless it was deleted.
pub(super) fn existing(rows: &dyn Read, account: AccountId, id: UserId) -> Result<User, Rejection> {
    match find(rows, account, id)? {
        Some(row) if row.value.status != UserStatus::Deleted => Ok(row.value),
        _ => Err(Rejection::NotFound(Noun::User)),
    }
}

fn save(rows: &mut dyn Rows, account: AccountId, user: &User) -> Result<(), Rejection> {
    tables::USER.put(rows, account, user.id.uuid().as_bytes(), user)
}

/// Takes the names of `user`, gives back those of `before` that it no longer has, or refuses.
fn claim(context: &mut Context<'_>, user: &User, before: Option<&User>) -> Result<(), Rejection> {
    let old_name = before.and_then(|user| user.name.as_ref()).map(UserName::folded);
    let new_name = user.name.as_ref().map(UserName::folded);
    let old_email = before.and_then(|user| user.email.as_ref()).map(Email::folded);
    let new_email = user.email.as_ref().map(Email::folded);
    apart(context, &tables::USER_EMAIL, new_name.as_deref(), user.id, Rejection::NameTaken)?;
    apart(context, &tables::USER_NAME, new_email.as_deref(), user.id, Rejection::EmailTaken)?;
    move_index(context, &tables::USER_NAME, old_name, new_name, user.id, Rejection::NameTaken)?;
    if user.is_root && old_email != new_email {
        let email = new_email.as_deref().unwrap_or_default();
        if tables::ROOT_EMAIL.get(context.rows, email.as_bytes())?.is_some() {
            return Err(Rejection::EmailTaken);
        }
        if let Some(old) = &old_email {
            tables::ROOT_EMAIL.delete(context.rows, old.as_bytes());
        }
        tables::ROOT_EMAIL.put(context.rows, email.as_bytes(), &context.account)?;
    }
    move_index(context, &tables::USER_EMAIL, old_email, new_email, user.id, Rejection::EmailTaken)
}

/// Refuses a name that is another user's address, and the other way round: a user may sign in with either,
/// so whoever took the other's would lock it out.
fn apart(
    context: &Context<'_>,
    other: &Table<UserId>,
    login: Option<&str>,
    user: UserId,
    taken: Rejection,
) -> Result<(), Rejection> {
    let Some(login) = login else { return Ok(()) };
    match other.get(context.rows, context.account, login.as_bytes())? {
        Some(row) if row.value != user => Err(taken),
        Some(_) | None => Ok(()),
    }
}

fn move_index(
    context: &mut Context<'_>,
    index: &Table<UserId>,
    old: Option<String>,
    new: Option<String>,
    user: UserId,
    taken: Rejection,
) -> Result<(), Rejection> {
    if old == new {
        return Ok(());
    }
    if let Some(new) = new {
        if index.has(context.rows, context.account, new.as_bytes()) {
            return Err(taken);
        }
        index.put(context.rows, context.account, new.as_bytes(), &user)?;
    }
    if let Some(old) = old {
        index.delete(context.rows, context.account, old.as_bytes());
    }
    Ok(())
}

/// Frees the names of a user who is deleted.
fn release(context: &mut Context<'_>, user: &User) {
    if let Some(name) = &user.name {
        tables::USER_NAME.delete(context.rows, context.account, name.folded().as_bytes());
    }
    if let Some(email) = &user.email {
        tables::USER_EMAIL.delete(context.rows, context.account, email.folded().as_bytes());
        if user.is_root {
            tables::ROOT_EMAIL.delete(context.rows, email.folded().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryRows;
    use super::*;

    #[test]
    fn a_page_leaves_the_deleted_out_and_is_full_while_there_are_more() {
        let (mut rows, account) = (MemoryRows::default(), AccountId::DEFAULT);
        let id = |number| UserId::new(uuid::Uuid::from_u128(number));
        for number in 1..=9 {
            let user = User {
                id: id(number),
                is_root: false,
                name: None,
                email: None,
                first_name: None,
                last_name: None,
                status: if [2, 3, 4, 9].contains(&number) {
                    UserStatus::Deleted
                } else {
                    UserStatus::Disabled
                },
                epoch: 0,
                created_at: Timestamp(1),
                updated_at: Timestamp(1),
            };
            save(&mut rows, account, &user).unwrap();
        }
        let there = [1, 5, 6, 7, 8];
        for limit in 0..=9 {
            for after in 0..=9 {
                let page = list(&rows, account, (after > 0).then(|| id(after)), limit).unwrap();
                let expected = there.iter().filter(|number| **number > after).take(limit);
                let expected: Vec<_> = expected.map(|number| id(*number)).collect();
                assert_eq!(
                    page.iter().map(|user| user.value.id).collect::<Vec<_>>(),
                    expected,
                    "{limit} {after}"
                );
            }
        }
    }
}

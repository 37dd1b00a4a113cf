//! Who may do what: one pure function, asked by the edge for a quick no and by `apply` for the last word.
//!
//! - The root user may do everything in its account, and nobody else may touch it.
//! - Whoever holds an account's key may do everything with names, roles and their keys in it.
//! - Everybody may read and change themselves.
//! - Others need a permission of the `iam:` family, held through a role.
//! - Nobody gives away what they do not hold: to give a role, to put a permission into one, or to take over
//!   a principal (its password, its keys, waking it up), the caller must hold all that it would gain.

use super::rows::Read;
use super::settings::{Registration, SettingsChanges};
use super::user::UserStatus;
use super::{
    AccountId, Action, Actor, Noun, Permission, Principal, Rejection, RoleName, SecretHash, SessionId,
    Timestamp, UserId, account, holder, membership, role, session,
};

/// The permissions that the native API itself asks for.
pub mod permission {
    pub const READ_USERS: &str = "iam:users:read";
    pub const WRITE_USERS: &str = "iam:users:write";
    pub const READ_SERVICES: &str = "iam:service-accounts:read";
    pub const WRITE_SERVICES: &str = "iam:service-accounts:write";
    pub const READ_ROLES: &str = "iam:roles:read";
    pub const WRITE_ROLES: &str = "iam:roles:write";
    pub const ASSIGN_ROLES: &str = "iam:roles:assign";
    pub const READ_SESSIONS: &str = "iam:sessions:read";
    pub const END_SESSIONS: &str = "iam:sessions:end";
    pub const CHECK: &str = "iam:checks:read";
    pub const INTROSPECT: &str = "iam:tokens:introspect";
    pub const READ_AUDIT: &str = "iam:audit:read";
    pub const WRITE_KEYS: &str = "iam:signing-keys:write";
    pub const READ_SETTINGS: &str = "iam:settings:read";
    pub const WRITE_SETTINGS: &str = "iam:settings:write";
}

/// Who gives a command, as found in the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    System,
    SignedIn { principal: Principal, session: SessionId, is_root: bool },
    KeyHolder(SecretHash),
}

impl Caller {
    /// The session by which the order was given.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self {
            Self::SignedIn { session, .. } => Some(*session),
            Self::Anonymous | Self::System | Self::KeyHolder(_) => None,
        }
    }

    pub(super) fn actor(&self) -> Actor {
        match self {
            Self::Anonymous => Actor::Anonymous,
            Self::System => Actor::System,
            Self::SignedIn { principal, session, .. } => {
                Actor::SignedIn { principal: *principal, session: *session }
            }
            Self::KeyHolder(key) => Actor::KeyHolder(*key),
        }
    }
}

/// Finds the caller, whose session must be live at `at`.
///
/// # Errors
/// [`Rejection::Unauthenticated`] if it is not.
pub fn caller(rows: &dyn Read, account: AccountId, by: &Actor, at: Timestamp) -> Result<Caller, Rejection> {
    match by {
        Actor::Anonymous => Ok(Caller::Anonymous),
        Actor::System => Ok(Caller::System),
        Actor::SignedIn { principal, session } => {
            let live = session::live(rows, account, *session, at)?;
            if live.session.principal != *principal {
                return Err(Rejection::Unauthenticated);
            }
            Ok(Caller::SignedIn { principal: *principal, session: *session, is_root: live.standing.is_root })
        }
        Actor::KeyHolder(key) => match holder::account_of(rows, key)? {
            Some(owned) if owned == account => Ok(Caller::KeyHolder(*key)),
            Some(_) | None => Err(Rejection::Unauthenticated),
        },
    }
}

/// Whether the principal holds `permission`: the root user always, others through a role.
///
/// # Errors
/// [`Rejection::NotFound`] if it may not act at all; [`Rejection::Damaged`].
pub fn holds(
    rows: &dyn Read,
    account: AccountId,
    principal: &Principal,
    permission: &str,
) -> Result<bool, Rejection> {
    if principal.standing(rows, account)?.is_root {
        return Ok(true);
    }
    has_through_roles(rows, account, principal, permission)
}

/// Whether `caller` may do `action` in `account`.
///
/// # Errors
/// [`Rejection::Forbidden`] naming what is missing, [`Rejection::Unauthenticated`] for a stranger, or
/// [`Rejection::NotFound`] for a target that is not there.
pub fn may(rows: &dyn Read, account: AccountId, caller: &Caller, action: &Action) -> Result<(), Rejection> {
    let me = match action {
        // These prove what they need by what they carry.
        Action::CreateAccount(_)
        | Action::OpenSession(_)
        | Action::RefreshSession(_)
        | Action::RefuseSignIn(_)
        | Action::Register(_)
        | Action::OpenKeyAccount { .. }
        | Action::Recover(_) => return Ok(()),
        Action::InstallSecrets(_)
        | Action::RehashPassword { .. }
        | Action::OpenDefaultAccount(_)
        | Action::CreateFirstAdmin(_)
        | Action::Reseal(_)
        | Action::OrderNodes(_)
        | Action::OfferSetup { .. }
        | Action::BeginRestore { .. }
        | Action::RestoreRows(_)
        | Action::FinishRestore(_)
        | Action::AbandonRestore { .. }
        | Action::RaiseLevel { .. } => return system(caller),
        Action::Observe(_) => {
            system(caller)?;
            return if account == AccountId::CLUSTER { Ok(()) } else { existing_account(rows, account) };
        }
        Action::RotateHolder { .. }
        | Action::SetRecovery { .. }
        | Action::AddMember { .. }
        | Action::RemoveMember { .. }
        | Action::AddSubjectKey { .. }
        | Action::RevokeSubjectKey { .. }
        | Action::ShortenSubjectKey { .. } => return key_holder(caller),
        Action::Transaction(actions) => {
            return actions.iter().try_for_each(|action| may(rows, account, caller, action));
        }
        Action::CreateUser(_)
        | Action::UpdateUser { .. }
        | Action::SetUserStatus { .. }
        | Action::SetPassword { .. }
        | Action::DeleteUser { .. }
        | Action::CreateServiceAccount(_)
        | Action::DeleteServiceAccount { .. }
        | Action::SetServiceStatus { .. }
        | Action::AddApiKey { .. }
        | Action::RevokeApiKey { .. }
        | Action::CreateRole(_)
        | Action::UpdateRole { .. }
        | Action::DeleteRole { .. }
        | Action::AssignRole { .. }
        | Action::UnassignRole { .. }
        | Action::EndSession { .. }
        | Action::EndSessions { .. }
        | Action::RotateSigningKey { .. }
        | Action::ChangeSettings(_)
        | Action::Unlock { .. }
        | Action::ProvePassword { .. }
        | Action::SetRoles { .. }
        | Action::SetClient { .. } => match caller {
            Caller::Anonymous => return Err(Rejection::Unauthenticated),
            Caller::System => return existing_account(rows, account),
            Caller::KeyHolder(_) => return by_key(action),
            Caller::SignedIn { principal, is_root, .. } => Me { rows, account, principal, is_root: *is_root },
        },
    };
    me.may(action)
}

/// Refuses as [`may`] does, but only for what the caller lacks: in a transaction what an action is about
/// may come from an action before it, so that it is missing says nothing.
pub(super) fn refused(
    rows: &dyn Read,
    account: AccountId,
    caller: &Caller,
    action: &Action,
) -> Result<(), Rejection> {
    for action in action.each() {
        if let Err(refusal @ (Rejection::Forbidden(_) | Rejection::Unauthenticated)) =
            may(rows, account, caller, action)
        {
            return Err(refusal);
        }
    }
    Ok(())
}

/// The cluster itself may do anything, but only in an account that is there, open or closed.
fn existing_account(rows: &dyn Read, account: AccountId) -> Result<(), Rejection> {
    match account::find(rows, account)? {
        Some(_) => Ok(()),
        None => Err(Rejection::NotFound(Noun::Account)),
    }
}

fn system(caller: &Caller) -> Result<(), Rejection> {
    match caller {
        Caller::System => Ok(()),
        Caller::Anonymous | Caller::SignedIn { .. } | Caller::KeyHolder(_) => {
            Err(Rejection::Forbidden("the cluster itself".to_owned()))
        }
    }
}

/// Names and their keys belong to accounts that are owned by a key.
fn key_holder(caller: &Caller) -> Result<(), Rejection> {
    match caller {
        Caller::KeyHolder(_) => Ok(()),
        Caller::Anonymous => Err(Rejection::Unauthenticated),
        Caller::System | Caller::SignedIn { .. } => {
            Err(Rejection::Forbidden("the key of the account".to_owned()))
        }
    }
}

/// What else a key does: roles and settings. People and programs that sign in need an account with a signing
/// key, which one that is owned by a key does not have.
fn by_key(action: &Action) -> Result<(), Rejection> {
    let is_about_roles = matches!(
        action,
        Action::CreateRole(_)
            | Action::UpdateRole { .. }
            | Action::DeleteRole { .. }
            | Action::ChangeSettings(_)
    );
    if is_about_roles { Ok(()) } else { Err(Rejection::Forbidden("another kind of account".to_owned())) }
}

/// A caller who is signed in.
struct Me<'a> {
    rows: &'a dyn Read,
    account: AccountId,
    principal: &'a Principal,
    is_root: bool,
}

impl Me<'_> {
    fn may(&self, action: &Action) -> Result<(), Rejection> {
        match action {
            Action::CreateUser(new) => {
                self.need(permission::WRITE_USERS)?;
                self.give_new(&new.roles)
            }
            Action::UpdateUser { user, .. } => self.change_user(*user),
            // Waking somebody up gives back all that it holds; putting to sleep gives nothing.
            Action::SetPassword { user, .. } | Action::SetUserStatus { user, status: UserStatus::Active } => {
                self.take_over_user(*user)
            }
            Action::SetUserStatus { user, status: UserStatus::Disabled | UserStatus::Deleted } => {
                self.manage_user(*user)
            }
            Action::DeleteUser { user } => self.delete_user(*user),
            Action::CreateServiceAccount(new) => {
                self.need(permission::WRITE_SERVICES)?;
                self.give_new(&new.roles)
            }
            Action::AddApiKey { service, .. } | Action::SetServiceStatus { service, active: true } => {
                self.need(permission::WRITE_SERVICES)?;
                self.outrank(&Principal::Service(*service))
            }
            Action::DeleteServiceAccount { .. }
            | Action::SetServiceStatus { active: false, .. }
            | Action::SetClient { .. }
            | Action::RevokeApiKey { .. } => self.need(permission::WRITE_SERVICES),
            Action::CreateRole(new) => {
                self.need(permission::WRITE_ROLES)?;
                self.hold_all(new.permissions.iter())
            }
            Action::UpdateRole { changes, .. } => {
                self.need(permission::WRITE_ROLES)?;
                self.hold_all(changes.add.iter())
            }
            Action::DeleteRole { .. } => self.need(permission::WRITE_ROLES),
            Action::AssignRole { role, .. } => {
                self.need(permission::ASSIGN_ROLES)?;
                self.give(role)
            }
            Action::UnassignRole { principal, .. } => {
                self.need(permission::ASSIGN_ROLES)?;
                self.spare_root(principal)
            }
            Action::SetRoles { principal, roles } => self.set_roles(principal, roles),
            Action::EndSession { session } => self.end_session(*session),
            Action::EndSessions { principal, .. } => self.end_sessions_of(principal),
            Action::RotateSigningKey { .. } => self.need(permission::WRITE_KEYS),
            Action::ChangeSettings(changes) => self.change_settings(changes),
            Action::Unlock { user } => self.manage_user(*user),
            Action::ProvePassword { user, .. } => {
                if self.is(*user) {
                    Ok(())
                } else {
                    Err(Rejection::Forbidden("the user itself".to_owned()))
                }
            }
            Action::CreateAccount(_)
            | Action::OpenSession(_)
            | Action::RefreshSession(_)
            | Action::InstallSecrets(_)
            | Action::RehashPassword { .. }
            | Action::RefuseSignIn(_)
            | Action::Register(_)
            | Action::OpenKeyAccount { .. }
            | Action::Recover(_)
            | Action::OpenDefaultAccount(_)
            | Action::CreateFirstAdmin(_)
            | Action::Observe(_)
            | Action::RotateHolder { .. }
            | Action::SetRecovery { .. }
            | Action::AddMember { .. }
            | Action::RemoveMember { .. }
            | Action::AddSubjectKey { .. }
            | Action::RevokeSubjectKey { .. }
            | Action::ShortenSubjectKey { .. }
            | Action::Reseal(_)
            | Action::OrderNodes(_)
            | Action::OfferSetup { .. }
            | Action::BeginRestore { .. }
            | Action::RestoreRows(_)
            | Action::FinishRestore(_)
            | Action::AbandonRestore { .. }
            | Action::RaiseLevel { .. }
            | Action::Transaction(_) => Err(Rejection::Misplaced("decided elsewhere".to_owned())),
        }
    }

    fn is(&self, user: UserId) -> bool {
        *self.principal == Principal::User(user)
    }

    fn holds(&self, permission: &str) -> Result<bool, Rejection> {
        Ok(self.is_root || has_through_roles(self.rows, self.account, self.principal, permission)?)
    }

    fn need(&self, permission: &str) -> Result<(), Rejection> {
        if self.holds(permission)? { Ok(()) } else { Err(Rejection::Forbidden(permission.to_owned())) }
    }

    fn change_user(&self, user: UserId) -> Result<(), Rejection> {
        // An e-mail address is a way to take a user over, so changing another's asks as much.
        if self.is(user) { Ok(()) } else { self.take_over_user(user) }
    }

    fn take_over_user(&self, user: UserId) -> Result<(), Rejection> {
        if self.is(user) {
            return Ok(());
        }
        self.need(permission::WRITE_USERS)?;
        self.outrank(&Principal::User(user))
    }

    fn manage_user(&self, user: UserId) -> Result<(), Rejection> {
        self.need(permission::WRITE_USERS)?;
        self.spare_root(&Principal::User(user))
    }

    /// Who lets strangers register with roles gives those roles away.
    fn change_settings(&self, changes: &SettingsChanges) -> Result<(), Rejection> {
        self.need(permission::WRITE_SETTINGS)?;
        match &changes.registration {
            Some(Registration::Open { roles }) => self.give_new(roles),
            Some(Registration::Closed) | None => Ok(()),
        }
    }

    /// Only what is new is given: who keeps a role gains nothing.
    fn set_roles(&self, principal: &Principal, roles: &[RoleName]) -> Result<(), Rejection> {
        self.need(permission::ASSIGN_ROLES)?;
        self.spare_root(principal)?;
        let is_new = |role: &&RoleName| !membership::is_member(self.rows, self.account, principal, role);
        roles.iter().filter(is_new).try_for_each(|role| self.give(role))
    }

    /// The root user closes its own account; other users may leave only by somebody who manages them.
    fn delete_user(&self, user: UserId) -> Result<(), Rejection> {
        if self.is_root && self.is(user) { Ok(()) } else { self.manage_user(user) }
    }

    fn end_session(&self, id: SessionId) -> Result<(), Rejection> {
        let found = session::find(self.rows, self.account, id)?;
        let owner = found.ok_or(Rejection::NotFound(Noun::Session))?.value.principal;
        self.end_sessions_of(&owner)
    }

    fn end_sessions_of(&self, owner: &Principal) -> Result<(), Rejection> {
        if self.principal == owner {
            return Ok(());
        }
        self.need(permission::END_SESSIONS)?;
        self.spare_root(owner)
    }

    /// Nobody but the root user itself touches the root user.
    fn spare_root(&self, target: &Principal) -> Result<(), Rejection> {
        if self.is_root {
            return Ok(());
        }
        let is_root = match target {
            Principal::User(id) => {
                super::user::find(self.rows, self.account, *id)?.is_some_and(|row| row.value.is_root)
            }
            Principal::Service(_) | Principal::Subject(_) => false,
        };
        if is_root { Err(Rejection::Forbidden("the root user itself".to_owned())) } else { Ok(()) }
    }

    /// The caller must hold whatever the target holds.
    fn outrank(&self, target: &Principal) -> Result<(), Rejection> {
        self.spare_root(target)?;
        for role in membership::roles_of(self.rows, self.account, target)? {
            self.give(&role)?;
        }
        Ok(())
    }

    /// Roles that a new principal starts with. Giving them asks no more than making the principal does,
    /// as long as the caller holds all that they hold.
    fn give_new(&self, roles: &[RoleName]) -> Result<(), Rejection> {
        roles.iter().try_for_each(|role| self.give(role))
    }

    /// A role that does not exist yet could later hold anything: only the root user gives such a one.
    fn give(&self, name: &RoleName) -> Result<(), Rejection> {
        if self.is_root {
            return Ok(());
        }
        let found = role::find(self.rows, self.account, name)?.ok_or(Rejection::NotFound(Noun::Role))?;
        self.hold_all(found.value.permissions.iter())
    }

    fn hold_all<'p>(&self, permissions: impl Iterator<Item = &'p Permission>) -> Result<(), Rejection> {
        for permission in permissions {
            self.need(permission.as_str())?;
        }
        Ok(())
    }
}

fn has_through_roles(
    rows: &dyn Read,
    account: AccountId,
    principal: &Principal,
    permission: &str,
) -> Result<bool, Rejection> {
    let covering: Vec<String> = Permission::covering(permission).collect();
    let roles = membership::roles_of(rows, account, principal)?;
    Ok(roles.iter().any(|role| covering.iter().any(|held| role::has(rows, account, role, held))))
}

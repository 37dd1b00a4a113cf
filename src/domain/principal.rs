//! Who can hold roles and sessions.

use serde::{Deserialize, Serialize};

use super::{AccountId, Noun, Read, Rejection, ServiceId, SubjectId, UserId, service, subject, user};

/// Somebody or something that acts in an account. Grows at the end only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Principal {
    User(UserId),
    Service(ServiceId),
    /// A plain name; it signs in nowhere.
    Subject(SubjectId),
}

/// A principal as it stands now, if it may act at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is the root user, who may do everything in its account.
    pub is_root: bool,
    /// Sessions opened under another epoch have ended.
    pub epoch: u64,
    /// The name that tokens and audit records show.
    pub name: String,
}

impl Principal {
    /// How many bytes a principal takes in a key.
    pub(super) const KEY_BYTES: usize = 17;

    /// The principal as a part of a key, of fixed length.
    pub(super) fn key(&self) -> Vec<u8> {
        let (tag, id) = match self {
            Self::User(id) => (b'u', id.uuid()),
            Self::Service(id) => (b's', id.uuid()),
            Self::Subject(id) => (b'n', id.uuid()),
        };
        [&[tag], id.as_bytes().as_slice()].concat()
    }

    /// Reads what [`Principal::key`] wrote.
    pub(super) fn from_key(key: &[u8]) -> Option<Self> {
        let (tag, id) = key.split_first()?;
        let id = uuid::Uuid::from_slice(id).ok()?;
        match tag {
            b'u' => Some(Self::User(UserId::new(id))),
            b's' => Some(Self::Service(ServiceId::new(id))),
            b'n' => Some(Self::Subject(SubjectId::new(id))),
            _ => None,
        }
    }

    /// What to say when it is missing.
    pub(super) const fn noun(&self) -> Noun {
        match self {
            Self::User(_) | Self::Subject(_) => Noun::User,
            Self::Service(_) => Noun::ServiceAccount,
        }
    }

    /// The id alone, as a token's `sub` shows it.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::Service(id) => id.to_string(),
            Self::Subject(id) => id.to_string(),
        }
    }

    /// Whether there is such a principal. One that is disabled is there, one that was deleted is not.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if the row does not decode.
    pub fn exists(&self, rows: &dyn Read, account: AccountId) -> Result<bool, Rejection> {
        Ok(match self {
            Self::User(id) => user::find(rows, account, *id)?
                .is_some_and(|row| row.value.status != user::UserStatus::Deleted),
            Self::Service(id) => service::find(rows, account, *id)?.is_some(),
            Self::Subject(id) => subject::find(rows, account, *id)?.is_some(),
        })
    }

    /// How the principal stands.
    ///
    /// # Errors
    /// [`Rejection::NotFound`] if it is disabled, deleted or was never there.
    pub fn standing(&self, rows: &dyn Read, account: AccountId) -> Result<Standing, Rejection> {
        let standing = match self {
            Self::User(id) => {
                user::find(rows, account, *id)?.filter(|row| row.value.is_active()).map(|row| Standing {
                    is_root: row.value.is_root,
                    epoch: row.value.epoch,
                    name: row.value.login(),
                })
            }
            Self::Service(id) => {
                service::find(rows, account, *id)?.filter(|row| row.value.is_active).map(|row| Standing {
                    is_root: false,
                    epoch: row.value.epoch,
                    name: row.value.name.to_string(),
                })
            }
            Self::Subject(id) => subject::find(rows, account, *id)?.map(|subject| Standing {
                is_root: false,
                epoch: 0,
                name: subject.name.to_string(),
            }),
        };
        standing.ok_or(Rejection::NotFound(self.noun()))
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(f, "user/{id}"),
            Self::Service(id) => write!(f, "service-account/{id}"),
            Self::Subject(id) => write!(f, "subject/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Audit records say the one, tokens and replies the other.
    #[test]
    fn a_principal_is_named_by_its_id_with_or_without_its_kind() {
        let id = uuid::Uuid::from_u128(7);
        for (principal, kind) in [
            (Principal::User(UserId::new(id)), "user"),
            (Principal::Service(ServiceId::new(id)), "service-account"),
            (Principal::Subject(SubjectId::new(id)), "subject"),
        ] {
            assert_eq!(principal.id(), "00000000-0000-0000-0000-000000000007");
            assert_eq!(principal.to_string(), format!("{kind}/{}", principal.id()));
        }
    }
}

//! What a caller saw before it gave an order, and what must still be so when the order is decided.

use serde::{Deserialize, Serialize};

use super::{
    AccountId, Read, Rejection, RoleName, ServiceId, UserId, account, cluster, role, service, settings, user,
};

/// A row and the revision it must have. Revision 0 says that it must not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    pub resource: Resource,
    pub revision: u64,
}

/// What an expectation can be about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    Account,
    User(UserId),
    Password(UserId),
    ServiceAccount(ServiceId),
    Role(RoleName),
    Settings,
    /// The offer to set the cluster up; it belongs to no account.
    SetupOffer,
}

impl Expectation {
    pub(super) fn check(&self, rows: &dyn Read, account: AccountId) -> Result<(), Rejection> {
        let actual = self.resource.revision(rows, account)?;
        if actual == self.revision {
            return Ok(());
        }
        let resource = self.resource.to_string();
        Err(Rejection::PreconditionFailed { resource, expected: self.revision, actual })
    }
}

impl Resource {
    /// The revision that last wrote the row; 0 where there is none.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if the row does not decode.
    pub fn revision(&self, rows: &dyn Read, account: AccountId) -> Result<u64, Rejection> {
        Ok(match self {
            Self::Account => account::find(rows, account)?.map(|row| row.revision),
            Self::User(user) => user::find(rows, account, *user)?.map(|row| row.revision),
            Self::Password(user) => user::find_password(rows, account, *user)?.map(|row| row.revision),
            Self::ServiceAccount(id) => service::find(rows, account, *id)?.map(|row| row.revision),
            Self::Role(role) => role::find(rows, account, role)?.map(|row| row.revision),
            Self::Settings => settings::find(rows, account)?.map(|row| row.revision),
            Self::SetupOffer => cluster::setup_offer(rows)?.map(|row| row.revision),
        }
        .unwrap_or_default())
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::User(id) => write!(f, "user/{id}"),
            Self::Password(id) => write!(f, "password/{id}"),
            Self::ServiceAccount(id) => write!(f, "service-account/{id}"),
            Self::Role(name) => write!(f, "role/{name}"),
            Self::Settings => f.write_str("settings"),
            Self::SetupOffer => f.write_str("setup-offer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryRows;
    use super::super::{Action, Actor, Command, Lifetime, Origin, Reply, SecretHash, Timestamp};
    use super::*;

    /// Clients see these names in refusals.
    #[test]
    fn a_resource_is_named_by_its_kind_and_id() {
        let id = uuid::Uuid::from_u128(7);
        let (user, service) = (UserId::new(id), ServiceId::new(id));
        for (resource, name) in [
            (Resource::Account, "account"),
            (Resource::User(user), "user/00000000-0000-0000-0000-000000000007"),
            (Resource::Password(user), "password/00000000-0000-0000-0000-000000000007"),
            (Resource::ServiceAccount(service), "service-account/00000000-0000-0000-0000-000000000007"),
            (Resource::Role(RoleName::parse("ops").unwrap()), "role/ops"),
            (Resource::Settings, "settings"),
            (Resource::SetupOffer, "setup-offer"),
        ] {
            assert_eq!(resource.to_string(), name);
        }
    }

    #[test]
    fn an_offer_that_was_made_anew_is_not_as_expected() {
        let (mut rows, at) = (MemoryRows::default(), Timestamp(1));
        let offering = |expect| Command {
            account: AccountId::CLUSTER,
            by: Actor::System,
            origin: Origin::default(),
            expect,
            action: Action::OfferSetup { secret: SecretHash::new([1; 32]), good_for: Lifetime(1) },
        };
        let seen = |revision| vec![Expectation { resource: Resource::SetupOffer, revision }];
        assert_eq!(rows.apply(at, &offering(seen(0))), Ok(Reply::Done));
        let first = Resource::SetupOffer.revision(&rows, AccountId::DEFAULT).unwrap();
        assert_eq!(rows.apply(at, &offering(seen(first))), Ok(Reply::Done));
        let refused = rows.apply(at, &offering(seen(first)));
        assert!(matches!(refused, Err(Rejection::PreconditionFailed { expected, .. }) if expected == first));
    }
}

//! Who has which role, from both sides.

use std::fmt::{self, Display};

use reqwest::Method;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::super::path::Target;
use super::{Account, Answer, Call, Page, Pages, Read, Write};

/// Who has which role in an account.
#[derive(Clone, Debug)]
pub struct Memberships(pub(super) Account);

/// Somebody who can have roles and sessions, as a call names them: by id, name, or `me`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A user.
    User(String),
    /// A service account.
    Service(String),
}

impl Principal {
    /// A user, by id, name, e-mail address or `me`.
    pub fn user(user: impl Display) -> Self {
        Self::User(user.to_string())
    }

    /// A service account, by id, name or `me`.
    pub fn service(service: impl Display) -> Self {
        Self::Service(service.to_string())
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::User(name) => ("users", name),
            Self::Service(name) => ("service-accounts", name),
        }
    }

    pub(super) fn below(&self, account: &Account) -> Target {
        let (collection, name) = self.parts();
        account.below(collection).name(name)
    }
}

/// As transactions name it: `users/alice`.
impl Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (collection, name) = self.parts();
        write!(f, "{collection}/{name}")
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A principal as the cluster shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PrincipalView {
    /// Which kind.
    pub kind: PrincipalKind,
    /// Its id.
    pub id: Uuid,
}

/// The kinds of principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program.
    ServiceAccount,
    /// A name that somebody else's system knows, and that cannot sign in (seed 003).
    Subject,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}

/// Whether a call changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Changed {
    /// `false` where it was so already.
    pub changed: bool,
}

impl Memberships {
    /// Lists who has a role.
    pub fn members(&self, role: impl Display) -> Pages<PrincipalView> {
        Pages::new(&self.0, self.0.below("roles").name(role).word("members"))
    }

    /// Lists the roles of a principal.
    pub fn roles(&self, principal: &Principal) -> Call<Answer<Page<String>>, Read> {
        self.0.get(principal.below(&self.0).word("roles"))
    }

    /// Lists what a principal may do, as its roles have it: a final `*` stands for every ending, and the root
    /// user has `*`.
    pub fn permissions(&self, principal: &Principal) -> Call<Answer<Page<String>>, Read> {
        self.0.get(principal.below(&self.0).word("permissions"))
    }

    /// Gives a principal a role. Does nothing where it has it already.
    pub fn assign(&self, principal: &Principal, role: impl Display) -> Call<Answer<Changed>, Write> {
        self.0.write(Method::PUT, principal.below(&self.0).word("roles").name(role))
    }

    /// Takes a role from a principal. What it gave is refused everywhere from the answer's revision on.
    pub fn unassign(&self, principal: &Principal, role: impl Display) -> Call<Answer<Changed>, Write> {
        self.0.write(Method::DELETE, principal.below(&self.0).word("roles").name(role))
    }
}

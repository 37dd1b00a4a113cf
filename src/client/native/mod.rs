//! The native API, `/v1`: a handle for each noun of an account, a method for each operation.
//!
//! A thing is named by its id, or by the name that people know it by; `me` is whoever asks. Times are those of
//! the cluster. What a later version of the cluster says beyond this is passed over; a state that this version
//! does not know is `Unknown`.

mod accounts;
mod audit;
mod checks;
mod cluster;
mod memberships;
mod nodes;
mod page;
mod passwords;
mod reports;
mod roles;
mod service_accounts;
mod sessions;
mod settings;
mod sign_in;
mod tokens;
mod transactions;
mod users;

pub use accounts::{AccountState, AccountView, Jwk, Jwks, NewAccount, OpenedAccount};
pub use audit::{Audit, AuditHead, AuditQuery, AuditRecord, Trail};
pub use checks::{Checks, Holder, Holders, Question, Run, Runners, Verdict, WorkflowQuestion};
pub use cluster::{
    Admin, ClusterStatus, KeyStatus, ListedAccount, MemberStatus, NewAdmin, NodeRole, ReloadedKeys,
    SealingKey, SealingRole,
};
pub use memberships::{Changed, Memberships, Principal, PrincipalKind, PrincipalView};
pub use nodes::{
    ChangedMembership, CreatedJoinToken, JoinToken, JoinTokenState, JoinTokens, NewJoinToken,
    NodeCertificate, NodeCertificates, RevokedCertificates, RotatedCertificate, Setup, SetupOffer,
};
pub use page::{Page, Pages};
pub use passwords::{Breach, PasswordStrength};
pub use reports::{NodeReport, Reports};
pub use roles::{NewRole, Role, RoleChanges, Roles};
pub use service_accounts::{
    ApiKey, ApiKeyStatus, KeyForm, NewApiKey, NewServiceAccount, ServiceAccount, ServiceAccountWithKey,
    ServiceAccounts, ServiceStatus, ShownApiKey,
};
pub use sessions::{SessionRefresh, SessionView, Sessions, SignInMethod};
pub use settings::{
    CharacterClass, FailureCount, Lockout, LockoutRule, PasswordPolicy, PasswordsRule, RegistrationRule,
    RetentionRule, Settings, SettingsChanges,
};
pub use sign_in::{RefreshStyle, Tokens};
pub use tokens::{Introspection, TokenCalls, Validity};
pub use transactions::{Committed, Precondition, Step, StepResult, Transaction};
pub use users::{NewUser, User, UserChanges, UserStatus, Users};

use std::sync::Arc;

use reqwest::Method;
use serde::de::DeserializeOwned;

use super::call::{answer, nothing};
use super::path::Target;
use super::proof::Proof;
use super::{Answer, Call, Client, Read, Session, Write};
use crate::secret::Secret;

/// An account, and in whose name it is asked. Asks nobody by itself; cheap to clone.
#[derive(Clone, Debug)]
pub struct Account {
    client: Client,
    id: Arc<str>,
    proof: Proof,
}

impl Client {
    /// The account with this id, asked by a stranger: to sign in, to check tokens, to read its keys.
    pub fn account(&self, id: impl Into<String>) -> Account {
        Account { client: self.clone(), id: id.into().into(), proof: Proof::Nobody }
    }
}

impl Account {
    /// The account, asked in a session's name.
    #[must_use]
    pub fn with_session(mut self, session: &Session) -> Self {
        self.proof = Proof::Session(session.clone());
        self
    }

    /// The account, asked with an access token as it is: nobody renews it.
    #[must_use]
    pub fn with_token(mut self, access_token: impl Into<Secret<String>>) -> Self {
        self.proof = Proof::Token(access_token.into());
        self
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The client that it is asked through.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its users.
    #[must_use]
    pub fn users(&self) -> Users {
        Users(self.clone())
    }

    /// Its service accounts and their API keys.
    #[must_use]
    pub fn service_accounts(&self) -> ServiceAccounts {
        ServiceAccounts(self.clone())
    }

    /// Its roles.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles(self.clone())
    }

    /// Who has which role.
    #[must_use]
    pub fn memberships(&self) -> Memberships {
        Memberships(self.clone())
    }

    /// Who may do what.
    #[must_use]
    pub fn checks(&self) -> Checks {
        Checks(self.clone())
    }

    /// Its sessions.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions(self.clone())
    }

    /// Its tokens.
    #[must_use]
    pub fn tokens(&self) -> TokenCalls {
        TokenCalls(self.clone())
    }

    /// Its audit trail.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit(self.clone())
    }

    /// The path of the account.
    fn at(&self) -> Target {
        Target::new("/v1/accounts").name(&self.id)
    }

    /// The path of one of its collections.
    fn below(&self, collection: &'static str) -> Target {
        self.at().word(collection)
    }

    fn get<T: DeserializeOwned>(&self, target: Target) -> Call<Answer<T>, Read> {
        Call::reading(&self.client, &self.proof, Method::GET, target, answer)
    }

    /// A question in a body: a read, although it is posted.
    fn query<T: DeserializeOwned>(&self, target: Target) -> Call<Answer<T>, Read> {
        Call::reading(&self.client, &self.proof, Method::POST, target, answer)
    }

    fn write<T: DeserializeOwned>(&self, method: Method, target: Target) -> Call<Answer<T>, Write> {
        Call::writing(&self.client, &self.proof, method, target, answer)
    }

    /// A write whose answer has no body, or one that says nothing.
    fn order(&self, method: Method, target: Target) -> Call<Answer<()>, Write> {
        Call::writing(&self.client, &self.proof, method, target, nothing)
    }
}

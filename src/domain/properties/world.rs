//! A few accounts, furnished a little, to which random commands happen.

use super::super::account::NewAccount;
use super::super::key::{KeyAlgorithm, NewSigningKey};
use super::super::reseal::{Resealed, SealedSecret};
use super::super::role::NewRole;
use super::super::rows::tables;
use super::super::session::{Grant, NewRefresh, NewSession, Proof};
use super::super::testing::MemoryRows;
use super::super::user::NewUser;
use super::super::{
    AccountId, Action, Actor, Command, Email, Expectation, Lifetime, Origin, PasswordHash, Permission,
    Rejection, Reply, Resource, RoleName, Sealed, SecretHash, Timestamp, UserName, session as sessions,
    user as users,
};
use super::pools::{ROLES, account, role, session, user};
use super::steps::{AS_IT_IS, By, Step};

/// All rows, and the time.
pub(super) struct World {
    pub(super) rows: MemoryRows,
    pub(super) at: Timestamp,
}

/// A command that was given, with what became of it.
pub(super) struct Taken {
    pub(super) before: MemoryRows,
    pub(super) command: Command,
    pub(super) at: Timestamp,
    pub(super) revision: u64,
    pub(super) result: Result<Reply, Rejection>,
}

impl World {
    /// Two accounts of three, each with a root user in session 0, and in the first some roles and users.
    pub(super) fn new() -> Self {
        let mut world = Self { rows: MemoryRows::default(), at: Timestamp(1_000_000_000) };
        for n in 0..2 {
            world.must(account(n), &Actor::Anonymous, new_account(n));
            world.open(account(n), 0);
        }
        let first = account(0);
        let held =
            [&["*"][..], &["iam:users:*", "iam:roles:write", "iam:roles:assign", "doc:read"], &["doc:read"]];
        for (n, permissions) in held.iter().enumerate() {
            let permissions = permissions.iter().map(|text| Permission::parse(text).unwrap()).collect();
            let new = NewRole { name: role(n), description: None, permissions };
            world.must(first, &Actor::System, Action::CreateRole(new));
            let n = u8::try_from(n + 1).unwrap();
            let roles = vec![RoleName::parse(ROLES[usize::from(n) - 1]).unwrap()];
            world.must(
                first,
                &Actor::System,
                Action::CreateUser(new_user(n, &format!("user-{n}"), None, roles)),
            );
            world.open(first, n);
        }
        world
    }

    /// Opens the n-th session for the n-th user, for good.
    fn open(&mut self, account: AccountId, n: u8) {
        let revision = self.password_revision(account, n);
        let proof = Proof::Password { user: user(n), revision };
        let lifetime = Lifetime(u64::MAX);
        let new = NewSession {
            id: session(n),
            proof,
            refresh: NewRefresh::None,
            lifetime,
            grant: Grant::native(Lifetime(900_000)),
        };
        self.must(account, &Actor::Anonymous, Action::OpenSession(new));
    }

    fn password_revision(&self, account: AccountId, n: u8) -> u64 {
        users::find_password(&self.rows, account, user(n)).unwrap().unwrap().revision
    }

    /// Gives a command that must succeed.
    pub(super) fn must(&mut self, account: AccountId, by: &Actor, action: Action) {
        let command =
            Command { account, by: by.clone(), origin: Origin::default(), expect: Vec::new(), action };
        self.rows.apply(self.at, &command).unwrap();
    }

    /// Lets time pass and gives the step's command.
    pub(super) fn take(&mut self, step: &Step) -> Taken {
        self.at = self.at.plus(Lifetime(step.wait_ms));
        let command = self.command(step);
        let before = self.rows.clone();
        let result = self.rows.apply(self.at, &command);
        Taken { before, command, at: self.at, revision: self.rows.revision, result }
    }

    fn command(&self, step: &Step) -> Command {
        let is_cluster = step.account == 0 && is_of_cluster(&step.action);
        let account = if is_cluster { AccountId::CLUSTER } else { account(step.account) };
        let by = match &step.by {
            By::System => Actor::System,
            By::Anonymous => Actor::Anonymous,
            By::Claimed(principal, session) => Actor::SignedIn { principal: *principal, session: *session },
            By::Session(session) => match sessions::find(&self.rows, account, *session).unwrap() {
                Some(row) => Actor::SignedIn { principal: row.value.principal, session: *session },
                None => Actor::System,
            },
        };
        let expect = step.expect.iter().map(|(resource, is_right)| {
            let revision = resource.revision(&self.rows, account).unwrap() + u64::from(!is_right);
            Expectation { resource: resource.clone(), revision }
        });
        let mut expect: Vec<_> = expect.collect();
        if let (Action::RehashPassword { user, .. }, None) = (&step.action, &step.expect) {
            let resource = Resource::Password(*user);
            let revision = resource.revision(&self.rows, account).unwrap();
            expect.push(Expectation { resource, revision });
        }
        let action = self.filled_in(account, step.action.clone());
        Command { account, by, origin: Origin::default(), expect, action }
    }

    /// The action with proofs and tokens that exist, mostly.
    fn filled_in(&self, account: AccountId, mut action: Action) -> Action {
        if let Action::OpenSession(NewSession { proof, .. }) = &mut action {
            match proof {
                Proof::Password { user, revision } if *revision == AS_IT_IS => {
                    let found = users::find_password(&self.rows, account, *user).unwrap();
                    *revision = found.map_or(0, |password| password.revision);
                }
                Proof::Password { .. } => {}
                Proof::ApiKey { hash } => {
                    let keys = tables::API_KEY_HASH.scan(&self.rows, account, &[], None, usize::MAX).unwrap();
                    replace(hash, &keys.into_iter().map(|(hash, _)| hash).collect::<Vec<_>>());
                }
            }
        }
        if let Action::RefreshSession(rotation) = &mut action {
            let is_good = |hash: &[u8]| {
                let hash = SecretHash::new(hash.try_into().unwrap());
                sessions::find_by_refresh(&self.rows, account, &hash, self.at).is_ok()
            };
            // Half of the time one that is good, if there is one.
            let wants_good = rotation.presented.as_bytes()[0] % 4 < 2;
            let tokens = tables::REFRESH.scan(&self.rows, account, &[], None, usize::MAX).unwrap();
            let tokens = tokens.into_iter().map(|(hash, _)| hash);
            let tokens: Vec<_> = tokens.filter(|hash| !wants_good || is_good(hash)).collect();
            replace(&mut rotation.presented, &tokens);
        }
        action
    }
}

/// Puts one of those that exist in the place of a random hash, but for one in eight.
fn replace(hash: &mut SecretHash, existing: &[Vec<u8>]) {
    let n = usize::from(hash.as_bytes()[0]);
    if n % 8 != 7 && !existing.is_empty() {
        *hash = SecretHash::new(existing[n % existing.len()].as_slice().try_into().unwrap());
    }
}

fn new_account(n: u8) -> Action {
    let email = Email::parse(&format!("root{n}@x")).unwrap();
    let key = NewSigningKey {
        id: "first".to_owned(),
        algorithm: KeyAlgorithm::EdDsa,
        public: vec![n; 32],
        private: Sealed::new(vec![n; 32]),
    };
    Action::CreateAccount(NewAccount { root: new_user(0, "root", Some(email), Vec::new()), key })
}

pub(super) fn new_user(n: u8, name: &str, email: Option<Email>, roles: Vec<RoleName>) -> NewUser {
    NewUser {
        id: user(n),
        name: Some(UserName::parse(name).unwrap()),
        email,
        first_name: None,
        last_name: None,
        password: PasswordHash::new("first".to_owned()),
        roles,
    }
}

/// Whether an action is about the cluster's own secrets.
pub(super) fn is_of_cluster(action: &Action) -> bool {
    let reseals = |new: &Resealed| new.secret == SealedSecret::MintKey;
    matches!(action, Action::InstallSecrets(_)) || matches!(action, Action::Reseal(new) if reseals(new))
}

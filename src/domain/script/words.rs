//! What the words of a line stand for.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::account::NewAccount;
use super::super::cluster::ClusterSecrets;
use super::super::key::{KeyAlgorithm, NewSigningKey};
use super::super::reseal::{Resealed, SealedSecret};
use super::super::role::{NewRole, RoleChanges};
use super::super::service::{NewApiKey, NewServiceAccount};
use super::super::session::{NewRefresh, NewSession, Proof, Rotation};
use super::super::user::{NewUser, UserChanges, UserStatus};
use super::super::{
    AccountId, Action, ApiKeyId, Email, Label, Lifetime, PasswordHash, Permission, Principal, Resource,
    RoleName, Sealed, SecretHash, ServiceId, SessionId, UserId, UserName,
};

/// A line, cut into words; `name=value` is an option.
pub(super) struct Words<'l> {
    plain: Vec<&'l str>,
    options: Vec<(&'l str, &'l str)>,
}

impl<'l> Words<'l> {
    pub(super) fn new(line: &'l str) -> Self {
        let (options, plain) = line.split_whitespace().partition::<Vec<_>, _>(|word| word.contains('='));
        Self { plain, options: options.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    pub(super) fn verb(&self) -> &'l str {
        self.plain[0]
    }

    pub(super) fn at(&self, at: usize) -> &'l str {
        self.plain.get(at).copied().unwrap_or_default()
    }

    pub(super) fn number(&self, at: usize) -> usize {
        self.at(at).parse().expect("a number")
    }

    pub(super) fn role(&self, at: usize) -> RoleName {
        RoleName::parse(self.at(at)).unwrap()
    }

    pub(super) fn option(&self, name: &str) -> Option<&'l str> {
        self.options(name).next()
    }

    pub(super) fn options(&self, name: &str) -> impl Iterator<Item = &'l str> {
        self.options.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// The action that the line orders, if its verb orders one. `seen` is the revision of the password
    /// that was checked before a session is opened.
    pub(super) fn action(&self, labels: &mut Labels, seen: u64) -> Option<Action> {
        let first = self.at(1);
        let action = match self.verb() {
            "install-secrets" => Action::InstallSecrets(ClusterSecrets { mint_key: sealed(first) }),
            "create-account" => Action::CreateAccount(NewAccount {
                root: self.new_user(labels, self.option("name")),
                key: signing_key(self.option("key").unwrap_or("key-1")),
            }),
            "create-user" => {
                let name = self.option("name").unwrap_or(first);
                Action::CreateUser(self.new_user(labels, Some(name).filter(|name| *name != "none")))
            }
            "update-user" => {
                let changes = UserChanges {
                    name: self.option("name").map(|name| UserName::parse(name).unwrap()),
                    email: self.option("email").map(|email| Email::parse(email).unwrap()),
                    first_name: self.label("first"),
                    last_name: self.label("last"),
                };
                Action::UpdateUser { user: labels.user(first), changes }
            }
            "enable-user" => Action::SetUserStatus { user: labels.user(first), status: UserStatus::Active },
            "disable-user" => {
                Action::SetUserStatus { user: labels.user(first), status: UserStatus::Disabled }
            }
            "mark-user-deleted" => {
                Action::SetUserStatus { user: labels.user(first), status: UserStatus::Deleted }
            }
            "set-password" => Action::SetPassword { user: labels.user(first), password: hash(self.at(2)) },
            "rehash" => Action::RehashPassword { user: labels.user(first), password: hash(self.at(2)) },
            "delete-user" => Action::DeleteUser { user: labels.user(first) },
            "rotate-key" => Action::RotateSigningKey {
                key: signing_key(first),
                retire_after: self.lifetime("retire", 3_600),
            },
            // The bytes as text, but for what `rotate-key` makes.
            "reseal" => Action::Reseal(Resealed {
                secret: match first {
                    "mint-key" => SealedSecret::MintKey,
                    id => SealedSecret::SigningKey(id.to_owned()),
                },
                was: sealed(self.option("was").unwrap_or("new")),
                now: sealed(self.option("now").unwrap_or("new")),
            }),
            "create-role" => Action::CreateRole(NewRole {
                name: self.role(1),
                description: self.label("text"),
                permissions: self.permissions("has"),
            }),
            "update-role" => {
                let (add, remove) = (self.permissions("add"), self.permissions("remove"));
                let changes = RoleChanges { description: self.label("text"), add, remove };
                Action::UpdateRole { role: self.role(1), changes }
            }
            "delete-role" => Action::DeleteRole { role: self.role(1) },
            "assign" => Action::AssignRole { principal: labels.principal(first), role: self.role(2) },
            "unassign" => Action::UnassignRole { principal: labels.principal(first), role: self.role(2) },
            _ => return self.session_action(labels, seen).or_else(|| self.service_action(labels)),
        };
        Some(action)
    }

    fn session_action(&self, labels: &mut Labels, seen: u64) -> Option<Action> {
        Some(match self.verb() {
            "open" => {
                let proof = Proof::Password { user: labels.user(self.at(2)), revision: seen };
                Action::OpenSession(self.new_session(labels, proof))
            }
            "open-by-key" => {
                let proof = Proof::ApiKey { hash: secret(self.at(2)) };
                Action::OpenSession(self.new_session(labels, proof))
            }
            "refresh" => {
                Action::RefreshSession(Rotation { presented: secret(self.at(1)), next: secret(self.at(2)) })
            }
            "end" => Action::EndSession { session: session_id(self.at(1)) },
            "end-all" => Action::EndSessions {
                principal: labels.principal(self.at(1)),
                except: self.option("except").map(session_id),
            },
            _ => return None,
        })
    }

    fn service_action(&self, labels: &mut Labels) -> Option<Action> {
        let service = labels.service(self.at(1));
        Some(match self.verb() {
            "create-service" => Action::CreateServiceAccount(NewServiceAccount {
                id: service,
                name: UserName::parse(self.option("name").unwrap_or(self.at(1))).unwrap(),
                roles: self.roles(),
                key: self.new_key(self.option("key").unwrap_or("k0")),
            }),
            "delete-service" => Action::DeleteServiceAccount { service },
            "enable-service" => Action::SetServiceStatus { service, active: true },
            "disable-service" => Action::SetServiceStatus { service, active: false },
            "add-key" => Action::AddApiKey { service, key: self.new_key(self.at(2)) },
            "revoke-key" => Action::RevokeApiKey { service, key: api_key(self.at(2)) },
            _ => return None,
        })
    }

    fn new_user(&self, labels: &mut Labels, name: Option<&str>) -> NewUser {
        NewUser {
            id: labels.user(self.at(1)),
            name: name.map(|name| UserName::parse(name).unwrap()),
            email: self.option("email").map(|email| Email::parse(email).unwrap()),
            first_name: self.label("first"),
            last_name: self.label("last"),
            password: hash("first"),
            roles: self.roles(),
        }
    }

    fn new_session(&self, labels: &mut Labels, proof: Proof) -> NewSession {
        let refresh = match self.option("refresh").and_then(|text| text.split_once(':')) {
            Some(("fixed", token)) => NewRefresh::Fixed(secret(token)),
            Some(("rotating", token)) => NewRefresh::Rotating(secret(token)),
            Some((other, _)) => panic!("refresh={other}"),
            None => NewRefresh::None,
        };
        labels.session(self.at(1));
        NewSession { id: session_id(self.at(1)), proof, refresh, lifetime: self.lifetime("life", 3_600) }
    }

    fn new_key(&self, label: &str) -> NewApiKey {
        let hash = secret(self.option("hash").unwrap_or(label));
        NewApiKey { id: api_key(label), hash, label: None, lifetime: self.lifetime("life", 86_400) }
    }

    fn lifetime(&self, option: &str, otherwise: u64) -> Lifetime {
        Lifetime::from_secs(self.option(option).map_or(otherwise, |text| text.parse().expect("seconds")))
    }

    fn label(&self, option: &str) -> Option<Label> {
        self.option(option).map(|text| Label::parse(text).unwrap())
    }

    fn roles(&self) -> Vec<RoleName> {
        let names = self.option("roles").unwrap_or_default().split(',').filter(|name| !name.is_empty());
        names.map(|name| RoleName::parse(name).unwrap()).collect()
    }

    fn permissions(&self, option: &str) -> BTreeSet<Permission> {
        let texts = self.option(option).unwrap_or_default().split(',').filter(|text| !text.is_empty());
        let mut permissions = BTreeSet::new();
        for text in texts {
            match text.strip_prefix("many:") {
                Some(count) => permissions.extend(
                    (0..count.parse().unwrap()).map(|at: u32| Permission::parse(&format!("p{at}")).unwrap()),
                ),
                None => _ = permissions.insert(Permission::parse(text).unwrap()),
            }
        }
        permissions
    }
}

/// Which label stands for which id, to answer with labels.
#[derive(Default)]
pub(super) struct Labels {
    names: BTreeMap<Uuid, String>,
    accounts: BTreeMap<AccountId, String>,
}

impl Labels {
    pub(super) fn account(&mut self, label: &str) -> AccountId {
        if label == "cluster" {
            return AccountId::CLUSTER;
        }
        let number = u128::from_be_bytes(id("account", label).into_bytes()) % 1_000_000_000_000;
        let id = AccountId::parse(&format!("{number:012}")).unwrap();
        self.accounts.insert(id, label.to_owned());
        id
    }

    fn user(&mut self, label: &str) -> UserId {
        UserId::new(self.remember("user", label))
    }

    fn service(&mut self, label: &str) -> ServiceId {
        ServiceId::new(self.remember("service", label))
    }

    fn session(&mut self, label: &str) {
        self.remember("session", label);
    }

    /// `alice` is a user, `svc:robot` a service account.
    pub(super) fn principal(&mut self, label: &str) -> Principal {
        match label.strip_prefix("svc:") {
            Some(label) => Principal::Service(self.service(label)),
            None => Principal::User(self.user(label)),
        }
    }

    /// `account`, `user/alice`, `password/alice`, `service/robot` or `role/admin`.
    pub(super) fn resource(&mut self, path: &str) -> Resource {
        match path.split_once('/') {
            None if path == "account" => Resource::Account,
            Some(("user", label)) => Resource::User(self.user(label)),
            Some(("password", label)) => Resource::Password(self.user(label)),
            Some(("service", label)) => Resource::ServiceAccount(self.service(label)),
            Some(("role", name)) => Resource::Role(RoleName::parse(name).unwrap()),
            None | Some(_) => panic!("no resource {path}"),
        }
    }

    pub(super) fn name(&self, id: Uuid) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    pub(super) fn account_name(&self, id: AccountId) -> String {
        self.accounts.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    pub(super) fn principal_name(&self, principal: &Principal) -> String {
        match principal {
            Principal::User(id) => self.name(*id.uuid()),
            Principal::Service(id) => format!("svc:{}", self.name(*id.uuid())),
        }
    }

    fn remember(&mut self, kind: &str, label: &str) -> Uuid {
        let id = id(kind, label);
        self.names.insert(id, label.to_owned());
        id
    }
}

pub(super) fn session_id(label: &str) -> SessionId {
    SessionId::new(id("session", label))
}

pub(super) fn api_key(label: &str) -> ApiKeyId {
    ApiKeyId::new(id("api-key", label))
}

pub(super) fn secret(label: &str) -> SecretHash {
    SecretHash::new(Sha256::digest(label).into())
}

fn hash(label: &str) -> PasswordHash {
    PasswordHash::new(label.to_owned())
}

fn signing_key(label: &str) -> NewSigningKey {
    NewSigningKey {
        id: label.to_owned(),
        algorithm: KeyAlgorithm::EdDsa,
        public: vec![1; 32],
        private: sealed("new"),
    }
}

fn sealed(text: &str) -> Sealed {
    Sealed::new(text.as_bytes().to_vec())
}

fn id(kind: &str, label: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(format!("{kind}/{label}")).into();
    Uuid::from_slice(&digest[..16]).unwrap()
}

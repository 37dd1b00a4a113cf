//! What the words of a line stand for.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::account::{DefaultAccount, NewAccount};
use super::super::audit::{Observation, Trail};
use super::super::cluster::ClusterSecrets;
use super::super::holder::Recovery;
use super::super::key::{KeyAlgorithm, NewSigningKey};
use super::super::lockout::{Lockout, RefusedSignIn, Why};
use super::super::reseal::{Resealed, SealedSecret};
use super::super::role::{NewRole, RoleChanges};
use super::super::service::{NewApiKey, NewServiceAccount};
use super::super::session::{Grant, NewRefresh, NewSession, Proof, Rotation};
use super::super::settings::{Registration, Retention, SettingsChanges};
use super::super::subject_key::NewSubjectKey;
use super::super::user::{NewUser, UserChanges, UserStatus};
use super::super::workflow::Steps;
use super::super::{
    AccountId, Action, Actor, ApiKeyId, Email, Label, Lifetime, Origin, PasswordHash, Permission, Principal,
    Resource, RoleName, Sealed, SecretHash, ServiceId, SessionId, Timestamp, UserId, UserName,
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

    /// The steps of a workflow, from that word on.
    pub(super) fn steps(&self, from: usize) -> Steps {
        Steps::new(self.plain[from..].iter().map(|text| Permission::parse(text).unwrap()).collect()).unwrap()
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
            "set-password" => {
                Action::SetPassword { user: labels.user(first), password: hash(self.at(2)), history: 3 }
            }
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
            "set-roles" => Action::SetRoles { principal: labels.principal(first), roles: self.roles() },
            _ => {
                let action = self.session_action(labels, seen).or_else(|| self.service_action(labels));
                return action.or_else(|| self.owner_action(labels)).or_else(|| self.subject_action());
            }
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
            "wrong" => Action::RefuseSignIn(RefusedSignIn::new(
                Some(labels.user(self.at(1))),
                self.at(1),
                Why::WrongPassword,
            )),
            "disabled-try" => Action::RefuseSignIn(RefusedSignIn::new(
                Some(labels.user(self.at(1))),
                self.at(1),
                Why::Disabled,
            )),
            "unknown-try" => Action::RefuseSignIn(RefusedSignIn::new(None, self.at(1), Why::Unknown)),
            "prove" => Action::ProvePassword { user: labels.user(self.at(1)), revision: seen },
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
                client: None,
            }),
            "delete-service" => Action::DeleteServiceAccount { service },
            "enable-service" => Action::SetServiceStatus { service, active: true },
            "disable-service" => Action::SetServiceStatus { service, active: false },
            "add-key" => Action::AddApiKey { service, key: self.new_key(self.at(2)) },
            "revoke-key" => Action::RevokeApiKey { service, key: api_key(self.at(2)) },
            _ => return None,
        })
    }

    /// What concerns the ownership of accounts, their settings and what nodes saw.
    fn owner_action(&self, labels: &mut Labels) -> Option<Action> {
        let roles = || self.roles();
        Some(match self.verb() {
            "open-default" => Action::OpenDefaultAccount(DefaultAccount {
                key: signing_key("key-1"),
                roles: vec![NewRole {
                    name: RoleName::parse("admin").unwrap(),
                    description: None,
                    permissions: [Permission::parse("*").unwrap()].into(),
                }],
                registered: roles(),
            }),
            "first-admin" => Action::CreateFirstAdmin(self.new_user(labels, Some(self.at(1)))),
            "register" => Action::Register(self.new_user(labels, Some(self.at(1)))),
            "open-key-account" => Action::OpenKeyAccount { key: secret(self.at(1)) },
            "rotate-holder" => Action::RotateHolder { next: secret(self.at(1)) },
            "set-recovery" => Action::SetRecovery { secret: secret(self.at(1)) },
            "recover" => Action::Recover(Recovery {
                presented: secret(self.at(1)),
                key: secret(self.at(2)),
                next: secret(self.at(3)),
            }),
            "settings" => {
                let registration = self.option("register").map(|roles| match roles {
                    "closed" => Registration::Closed,
                    names => Registration::Open {
                        roles: names.split(',').map(|name| RoleName::parse(name).unwrap()).collect(),
                    },
                });
                let lockout = self.option("lockout").map(|failures| Lockout {
                    failures: failures.parse().unwrap(),
                    lock_for: self.lifetime("lock-for", 900),
                });
                let retention = self.option("checks").map(|checks| Retention {
                    acts: self.lifetime("acts", 86_400),
                    checks: checks.parse().unwrap(),
                });
                let strict_users = self.option("strict").map(|strict| strict == "yes");
                let passwords = None;
                Action::ChangeSettings(SettingsChanges {
                    passwords,
                    lockout,
                    strict_users,
                    registration,
                    retention,
                })
            }
            "unlock" => Action::Unlock { user: labels.user(self.at(1)) },
            "observe" => Action::Observe(vec![Observation {
                trail: Trail::Checks,
                by: Actor::Anonymous,
                origin: Origin::default(),
                action: self.at(1).to_owned(),
                target: String::new(),
                success: true,
                detail: String::new(),
                count: self.option("count").map_or(1, |count| count.parse().unwrap()),
                used: None,
            }]),
            _ => return None,
        })
    }

    /// What concerns plain names and their keys.
    fn subject_action(&self) -> Option<Action> {
        let user = UserName::parse(self.at(1));
        Some(match self.verb() {
            "add-member" => Action::AddMember { user: user.unwrap(), role: self.role(2) },
            "remove-member" => Action::RemoveMember { user: user.unwrap(), role: self.role(2) },
            "add-user-key" => Action::AddSubjectKey {
                user: user.unwrap(),
                key: NewSubjectKey {
                    id: api_key(self.at(2)),
                    hash: secret(self.at(2)),
                    prefix: Label::parse("rak_").unwrap(),
                    label: None,
                    expires_at: self.option("end").map(moment),
                },
            },
            "revoke-user-key" => Action::RevokeSubjectKey { user: user.unwrap(), key: api_key(self.at(2)) },
            "shorten-user-key" => Action::ShortenSubjectKey {
                user: user.unwrap(),
                key: api_key(self.at(2)),
                end: moment(self.option("end").expect("an end")),
            },
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
        let grant = Grant::native(Lifetime::from_secs(900));
        NewSession {
            id: session_id(self.at(1)),
            proof,
            refresh,
            lifetime: self.lifetime("life", 3_600),
            grant,
        }
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
        if label == "default" {
            self.accounts.insert(AccountId::DEFAULT, label.to_owned());
            return AccountId::DEFAULT;
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

    /// `account`, `user/alice`, `password/alice`, `service/robot`, `role/admin`, `settings` or
    /// `setup-offer`.
    pub(super) fn resource(&mut self, path: &str) -> Resource {
        match path.split_once('/') {
            None if path == "account" => Resource::Account,
            Some(("user", label)) => Resource::User(self.user(label)),
            Some(("password", label)) => Resource::Password(self.user(label)),
            Some(("service", label)) => Resource::ServiceAccount(self.service(label)),
            None if path == "settings" => Resource::Settings,
            None if path == "setup-offer" => Resource::SetupOffer,
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
            Principal::Subject(id) => format!("subject:{}", self.name(*id.uuid())),
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

/// So many seconds after the scripts begin.
fn moment(seconds: &str) -> Timestamp {
    Timestamp(1_000_000_000).plus(Lifetime::from_secs(seconds.parse().expect("seconds")))
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

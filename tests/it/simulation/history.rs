//! What the people of a run were told, and what must follow from it.
//!
//! - A name that somebody was told is theirs is nobody else's.
//! - Whatever was taken back (a session, a key, a role, a whole service account) is refused to everybody who asks after
//!   that was acknowledged; whatever nobody began to take back is good.
//! - A refresh token is spent once.
//! - Each order acts once, however often it was sent, and is answered with the same revision.
//! - No read is older than what was acknowledged before it.
//! - The audit trail has each acknowledged change, at its revision, in a chain without gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use conclave::app::{App, Failure, Request};
use conclave::auth::keys::KeyAlgorithm;
use conclave::auth::mint::Mint;
use conclave::auth::seal::Place;
use conclave::auth::signer::SigningKey;
use conclave::auth::token::SecretHash;
use conclave::domain::account::NewAccount;
use conclave::domain::audit::{self, Chain, Trail};
use conclave::domain::key::{self, NewSigningKey};
use conclave::domain::role::NewRole;
use conclave::domain::service;
use conclave::domain::session::{Grant, NewRefresh, NewSession, Proof};
use conclave::domain::user::{self, NewUser};
use conclave::domain::{
    AccountId, Action, Actor, ApiKeyId, Command, Email, Lifetime, Origin, PasswordHash, Permission, RoleName,
    Sealed, ServiceId, SessionId, UserId,
};
use conclave_cluster::View;
use conclave_cluster::testing::World;
use tokio::time::{self, Instant};

use super::system::System;

/// Clones are the same.
#[derive(Clone)]
pub(super) struct History {
    pub(super) account: AccountId,
    pub(super) root: UserId,
    /// The role that is given and taken, and what it permits.
    pub(super) role: RoleName,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
pub(super) struct Told {
    /// The access token of the root user; it is good all the time.
    pub(super) root_token: String,
    pub(super) owners: BTreeMap<String, ServiceId>,
    pub(super) services: Vec<Service>,
    pub(super) tokens: Vec<Token>,
    pub(super) chains: Vec<SpentChain>,
    changes: BTreeSet<u64>,
    pub(super) checks: u64,
}

/// A service account that somebody was told of.
pub(super) struct Service {
    pub(super) id: ServiceId,
    pub(super) keys: Vec<Key>,
    /// Keys that were asked for and neither given nor refused: the run was over.
    pub(super) keys_unknown: usize,
    /// Orders under way that end all its sessions. One whose outcome is not known stays under way.
    pub(super) ending: u32,
    /// The newest acknowledged revision that ended all its sessions.
    pub(super) ended_at: u64,
    pub(super) role: Register,
}

pub(super) struct Key {
    pub(super) id: ApiKeyId,
    pub(super) text: String,
    pub(super) ending: u32,
    pub(super) ended: bool,
}

/// An access token of a service account.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) service: usize,
    pub(super) session: SessionId,
    pub(super) since: u64,
    pub(super) ending: u32,
    pub(super) ended: bool,
}

/// Whether a service account has the role. One person at a time changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Register {
    pub(super) is_set: bool,
    pub(super) version: u64,
    pub(super) is_changing: bool,
}

/// A session of refresh tokens, each of which is good once.
pub(super) struct SpentChain {
    pub(super) current: String,
    pub(super) spent: BTreeSet<String>,
}

pub(super) const PERMISSION: &str = "docs:read";

impl History {
    /// Opens an account with a root user that is signed in, on a world that has just been founded.
    pub(super) async fn open(world: &World, system: &System) -> Result<Self, String> {
        let soon = Instant::now() + Duration::from_mins(1);
        let app = loop {
            let leads = |app: &Arc<App>| app.cluster.is_leader() && app.is_open();
            match system.apps().into_iter().find(leads) {
                Some(app) => break app,
                None if Instant::now() > soon => return Err("nobody opens the cluster's secrets".to_owned()),
                None => time::sleep(Duration::from_millis(20)).await,
            }
        };
        world.compare()?;
        let mut mint = Mint::random();
        let account = AccountId::parse("123456789012").unwrap();
        let root = UserId::new(mint.uuid().unwrap());
        let role = RoleName::parse("readers").unwrap();
        let told = Arc::default();
        let history = Self { account, root, role: role.clone(), told };
        let failed = |failure: Failure| format!("at the beginning: {failure}");
        history.order(&app, history.opening(system, &mut mint)).await.map_err(failed)?;
        let refresh = history.sign_in(&app).await.map_err(failed)?;
        let asked = conclave::app::refresh::Asked {
            family: conclave::domain::session::Family::Native,
            token: &refresh,
            scope: None,
            client: None,
        };
        let tokens = app.refresh(account, &asked, &request()).await.map_err(failed)?;
        tokens.access.expose().clone_into(&mut history.told().root_token);
        let permissions = BTreeSet::from([Permission::parse(PERMISSION).unwrap()]);
        let making = Action::CreateRole(NewRole { name: role, description: None, permissions });
        let caller = app.authenticate(&app.cluster.view(), tokens.access.expose()).map_err(failed)?;
        let request = request();
        app.execute(&caller.orders(&request, Vec::new(), making), &request).await.map_err(failed)?;
        for _ in 0..CHAINS {
            let current = history.sign_in(&app).await.map_err(failed)?;
            history.told().chains.push(SpentChain { current, spent: BTreeSet::new() });
        }
        Ok(history)
    }

    fn opening(&self, system: &System, mint: &mut Mint) -> Action {
        let kid = mint.uuid().unwrap().simple().to_string();
        let private = SigningKey::generate_ed25519().unwrap();
        let place = Place { account: self.account.as_str(), record: &kid, purpose: "signing key" };
        let sealed = system.keyring().sealer().seal(&place, private.expose()).unwrap();
        let pair = SigningKey::new(&kid, KeyAlgorithm::EdDsa, private).unwrap();
        let public = pair.verifying().public().unwrap().to_vec();
        let algorithm = key::KeyAlgorithm::EdDsa;
        let root = NewUser {
            id: self.root,
            name: None,
            email: Some(Email::parse("root@example.com").unwrap()),
            first_name: None,
            last_name: None,
            password: PasswordHash::new("nobody signs in with it".to_owned()),
            roles: Vec::new(),
        };
        let key = NewSigningKey { id: kid, algorithm, public, private: Sealed::new(sealed) };
        Action::CreateAccount(NewAccount { root, key })
    }

    /// Opens a session of the root user, as if its password had been checked, and gives the refresh token.
    pub(super) async fn sign_in(&self, app: &App) -> Result<String, Failure> {
        let view = app.view(conclave::replica::Freshness::Linearizable, soon()).await?;
        let stored = user::find_password(&view, self.account, self.root)?;
        let revision = stored.ok_or(Failure::Internal("no password"))?.revision;
        let mut mint = Mint::random();
        let token = mint.refresh_token()?.expose().clone();
        let opening = Action::OpenSession(NewSession {
            id: SessionId::new(mint.session_id()?),
            proof: Proof::Password { user: self.root, revision },
            refresh: NewRefresh::Rotating(SecretHash::of(&token)),
            lifetime: Lifetime::from_secs(30 * 86_400),
            grant: Grant::native(Lifetime::from_secs(30 * 86_400)),
        });
        self.order(app, opening).await?;
        Ok(token)
    }

    async fn order(&self, app: &App, action: Action) -> Result<(), Failure> {
        let origin = Origin::default();
        let command =
            Command { account: self.account, by: Actor::Anonymous, origin, expect: Vec::new(), action };
        let done = app.execute(&command, &request()).await?;
        self.changed(done.revision);
        Ok(())
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    /// Somebody was told that something was done at this revision.
    pub(super) fn changed(&self, revision: u64) {
        self.told().changes.insert(revision);
    }

    pub(super) fn changes(&self) -> usize {
        self.told().changes.len()
    }

    pub(super) fn checks(&self) -> u64 {
        self.told().checks
    }

    /// What was acknowledged to anybody so far is in every read that begins now.
    pub(super) fn newest(&self) -> u64 {
        self.told().changes.last().copied().unwrap_or_default()
    }

    /// Everything that anybody was told is so in `view`.
    pub(super) fn holds(&self, view: &View) -> Result<(), String> {
        let told = self.told();
        let newest = told.changes.last().copied().unwrap_or_default();
        if view.revision() < newest {
            return Err(format!("the end is at {}, and {newest} was acknowledged", view.revision()));
        }
        for (name, id) in &told.owners {
            let owner = service::find_by_name(view, self.account, name).map_err(|error| error.to_string())?;
            if owner != Some(*id) {
                return Err(format!("{name} was acknowledged as {id}'s, and is {owner:?}'s"));
            }
        }
        for service in &told.services {
            let keys =
                service::list_keys(view, self.account, service.id).map_err(|error| error.to_string())?;
            if keys.len() < service.keys.len() || keys.len() > service.keys.len() + service.keys_unknown {
                return Err(format!(
                    "{} has {} keys; {} were given, and of {} the outcome is not known",
                    service.id,
                    keys.len(),
                    service.keys.len(),
                    service.keys_unknown
                ));
            }
        }
        self.trail_is_whole(view, &told)
    }

    fn trail_is_whole(&self, view: &View, told: &Told) -> Result<(), String> {
        let records = audit::list(view, self.account, Trail::Acts, 0, usize::MAX);
        let records = records.map_err(|error| error.to_string())?;
        let chain = Chain { account: self.account, trail: Trail::Acts };
        if let Some(sequence) = chain.first_break(0, [0; 32], &records) {
            return Err(format!("the audit trail breaks at {sequence}"));
        }
        let mut written = BTreeSet::new();
        for record in &records {
            if !written.insert(record.revision) {
                return Err(format!("the change at {} is written down twice", record.revision));
            }
        }
        match told.changes.iter().find(|revision| !written.contains(revision)) {
            Some(revision) => Err(format!("the change at {revision} is not written down")),
            None => Ok(()),
        }
    }
}

/// A request of its own.
pub(super) fn request() -> Request {
    Request::once(soon(), Origin::default())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

const CHAINS: usize = 3;

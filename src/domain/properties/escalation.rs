//! Users who work together never come to hold more than they held together at first, whatever they order.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::membership::{self, Membership};
use super::super::role::NewRole;
use super::super::rows::{joined, tables};
use super::super::service::{NewApiKey, NewServiceAccount};
use super::super::session::{Grant, NewRefresh, NewSession, Proof};
use super::super::user::{NewUser, UserChanges, UserStatus};
use super::super::{
    AccountId, Action, Actor, Command, Lifetime, Origin, Permission, Principal, Reply, RoleName, Rows,
    UserName, account as accounts, authority::permission, service as services, session as sessions,
    user as users,
};
use super::config;
use super::pools::{
    ROLES, SERVICES, USERS, account, any_permission, api_key, role, secret, service, session, user,
};
use super::steps::{role_action, service_action, user_action};
use super::world::{World, new_user};

/// How the account is before the walk: what roles hold, and who has which, as the root user made it.
#[derive(Clone, Debug)]
struct Start {
    /// The first is the one that the first of the colluding has: some of the powers over others.
    roles: Vec<BTreeSet<Permission>>,
    members: Vec<(u8, BTreeSet<String>)>,
    disabled: BTreeSet<u8>,
    colluding: BTreeSet<u8>,
}

const POWERS: [&str; 6] = [
    "iam:users:*",
    permission::WRITE_USERS,
    permission::WRITE_SERVICES,
    permission::WRITE_ROLES,
    permission::ASSIGN_ROLES,
    "doc:read",
];

fn start() -> impl Strategy<Value = Start> {
    let principals = 1..USERS + SERVICES;
    let powers = prop::sample::subsequence(POWERS.to_vec(), 2..=POWERS.len())
        .prop_map(|powers| powers.iter().map(|power| Permission::parse(power).unwrap()).collect());
    let held = prop::collection::btree_set(any_permission(), 1..4);
    // The last role does not exist at first, but may have members.
    let roles = (powers, prop::collection::vec(held, 3..=3)).prop_map(|(powers, mut others)| {
        others.insert(0, powers);
        others
    });
    let given = prop::collection::btree_set((1..ROLES.len()).prop_map(|n| ROLES[n].to_owned()), 1..3);
    let members = prop::collection::vec((principals.clone(), given), 4..9);
    let disabled = prop::collection::btree_set(principals.clone(), 0..4);
    let colluding = prop::collection::btree_set(principals, 2..5);
    (roles, members, disabled, colluding).prop_map(|(roles, mut members, mut disabled, colluding)| {
        let first = colluding.first().copied().unwrap_or(1);
        disabled.remove(&first);
        members.retain(|(member, _)| *member != first);
        members.push((first, [ROLES[0].to_owned()].into()));
        Start { roles, members, disabled, colluding }
    })
}

/// What could lead to more power. Signing in is done for them.
fn climbing() -> impl Strategy<Value = Action> {
    prop_oneof![2 => user_action(), 2 => service_action(), 3 => role_action()]
}

/// Users first, then service accounts; 0 is the root user.
fn principal(n: u8) -> Principal {
    if n < USERS { Principal::User(user(n)) } else { Principal::Service(service(n - USERS)) }
}

/// Whom somebody who orders this can be from then on.
fn taken(action: &Action) -> Option<Principal> {
    if let Action::CreateUser(NewUser { id: user, .. }) | Action::SetPassword { user, .. } = action {
        return Some(Principal::User(*user));
    }
    // An address is a way in, by a reset of the password.
    if let Action::UpdateUser { user, changes: UserChanges { email: Some(_), .. } } = action {
        return Some(Principal::User(*user));
    }
    if let Action::CreateServiceAccount(NewServiceAccount { id: service, .. })
    | Action::AddApiKey { service, .. } = action
    {
        return Some(Principal::Service(*service));
    }
    None
}

struct Walk {
    world: World,
    account: AccountId,
    colluding: BTreeSet<Principal>,
}

impl Walk {
    fn new(start: &Start) -> Self {
        let mut world = World::new();
        // The second account of the world has nothing but its root user.
        let account = account(1);
        for n in 1..USERS {
            let new = new_user(n, &format!("walker-{n}"), None, Vec::new());
            world.must(account, &Actor::System, Action::CreateUser(new));
        }
        for n in 0..SERVICES {
            let key = NewApiKey {
                id: api_key(n),
                hash: secret(100 + n),
                label: None,
                lifetime: Lifetime(u64::MAX),
            };
            let name = UserName::parse(&format!("service-{n}")).unwrap();
            let new = NewServiceAccount { id: service(n), name, roles: Vec::new(), key, client: None };
            world.must(account, &Actor::System, Action::CreateServiceAccount(new));
        }
        for (n, permissions) in start.roles.iter().enumerate() {
            let new = NewRole { name: role(n), description: None, permissions: permissions.clone() };
            world.must(account, &Actor::System, Action::CreateRole(new));
        }
        let colluding = start.colluding.iter().map(|n| principal(*n)).collect();
        let mut walk = Self { world, account, colluding };
        walk.give(start);
        walk
    }

    fn give(&mut self, start: &Start) {
        for (n, roles) in &start.members {
            for name in roles {
                let name = RoleName::parse(name).unwrap();
                // Straight into the rows: only a new principal is given a role that is not there.
                let mut key = principal(*n).key();
                key.extend_from_slice(name.as_str().as_bytes());
                let member = joined(name.as_str().as_bytes(), &principal(*n).key());
                let since = Membership { since: self.world.at };
                let rows: &mut dyn Rows = &mut self.world.rows;
                tables::MEMBERSHIP.put(rows, self.account, &key, &since).unwrap();
                tables::ROLE_MEMBER.put(rows, self.account, &member, &()).unwrap();
            }
        }
        for n in &start.disabled {
            let action = match principal(*n) {
                Principal::User(user) => Action::SetUserStatus { user, status: UserStatus::Disabled },
                Principal::Service(service) => Action::SetServiceStatus { service, active: false },
                Principal::Subject(_) => continue,
            };
            self.world.must(self.account, &Actor::System, action);
        }
    }

    /// What those who work together hold now, as long as they may act.
    fn held(&self) -> BTreeSet<Permission> {
        let rows = &self.world.rows;
        let active = self.colluding.iter().filter(|one| one.standing(rows, self.account).is_ok());
        active.flat_map(|one| membership::permissions_of(rows, self.account, one).unwrap()).collect()
    }

    /// One of them orders something, in a session of its own, and whom it makes or takes over joins them.
    fn order(&mut self, who: usize, mut action: Action) {
        let Some(by) = self.colluding.iter().nth(who % self.colluding.len()).copied() else { return };
        let Some(actor) = self.sign_in(&by) else { return };
        if let Action::AddApiKey { key, .. } | Action::CreateServiceAccount(NewServiceAccount { key, .. }) =
            &mut action
        {
            key.lifetime = Lifetime(u64::MAX);
        }
        let command = Command {
            account: self.account,
            by: actor,
            origin: Origin::default(),
            expect: Vec::new(),
            action,
        };
        if self.world.rows.apply(self.world.at, &command).is_err() {
            return;
        }
        self.colluding.extend(taken(&command.action));
    }

    /// Gives the principal a session if it may act, by rows alone: how it proves itself is not the question.
    fn sign_in(&mut self, by: &Principal) -> Option<Actor> {
        let live = sessions::list(&self.world.rows, self.account, by, self.world.at).unwrap();
        if let Some(live) = live.first() {
            return Some(Actor::SignedIn { principal: *by, session: live.id });
        }
        let proof = match by {
            Principal::User(user) => {
                let password = users::find_password(&self.world.rows, self.account, *user).unwrap()?;
                Proof::Password { user: *user, revision: password.revision }
            }
            Principal::Service(id) => {
                let keys = services::list_keys(&self.world.rows, self.account, *id).unwrap();
                let good = keys.iter().find(|key| key.value.is_good(self.world.at))?;
                Proof::ApiKey { hash: good.value.hash }
            }
            Principal::Subject(_) => return None,
        };
        let free = (0..=u8::MAX)
            .map(session)
            .find(|id| sessions::find(&self.world.rows, self.account, *id).unwrap().is_none())?;
        let lifetime = Lifetime(u64::MAX);
        let grant = Grant::native(Lifetime(900_000));
        let new = NewSession { id: free, proof, refresh: NewRefresh::None, lifetime, grant };
        let command = Command {
            account: self.account,
            by: Actor::Anonymous,
            origin: Origin::default(),
            expect: Vec::new(),
            action: Action::OpenSession(new),
        };
        match self.world.rows.apply(self.world.at, &command) {
            Ok(Reply::SessionOpened { session, .. }) => Some(Actor::SignedIn { principal: *by, session }),
            Ok(_) | Err(_) => None,
        }
    }
}

proptest! {
    // Walks are short and few lead anywhere: this one needs more of them.
    #![proptest_config(Config { cases: config().cases * 8, ..config() })]

    #[test]
    fn nobody_climbs(start in start(), orders in prop::collection::vec((0_usize..8, climbing()), 1..120)) {
        let mut walk = Walk::new(&start);
        let at_first = walk.held();
        for (who, action) in orders {
            walk.order(who, action.clone());
            for gained in walk.held() {
                let is_covered = at_first.iter().any(|held| held.covers(gained.as_str()));
                prop_assert!(is_covered, "{gained} gained by {action:?}; at first {at_first:?}");
            }
            prop_assert!(
                accounts::open_account(&walk.world.rows, walk.account).is_ok(),
                "the account was closed by {action:?}"
            );
            prop_assert!(!walk.colluding.contains(&principal(0)), "the root user was taken over: {action:?}");
        }
    }
}

//! What somebody who guesses a password learns, however they spread the guesses over addresses and time, and
//! that strangers cannot keep the owner out.
//!
//! A guess tells something if, at that moment, the right password would have been answered otherwise. Each
//! guess is tried both ways on a copy of the rows, so that the property needs to know nothing of how failures
//! are counted.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::lockout::{self, Attempts, Count, JUDGED_WHILE_LOCKED, Lockout, RefusedSignIn, Why};
use super::super::session::{Grant, NewRefresh, NewSession, Proof};
use super::super::settings::SettingsChanges;
use super::super::testing::MemoryRows;
use super::super::{
    Action, Actor, Command, Lifetime, Origin, Reply, SessionId, Timestamp, UserId, user as users,
};
use super::config;
use super::pools::{account, session, user};
use super::world::World;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Guess {
        from: u8,
        is_right: bool,
    },
    /// A right password that was proved within a session.
    Prove {
        from: u8,
    },
    Unlock,
    Wait(u64),
}

const LOCK_MS: u64 = 60_000;
const SOURCES: u8 = 12;

fn history() -> impl Strategy<Value = (u32, Vec<Step>)> {
    let step = prop_oneof![
        12 => (0..SOURCES).prop_map(|from| Step::Guess { from, is_right: false }),
        3 => (0..SOURCES).prop_map(|from| Step::Guess { from, is_right: true }),
        1 => (0..SOURCES).prop_map(|from| Step::Prove { from }),
        1 => prop_oneof![20 => Just(Step::Wait(LOCK_MS / 3)), 1 => Just(Step::Unlock)],
    ];
    (1..6_u32, prop::collection::vec(step, 1..150))
}

/// Who is counted together: a source that is known, or all strangers.
type Group = Option<[u8; 8]>;

/// The rows, and what a guesser has been told since the count of each group began anew.
struct Guessing {
    rows: MemoryRows,
    at: Timestamp,
    next_session: u8,
    told: BTreeMap<Group, u32>,
    wrong: BTreeMap<Group, u32>,
}

fn target() -> UserId {
    user(1)
}

fn origin(from: u8) -> Origin {
    Origin { address: Some(format!("10.0.0.{from}")), agent: None }
}

impl Guessing {
    fn new(failures: u32) -> Self {
        let world = World::new();
        let (rows, at) = (world.rows, world.at);
        let mut guessing =
            Self { rows, at, next_session: 100, told: BTreeMap::new(), wrong: BTreeMap::new() };
        let lockout = Lockout { failures, lock_for: Lifetime(LOCK_MS) };
        let changes = SettingsChanges { lockout: Some(lockout), ..SettingsChanges::default() };
        guessing.give(Actor::System, Origin::default(), Action::ChangeSettings(changes));
        guessing
    }

    fn give(&mut self, by: Actor, origin: Origin, action: Action) -> Reply {
        let command = Command { account: account(0), by, origin, expect: Vec::new(), action };
        self.rows.apply(self.at, &command).unwrap()
    }

    fn attempts(&self) -> Attempts {
        lockout::find(&self.rows, account(0), target()).unwrap()
    }

    /// The group that an address is of now: found by what a wrong guess of it would change.
    fn group(&self, from: u8) -> Group {
        let before = self.attempts();
        let mut after = MemoryRows::clone(&self.rows);
        let command = wrong(from);
        after.apply(self.at, &command).unwrap();
        let after = lockout::find(&after, account(0), target()).unwrap();
        let changed = after.known.iter().zip(&before.known).find(|(now, then)| now.count != then.count);
        changed.map(|(known, _)| known.source)
    }

    fn count(&self, group: Group) -> Count {
        let attempts = self.attempts();
        match group {
            Some(source) => attempts.known.iter().find(|known| known.source == source).unwrap().count,
            None => attempts.strangers,
        }
    }

    /// What the right password would be answered at this moment.
    fn right(&self, from: u8) -> Reply {
        self.rows.clone().apply(self.at, &self.right_command(from)).unwrap()
    }

    fn right_command(&self, from: u8) -> Command {
        let password = users::find_password(&self.rows, account(0), target()).unwrap().unwrap();
        let proof = Proof::Password { user: target(), revision: password.revision };
        let new = NewSession {
            id: SessionId::new(uuid::Uuid::from_u128(self.next_session.into())),
            proof,
            refresh: NewRefresh::None,
            lifetime: Lifetime(1_000),
            grant: Grant::native(Lifetime(1_000)),
        };
        let action = Action::OpenSession(new);
        Command {
            account: account(0),
            by: Actor::Anonymous,
            origin: origin(from),
            expect: Vec::new(),
            action,
        }
    }

    /// A lock that is over begins a new count.
    fn forget_ended(&mut self) {
        let ended = |count: &Count| count.locked_until.is_some_and(|until| until <= self.at);
        let attempts = self.attempts();
        let mut groups: Vec<Group> = attempts
            .known
            .iter()
            .filter(|known| ended(&known.count))
            .map(|known| Some(known.source))
            .collect();
        groups.extend(ended(&attempts.strangers).then_some(None));
        // A source that was forgotten is a stranger again.
        let is_gone = |group: &Group| {
            group.is_some_and(|source| attempts.known.iter().all(|known| known.source != source))
        };
        groups.extend(self.told.keys().copied().filter(is_gone).collect::<Vec<_>>());
        for group in groups {
            self.begin_anew(group);
        }
    }

    fn begin_anew(&mut self, group: Group) {
        self.told.remove(&group);
        self.wrong.remove(&group);
    }

    fn take(&mut self, failures: u32, step: &Step) {
        self.next_session = self.next_session.wrapping_add(1);
        self.forget_ended();
        match *step {
            Step::Wait(ms) => self.at = self.at.plus(Lifetime(ms)),
            Step::Unlock => {
                self.give(Actor::System, Origin::default(), Action::Unlock { user: target() });
                (self.told, self.wrong) = (BTreeMap::new(), BTreeMap::new());
            }
            Step::Guess { from, is_right } => {
                let group = self.group(from);
                let right = self.right(from);
                self.check_owner(failures, group, &right);
                let tells = !matches!(right, Reply::SignInRefused { .. });
                *self.told.entry(group).or_default() += u32::from(tells);
                if is_right {
                    let command = self.right_command(from);
                    let reply = self.rows.apply(self.at, &command).unwrap();
                    assert_eq!(reply, right);
                    self.after_success(from, group, &reply);
                } else {
                    *self.wrong.entry(group).or_default() += 1;
                    let reply = self.rows.apply(self.at, &wrong(from)).unwrap();
                    assert!(matches!(reply, Reply::SignInRefused { .. }), "{reply:?}");
                }
                let told = self.told.get(&group).copied().unwrap_or_default();
                assert!(told <= failures + JUDGED_WHILE_LOCKED, "{told} guesses of {group:?} were answered");
            }
            Step::Prove { from } => self.prove(failures, from),
        }
    }

    /// A password that is proved in a session is answered as one that signs in.
    fn prove(&mut self, failures: u32, from: u8) {
        let group = self.group(from);
        let right = self.right(from);
        self.check_owner(failures, group, &right);
        let password = users::find_password(&self.rows, account(0), target()).unwrap().unwrap();
        let by = Actor::SignedIn { principal: super::super::Principal::User(target()), session: session(1) };
        let action = Action::ProvePassword { user: target(), revision: password.revision };
        let reply = self.give(by, origin(from), action);
        let opens = matches!(right, Reply::SessionOpened { .. });
        assert_eq!(reply, if opens { Reply::Done } else { right });
        *self.told.entry(group).or_default() += u32::from(!matches!(reply, Reply::SignInRefused { .. }));
        self.after_success(from, group, &reply);
    }

    fn after_success(&mut self, from: u8, group: Group, reply: &Reply) {
        if matches!(reply, Reply::SessionOpened { .. } | Reply::Done) {
            self.begin_anew(group);
            let now = self.group(from);
            assert!(now.is_some(), "who signed in is known");
            self.begin_anew(now);
        }
    }

    /// Whoever did not guess wrongly too often gets in with the right password: so nobody who signed in from a
    /// place is kept out by what strangers do.
    fn check_owner(&self, failures: u32, group: Group, right: &Reply) {
        let wrong = self.wrong.get(&group).copied().unwrap_or_default();
        let opens = matches!(right, Reply::SessionOpened { .. });
        assert_eq!(opens, wrong < failures, "{wrong} wrong guesses of {group:?}: {right:?}");
        assert_eq!(opens, self.count(group).locked_until.is_none_or(|until| until <= self.at));
    }
}

fn wrong(from: u8) -> Command {
    let action = Action::RefuseSignIn(RefusedSignIn::new(Some(target()), "login", Why::WrongPassword));
    Command { account: account(0), by: Actor::Anonymous, origin: origin(from), expect: Vec::new(), action }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_guesser_is_told_so_often_and_no_more((failures, steps) in history()) {
        let mut guessing = Guessing::new(failures);
        for step in &steps {
            guessing.take(failures, step);
        }
    }
}

/// The histories come to locks, to their ends, and to guesses that are answered while one lasts.
#[test]
fn histories_lock_and_unlock() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut locked, mut judged, mut ended, mut spent) = (0, 0, 0, 0);
    for _ in 0..40 {
        let (failures, steps) = history().new_tree(&mut runner).unwrap().current();
        let mut guessing = Guessing::new(failures);
        for step in &steps {
            let before = guessing.attempts().locked_until(guessing.at);
            guessing.take(failures, step);
            let after = guessing.attempts();
            let is_locked = after.locked_until(guessing.at);
            locked += usize::from(before.is_none() && is_locked.is_some());
            ended += usize::from(matches!(step, Step::Wait(_)) && before.is_some() && is_locked.is_none());
            judged += usize::from(after.strangers.judged == 1);
            spent += usize::from(after.strangers.judged > JUDGED_WHILE_LOCKED);
        }
    }
    assert!(locked > 50 && ended > 20 && judged > 20 && spent > 20, "{locked} {ended} {judged} {spent}");
}

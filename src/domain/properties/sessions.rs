//! A session that has ended, in whatever way, never lives again; a refresh token that was spent never
//! opens anything again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::session::{self, Refresh};
use super::super::{AccountId, Action, Reply, SecretHash, SessionId, Timestamp};
use super::pools::{ACCOUNTS, SESSIONS, TOKENS, account, secret};
use super::steps::{Step, lives};
use super::world::{Taken, World};
use super::{config, history};

/// One life of a session: a forgotten session's id may be minted again, with another beginning.
type Life = (AccountId, SessionId, Timestamp);

#[derive(Default)]
pub(super) struct Memory {
    dead: BTreeSet<Life>,
    /// Spent tokens, with the life of the session that each belonged to.
    spent: BTreeMap<(AccountId, SecretHash), Life>,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_dead_stay_dead(steps in history()) {
        watch(&steps)?;
    }

    #[test]
    fn the_dead_stay_dead_through_what_ends_them(steps in prop::collection::vec(lives(), 1..120)) {
        watch(&steps)?;
    }
}

fn watch(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    let mut memory = Memory::default();
    for step in steps {
        let taken = world.take(step);
        let seen = memory.spend(&taken);
        let seen = seen.and_then(|()| (0..ACCOUNTS).try_for_each(|n| memory.look(&world, account(n))));
        if let Err(why) = seen {
            return Err(TestCaseError::fail(format!("{why} after {:?}", taken.command)));
        }
    }
    Ok(())
}

impl Memory {
    pub(super) fn spend(&mut self, taken: &Taken) -> Result<(), String> {
        let account = taken.command.account;
        if let (Action::RefreshSession(rotation), Ok(Reply::SessionOpened { session, .. })) =
            (&taken.command.action, &taken.result)
        {
            let before = session::find(&taken.before, account, *session).unwrap().unwrap().value;
            let life = (account, *session, before.opened_at);
            if self.spent.insert((account, rotation.presented), life) == Some(life) {
                return Err("a token was spent twice".to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn look(&mut self, world: &World, account: AccountId) -> Result<(), String> {
        for n in 0..SESSIONS {
            let id = super::pools::session(n);
            let Some(found) = session::find(&world.rows, account, id).unwrap() else { continue };
            let life = (account, id, found.value.opened_at);
            if session::live(&world.rows, account, id, world.at).is_err() {
                self.dead.insert(life);
            } else if self.dead.contains(&life) {
                return Err(format!("session {n} is alive again"));
            }
        }
        for hash in (0..TOKENS).map(secret) {
            let found = session::find_by_refresh(&world.rows, account, &hash, world.at);
            let Ok(session) = found.map(|found| found.session) else { continue };
            let life = (account, session.id, session.opened_at);
            if session.refresh == Refresh::None || self.dead.contains(&life) {
                return Err("a token of a dead session, or of one that has none, is good".to_owned());
            }
            if self.spent.get(&(account, hash)) == Some(&life) {
                return Err("a spent token is good again".to_owned());
            }
        }
        Ok(())
    }
}

//! What must hold after any commands at all: random histories over a few accounts, with names, ids, roles
//! and secrets from small pools, so that they collide all the time.
//!
//! One property a file: [`isolation`], [`indexes`], [`trail`], [`sessions`], [`escalation`], [`holding`],
//! [`holders`], [`guesses`], [`restores`], and here that replicas agree. `PROPTEST_CASES=2000 cargo test properties`
//! looks harder.

mod escalation;
mod guesses;
mod holders;
mod holding;
mod indexes;
mod isolation;
mod overlay;
mod pools;
mod restores;
mod sessions;
mod steps;
mod trail;
mod world;

use proptest::prelude::*;
use proptest::test_runner::Config;

use overlay::Overlay;
use world::World;

/// How hard the properties are tried: `PROPTEST_CASES`, else few enough to run at every build.
fn config() -> Config {
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 48;
    }
    config.failure_persistence = None;
    config
}

/// The commands of a history.
fn history() -> impl Strategy<Value = Vec<steps::Step>> {
    prop::collection::vec(steps::step(), 1..100)
}

proptest! {
    #![proptest_config(config())]

    /// Two replicas that keep their rows in different ways give the same replies and end with the same
    /// rows; and a refusal leaves no trace in either.
    #[test]
    fn replicas_agree(steps in history()) {
        let mut world = World::new();
        let mut replica = world.rows.clone();
        for step in &steps {
            let taken = world.take(step);
            let mut overlay = Overlay::new(&replica, taken.revision);
            let reply = super::apply(&mut overlay, taken.at, taken.revision, &taken.command);
            let changes = overlay.into_changes();
            prop_assert_eq!(&reply, &taken.result, "{:?}", taken.command);
            if reply.is_ok() {
                changes.commit(&mut replica);
            } else {
                prop_assert_eq!(&world.rows.rows, &taken.before.rows);
            }
            replica.revision = world.rows.revision;
            prop_assert_eq!(&replica.rows, &world.rows.rows, "{:?}", taken.command);
        }
    }
}

/// The histories are worth something: they carry out and refuse commands of every kind.
#[test]
fn histories_reach_every_action() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut done = std::collections::BTreeMap::<String, usize>::new();
    let mut refused = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..150 {
        let steps = history().new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        for step in &steps {
            let taken = world.take(step);
            let name = format!("{:?}", taken.command.action);
            let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
            match taken.result {
                Ok(reply) => {
                    *done.entry(name).or_default() += 1;
                    let reply = format!("{reply:?}");
                    let reply = reply.split([' ', '{']).next().unwrap_or_default();
                    *done.entry(format!("-> {reply}")).or_default() += 1;
                }
                Err(rejection) => *refused.entry(rejection.code().to_owned()).or_default() += 1,
            }
        }
    }
    // Too many wrong passwords and then the right one, all within one lock, are rarer than that: see
    // `scripts/lockout.txt`.
    let all = 29 + 6;
    assert!(done.len() == all, "of {all}, only {done:#?}");
    let codes = [
        "account_id_taken",
        "bad_credentials",
        "bad_refresh_token",
        "email_taken",
        "forbidden",
        "id_taken",
        "invalid_value",
        "misplaced_action",
        "name_taken",
        "not_found",
        "precondition_failed",
        "role_exists",
        "unauthenticated",
    ];
    for code in codes {
        assert!(refused.contains_key(code), "no refusal {code}: {refused:#?}");
    }
}

//! Runs the scripts in `scripts/`: rules as lines that can be read, one command or question each.
//!
//! ```text
//! in acme                                           the account from here on
//! [root r1] create-user alice email=a@x  -> Done    who gives the command: a principal and its session
//! [system] disable-user alice            -> Changed the cluster; `[-]` or nothing is a stranger
//! at +5s                                            time goes on
//! note before user/alice                            remembers a revision, for `expect=` and `seen=`
//! begin ... commit -> Done                          a transaction; its lines have no outcome
//! repeat 25 add-key robot k%  -> Done               the same line with % from 1 to 25
//! ```
//!
//! A label (`alice`, `svc:robot`, `s1`, `token`) stands for an id or a hash that is always the same. What
//! each verb takes stands in [`Words::action`]; what can be asked, in [`Runner::answer`].

mod runner;
mod words;

use runner::Runner;

/// Runs the script and says which lines came out otherwise than they promise.
fn check(name: &str, text: &str) {
    let mut runner = Runner::default();
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split_once('#').map_or(line, |(code, _)| code).trim();
        if line.is_empty() {
            continue;
        }
        let (command, expected) = match line.split_once("->") {
            Some((command, expected)) => (command.trim(), Some(expected.trim())),
            None => (line, None),
        };
        for actual in runner.run(command) {
            if actual.as_deref() != expected {
                let (expected, actual) =
                    (expected.unwrap_or("nothing"), actual.as_deref().unwrap_or("nothing"));
                wrong.push(format!("{name}.txt:{number}: {command}: expected {expected}, got {actual}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), include_str!(concat!("scripts/", stringify!($name), ".txt")));
        }
    )*};
}

scripts!(
    accounts,
    authority,
    cluster,
    defaults,
    expectations,
    keys,
    lockout,
    roles,
    services,
    sessions,
    subjects,
    transactions,
    users
);

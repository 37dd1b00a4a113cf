//! A name goes to one, a token that may be used once is used once, and what was acknowledged is there at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Names, Violation};
use crate::history::{Op, Outcome, What};

pub(super) fn check(ops: &[Op], names: &Names) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut created: BTreeMap<&str, Vec<Outcome>> = BTreeMap::new();
    let mut consumed: BTreeMap<usize, usize> = BTreeMap::new();
    for op in ops {
        match &op.what {
            What::Create { name } => created.entry(name).or_default().push(op.outcome),
            What::Consume { token } if op.outcome == Outcome::Done => {
                *consumed.entry(*token).or_default() += 1;
            }
            What::Repeat { name, is_taken: true } => {
                let said = format!("the same request again was told that {name} is taken: {op:?}");
                found.push(Violation::new(Kind::Twice, said));
            }
            What::Repeat { .. }
            | What::Consume { .. }
            | What::Write { .. }
            | What::Read { .. }
            | What::Revoke { .. }
            | What::Check { .. } => {}
        }
    }
    for (token, times) in consumed.into_iter().filter(|(_, times)| *times > 1) {
        found.push(Violation::new(Kind::Twice, format!("token {token} was used {times} times")));
    }
    for (name, outcomes) in &created {
        let count = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
        let (done, unknown) = (count(Outcome::Done), count(Outcome::Unknown));
        if done > 1 {
            found.push(Violation::new(Kind::Twice, format!("{done} were told that {name} is theirs")));
        }
        let lacking: Vec<_> =
            names.iter().filter(|(_, shown)| !shown.contains(*name)).map(|(at, _)| at).collect();
        if done > 0 && !lacking.is_empty() {
            let said = format!("{name} was acknowledged and is not on machines {lacking:?}");
            found.push(Violation::new(Kind::Lost, said));
        }
        if done == 0 && unknown == 0 && lacking.len() < names.len() {
            let said = format!("{name} is there, and every request for it was refused");
            found.push(Violation::new(Kind::Phantom, said));
        }
    }
    let shown: BTreeSet<&String> = names.values().flatten().collect();
    for name in shown.into_iter().filter(|name| !created.contains_key(name.as_str())) {
        found.push(Violation::new(Kind::Phantom, format!("{name} is there, and nobody asked for it")));
    }
    found
}

//! Nothing is granted on any machine by a request that began after a revocation was acknowledged, and nothing is refused
//! before anybody wanted it revoked.

use std::collections::BTreeMap;

use super::{Kind, Violation};
use crate::history::{Op, Outcome, What};

/// When it was first tried to revoke a token, and when that was acknowledged.
struct Revoked {
    begun: u64,
    acknowledged: Option<u64>,
}

pub(super) fn check(ops: &[Op]) -> Vec<Violation> {
    let mut revoked: BTreeMap<usize, Revoked> = BTreeMap::new();
    for op in ops {
        let What::Revoke { token } = op.what else { continue };
        let acknowledged = (op.outcome == Outcome::Done).then_some(op.ended);
        let one = revoked.entry(token).or_insert(Revoked { begun: op.begun, acknowledged });
        one.begun = one.begun.min(op.begun);
        one.acknowledged = [one.acknowledged, acknowledged].into_iter().flatten().min();
    }
    let mut found = Vec::new();
    for op in ops.iter().filter(|op| op.outcome == Outcome::Done) {
        let What::Check { token, granted } = op.what else { continue };
        let revoked = revoked.get(&token);
        let acknowledged = revoked.and_then(|revoked| revoked.acknowledged);
        if granted && acknowledged.is_some_and(|acknowledged| acknowledged < op.begun) {
            let said = format!("token {token} was accepted after its revocation was acknowledged: {op:?}");
            found.push(Violation::new(Kind::Granted, said));
        }
        if !granted && revoked.is_none_or(|revoked| op.ended < revoked.begun) {
            let said = format!("token {token} was refused before it was revoked: {op:?}");
            found.push(Violation::new(Kind::Lost, said));
        }
    }
    found
}

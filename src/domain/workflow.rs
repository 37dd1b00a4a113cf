//! Workflows: work in steps, each of which takes a permission. Who can do all of it, and where is somebody stopped?
//!
//! A workflow is not stored: whoever asks names its steps. One of a single step is a permission check.

use std::collections::BTreeSet;

use super::{
    AccountId, Permission, Principal, Read, Rejection, Timestamp, authority, membership, role, subject,
};

/// The steps of a workflow, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps(Vec<Permission>);

/// Who can do every step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runners {
    /// In no order that means anything.
    pub principals: Vec<Principal>,
    /// Whether there may be more than are listed.
    pub is_cut: bool,
}

/// The most principals listed.
pub const MAX_RUNNERS: usize = 1_000;
/// The most that are looked at to find them.
const MAX_CANDIDATES: usize = 10_000;
/// About the longest text that shows steps, in bytes.
const MAX_SHOWN: usize = 200;

impl Steps {
    /// The most steps.
    pub const MAX: usize = 50;

    /// Takes the permissions that the steps take, one each.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] when there is none, or more than [`Steps::MAX`].
    pub fn new(permissions: Vec<Permission>) -> Result<Self, Rejection> {
        Self::may_be(permissions.len())?;
        Ok(Self(permissions))
    }

    /// The first step.
    #[must_use]
    pub fn first(&self) -> Option<&Permission> {
        self.0.first()
    }

    /// Whether a workflow may have so many steps, for who wants to know before looking at each.
    ///
    /// # Errors
    /// As [`Steps::new`].
    pub fn may_be(count: usize) -> Result<(), Rejection> {
        if (1..=Self::MAX).contains(&count) {
            Ok(())
        } else {
            Err(Rejection::invalid("steps", "a workflow has 1 to 50 steps"))
        }
    }

    /// The steps as one short text without blanks, for people: what is too long for that is cut.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut text = String::new();
        for step in &self.0 {
            if text.len() + step.as_str().len() > MAX_SHOWN {
                text.push_str(if text.is_empty() { "..." } else { ",..." });
                break;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(step.as_str());
        }
        text
    }

    /// The first step that the principal may not do at `now`, if there is one. Who may not act at all is stopped
    /// by the first.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if a row does not decode.
    pub fn stop(
        &self,
        rows: &dyn Read,
        account: AccountId,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Option<&Permission>, Rejection> {
        if let Principal::Subject(id) = principal
            && subject::is_barred(rows, account, *id, now)?
        {
            return Ok(self.first());
        }
        for step in &self.0 {
            match authority::holds(rows, account, principal, step.as_str()) {
                Ok(true) => {}
                Ok(false) | Err(Rejection::NotFound(_)) => return Ok(Some(step)),
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    /// Who can do every step at `now`: at most [`MAX_RUNNERS`]. The root user, who may do everything without a
    /// role, is not listed.
    ///
    /// # Errors
    /// [`Rejection::Damaged`] if a row does not decode.
    pub fn runners(&self, rows: &dyn Read, account: AccountId, now: Timestamp) -> Result<Runners, Rejection> {
        let candidates = self.candidates(rows, account)?;
        let mut runners = Runners { is_cut: candidates.len() > MAX_CANDIDATES, ..Runners::default() };
        for principal in candidates.iter().take(MAX_CANDIDATES) {
            if self.stop(rows, account, principal, now)?.is_some() {
                continue;
            }
            if runners.principals.len() == MAX_RUNNERS {
                runners.is_cut = true;
                break;
            }
            runners.principals.push(*principal);
        }
        Ok(runners)
    }

    /// Those who can do the step that the fewest can: nobody else needs to be looked at.
    fn candidates(&self, rows: &dyn Read, account: AccountId) -> Result<BTreeSet<Principal>, Rejection> {
        let mut fewest: Option<BTreeSet<Principal>> = None;
        for step in &self.0 {
            let most = fewest.as_ref().map_or(MAX_CANDIDATES + 1, BTreeSet::len);
            let found = holders(rows, account, step, most)?;
            if found.len() < most || fewest.is_none() {
                fewest = Some(found);
            }
        }
        Ok(fewest.unwrap_or_default())
    }
}

/// Those who hold a permission through a role, at most so many.
fn holders(
    rows: &dyn Read,
    account: AccountId,
    step: &Permission,
    most: usize,
) -> Result<BTreeSet<Principal>, Rejection> {
    let mut found = BTreeSet::new();
    for role in role::which_hold(rows, account, step.as_str())? {
        for principal in membership::members_of(rows, account, &role, None, most)? {
            if found.len() == most {
                return Ok(found);
            }
            found.insert(principal);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::membership::Membership;
    use super::super::rows::{joined, tables};
    use super::super::subject::Subject;
    use super::super::testing::MemoryRows;
    use super::super::{RoleName, UserName};
    use super::*;

    const NOW: Timestamp = Timestamp(1);

    fn account() -> AccountId {
        AccountId::parse("100000000001").unwrap()
    }

    fn steps(texts: &[&str]) -> Steps {
        Steps::new(texts.iter().map(|text| Permission::parse(text).unwrap()).collect()).unwrap()
    }

    /// Makes `count` subjects members of a role that holds one permission of its own name.
    fn crowd(rows: &mut MemoryRows, role: &str, count: usize) {
        let role = RoleName::parse(role).unwrap();
        let key = joined(role.as_str().as_bytes(), role.as_str().as_bytes());
        tables::PERMISSION_ROLE.put(rows, account(), &key, &()).unwrap();
        for number in 0..count {
            let name = UserName::parse(&format!("u{number}")).unwrap();
            let id = subject::id_of(&name);
            let subject = Subject { id, name, created_at: NOW };
            tables::SUBJECT.put(rows, account(), id.uuid().as_bytes(), &subject).unwrap();
            let principal = Principal::Subject(id);
            let key = [principal.key().as_slice(), role.as_str().as_bytes()].concat();
            tables::MEMBERSHIP.put(rows, account(), &key, &Membership { since: NOW }).unwrap();
            let key = joined(role.as_str().as_bytes(), &principal.key());
            tables::ROLE_MEMBER.put(rows, account(), &key, &()).unwrap();
        }
        rows.revision += 1;
    }

    #[test]
    fn a_workflow_has_1_to_50_steps() {
        let step = Permission::parse("x").unwrap();
        assert!(Steps::new(Vec::new()).is_err());
        assert!(Steps::new(vec![step.clone(); Steps::MAX]).is_ok());
        assert!(Steps::new(vec![step; Steps::MAX + 1]).is_err());
    }

    #[test]
    fn steps_are_shown_in_short() {
        assert_eq!(steps(&["a", "b:c"]).shown(), "a,b:c");
        let long = "x".repeat(128);
        assert_eq!(steps(&[&long, "y", &long, "z"]).shown(), format!("{long},y,..."));
        assert!(steps(&[long.as_str(); Steps::MAX]).shown().len() < 256);
    }

    #[test]
    fn lists_are_bounded_and_say_so() {
        let mut rows = MemoryRows::default();
        crowd(&mut rows, "all", MAX_RUNNERS);
        let found = steps(&["all"]).runners(&rows, account(), NOW).unwrap();
        assert_eq!((found.principals.len(), found.is_cut), (MAX_RUNNERS, false));
        crowd(&mut rows, "all", MAX_RUNNERS + 1);
        let found = steps(&["all"]).runners(&rows, account(), NOW).unwrap();
        assert_eq!((found.principals.len(), found.is_cut), (MAX_RUNNERS, true));
    }

    #[test]
    fn only_those_who_can_do_the_rarest_step_are_looked_at() {
        let mut rows = MemoryRows::default();
        crowd(&mut rows, "all", MAX_CANDIDATES + 2);
        crowd(&mut rows, "few", 3);
        for order in [["all", "few"], ["few", "all"]] {
            let found = steps(&order).runners(&rows, account(), NOW).unwrap();
            assert_eq!((found.principals.len(), found.is_cut), (3, false), "{order:?}");
        }
        // Where every step has a crowd, not all of it is looked at, and that is said.
        crowd(&mut rows, "most", MAX_CANDIDATES + 1);
        let found = steps(&["all", "most"]).runners(&rows, account(), NOW).unwrap();
        assert!(found.is_cut);
        // Nobody can do a step that no role holds.
        let found = steps(&["all", "nothing"]).runners(&rows, account(), NOW).unwrap();
        assert_eq!(found, Runners::default());
    }
}

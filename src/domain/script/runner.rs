//! What happens when a line is run.

use std::collections::BTreeMap;

use super::super::reseal::SealedSecret;
use super::super::testing::MemoryRows;
use super::super::{
    AccountId, Action, Actor, Command, Expectation, Lifetime, Origin, Principal, Rejection, Reply, Timestamp,
    account, audit, authority, holder, key, lockout, membership, reseal, role, service, session, subject,
    subject_key, user,
};
use super::words::{Labels, Words, secret, session_id};

/// The rows, the time, and what earlier lines said.
pub(super) struct Runner {
    rows: MemoryRows,
    at: Timestamp,
    account: AccountId,
    labels: Labels,
    notes: BTreeMap<String, Expectation>,
    /// Transactions begun and not yet committed, the innermost last.
    begun: Vec<Vec<Action>>,
}

impl Default for Runner {
    fn default() -> Self {
        Self {
            rows: MemoryRows::default(),
            at: Timestamp(1_000_000_000),
            account: AccountId::CLUSTER,
            labels: Labels::default(),
            notes: BTreeMap::new(),
            begun: Vec::new(),
        }
    }
}

impl Runner {
    /// Runs one line; gives an outcome for each repetition, `None` where there is nothing to say.
    pub(super) fn run(&mut self, line: &str) -> Vec<Option<String>> {
        match line.strip_prefix("repeat ").and_then(|rest| rest.split_once(' ')) {
            Some((count, line)) => {
                let count: usize = count.parse().expect("repeat takes a number");
                (1..=count).map(|at| self.line(&line.replace('%', &at.to_string()))).collect()
            }
            None => vec![self.line(line)],
        }
    }

    fn line(&mut self, line: &str) -> Option<String> {
        let (by, line) = self.actor(line);
        let words = Words::new(line);
        match words.verb() {
            "in" => {
                self.account = self.labels.account(words.at(1));
                None
            }
            "at" => {
                let seconds = words.at(1).trim_start_matches('+').trim_end_matches('s');
                self.at = self.at.plus(Lifetime::from_secs(seconds.parse().expect("at +5s")));
                None
            }
            "note" => {
                let resource = self.labels.resource(words.at(2));
                let revision = resource.revision(&self.rows, self.account).unwrap();
                self.notes.insert(words.at(1).to_owned(), Expectation { resource, revision });
                None
            }
            "begin" => {
                self.begun.push(Vec::new());
                None
            }
            "commit" => {
                let actions = self.begun.pop().expect("commit without begin");
                self.order(by, &words, Action::Transaction(actions))
            }
            _ => match self.action(&words) {
                Some(action) => self.order(by, &words, action),
                None => Some(self.answer(&words)),
            },
        }
    }

    fn action(&mut self, words: &Words<'_>) -> Option<Action> {
        let seen = match words.option("seen") {
            Some(note) => self.notes[note].revision,
            None if matches!(words.verb(), "open" | "prove") => {
                let at = if words.verb() == "open" { 2 } else { 1 };
                let Principal::User(user) = self.labels.principal(words.at(at)) else {
                    panic!("a user opens")
                };
                let found = user::find_password(&self.rows, self.account, user).unwrap();
                found.map_or(0, |password| password.revision)
            }
            None => 0,
        };
        words.action(&mut self.labels, seen)
    }

    /// Gives an order, or adds it to the transaction that is begun.
    fn order(&mut self, by: Actor, words: &Words<'_>, action: Action) -> Option<String> {
        if let Some(actions) = self.begun.last_mut() {
            actions.push(action);
            return None;
        }
        let expect = words.options("expect").map(|text| match text.strip_prefix("none:") {
            Some(path) => Expectation { resource: self.labels.resource(path), revision: 0 },
            None => self.notes[text].clone(),
        });
        let expect = expect.collect();
        let origin = Origin { address: words.option("from").map(str::to_owned), agent: None };
        let command = Command { account: self.account, by, origin, expect, action };
        Some(outcome(&self.rows.apply(self.at, &command)))
    }

    fn actor<'l>(&mut self, line: &'l str) -> (Actor, &'l str) {
        let Some((who, line)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            return (Actor::Anonymous, line);
        };
        let actor = match who.split_once(' ') {
            Some((name, session)) => {
                Actor::SignedIn { principal: self.labels.principal(name), session: session_id(session) }
            }
            None if who == "system" => Actor::System,
            None if who == "-" => Actor::Anonymous,
            None if who.starts_with("key:") => Actor::KeyHolder(secret(who.trim_start_matches("key:"))),
            None => panic!("[{who}]: who, and by which session?"),
        };
        (actor, line.trim())
    }

    /// Answers a question, which changes nothing.
    fn answer(&mut self, words: &Words<'_>) -> String {
        let (rows, account) = (&self.rows, self.account);
        let first = words.at(1);
        match words.verb() {
            "account" => match account::find(rows, account).unwrap().map(|row| row.value.state) {
                Some(account::AccountState::Open) => "open".to_owned(),
                Some(account::AccountState::Closed { .. }) => "closed".to_owned(),
                None => "none".to_owned(),
            },
            "root-email" => {
                let email = super::super::Email::parse(first).unwrap();
                let found = account::find_by_root_email(rows, &email).unwrap();
                found.map_or("none".to_owned(), |id| self.labels.account_name(id))
            }
            "login" => {
                let found = user::find_by_login(rows, account, first).unwrap();
                found.map_or("none".to_owned(), |id| self.labels.name(*id.uuid()))
            }
            "user" => {
                let Principal::User(id) = self.labels.principal(first) else { panic!("not a user") };
                let found = user::find(rows, account, id).unwrap();
                found.map_or("none".to_owned(), |row| format!("{:?} {}", row.value.status, row.value.login()))
            }
            "holds" => {
                let principal = self.labels.principal(first);
                match authority::holds(rows, account, &principal, words.at(2)) {
                    Ok(holds) => yes_no(holds),
                    Err(rejection) => refusal(&rejection),
                }
            }
            "roles" => {
                let principal = self.labels.principal(first);
                let roles = membership::roles_of(rows, account, &principal).unwrap();
                listed(roles.iter().map(ToString::to_string))
            }
            "members" => {
                let members = membership::members_of(rows, account, &words.role(1), None, 100).unwrap();
                listed(members.iter().map(|member| self.labels.principal_name(member)))
            }
            "permissions" => {
                let role = role::find(rows, account, &words.role(1)).unwrap();
                role.map_or("none".to_owned(), |role| {
                    listed(role.value.permissions.iter().map(ToString::to_string))
                })
            }
            "roles-after" => {
                let after = if first == "-" { None } else { Some(words.role(1)) };
                let roles = role::list(rows, account, after.as_ref(), words.number(2)).unwrap();
                listed(roles.iter().map(|role| role.value.name.to_string()))
            }
            "described" => {
                let role = role::find(rows, account, &words.role(1)).unwrap().expect("a role");
                role.value.description.map_or("nothing".to_owned(), |text| text.to_string())
            }
            "which-roles" => {
                let roles = role::which_hold(rows, account, first).unwrap();
                listed(roles.iter().map(ToString::to_string))
            }
            _ => self.answer_of_proofs(words),
        }
    }

    /// Answers about keys, sessions and the trail.
    fn answer_of_proofs(&mut self, words: &Words<'_>) -> String {
        let (rows, account, at) = (&self.rows, self.account, self.at);
        let first = words.at(1);
        match words.verb() {
            "api-key" => {
                let found = service::find_key(rows, account, &secret(first)).unwrap();
                found.map_or("none", |(_, key)| if key.is_good(at) { "good" } else { "bad" }).to_owned()
            }
            "service-name" => {
                let found = service::find_by_name(rows, account, first).unwrap();
                found.map_or("none".to_owned(), |id| self.labels.name(*id.uuid()))
            }
            "key-count" => {
                let Principal::Service(id) = self.labels.principal(first) else { panic!("not a service") };
                service::list_keys(rows, account, id).unwrap().len().to_string()
            }
            "live" => yes_no(session::live(rows, account, session_id(first), at).is_ok()),
            "session" => yes_no(session::find(rows, account, session_id(first)).unwrap().is_some()),
            "sessions" => {
                let principal = self.labels.principal(first);
                let sessions = session::list(rows, account, &principal, at).unwrap();
                listed(sessions.iter().map(|session| self.labels.name(*session.id.uuid())))
            }
            "token" => match session::find_by_refresh(rows, account, &secret(first), at) {
                Ok(live) => self.labels.name(*live.session.id.uuid()),
                Err(rejection) => refusal(&rejection),
            },
            "spent-token" => yes_no(session::pointer(rows, account, &secret(first)).unwrap().is_some()),
            "signing" => {
                key::signing(rows, account).map_or_else(|rejection| refusal(&rejection), |key| key.id)
            }
            "verifying" => {
                let keys = key::list(rows, account).unwrap();
                listed(keys.into_iter().filter(|key| key.verifies(at)).map(|key| key.id))
            }
            "sealed" => {
                let secrets = reseal::list(rows, account).unwrap();
                listed(secrets.iter().map(|(secret, sealed)| {
                    let name = match secret {
                        SealedSecret::SigningKey(id) => id,
                        SealedSecret::MintKey => "mint-key",
                        SealedSecret::NodeAuthority => "authority",
                    };
                    format!("{name}={}", String::from_utf8_lossy(sealed.as_bytes()))
                }))
            }
            "next-account" => {
                let after = if first == "-" { None } else { Some(self.labels.account(first)) };
                account::next(rows, after).map_or("none".to_owned(), |id| self.labels.account_name(id))
            }
            "signing-keys" => key::list(rows, account).unwrap().len().to_string(),
            "audit" => {
                let records = self.trail(audit::Trail::Acts);
                let last = records.iter().rev().take(words.number(1)).map(|record| record.action.clone());
                last.collect::<Vec<_>>().join(" ")
            }
            "refusals" => {
                let records = self.trail(audit::Trail::Acts);
                let refused = records.iter().filter(|record| !record.success);
                refused.map(|record| record.detail.clone()).collect::<Vec<_>>().join(", ")
            }
            "checks" => {
                let records = self.trail(audit::Trail::Checks);
                let shown = records.iter().map(|record| format!("{}x{}", record.action, record.count));
                shown.collect::<Vec<_>>().join(" ")
            }
            "locked" => {
                let Principal::User(id) = self.labels.principal(first) else { panic!("not a user") };
                yes_no(lockout::find(rows, account, id).unwrap().locked_until(at).is_some())
            }
            _ => self.answer_of_subjects(words),
        }
    }

    /// Answers about names and the keys of accounts.
    fn answer_of_subjects(&self, words: &Words<'_>) -> String {
        let (rows, account, at) = (&self.rows, self.account, self.at);
        let first = words.at(1);
        let name = || super::super::UserName::parse(first).unwrap();
        match words.verb() {
            "owner" => {
                let found = holder::account_of(rows, &secret(first)).unwrap();
                found.map_or("none".to_owned(), |id| self.labels.account_name(id))
            }
            "subject" => yes_no(subject::find(rows, account, subject::id_of(&name())).unwrap().is_some()),
            "subject-holds" => {
                let principal = Principal::Subject(subject::id_of(&name()));
                match authority::holds(rows, account, &principal, words.at(2)) {
                    Ok(holds) => yes_no(holds),
                    Err(rejection) => refusal(&rejection),
                }
            }
            "subject-key" => match subject_key::find(rows, account, &secret(first)).unwrap() {
                None => "none".to_owned(),
                Some((_, key)) => key.fault(at).map_or("good".to_owned(), |fault| format!("{fault:?}")),
            },
            "stopped" => {
                let principal = Principal::Subject(subject::id_of(&name()));
                let steps = words.steps(2);
                let stop = steps.stop(rows, account, &principal, at).unwrap();
                stop.map_or("nowhere".to_owned(), ToString::to_string)
            }
            "runners" => {
                let found = words.steps(1).runners(rows, account, at).unwrap().principals;
                listed(found.iter().map(|found| found.standing(rows, account).unwrap().name))
            }
            "holdings" => {
                let held = holder::holdings(rows, account).unwrap();
                let (roles, members, permissions) = (held.roles, held.members, held.permissions);
                let (keys, settings) = (held.subject_keys, yes_no(held.has_settings));
                format!(
                    "roles {roles}, members {members}, permissions {permissions}, keys {keys}, settings {settings}"
                )
            }
            other => panic!("no verb {other}"),
        }
    }

    /// A whole trail, which must be unbroken.
    fn trail(&self, trail: audit::Trail) -> Vec<audit::AuditRecord> {
        let head = audit::head(&self.rows, self.account, trail).unwrap();
        let records = audit::list(&self.rows, self.account, trail, 0, usize::MAX).unwrap();
        let chain = audit::Chain { account: self.account, trail };
        let before = head.first.saturating_sub(1);
        assert_eq!(chain.first_break(before, head.anchor, &records), None);
        assert_eq!(records.last().map_or(0, |last| last.sequence), head.sequence);
        records
    }
}

fn outcome(result: &Result<Reply, Rejection>) -> String {
    match result {
        Ok(Reply::Done) => "Done".to_owned(),
        Ok(Reply::Changed(true)) => "Changed".to_owned(),
        Ok(Reply::Changed(false)) => "Unchanged".to_owned(),
        Ok(Reply::SessionOpened { .. }) => "SessionOpened".to_owned(),
        Ok(Reply::ReuseEndedSession { .. }) => "ReuseEndedSession".to_owned(),
        Ok(Reply::SignInRefused { locked_until: None }) => "Refused".to_owned(),
        Ok(Reply::SignInRefused { locked_until: Some(_) }) => "RefusedAndLocked".to_owned(),
        Ok(Reply::SignInLocked { .. }) => "Locked".to_owned(),
        Err(rejection) => refusal(rejection),
    }
}

/// The name of the variant, with what scripts care about in brackets.
fn refusal(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Invalid { field, .. } => format!("Invalid({field})"),
        Rejection::Forbidden(what) => format!("Forbidden({what})"),
        Rejection::PreconditionFailed { .. } => "PreconditionFailed".to_owned(),
        Rejection::LimitReached { limit, .. } => format!("LimitReached({limit})"),
        Rejection::Misplaced(_) => "Misplaced".to_owned(),
        Rejection::NotFound(_)
        | Rejection::Unauthenticated
        | Rejection::BadCredentials
        | Rejection::BadRefreshToken
        | Rejection::AccountIdTaken
        | Rejection::EmailTaken
        | Rejection::NameTaken
        | Rejection::RoleExists
        | Rejection::IdTaken
        | Rejection::Damaged
        | Rejection::KeyTaken
        | Rejection::RecoveryIssued
        | Rejection::NotKeyBacked
        | Rejection::RegistrationClosed
        | Rejection::UnknownCommand
        | Rejection::NodeRemoved => format!("{rejection:?}"),
        Rejection::JoinToken(fault) => format!("{fault:?}"),
    }
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// Sorted, because labels stand for ids in no order that a reader could foresee.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

//! New passwords: judged by the policy that counts for them, then hashed; and the change of one by somebody
//! who is not signed in.
//!
//! # Why earlier passwords count only for who has given the present one
//! That a password was used before tells whoever wants to set it what somebody's password is or was. An
//! administrator who sets it, or a stolen session that need not give the present one, could ask that about
//! any number of guesses. Whoever gives the present one has guessed under the rules of
//! [lockout](crate::domain::lockout).

use std::sync::Arc;

use conclave_cluster::state::View;

use super::accounts::Person;
use super::sign_in::Who;
use super::{App, Caller, Done, Failure, Request};
use crate::auth::hasher::Checked;
use crate::auth::password::Password;
use crate::auth::policy::{Breach, breaches};
use crate::domain::policy::PasswordPolicy;
use crate::domain::user::{User, UserChanges};
use crate::domain::{
    AccountId, Action, Email, Expectation, Label, Noun, PasswordHash, Principal, Rejection, Resource, Stored,
    UserId, UserName, authority, settings, user,
};
use crate::replica::Freshness;
use crate::secret::Secret;

/// A password that somebody wants, and the policy of the surface by which it came: it counts unless the
/// account has one of its own.
#[derive(Clone, Debug)]
pub struct WantedPassword {
    pub password: Password,
    pub of_surface: PasswordPolicy,
}

impl WantedPassword {
    /// Takes a password that is within the limits of any.
    ///
    /// # Errors
    /// [`Failure::Password`] when it is empty or too long.
    pub fn parse(text: Secret<String>, of_surface: PasswordPolicy) -> Result<Self, Failure> {
        Ok(Self { password: Password::parse(text)?, of_surface })
    }
}

impl App {
    /// The order to set a user's password, for a command of `caller`. `changes` are names that the user is to
    /// have from then on; `current` is the present password, if the caller has proven it.
    ///
    /// # Errors
    /// [`Failure::WeakPassword`] with every rule that it breaks, but only for who may set it: what breaks a
    /// rule tells of the user.
    pub(super) async fn setting(
        &self,
        view: &View,
        caller: &Caller,
        user: UserId,
        wanted: WantedPassword,
        changes: &UserChanges,
        current: Option<(&Password, &user::Password)>,
    ) -> Result<Action, Failure> {
        let account = caller.account();
        let set = |password, history| Action::SetPassword { user, password, history };
        self.must_be_allowed(view, caller, &set(PasswordHash::new(String::new()), 0))?;
        let policy = password_policy(view, account, wanted.of_surface)?;
        let found = user::find(view, account, user)?.map(|row| row.value);
        let mut about = found.as_ref().map(names_of).unwrap_or_default();
        about.extend(new_names(changes));
        let reused = match current {
            Some((current, stored)) => {
                let last = policy.remembered();
                self.is_used(last, &wanted.password, current, stored).await?.then_some(Breach::Reused(last))
            }
            None => None,
        };
        let password = self.judged(&policy, &wanted.password, &about, reused).await?;
        Ok(set(password, policy.remembered().saturating_sub(1)))
    }

    /// Changes a password for somebody who gives the present one and is not signed in, perhaps because it has
    /// grown too old for that. Ends all sessions of the user.
    ///
    /// It is a sign-in for that one change: throttled and written down as one, and over with it.
    ///
    /// # Errors
    /// As [`App::sign_in`]; [`Failure::WeakPassword`] only when the present password is right.
    pub async fn replace_password(
        self: &Arc<Self>,
        account: AccountId,
        login: String,
        current: Password,
        wanted: WantedPassword,
        request: &Request,
    ) -> Result<Done, Failure> {
        let who = Who::Anyone(account, login);
        let session = self.sign_in_to_change(&who, current.clone(), request).await?;
        let view = self.rows_for(request).await?;
        let caller = self.authenticate(&view, session.access.expose()).map_err(|failure| {
            // Another change of the password that came in between has ended the session.
            let is_over = failure == Failure::Rejected(Rejection::Unauthenticated);
            if is_over { Rejection::BadCredentials.into() } else { failure }
        })?;
        let Principal::User(user) = caller.principal() else { return Err(Rejection::BadCredentials.into()) };
        let (stored, expect) = stored_password(&view, account, user)?;
        let proven = Some((&current, &stored.value));
        let set = self.setting(&view, &caller, user, wanted, &UserChanges::default(), proven).await?;
        let end = Action::EndSession { session: caller.session() };
        let action = Action::Transaction(vec![set, end]);
        self.execute(&caller.orders(request, vec![expect], action), request).await
    }

    /// The rows by which a request is judged: those of now, or, where it is a retry of one that was carried
    /// out, those that it found then. What it has changed itself must not refuse it.
    ///
    /// # Errors
    /// While the cluster cannot be read.
    pub(crate) async fn rows_for(&self, request: &Request) -> Result<View, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        Ok(self.rows_found_first(&view, request).unwrap_or(view))
    }

    /// Refuses on this node already who may not do something. The last word is in `domain::apply`.
    fn must_be_allowed(&self, view: &View, caller: &Caller, action: &Action) -> Result<(), Failure> {
        let account = caller.account();
        let known = authority::caller(view, account, &caller.actor(), self.now(view))?;
        Ok(authority::may(view, account, &known, action)?)
    }

    /// Hashes a password if it breaks no rule of `policy`. `about` holds the names of its user.
    ///
    /// # Errors
    /// [`Failure::WeakPassword`] with every rule that it breaks.
    pub(super) async fn judged(
        &self,
        policy: &PasswordPolicy,
        password: &Password,
        about: &[&str],
        reused: Option<Breach>,
    ) -> Result<PasswordHash, Failure> {
        let broken: Vec<Breach> = breaches(policy, password, about).into_iter().chain(reused).collect();
        if !broken.is_empty() {
            return Err(Failure::WeakPassword(broken));
        }
        Ok(PasswordHash::new(self.hasher.hash(password.clone()).await?))
    }

    /// Whether a new password is one of the `last`, of which the present one, given in clear, is the first.
    async fn is_used(
        &self,
        last: u8,
        new: &Password,
        current: &Password,
        stored: &user::Password,
    ) -> Result<bool, Failure> {
        let Some(before) = last.checked_sub(1) else { return Ok(false) };
        if new.expose() == current.expose() {
            return Ok(true);
        }
        for hash in stored.previous.iter().take(before.into()) {
            if let Checked::Right { .. } = self.hasher.verify(new.clone(), hash.phc()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The policy that counts in an account for passwords of a surface.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn password_policy(
    view: &View,
    account: AccountId,
    of_surface: PasswordPolicy,
) -> Result<PasswordPolicy, Failure> {
    Ok(settings::of(view, account)?.passwords.policy(of_surface))
}

/// A user's password, and that it must still be this one when a change is decided.
pub(super) fn stored_password(
    view: &View,
    account: AccountId,
    user: UserId,
) -> Result<(Stored<user::Password>, Expectation), Failure> {
    let stored = user::find_password(view, account, user)?.ok_or(Rejection::NotFound(Noun::User))?;
    let expect = Expectation { resource: Resource::Password(user), revision: stored.revision };
    Ok((stored, expect))
}

impl Person {
    /// The names that a password must not be made of.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let Self { name, email, first_name, last_name, .. } = self;
        names(name.as_ref(), email.as_ref(), [first_name.as_ref(), last_name.as_ref()])
    }
}

/// The same of somebody who is a user already.
#[must_use]
pub fn names_of(user: &User) -> Vec<&str> {
    let User { name, email, first_name, last_name, .. } = user;
    names(name.as_ref(), email.as_ref(), [first_name.as_ref(), last_name.as_ref()])
}

/// The same of what a user is to be called.
fn new_names(changes: &UserChanges) -> Vec<&str> {
    let UserChanges { name, email, first_name, last_name } = changes;
    names(name.as_ref(), email.as_ref(), [first_name.as_ref(), last_name.as_ref()])
}

fn names<'a>(
    name: Option<&'a UserName>,
    email: Option<&'a Email>,
    labels: [Option<&'a Label>; 2],
) -> Vec<&'a str> {
    let logins = [name.map(UserName::as_str), email.map(Email::as_str)];
    logins.into_iter().chain(labels.map(|label| label.map(Label::as_str))).flatten().collect()
}

//! Lockout: how often somebody may guess a password, whichever nodes they ask.
//!
//! # Why in the log
//! Several nodes may check passwords of one user at the same time, and each sees the others' failures late. So
//! nobody is told what became of a try before the try has its place in the log: here it is counted, and what
//! the client may learn follows from the count. A right password that comes after too many wrong ones opens
//! nothing, whenever it was checked.
//!
//! # Why two kinds of sources
//! A lock that strangers can bring about is a weapon against its owner. So the addresses from which the
//! user signed in lately count for themselves: strangers lock out strangers.
//!
//! # Why a locked user may still learn that the password is right
//! Clients of seed 004 are told `account_locked` when the password is right and `invalid_grant` when it is not
//! (contract part 4.2). That answers guesses, so only [`JUDGED_WHILE_LOCKED`] of them are answered for each
//! lock; from then on everything is wrong until the lock ends.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rows::tables;
use super::{AccountId, Context, Lifetime, Origin, Read, Rejection, Reply, Timestamp, UserId, settings};

/// After how many failures in a row, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lockout {
    /// Failures in a row that lock; 0 never does.
    pub failures: u32,
    pub lock_for: Lifetime,
}

impl Default for Lockout {
    /// Five failures, a quarter of an hour (contract part 4.2).
    fn default() -> Self {
        Self { failures: 5, lock_for: Lifetime::from_secs(900) }
    }
}

impl Lockout {
    pub(super) fn check(&self) -> Result<(), Rejection> {
        if self.failures > 100 {
            return Err(Rejection::invalid("lockout", "a lock comes after at most 100 failures"));
        }
        // A lock for ever would be a weapon.
        if self.failures > 0 && !(60_000..=86_400_000).contains(&self.lock_for.0) {
            return Err(Rejection::invalid("lockout", "a lock lasts a minute to a day"));
        }
        Ok(())
    }
}

/// What is known of the tries to sign in as one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Those from sources that are not known.
    pub strangers: Count,
    /// Sources of earlier successes, the latest last.
    pub known: Vec<Known>,
    pub last_success: Option<Timestamp>,
}

/// A source from which the user signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The beginning of the SHA-256 of the address.
    pub source: [u8; 8],
    pub count: Count,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub failures: u32,
    pub locked_until: Option<Timestamp>,
    /// Tries that were answered since it was locked.
    pub judged: u32,
}

/// A try that did not open a session, as the node that was asked saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSignIn {
    /// Whose password was tried, if there is such a user.
    pub user: Option<UserId>,
    /// The beginning of the SHA-256 of what the client gave as a name: the trail shows which tries were for
    /// one name, and never the password that somebody typed in the wrong field.
    pub login: [u8; 8],
    pub why: Why,
}

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    WrongPassword,
    /// No such user, or one that has no password.
    Unknown,
    /// The password is right, the user may not act.
    Disabled,
    /// The API key or client secret is unknown, revoked or expired.
    WrongKey,
    /// The refresh token is unknown, expired, spent or of somebody who may not act any more.
    BadRefreshToken,
    /// The password is right, and too old to sign in with.
    PasswordExpired,
}

impl RefusedSignIn {
    /// A try with that name, which is not kept.
    #[must_use]
    pub fn new(user: Option<UserId>, login: &str, why: Why) -> Self {
        Self { user, login: beginning_of_hash(login), why }
    }
}

impl Why {
    /// As the trail says it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong password",
            Self::Unknown => "unknown user",
            Self::Disabled => "disabled",
            Self::WrongKey => "wrong key",
            Self::BadRefreshToken => "bad refresh token",
            Self::PasswordExpired => "password expired",
        }
    }
}

/// How many tries are answered truly while a lock lasts.
pub const JUDGED_WHILE_LOCKED: u32 = 3;
const MAX_KNOWN: usize = 8;

/// What is known of the tries to sign in as that user.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn find(rows: &dyn Read, account: AccountId, user: UserId) -> Result<Attempts, Rejection> {
    let found = tables::ATTEMPTS.get(rows, account, user.uuid().as_bytes())?;
    Ok(found.map(|row| row.value).unwrap_or_default())
}

impl Attempts {
    /// Until when strangers, or any known source, are locked out at `now`.
    #[must_use]
    pub fn locked_until(&self, now: Timestamp) -> Option<Timestamp> {
        let counts = self.known.iter().map(|known| &known.count).chain([&self.strangers]);
        counts.filter_map(|count| count.locked_until).filter(|until| now < *until).max()
    }

    fn count(&mut self, source: [u8; 8]) -> &mut Count {
        match self.known.iter_mut().find(|known| known.source == source) {
            Some(known) => &mut known.count,
            None => &mut self.strangers,
        }
    }

    /// Remembers a source as known, at the cost of the one that was not seen for the longest.
    fn remember(&mut self, source: [u8; 8]) {
        self.known.retain(|known| known.source != source);
        if self.known.len() >= MAX_KNOWN {
            self.known.remove(0);
        }
        self.known.push(Known { source, count: Count::default() });
    }
}

impl Count {
    /// Starts anew when a lock has ended.
    fn at(&mut self, now: Timestamp) -> &mut Self {
        if self.locked_until.is_some_and(|until| until <= now) {
            *self = Self::default();
        }
        self
    }

    /// Counts a try during a lock, and says whether it may still be answered truly.
    fn judge(&mut self) -> bool {
        let is_answered = self.judged < JUDGED_WHILE_LOCKED;
        self.judged = self.judged.saturating_add(1);
        is_answered
    }
}

/// Counts a try that failed, and says what the client may learn.
pub(super) fn refuse(context: &mut Context<'_>, refused: &RefusedSignIn) -> Result<Reply, Rejection> {
    let Some(user) = refused.user else { return Ok(Reply::SignInRefused { locked_until: None }) };
    match refused.why {
        Why::WrongPassword => {}
        // Nothing was guessed wrongly, but the answer tells that: the lock must hold here too.
        Why::Disabled | Why::PasswordExpired => {
            return Ok(locked(context, user)?.unwrap_or(Reply::SignInRefused { locked_until: None }));
        }
        Why::Unknown | Why::WrongKey | Why::BadRefreshToken => {
            return Ok(Reply::SignInRefused { locked_until: None });
        }
    }
    let lockout = settings::of(context.rows, context.account)?.lockout;
    if lockout.failures == 0 {
        return Ok(Reply::SignInRefused { locked_until: None });
    }
    let mut attempts = find(context.rows, context.account, user)?;
    let count = attempts.count(source(context.origin)).at(context.at);
    if count.locked_until.is_some() {
        count.judge();
    } else {
        count.failures = count.failures.saturating_add(1);
        if count.failures >= lockout.failures {
            count.locked_until = Some(context.at.plus(lockout.lock_for));
        }
    }
    let locked_until = count.locked_until;
    save(context, user, &attempts)?;
    Ok(Reply::SignInRefused { locked_until })
}

/// What a right password gets instead of a session while its source is locked out; `None` if it is not.
pub(super) fn locked(context: &mut Context<'_>, user: UserId) -> Result<Option<Reply>, Rejection> {
    let mut attempts = find(context.rows, context.account, user)?;
    let count = attempts.count(source(context.origin)).at(context.at);
    let Some(until) = count.locked_until else { return Ok(None) };
    let is_answered = count.judge();
    save(context, user, &attempts)?;
    Ok(Some(if is_answered {
        Reply::SignInLocked { until }
    } else {
        Reply::SignInRefused { locked_until: Some(until) }
    }))
}

/// Forgets the failures of a source that has just signed in, or of all strangers if it was one.
pub(super) fn succeeded(context: &mut Context<'_>, user: UserId) -> Result<(), Rejection> {
    let mut attempts = find(context.rows, context.account, user)?;
    let source = source(context.origin);
    *attempts.count(source) = Count::default();
    attempts.remember(source);
    attempts.last_success = Some(context.at);
    save(context, user, &attempts)
}

/// A right password that was given by somebody who is signed in already. It counts like a sign-in: a stolen
/// session must not be a way to guess more.
pub(super) fn prove(context: &mut Context<'_>, user: UserId, revision: u64) -> Result<Reply, Rejection> {
    match super::user::find_password(context.rows, context.account, user)? {
        Some(password) if password.revision == revision => {}
        Some(_) | None => return Err(Rejection::BadCredentials),
    }
    if let Some(refused) = locked(context, user)? {
        return Ok(refused);
    }
    succeeded(context, user)?;
    Ok(Reply::Done)
}

/// Ends every lock of the user.
pub(super) fn unlock(context: &mut Context<'_>, user: UserId) -> Result<Reply, Rejection> {
    super::user::existing(context.rows, context.account, user)?;
    let before = find(context.rows, context.account, user)?;
    let mut attempts = before.clone();
    attempts.strangers = Count::default();
    for known in &mut attempts.known {
        known.count = Count::default();
    }
    if attempts == before {
        return Ok(Reply::Changed(false));
    }
    save(context, user, &attempts)?;
    Ok(Reply::Changed(true))
}

/// Forgets a user who is deleted.
pub(super) fn forget(context: &mut Context<'_>, user: UserId) {
    tables::ATTEMPTS.delete(context.rows, context.account, user.uuid().as_bytes());
}

fn save(context: &mut Context<'_>, user: UserId, attempts: &Attempts) -> Result<(), Rejection> {
    tables::ATTEMPTS.put(context.rows, context.account, user.uuid().as_bytes(), attempts)
}

fn source(origin: &Origin) -> [u8; 8] {
    beginning_of_hash(origin.address.as_deref().unwrap_or_default())
}

fn beginning_of_hash(text: &str) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(text).into();
    let mut beginning = [0; 8];
    for (to, from) in beginning.iter_mut().zip(hash) {
        *to = from;
    }
    beginning
}

//! Sessions: what a sign-in opens, what its tokens hang on, and what a revocation ends.
//!
//! A token is good as long as its session is live: open, not expired, and of the epoch of its principal.
//! So ending one session is one row, and ending all of a principal is one row too.

use serde::{Deserialize, Serialize};

use super::principal::Standing;
use super::rows::tables;
use super::{
    AccountId, ApiKeyId, Context, Label, Lifetime, Noun, Permission, Principal, Read, Rejection, Reply,
    SecretHash, SessionId, Stored, Timestamp, UserId, account, lockout, service, user,
};

/// One sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub principal: Principal,
    pub opened_at: Timestamp,
    /// No token of the session is good from then on; refreshing does not move it.
    pub expires_at: Timestamp,
    /// The epoch of the principal that the session belongs to.
    pub epoch: u64,
    pub method: Method,
    pub refresh: Refresh,
    /// When it was ended before its time.
    pub ended_at: Option<Timestamp>,
    /// When its last access token was given.
    pub used_at: Timestamp,
    pub grant: Grant,
}

/// What a sign-in was asked for and given. The permissions that count are those of the rows; a grant only
/// narrows what its tokens may be used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub family: Family,
    /// How long each of its access tokens is good.
    pub access: Lifetime,
    /// The scopes that were given; a refresh never widens them (RFC 6749 section 6).
    pub scope: Vec<Permission>,
    /// The client that the user signed in through, as it called itself.
    pub client: Option<Label>,
    /// Whom the tokens are for.
    pub audience: Vec<Label>,
}

/// Which clients a token speaks to: one family's token is nothing to another (contract part 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// The native API and the engine of seed 001.
    Native,
    /// The token service of seeds 002 and 004.
    Keystone,
}

impl Grant {
    /// The most scopes, and the most audiences: more than any client asks for, and little enough for a token.
    pub const MAX_SCOPES: usize = 100;

    /// A grant of the native family: everything that the principal may do.
    #[must_use]
    pub const fn native(access: Lifetime) -> Self {
        let family = Family::Native;
        Self { family, access, scope: Vec::new(), client: None, audience: Vec::new() }
    }

    fn check(&self) -> Result<(), Rejection> {
        if self.scope.len() > Self::MAX_SCOPES || self.audience.len() > Self::MAX_SCOPES {
            let what = "scopes or audiences of one sign-in".to_owned();
            return Err(Rejection::LimitReached { what, limit: Self::MAX_SCOPES as u64 });
        }
        Ok(())
    }
}

/// How the principal proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    Password,
    ApiKey(ApiKeyId),
}

/// Whether and how the session gives new access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refresh {
    /// Not at all.
    None,
    /// By one refresh token, again and again (seed 000).
    Fixed,
    /// By a refresh token that is good once and gives the next (RFC 9700 section 4.14). The generation
    /// counts from 1.
    Rotating { generation: u64 },
}

/// What opening a session needs. The proof was checked by the node that was asked, against rows that must
/// not have changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSession {
    pub id: SessionId,
    pub proof: Proof,
    pub refresh: NewRefresh,
    pub lifetime: Lifetime,
    pub grant: Grant,
}

/// What was checked before the session is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// The password matched the one stored at that revision.
    Password { user: UserId, revision: u64 },
    /// This key was presented.
    ApiKey { hash: SecretHash },
}

/// The first refresh token, by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewRefresh {
    None,
    Fixed(SecretHash),
    Rotating(SecretHash),
}

/// The spending of a rotating refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub presented: SecretHash,
    pub next: SecretHash,
}

/// Where a refresh token leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshPointer {
    pub session: SessionId,
    /// The generation it is good for; 0 for a fixed one.
    pub generation: u64,
}

/// A session that is live, with its principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub session: Session,
    pub standing: Standing,
}

/// The session with that id, live or not, until some time after it expired.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode; so for the others here.
pub fn find(
    rows: &dyn Read,
    account: AccountId,
    id: SessionId,
) -> Result<Option<Stored<Session>>, Rejection> {
    tables::SESSION.get(rows, account, id.uuid().as_bytes())
}

/// The session, if its tokens are good at `now`. This is the one question behind every use of a token.
///
/// # Errors
/// [`Rejection::Unauthenticated`] whatever is the reason that it is not live.
pub fn live(rows: &dyn Read, account: AccountId, id: SessionId, now: Timestamp) -> Result<Live, Rejection> {
    let session = find(rows, account, id)?.ok_or(Rejection::Unauthenticated)?.value;
    account::open_account(rows, account).map_err(unauthenticated)?;
    let standing = session.principal.standing(rows, account).map_err(unauthenticated)?;
    let is_live = session.ended_at.is_none() && now < session.expires_at && session.epoch == standing.epoch;
    if is_live { Ok(Live { session, standing }) } else { Err(Rejection::Unauthenticated) }
}

/// The session that a refresh token belongs to, if the token is good at `now`, with its generation.
///
/// # Errors
/// [`Rejection::BadRefreshToken`] whatever is the reason that it is not.
pub fn find_by_refresh(
    rows: &dyn Read,
    account: AccountId,
    presented: &SecretHash,
    now: Timestamp,
) -> Result<Live, Rejection> {
    let pointer = pointer(rows, account, presented)?.ok_or(Rejection::BadRefreshToken)?;
    let live = live(rows, account, pointer.session, now).map_err(bad_refresh_token)?;
    let is_current = match live.session.refresh {
        Refresh::None => false,
        Refresh::Fixed => pointer.generation == 0,
        Refresh::Rotating { generation } => pointer.generation == generation,
    };
    if is_current { Ok(live) } else { Err(Rejection::BadRefreshToken) }
}

/// The session that a refresh token, good or spent, belongs to.
///
/// # Errors
/// As [`find`].
pub fn pointer(
    rows: &dyn Read,
    account: AccountId,
    hash: &SecretHash,
) -> Result<Option<RefreshPointer>, Rejection> {
    Ok(tables::REFRESH.get(rows, account, hash.as_bytes())?.map(|row| row.value))
}

/// The live sessions of a principal at `now`.
///
/// # Errors
/// As [`find`].
pub fn list(
    rows: &dyn Read,
    account: AccountId,
    principal: &Principal,
    now: Timestamp,
) -> Result<Vec<Session>, Rejection> {
    let mut sessions = Vec::new();
    for (key, _) in tables::PRINCIPAL_SESSION.scan(rows, account, &principal.key(), None, usize::MAX)? {
        let id = key.get(Principal::KEY_BYTES..).and_then(|id| uuid::Uuid::from_slice(id).ok());
        match live(rows, account, SessionId::new(id.ok_or(Rejection::Damaged)?), now) {
            Ok(live) => sessions.push(live.session),
            Err(Rejection::Unauthenticated) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(sessions)
}

/// Whether the principal has a session that is not forgotten yet, live or not.
pub(super) fn has_any(rows: &dyn Read, account: AccountId, principal: &Principal) -> Result<bool, Rejection> {
    Ok(!tables::PRINCIPAL_SESSION.scan(rows, account, &principal.key(), None, 1)?.is_empty())
}

pub(super) fn open(context: &mut Context<'_>, new: &NewSession) -> Result<Reply, Rejection> {
    let (principal, method, not_after) = prove(context, &new.proof).map_err(bad_credentials)?;
    account::open_account(context.rows, context.account).map_err(bad_credentials)?;
    let standing = principal.standing(context.rows, context.account).map_err(bad_credentials)?;
    new.grant.check()?;
    if find(context.rows, context.account, new.id)?.is_some() {
        return Err(Rejection::IdTaken);
    }
    if let (Principal::User(user), Method::Password) = (principal, method) {
        if let Some(refused) = lockout::locked(context, user)? {
            return Ok(refused);
        }
        lockout::succeeded(context, user)?;
    }
    let (refresh, first) = match new.refresh {
        NewRefresh::None => (Refresh::None, None),
        NewRefresh::Fixed(hash) => (Refresh::Fixed, Some((hash, 0))),
        NewRefresh::Rotating(hash) => (Refresh::Rotating { generation: 1 }, Some((hash, 1))),
    };
    let session = Session {
        id: new.id,
        principal,
        opened_at: context.at,
        expires_at: context.at.plus(new.lifetime).min(not_after),
        epoch: standing.epoch,
        method,
        refresh,
        ended_at: None,
        used_at: context.at,
        grant: new.grant.clone(),
    };
    save(context, &session)?;
    if let Some((hash, generation)) = first {
        add_refresh(context, new.id, hash, generation)?;
    }
    let of_principal = [principal.key().as_slice(), new.id.uuid().as_bytes()].concat();
    tables::PRINCIPAL_SESSION.put(context.rows, context.account, &of_principal, &())?;
    tables::SESSION_EXPIRY.put(context.rows, context.account, &expiry_key(&session), &())?;
    Ok(opened(&session))
}

/// Spends a rotating refresh token. Of several at once, the first in the log wins. A spent one that comes
/// again later ends the session, because either the owner or a thief holds a copy (RFC 9700 section
/// 4.14.2); only the one just spent is merely refused for [`REUSE_GRACE`], so that a client that sends one
/// request to several nodes does not end its own session.
pub(super) fn rotate(context: &mut Context<'_>, rotation: &Rotation) -> Result<Reply, Rejection> {
    let pointer =
        pointer(context.rows, context.account, &rotation.presented)?.ok_or(Rejection::BadRefreshToken)?;
    let live = live(context.rows, context.account, pointer.session, context.at);
    let mut session = live.map_err(bad_refresh_token)?.session;
    let Refresh::Rotating { generation } = session.refresh else { return Err(Rejection::BadRefreshToken) };
    if pointer.generation != generation {
        let is_just_spent =
            pointer.generation + 1 == generation && context.at < session.used_at.plus(REUSE_GRACE);
        if is_just_spent {
            return Err(Rejection::BadRefreshToken);
        }
        session.ended_at = Some(context.at);
        save(context, &session)?;
        return Ok(Reply::ReuseEndedSession { session: session.id });
    }
    session.refresh = Refresh::Rotating { generation: generation + 1 };
    session.used_at = context.at;
    save(context, &session)?;
    add_refresh(context, session.id, rotation.next, generation + 1)?;
    Ok(opened(&session))
}

pub(super) fn end(context: &mut Context<'_>, id: SessionId) -> Result<Reply, Rejection> {
    let found = find(context.rows, context.account, id)?;
    let mut session = found.ok_or(Rejection::NotFound(Noun::Session))?.value;
    if session.ended_at.is_some() {
        return Ok(Reply::Changed(false));
    }
    session.ended_at = Some(context.at);
    save(context, &session)?;
    Ok(Reply::Changed(true))
}

/// Ends all sessions of the principal by starting a new epoch, into which only `except` is taken, if it is one
/// of them.
pub(super) fn end_all(
    context: &mut Context<'_>,
    principal: &Principal,
    except: Option<SessionId>,
) -> Result<Reply, Rejection> {
    let kept = match except {
        Some(id) => live(context.rows, context.account, id, context.at).ok().map(|live| live.session),
        None => None,
    };
    let epoch = match principal {
        Principal::User(id) => user::next_epoch(context, *id)?,
        Principal::Service(id) => service::next_epoch(context, *id)?,
        Principal::Subject(_) => return Err(Rejection::NotFound(Noun::User)),
    };
    if let Some(mut session) = kept.filter(|session| session.principal == *principal) {
        session.epoch = epoch;
        save(context, &session)?;
    }
    Ok(Reply::Changed(true))
}

/// Forgets a few sessions whose time has been over for an hour: each command pays for a bounded part of
/// the upkeep of its own account. Until then a spent refresh token is still recognised.
pub(super) fn prune(rows: &mut dyn super::Rows, account: AccountId, at: Timestamp) -> Result<(), Rejection> {
    let due = Timestamp(at.0.saturating_sub(KEPT_AFTER_EXPIRY.0)).0.to_be_bytes();
    for (key, _) in tables::SESSION_EXPIRY.scan(rows, account, &[], None, PRUNED_PER_COMMAND)? {
        let (Some(expiry), Some(id)) = (key.get(..8), key.get(8..)) else { return Err(Rejection::Damaged) };
        if expiry >= due.as_slice() {
            break;
        }
        let generations = tables::SESSION_REFRESH.scan(rows, account, id, None, PRUNED_GENERATIONS)?;
        let is_last = generations.len() < PRUNED_GENERATIONS;
        for (path, hash) in generations {
            tables::REFRESH.delete(rows, account, hash.value.as_bytes());
            tables::SESSION_REFRESH.delete(rows, account, &path);
        }
        if is_last {
            if let Some(session) = tables::SESSION.get(rows, account, id)? {
                let of_principal = [session.value.principal.key().as_slice(), id].concat();
                tables::PRINCIPAL_SESSION.delete(rows, account, &of_principal);
            }
            tables::SESSION.delete(rows, account, id);
            tables::SESSION_EXPIRY.delete(rows, account, &key);
        }
    }
    Ok(())
}

/// As long as a request may take on its way.
const REUSE_GRACE: Lifetime = Lifetime::from_secs(5);
const KEPT_AFTER_EXPIRY: Lifetime = Lifetime::from_secs(3_600);
const PRUNED_PER_COMMAND: usize = 4;
const PRUNED_GENERATIONS: usize = 32;

/// Checks the proof against the rows as they are now, in log order. Also says when the proof itself
/// expires: no session outlives the key that opened it.
fn prove(context: &Context<'_>, proof: &Proof) -> Result<(Principal, Method, Timestamp), Rejection> {
    match proof {
        Proof::Password { user, revision } => {
            let stored = user::find_password(context.rows, context.account, *user)?;
            match stored {
                Some(password) if password.revision == *revision => {
                    Ok((Principal::User(*user), Method::Password, Timestamp(u64::MAX)))
                }
                _ => Err(Rejection::BadCredentials),
            }
        }
        Proof::ApiKey { hash } => match service::find_key(context.rows, context.account, hash)? {
            Some((id, key)) if key.is_good(context.at) => {
                Ok((Principal::Service(id), Method::ApiKey(key.id), key.expires_at))
            }
            _ => Err(Rejection::BadCredentials),
        },
    }
}

fn add_refresh(
    context: &mut Context<'_>,
    session: SessionId,
    hash: SecretHash,
    generation: u64,
) -> Result<(), Rejection> {
    if tables::REFRESH.has(context.rows, context.account, hash.as_bytes()) {
        return Err(Rejection::IdTaken);
    }
    let pointer = RefreshPointer { session, generation };
    tables::REFRESH.put(context.rows, context.account, hash.as_bytes(), &pointer)?;
    let path = [session.uuid().as_bytes().as_slice(), &generation.to_be_bytes()].concat();
    tables::SESSION_REFRESH.put(context.rows, context.account, &path, &hash)
}

fn save(context: &mut Context<'_>, session: &Session) -> Result<(), Rejection> {
    tables::SESSION.put(context.rows, context.account, session.id.uuid().as_bytes(), session)
}

fn expiry_key(session: &Session) -> Vec<u8> {
    [session.expires_at.0.to_be_bytes().as_slice(), session.id.uuid().as_bytes()].concat()
}

const fn opened(session: &Session) -> Reply {
    Reply::SessionOpened { session: session.id, principal: session.principal, expires_at: session.expires_at }
}

/// What is missing is not for the caller to know.
fn unauthenticated(rejection: Rejection) -> Rejection {
    if matches!(rejection, Rejection::NotFound(_)) { Rejection::Unauthenticated } else { rejection }
}

fn bad_refresh_token(rejection: Rejection) -> Rejection {
    if rejection == Rejection::Unauthenticated { Rejection::BadRefreshToken } else { rejection }
}

fn bad_credentials(rejection: Rejection) -> Rejection {
    if matches!(rejection, Rejection::NotFound(_)) { Rejection::BadCredentials } else { rejection }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_has_a_hundred_scopes_and_audiences_at_most() {
        let with = |scopes: usize, audiences: usize| {
            let scope = (0..scopes).map(|number| Permission::parse(&format!("p{number}")).unwrap()).collect();
            let audience = vec![Label::parse("api").unwrap(); audiences];
            Grant { scope, audience, ..Grant::native(Lifetime::from_secs(900)) }.check()
        };
        assert_eq!(with(100, 100), Ok(()));
        for (scopes, audiences) in [(101, 0), (0, 101), (102, 102)] {
            let refused = with(scopes, audiences);
            assert!(matches!(refused, Err(Rejection::LimitReached { limit: 100, .. })), "{refused:?}");
        }
    }
}

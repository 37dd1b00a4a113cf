//! Keys of users: made, listed, ended, and asked about (contract part 3.4). A key says whose it is; it opens nothing
//! here. Secrets travel in bodies only: paths stand in logs.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::caller::{Reader, Writer, Written};
use super::checks::holds;
use super::envelope::{envelope, wraps};
use super::memberships::name_of;
use super::seen::Seen;
use super::time::naive;
use super::{Answer, Api, Call, Operation, Route, names, route, time};
use crate::app::holders::Absent;
use crate::auth::client_key::is_subject_key;
use crate::domain::subject_key::{self, KeyFault, SubjectKey};
use crate::domain::{
    Action, ApiKeyId, Label, Noun, Principal, Rejection, SecretHash, SubjectId, Timestamp, UserName, subject,
};
use crate::http::problem::Problem;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/apikeys/user/{user}", create, user),
        route!(GET "/api/apikeys/user/{user}", list, user),
        route!(PATCH "/api/apikeys/user/{user}/{key}", shorten, user, key),
        route!(DELETE "/api/apikeys/user/{user}/{key}", revoke, user, key),
        route!(POST "/api/apikeys/validate", validate),
        route!(POST "/api/apikeys/check_permission", check_permission),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let key = "rak_0000000000000000000000000000000000000000000";
    vec![
        wraps::<MadeKey>(Operation::write(
            "POST /api/apikeys/user/{user}",
            "authzCreateUserKey",
            "Makes a key for a user",
        ))
        .about("The key is shown once. A user has at most 25 live ones.")
        .may_take::<NewKey>(json!({"label": "laptop"}))
        .refuses(&[403]),
        wraps::<UserKeys>(Operation::read(
            "GET /api/apikeys/user/{user}",
            "authzListUserKeys",
            "Lists the keys of a user, revoked and expired ones too",
        )),
        wraps::<KeyView>(Operation::write(
            "PATCH /api/apikeys/user/{user}/{key}",
            "authzShortenUserKey",
            "Lets a key of a user end earlier",
        ))
        .takes::<NewEnd>(json!({"expires_at": "2027-01-01T00:00:00"}))
        .refuses(&[404]),
        wraps::<Revoked>(Operation::write(
            "DELETE /api/apikeys/user/{user}/{key}",
            "authzRevokeUserKey",
            "Revokes a key of a user",
        ))
        .refuses(&[404]),
        wraps::<Validated>(Operation::read(
            "POST /api/apikeys/validate",
            "authzValidateUserKey",
            "Whose a key is, if it is good",
        ))
        .takes::<PresentedKey>(json!({"api_key": key})),
        wraps::<Checked>(Operation::read(
            "POST /api/apikeys/check_permission",
            "authzCheckUserKey",
            "Whose a key is, and whether that user has a permission",
        ))
        .takes::<KeyQuestion>(json!({"api_key": key, "permission": "manage_users"})),
    ]
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = AuthzNewUserKey)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// For people: 1 to 64 of letters, digits, spaces and `_ . -`.
    label: Option<String>,
    /// ISO 8601, in UTC where no zone is said; at most 365 days from now.
    expires_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzMadeUserKey)]
struct MadeKey {
    /// Shown this once.
    api_key: String,
    key_id: String,
    user: String,
    label: Option<String>,
    key_prefix: String,
    created: String,
    expires_at: Option<String>,
}

async fn create(api: &Api, call: &Call, user: &str) -> Answer {
    let user = names::user(user)?;
    let body: NewKey = call.json_or_default()?;
    let label = body.label.as_deref().map(label).transpose()?;
    let expires_at = body.expires_at.as_deref().map(end).transpose()?;
    let writer = Writer::of(call)?;
    let (key, secret) = api.app.draw_subject_key(label, expires_at, &writer.request)?;
    let (id, tried) = (key.id, Seen::new("user-key.create", format!("subject/{user}")));
    let action = Action::AddSubjectKey { user: user.clone(), key };
    let known = |rule: &Rejection| matches!(rule, Rejection::LimitReached { .. });
    let written = api.write_as(&writer, Absent::Open, action, known).await?;
    if let Some(refusal) = &written.refusal {
        api.tried(call, &written, false, tried);
        // Its clients take this for a bad request.
        return Err(Problem::bad_request(refusal.code(), format!("{refusal}.")));
    }
    let made = stored(&written, &user, id)?;
    let made = MadeKey {
        api_key: secret.expose().clone(),
        key_id: made.id.to_string(),
        user: user.to_string(),
        label: made.label.map(String::from),
        key_prefix: made.prefix.into(),
        created: naive(made.created_at),
        expires_at: made.expires_at.map(naive),
    };
    Ok(envelope(api, &written.rows, &format!("Made a key for {user}, shown this once"), made))
}

fn label(text: &str) -> Result<Label, Problem> {
    if names::is_label(text) {
        return Ok(Label::parse(text)?);
    }
    Err(Rejection::invalid("label", "a label has 1 to 64 of: letters, digits, spaces, and _ . -").into())
}

fn end(text: &str) -> Result<Timestamp, Problem> {
    time::parse(text).ok_or_else(|| Rejection::invalid("expires_at", "the end is an ISO 8601 time").into())
}

/// The key as it is after a write.
fn stored(written: &Written, user: &UserName, id: ApiKeyId) -> Result<SubjectKey, Problem> {
    let account = written.account.ok_or(NO_KEY)?;
    Ok(subject_key::get(&written.rows, account, subject::id_of(user), id)?.ok_or(NO_KEY)?)
}

/// What is in the way of changing a key that is not there.
const NO_KEY: Rejection = Rejection::NotFound(Noun::ApiKey);

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzUserKey)]
struct KeyView {
    key_id: String,
    key_prefix: String,
    label: Option<String>,
    /// Whether it was not revoked; an expired one says so by its end.
    is_active: bool,
    created: String,
    revoked_at: Option<String>,
    expires_at: Option<String>,
    /// About when it was last asked about.
    last_used_at: Option<String>,
}

impl KeyView {
    fn new(key: SubjectKey) -> Self {
        Self {
            key_id: key.id.to_string(),
            key_prefix: key.prefix.into(),
            label: key.label.map(String::from),
            is_active: key.revoked_at.is_none(),
            created: naive(key.created_at),
            revoked_at: key.revoked_at.map(naive),
            expires_at: key.expires_at.map(naive),
            last_used_at: key.last_used_at.map(naive),
        }
    }
}

#[derive(Default, Serialize, ToSchema)]
#[schema(as = AuthzUserKeys)]
struct UserKeys {
    count: usize,
    keys: Vec<KeyView>,
}

async fn list(api: &Api, call: &Call, user: &str) -> Answer {
    let user = names::user(user)?;
    let reader = api.reading(call).await?;
    let mut keys = reader.ask(|rows, account| subject_key::list(rows, account, subject::id_of(&user)))?;
    keys.sort_by_key(|key| (key.created_at, key.id));
    let keys = UserKeys { count: keys.len(), keys: keys.into_iter().map(KeyView::new).collect() };
    api.seen(call, &reader, Seen::new("list.user-keys", format!("subject/{user}")));
    Ok(envelope(api, &reader.rows, &format!("Keys of {user}"), keys))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AuthzNewEnd)]
#[serde(deny_unknown_fields)]
struct NewEnd {
    /// ISO 8601, in UTC where no zone is said; earlier than it is now.
    expires_at: String,
}

async fn shorten(api: &Api, call: &Call, user: &str, key: &str) -> Answer {
    let (user, id) = (names::user(user)?, key_id(key)?);
    let body: NewEnd = call.json()?;
    let action = Action::ShortenSubjectKey { user: user.clone(), key: id, end: end(&body.expires_at)? };
    let written = api.write(call, Absent::Leave, action, |rule| *rule == NO_KEY).await?;
    let key = stored(&written, &user, id)?;
    Ok(envelope(api, &written.rows, &format!("The end of key {id}"), KeyView::new(key)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRevokedUserKey)]
struct Revoked {
    revoked: bool,
    already_revoked: bool,
}

async fn revoke(api: &Api, call: &Call, user: &str, key: &str) -> Answer {
    let (user, id) = (names::user(user)?, key_id(key)?);
    let tried = Seen::new("user-key.revoke", format!("subject/{user}/{id}"));
    let action = Action::RevokeSubjectKey { user, key: id };
    let written = api.write(call, Absent::Leave, action, |rule| *rule == NO_KEY).await?;
    if !written.is_done() {
        return Err(NO_KEY.into());
    }
    api.tried(call, &written, true, tried);
    let revoked = Revoked { revoked: true, already_revoked: !written.is_change };
    Ok(envelope(api, &written.rows, &format!("Revoked key {id}"), revoked))
}

fn key_id(text: &str) -> Result<ApiKeyId, Problem> {
    let is_hyphenated = text.len() == 36;
    text.parse()
        .ok()
        .filter(|_| is_hyphenated)
        .ok_or_else(|| Rejection::invalid("key_id", "the id of a key is a UUID with hyphens").into())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AuthzPresentedKey)]
#[serde(deny_unknown_fields)]
struct PresentedKey {
    /// `rak_` and 43 letters and digits.
    #[schema(value_type = String)]
    api_key: Secret<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AuthzKeyQuestion)]
#[serde(deny_unknown_fields)]
struct KeyQuestion {
    /// `rak_` and 43 letters and digits.
    #[schema(value_type = String)]
    api_key: Secret<String>,
    permission: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzValidUserKey)]
struct ValidKey {
    valid: bool,
    user: String,
    key_id: String,
    label: Option<String>,
    expires_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzCheckedUserKey)]
struct CheckedKey {
    valid: bool,
    user: String,
    key_id: String,
    has_permission: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzInvalidUserKey)]
struct InvalidKey {
    valid: bool,
    /// `unknown_key`, `revoked` or `expired`.
    reason: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AuthzValidatedUserKey)]
enum Validated {
    Valid(ValidKey),
    Invalid(InvalidKey),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AuthzUserKeyVerdict)]
enum Checked {
    Valid(CheckedKey),
    Invalid(InvalidKey),
}

async fn validate(api: &Api, call: &Call) -> Answer {
    let body: PresentedKey = call.json()?;
    let presented = presented(&body.api_key)?;
    let reader = api.reading(call).await?;
    let (found, seen) = look_up(&reader, &presented, "check.user-key")?;
    let validated = match found {
        Err(reason) => Validated::Invalid(InvalidKey { valid: false, reason }),
        Ok(good) => Validated::Valid(ValidKey {
            valid: true,
            user: good.user.into(),
            key_id: good.key.id.to_string(),
            label: good.key.label.map(String::from),
            expires_at: good.key.expires_at.map(naive),
        }),
    };
    api.seen(call, &reader, seen);
    Ok(envelope(api, &reader.rows, "Whose the key is", validated))
}

async fn check_permission(api: &Api, call: &Call) -> Answer {
    let body: KeyQuestion = call.json()?;
    let (presented, permission) = (presented(&body.api_key)?, names::permission(&body.permission)?);
    let reader = api.reading(call).await?;
    let (found, seen) = look_up(&reader, &presented, "check.user-key-permission")?;
    let (checked, seen) = match found {
        Err(reason) => (Checked::Invalid(InvalidKey { valid: false, reason }), seen),
        Ok(good) => {
            // Whose key is good is backed by it, so that no strict account bars it.
            let principal = Principal::Subject(good.subject);
            let has_permission = reader.ask(|rows, account| holds(rows, account, &principal, &permission))?;
            let user = good.user.into();
            let checked = CheckedKey { valid: true, user, key_id: good.key.id.to_string(), has_permission };
            let detail = format!("{permission}: {}", if has_permission { "yes" } else { "no" });
            (Checked::Valid(checked), seen.detailed(detail))
        }
    };
    api.seen(call, &reader, seen);
    Ok(envelope(api, &reader.rows, "Whose the key is, and whether it is permitted", checked))
}

fn presented(text: &Secret<String>) -> Result<SecretHash, Problem> {
    if is_subject_key(text.expose()) {
        return Ok(SecretHash::of(text.expose()));
    }
    Err(Rejection::invalid("api_key", "a key has the form rak_ and 43 letters and digits").into())
}

/// A key that is good, and whose it is.
struct GoodKey {
    subject: SubjectId,
    user: UserName,
    key: SubjectKey,
}

/// Finds a key, or says why it is no good. One of another account is as unknown as one that is none.
fn look_up(
    reader: &Reader,
    presented: &SecretHash,
    action: &'static str,
) -> Result<(Result<GoodKey, &'static str>, Seen), Problem> {
    let found = reader.ask(|rows, account| {
        let Some((subject, key)) = subject_key::find(rows, account, presented)? else { return Ok(None) };
        let user = name_of(rows, account, &Principal::Subject(subject))?;
        Ok(Some(GoodKey { subject, user, key }))
    })?;
    let Some(found) = found else {
        return Ok((
            Err("unknown_key"),
            Seen::new(action, "api_key").answered(false).detailed("unknown_key"),
        ));
    };
    let seen = Seen::new(action, format!("subject/{}/{}", found.user, found.key.id));
    let reason = match found.key.fault(reader.now) {
        None => {
            let used = (found.subject, found.key.id);
            return Ok((Ok(found), seen.used(used)));
        }
        Some(KeyFault::Revoked) => "revoked",
        Some(KeyFault::Expired) => "expired",
    };
    Ok((Err(reason), seen.answered(false).detailed(reason)))
}

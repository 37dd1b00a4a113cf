//! `/iam/v1`: the root-and-IAM-user engine of seed 001 (contract part 5).
//!
//! # Why it answers as it does
//! What the seed leaves open follows the contract's proposals: `users` in every KRN, both `status` and
//! `isDeleted`, account ids of digits, the header before `rootToken`, 404 for what is of another account.
//! A deleted user is 404; its e-mail address is free again. The first letter of the verbs may be small.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::call::{Call, bad_id};
use super::docs::{Group, Operation};
use super::reply::{self, time};
use super::{Answer, Api, Route, route};
use crate::app::accounts::Person;
use crate::app::passwords::WantedPassword;
use crate::app::sign_in::{RefreshStyle, Who};
use crate::app::tokens::Tokens;
use crate::app::{Caller, Done, Failure};
use crate::auth::password::Password;
use crate::domain::policy::PasswordPolicy;
use crate::domain::user::{User, UserChanges, UserStatus};
use crate::domain::{AccountId, Action, Email, Label, Principal, Stored, UserId, user};
use crate::http::problem::Problem;
use crate::replica::Freshness;
use crate::secret::Secret;

/// What its passwords must be, in accounts that have no policy of their own (contract parts 5 and 6).
const PASSWORDS: PasswordPolicy = PasswordPolicy::ENGINE;

/// All routes below `/iam`. The real clients write the verbs with a small first letter.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![
        route!(POST "/iam/v1/SignUpAsRootUser", sign_up_root),
        route!(POST "/iam/v1/signUpAsRootUser", sign_up_root),
        route!(POST "/iam/v1/SignInAsRootUser", sign_in_root),
        route!(POST "/iam/v1/signInAsRootUser", sign_in_root),
        route!(POST "/iam/v1/SignUpAsIAMUser", sign_up_iam),
        route!(POST "/iam/v1/signUpAsIAMUser", sign_up_iam),
        route!(POST "/iam/v1/SignInAsIAMUser", sign_in_iam),
        route!(POST "/iam/v1/signInAsIAMUser", sign_in_iam),
        route!(GET "/iam/v1/users/{user}", get_user, user),
        route!(PUT "/iam/v1/users/{user}", put_user, user),
        route!(DELETE "/iam/v1/users/{user}", delete_user, user),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Group {
    let twice = |operation: fn(&'static str, &'static str) -> Operation,
                 routes: [&'static str; 2],
                 ids: [&'static str; 2]| {
        routes.into_iter().zip(ids).map(move |(route, id)| operation(route, id)).collect::<Vec<_>>()
    };
    let mut operations = [
        twice(
            sign_up_root_operation,
            ["POST /iam/v1/SignUpAsRootUser", "POST /iam/v1/signUpAsRootUser"],
            ["iamSignUpAsRootUser", "iamSignUpAsRootUserToo"],
        ),
        twice(
            sign_in_root_operation,
            ["POST /iam/v1/SignInAsRootUser", "POST /iam/v1/signInAsRootUser"],
            ["iamSignInAsRootUser", "iamSignInAsRootUserToo"],
        ),
        twice(
            sign_up_iam_operation,
            ["POST /iam/v1/SignUpAsIAMUser", "POST /iam/v1/signUpAsIAMUser"],
            ["iamSignUpAsIamUser", "iamSignUpAsIamUserToo"],
        ),
        twice(
            sign_in_iam_operation,
            ["POST /iam/v1/SignInAsIAMUser", "POST /iam/v1/signInAsIAMUser"],
            ["iamSignInAsIamUser", "iamSignInAsIamUserToo"],
        ),
    ]
    .concat();
    operations.extend([
        Operation::read("GET /iam/v1/users/{user}", "iamGetUser", "Shows a user, by uuid or KRN")
            .gives_tagged::<UserRecord>(),
        Operation::write("PUT /iam/v1/users/{user}", "iamUpdateUser", "Changes a user, by uuid or KRN")
            .guarded()
            .takes::<Changes>(json!({"firstName": "Alice"}))
            .gives_tagged::<UserRecord>()
            .refuses(&[409]),
        Operation::write("DELETE /iam/v1/users/{user}", "iamDeleteUser", "Deletes a user, by uuid or KRN")
            .about("Takes the root user's token.")
            .guarded()
            .gives::<Message>(),
    ]);
    let about = "Root and IAM users under `/iam/v1`. The first letter of the verbs may be small.";
    Group { tag: "IAM v1", about, operations }
}

fn sign_up_root_operation(route: &'static str, id: &'static str) -> Operation {
    let example = json!({"email": "admin@example.com", "password": "SecurePass123", "firstName": "Alice"});
    Operation::write(route, id, "Opens an account with its root user")
        .open()
        .takes::<NewRoot>(example)
        .gives_new::<UserRecord>()
        .refuses(&[403, 409])
}

fn sign_in_root_operation(route: &'static str, id: &'static str) -> Operation {
    let example = json!({"email": "admin@example.com", "password": "SecurePass123"});
    Operation::write(route, id, "Signs a root user in")
        .open()
        .takes::<RootCredentials>(example)
        .gives::<SignedIn<'_>>()
        .refuses(&[401, 403])
}

fn sign_up_iam_operation(route: &'static str, id: &'static str) -> Operation {
    let example = json!({"accountId": "123456789012", "email": "dev@example.com", "password": "DevPass456"});
    Operation::write(route, id, "Makes an IAM user")
        .about("Takes the root user's token, as a header or as `rootToken`; the header wins.")
        .bearer_or_body()
        .takes::<NewIamUser>(example)
        .gives_new::<UserRecord>()
        .refuses(&[409])
}

fn sign_in_iam_operation(route: &'static str, id: &'static str) -> Operation {
    let example = json!({"accountId": "123456789012", "email": "dev@example.com", "password": "DevPass456"});
    Operation::write(route, id, "Signs an IAM user in")
        .open()
        .takes::<IamCredentials>(example)
        .gives::<SignedIn<'_>>()
        .refuses(&[401, 403])
}

#[derive(Deserialize, ToSchema)]
#[schema(as = IamNewRoot)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewRoot {
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

async fn sign_up_root(api: &Api, call: &Call) -> Answer {
    let body: NewRoot = call.json()?;
    let person = person(&body.email, body.password, body.first_name.as_deref(), body.last_name.as_deref())?;
    let (account, id, done) = api.app.sign_up(person, &call.request("", "")?).await?;
    record(StatusCode::CREATED, &done, account, id)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = IamRootCredentials)]
#[serde(deny_unknown_fields)]
struct RootCredentials {
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

async fn sign_in_root(api: &Api, call: &Call) -> Answer {
    let body: RootCredentials = call.json()?;
    let password = Password::parse(body.password).map_err(Failure::from)?;
    let request = call.request("", "")?;
    let Ok(email) = Email::parse(&body.email) else {
        return signed_in(api.app.sign_in_nobody(password, &request).await);
    };
    let terms = api.app.native_terms(RefreshStyle::Rotating);
    signed_in(api.app.sign_in(&Who::Root(email), password, &terms, &request).await)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = IamNewUser)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewIamUser {
    account_id: String,
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    #[schema(value_type = Option<String>, format = Password)]
    root_token: Option<Secret<String>>,
}

async fn sign_up_iam(api: &Api, call: &Call) -> Answer {
    let body: NewIamUser = call.json()?;
    let person = person(&body.email, body.password, body.first_name.as_deref(), body.last_name.as_deref())?;
    let in_body = body.root_token.as_ref().map(|token| token.expose().as_str());
    let token = match call.bearer_if_any()? {
        Some(token) => token,
        None => in_body.map_or_else(|| call.bearer(), Ok)?,
    };
    let caller = api.known(call, token).await?;
    if !caller.is_root() || AccountId::parse(&body.account_id)? != caller.account() {
        return Err(Problem::forbidden("not_root", "This takes the token of the account's root user."));
    }
    let request = call.request(caller.account().as_str(), &caller.principal().to_string())?;
    let (id, done) = api.app.create_user(&caller, person, Vec::new(), &request).await?;
    record(StatusCode::CREATED, &done, caller.account(), id)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct IamCredentials {
    account_id: String,
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

async fn sign_in_iam(api: &Api, call: &Call) -> Answer {
    let body: IamCredentials = call.json()?;
    let password = Password::parse(body.password).map_err(Failure::from)?;
    let request = call.request("", "")?;
    let Ok(account) = AccountId::parse(&body.account_id) else {
        return signed_in(api.app.sign_in_nobody(password, &request).await);
    };
    let who = Who::NotRoot(account, body.email);
    let terms = api.app.native_terms(RefreshStyle::Rotating);
    signed_in(api.app.sign_in(&who, password, &terms, &request).await)
}

async fn get_user(api: &Api, call: &Call, id: &str) -> Answer {
    let token = call.bearer()?;
    let view = api.app.view(call.freshness()?, call.context.deadline).await?;
    // The rights of the present, also for a look into the past.
    let now = match call.freshness()? {
        Freshness::AsOf(_) => api.app.view(Freshness::Linearizable, call.context.deadline).await?,
        Freshness::Linearizable | Freshness::Bounded(_) | Freshness::AtLeast(_) => view.clone(),
    };
    let caller = api.app.authenticate(&now, token)?;
    call.comes_from(caller.account(), caller.actor());
    let id = reachable(&caller, id)?;
    let found = user::find(&view, caller.account(), id)?;
    let stored = found.filter(|row| row.value.status != UserStatus::Deleted).ok_or_else(bad_id)?;
    let body = UserRecord::new(caller.account(), &stored.value);
    Ok(reply::tagged(view.revision(), stored.revision, StatusCode::OK, &body))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = IamUserChanges)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Changes {
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret<String>>,
}

async fn put_user(api: &Api, call: &Call, id: &str) -> Answer {
    let body: Changes = call.json()?;
    let password = body.password.map(|text| WantedPassword::parse(text, PASSWORDS)).transpose()?;
    let changes = UserChanges {
        name: None,
        email: body.email.as_deref().map(Email::parse).transpose()?,
        first_name: body.first_name.as_deref().map(Label::parse).transpose()?,
        last_name: body.last_name.as_deref().map(Label::parse).transpose()?,
    };
    let caller = api.known(call, call.bearer()?).await?;
    let id = reachable(&caller, id)?;
    let request = call.request(caller.account().as_str(), &caller.principal().to_string())?;
    let expect = super::signed::expected(call, Some(crate::domain::Resource::User(id)))?;
    let done = api.app.update_user(&caller, id, changes, password, expect, &request).await?;
    record(StatusCode::OK, &done, caller.account(), id)
}

async fn delete_user(api: &Api, call: &Call, id: &str) -> Answer {
    let caller = api.known(call, call.bearer()?).await?;
    let id = reachable(&caller, id)?;
    if !caller.is_root() {
        return Err(Problem::forbidden("not_root", "Only the account's root user deletes users."));
    }
    let request = call.request(caller.account().as_str(), &caller.principal().to_string())?;
    let about = Some(crate::domain::Resource::User(id));
    let order = super::signed::order(call, &caller, &request, about, Action::DeleteUser { user: id })?;
    let done = api.app.execute(&order, &request).await?;
    Ok(reply::at(done.revision, StatusCode::OK, &Message { message: "User deactivated" }))
}

/// The user that a path names by uuid or KRN, if the caller may know of it: the root user of everybody in
/// its account, others of themselves. Anything else is not found.
fn reachable(caller: &Caller, text: &str) -> Result<UserId, Problem> {
    let id = user_named(text, caller.account()).ok_or_else(bad_id)?;
    if caller.is_root() || caller.principal() == Principal::User(id) { Ok(id) } else { Err(bad_id()) }
}

/// The user that a uuid or a KRN of this account names.
pub(crate) fn user_named(text: &str, account: AccountId) -> Option<UserId> {
    match text.strip_prefix("krn:") {
        None => text.parse().ok(),
        Some(krn) => match krn.split(':').collect::<Vec<_>>().as_slice() {
            ["iam", of, "users" | "user", id] if *of == account.as_str() => id.parse().ok(),
            _ => None,
        },
    }
}

fn person(
    email: &str,
    password: Secret<String>,
    first_name: Option<&str>,
    last_name: Option<&str>,
) -> Result<Person, Problem> {
    Ok(Person {
        name: None,
        email: Some(Email::parse(email)?),
        first_name: first_name.map(Label::parse).transpose()?,
        last_name: last_name.map(Label::parse).transpose()?,
        password: WantedPassword::parse(password, PASSWORDS)?,
    })
}

/// What a client gets for its password: members of two styles, as its clients know them.
#[derive(Serialize, ToSchema)]
#[schema(as = IamTokens)]
struct SignedIn<'t> {
    access_token: &'t str,
    refresh_token: Option<&'t str>,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    #[serde(rename = "accountId")]
    account_id: &'t str,
    message: &'static str,
    #[serde(rename = "mfaEnabled")]
    mfa_enabled: u8,
}

#[derive(Serialize, ToSchema)]
#[schema(as = IamMessage)]
struct Message {
    message: &'static str,
}

fn signed_in(tokens: Result<Tokens, Failure>) -> Answer {
    let tokens = tokens?;
    let body = SignedIn {
        access_token: tokens.access.expose(),
        refresh_token: tokens.refresh.as_ref().map(|token| token.expose().as_str()),
        token_type: "Bearer",
        expires_in: tokens.expires_in,
        account_id: tokens.account.as_str(),
        message: "Signed in",
        mfa_enabled: 0,
    };
    Ok(reply::at(tokens.revision, StatusCode::OK, &body))
}

fn record(status: StatusCode, done: &Done, account: AccountId, id: UserId) -> Answer {
    let stored: Stored<User> = user::find(&done.view, account, id)?.ok_or_else(bad_id)?;
    Ok(reply::tagged(done.revision, stored.revision, status, &UserRecord::new(account, &stored.value)))
}

/// A user record, without its password.
#[derive(Serialize, ToSchema)]
#[schema(as = IamUser)]
#[serde(rename_all = "camelCase")]
struct UserRecord {
    #[schema(format = Uuid)]
    uuid: String,
    account_id: String,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    krn: String,
    status: &'static str,
    is_deleted: bool,
    is_root: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl UserRecord {
    fn new(account: AccountId, user: &User) -> Self {
        Self {
            uuid: user.id.to_string(),
            account_id: account.to_string(),
            email: user.email.as_ref().map(ToString::to_string),
            first_name: user.first_name.as_ref().map(ToString::to_string),
            last_name: user.last_name.as_ref().map(ToString::to_string),
            krn: format!("krn:iam:{account}:users:{}", user.id),
            status: if user.is_active() { "active" } else { "inactive" },
            is_deleted: user.status == UserStatus::Deleted,
            is_root: user.is_root,
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
        }
    }
}

//! Service accounts and their API keys.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, find_for_writing, find_service, location, route};
use crate::api::call::bad_id;
use crate::api::reply::{self, Page, PageQuery, time};
use crate::api::signed::order;
use crate::app::Caller;
use crate::app::permit::ReadServices;
use crate::auth::mint::ApiKeyForm;
use crate::domain::service::{self, ApiKey, ServiceAccount};
use crate::domain::{
    Action, ApiKeyId, Label, Lifetime, Principal, Resource, RoleName, ServiceId, Timestamp, UserName,
};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/service-accounts", list, account),
        route!(POST "/v1/accounts/{account}/service-accounts", create, account),
        route!(GET "/v1/accounts/{account}/service-accounts/{service}", show, account, service),
        route!(DELETE "/v1/accounts/{account}/service-accounts/{service}", remove, account, service),
        route!(POST "/v1/accounts/{account}/service-accounts/{service}/disable", disable_service, account, service),
        route!(POST "/v1/accounts/{account}/service-accounts/{service}/enable", enable_service, account, service),
        route!(GET "/v1/accounts/{account}/service-accounts/{service}/keys", list_keys, account, service),
        route!(POST "/v1/accounts/{account}/service-accounts/{service}/keys", add_key, account, service),
        route!(DELETE "/v1/accounts/{account}/service-accounts/{service}/keys/{key}", revoke_key, account, service, key),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let new_service = json!({"name": "payment-service", "roles": ["developer"]});
    let new_key = json!({"label": "second region", "expires_in": 86400});
    vec![
        Operation::read(
            "GET /v1/accounts/{account}/service-accounts",
            "listServiceAccounts",
            "Lists the service accounts",
        )
        .query::<PageQuery>()
        .lists::<ServiceView>(),
        Operation::write(
            "POST /v1/accounts/{account}/service-accounts",
            "createServiceAccount",
            "Makes a service account with a first API key",
        )
        .about("The key is shown in this reply and never again.")
        .takes::<NewService>(new_service)
        .creates::<Created<'_>>()
        .refuses(&[409]),
        Operation::read(
            "GET /v1/accounts/{account}/service-accounts/{service}",
            "getServiceAccount",
            "Shows a service account",
        )
        .gives_tagged::<ServiceView>(),
        Operation::write(
            "DELETE /v1/accounts/{account}/service-accounts/{service}",
            "deleteServiceAccount",
            "Deletes a service account, its keys and sessions",
        )
        .guarded(),
        Operation::write(
            "POST /v1/accounts/{account}/service-accounts/{service}/disable",
            "disableServiceAccount",
            "Refuses a service account from now on",
        )
        .guarded()
        .gives_tagged::<ServiceView>(),
        Operation::write(
            "POST /v1/accounts/{account}/service-accounts/{service}/enable",
            "enableServiceAccount",
            "Lets a service account in again",
        )
        .guarded()
        .gives_tagged::<ServiceView>(),
        Operation::read(
            "GET /v1/accounts/{account}/service-accounts/{service}/keys",
            "listApiKeys",
            "Lists the API keys of a service account",
        )
        .about("Never the keys themselves.")
        .lists::<KeyView>(),
        Operation::write(
            "POST /v1/accounts/{account}/service-accounts/{service}/keys",
            "createApiKey",
            "Makes another API key",
        )
        .about("The key is shown in this reply and never again.")
        .may_take::<NewKey>(new_key)
        .hands_out::<NewKeyView<'_>>(),
        Operation::write(
            "DELETE /v1/accounts/{account}/service-accounts/{service}/keys/{key}",
            "revokeApiKey",
            "Revokes an API key and the sessions it opened",
        ),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = ServiceAccount)]
struct ServiceView {
    #[schema(format = Uuid)]
    id: String,
    name: String,
    status: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl ServiceView {
    fn new(service: &ServiceAccount) -> Self {
        Self {
            id: service.id.to_string(),
            name: service.name.to_string(),
            status: if service.is_active { "active" } else { "disabled" },
            created_at: time(service.created_at),
            updated_at: time(service.updated_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct KeyView {
    #[schema(format = Uuid)]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    label: Option<String>,
    status: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl KeyView {
    fn new(key: &ApiKey, now: Timestamp) -> Self {
        let status = match key.revoked_at {
            Some(_) => "revoked",
            None if key.is_good(now) => "active",
            None => "expired",
        };
        Self {
            id: key.id.to_string(),
            label: key.label.as_ref().map(ToString::to_string),
            status,
            created_at: time(key.created_at),
            expires_at: time(key.expires_at),
        }
    }
}

/// A key as it is shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
struct NewKeyView<'k> {
    #[schema(format = Uuid)]
    key_id: String,
    api_key: &'k str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NewServiceAccountWithKey)]
struct Created<'k> {
    #[serde(flatten)]
    service: ServiceView,
    #[serde(flatten)]
    key: NewKeyView<'k>,
}

// Seed 000 is what has UUIDs as keys.
/// `key_form` is `prefixed` (the default) or `uuid`, for clients that expect a UUID.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewServiceAccount)]
#[serde(deny_unknown_fields)]
struct NewService {
    name: String,
    #[serde(default)]
    roles: Vec<String>,
    key_form: Option<KeyForm>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum KeyForm {
    Prefixed,
    Uuid,
}

async fn list(api: &Api, call: &Call, account: &str) -> Answer {
    let page: PageQuery = call.query()?;
    let (limit, after) = (page.limit()?, page.after()?);
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadServices>(&signed.now, &signed.rows)?;
    let rows = service::list(permit.rows(), permit.account(), after, limit + 1)?;
    let page = Page::new(rows, limit, |row| row.value.id.to_string(), |row| ServiceView::new(&row.value));
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &page))
}

async fn create(api: &Api, call: &Call, account: &str) -> Answer {
    let body: NewService = call.json()?;
    let name = UserName::parse(&body.name)?;
    let roles = body.roles.iter().map(|role| RoleName::parse(role)).collect::<Result<_, _>>()?;
    let form = match body.key_form {
        None | Some(KeyForm::Prefixed) => ApiKeyForm::Prefixed,
        Some(KeyForm::Uuid) => ApiKeyForm::Uuid4,
    };
    let (caller, request) = api.writer(call, account).await?;
    let (id, minted, done) =
        api.app.create_service_account(&caller, name, roles, form, None, &request).await?;
    let stored = service::find(&done.view, caller.account(), id)?.ok_or_else(bad_id)?;
    let key = NewKeyView { key_id: minted.id.to_string(), api_key: minted.key.expose() };
    let body = Created { service: ServiceView::new(&stored.value), key };
    let location = location(caller.account(), "service-accounts", &id);
    Ok(reply::created(done.revision, stored.revision, &location, &body))
}

async fn show(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let id = find_service(&signed.rows, &signed.caller, text)?;
    let about = Principal::Service(id);
    let permit = signed.caller.authorize_about::<ReadServices>(&about, &signed.now, &signed.rows)?;
    let stored = service::find(permit.rows(), permit.account(), id)?.ok_or_else(bad_id)?;
    let body = ServiceView::new(&stored.value);
    Ok(reply::tagged(signed.rows.revision(), stored.revision, StatusCode::OK, &body))
}

async fn remove(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let service = named(api, call, &caller, text).await?;
    let about = Some(Resource::ServiceAccount(service));
    let order = order(call, &caller, &request, about, Action::DeleteServiceAccount { service })?;
    Ok(reply::empty(api.app.execute(&order, &request).await?.revision))
}

async fn disable_service(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    set_active(api, call, account, text, false).await
}

async fn enable_service(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    set_active(api, call, account, text, true).await
}

async fn set_active(api: &Api, call: &Call, account: &str, text: &str, active: bool) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let service = named(api, call, &caller, text).await?;
    let action = Action::SetServiceStatus { service, active };
    let order = order(call, &caller, &request, Some(Resource::ServiceAccount(service)), action)?;
    let done = api.app.execute(&order, &request).await?;
    let stored = service::find(&done.view, caller.account(), service)?.ok_or_else(bad_id)?;
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::OK, &ServiceView::new(&stored.value)))
}

async fn list_keys(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let id = find_service(&signed.rows, &signed.caller, text)?;
    let about = Principal::Service(id);
    let permit = signed.caller.authorize_about::<ReadServices>(&about, &signed.now, &signed.rows)?;
    service::find(permit.rows(), permit.account(), id)?.ok_or_else(bad_id)?;
    let now = api.app.now(&signed.rows);
    let keys = service::list_keys(permit.rows(), permit.account(), id)?;
    let items = keys.iter().map(|row| KeyView::new(&row.value, now)).collect();
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &Page { items, next: None }))
}

/// `expires_in` is in seconds, at most the configured lifetime of API keys.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = ApiKeyRequest)]
#[serde(deny_unknown_fields)]
struct NewKey {
    label: Option<String>,
    expires_in: Option<u64>,
}

async fn add_key(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let body: NewKey = call.json_or_default()?;
    let label = body.label.as_deref().map(Label::parse).transpose()?;
    if body.expires_in == Some(0) {
        return Err(Problem::bad_request("invalid_value", "expires_in: at least one second."));
    }
    let lifetime = body.expires_in.map(Lifetime::from_secs);
    let (caller, request) = api.writer(call, account).await?;
    let service = named(api, call, &caller, text).await?;
    let (minted, done) = api.app.add_api_key(&caller, service, label, lifetime, &request).await?;
    let body = NewKeyView { key_id: minted.id.to_string(), api_key: minted.key.expose() };
    Ok(reply::at(done.revision, StatusCode::CREATED, &body))
}

async fn revoke_key(api: &Api, call: &Call, account: &str, text: &str, key: &str) -> Answer {
    let key: ApiKeyId = key.parse().map_err(|_| bad_id())?;
    let (caller, request) = api.writer(call, account).await?;
    let service = named(api, call, &caller, text).await?;
    let order = order(call, &caller, &request, None, Action::RevokeApiKey { service, key })?;
    Ok(reply::empty(api.app.execute(&order, &request).await?.revision))
}

async fn named(api: &Api, call: &Call, caller: &Caller, text: &str) -> Result<ServiceId, Problem> {
    match find_for_writing(api, call, caller, "service-accounts", text).await? {
        Principal::Service(id) => Ok(id),
        Principal::User(_) | Principal::Subject(_) => Err(bad_id()),
    }
}

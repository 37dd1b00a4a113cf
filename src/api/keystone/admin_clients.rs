//! Administration of OAuth clients.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use warp::http::StatusCode;

use super::caller::{reader, writer};
use super::error::of_order;
use super::fields::Fields;
use super::user_list::{Pageable, Place};
use super::{Answer, Api, Call, Operation, Route, route, scope};
use crate::api::call::bad_id;
use crate::api::reply::{self, time};
use crate::api::signed::expected;
use crate::app::clients::{self, ClientChanges, NewClient, TokenLifetime};
use crate::app::permit::ReadServices;
use crate::app::{Caller, Done};
use crate::domain::service::{self, Client, ServiceAccount};
use crate::domain::{AccountId, Resource, ServiceId, Stored};
use crate::http::problem::Problem;
use conclave_cluster::state::View;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/v1/admin/clients", list),
        route!(POST "/api/v1/admin/clients", create),
        route!(GET "/api/v1/admin/clients/{client_id}", show, client_id),
        route!(PUT "/api/v1/admin/clients/{client_id}", change, client_id),
        route!(DELETE "/api/v1/admin/clients/{client_id}", remove, client_id),
        route!(POST "/api/v1/admin/clients/{client_id}/rotate-secret", rotate_secret, client_id),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let client = json!({
        "clientId": "new-service",
        "name": "New Service",
        "scopes": ["read:data"],
        "audiences": ["data-api"],
        "enabled": true,
    });
    let changes = json!({"name": "Data Service", "scopes": ["read:data"], "tokenLifetime": 600});
    vec![
        Operation::read("GET /api/v1/admin/clients", "keystoneListClients", "Lists the clients")
            .about("Never their secrets.")
            .query::<ClientQuery>()
            .gives::<ClientPage>(),
        Operation::write("POST /api/v1/admin/clients", "keystoneCreateClient", "Makes a client with its secret")
            .about(
                "The secret is shown in this reply and never again; it does not expire. `clientId` has 3 to 57 \
             letters, digits, or any of `_ - .`, and is unique in any case of letters.",
            )
            .takes::<NewClientBody>(client)
            .creates::<CreatedView<'_>>()
            .refuses(&[409]),
        Operation::read("GET /api/v1/admin/clients/{client_id}", "keystoneGetClient", "Shows a client, by its id")
            .gives_tagged::<ClientView>(),
        Operation::write("PUT /api/v1/admin/clients/{client_id}", "keystoneUpdateClient", "Changes a client")
            .about("All that is said, or nothing. `tokenLifetime` of null leaves it to the nodes again.")
            .guarded()
            .takes::<Changes>(changes)
            .gives_tagged::<ClientView>(),
        Operation::write(
            "DELETE /api/v1/admin/clients/{client_id}",
            "keystoneDeleteClient",
            "Deletes a client, its secrets and its tokens",
        )
        .guarded(),
        Operation::write(
            "POST /api/v1/admin/clients/{client_id}/rotate-secret",
            "keystoneRotateSecret",
            "Gives a client a new secret",
        )
        .about(
            "The secret before stays good until the next rotation, or ends now with `revokeOld`. Where a secret ends, \
             the client's tokens do too.",
        )
        .may_take::<Rotation>(json!({"revokeOld": false}))
        .gives_tagged::<CreatedView<'_>>(),
    ]
}

/// A client, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneClient)]
#[serde(rename_all = "camelCase")]
struct ClientView {
    #[schema(format = Uuid)]
    id: String,
    client_id: String,
    name: String,
    enabled: bool,
    /// Its own.
    scopes: Vec<String>,
    audiences: Vec<String>,
    /// Roles beside its own scopes.
    roles: Vec<String>,
    /// How long its tokens are good, in seconds, where that is not left to the nodes.
    token_lifetime: Option<u64>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A client with the secret that it has just been given.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneClientWithSecret)]
#[serde(rename_all = "camelCase")]
struct CreatedView<'s> {
    #[serde(flatten)]
    client: ClientView,
    client_secret: &'s str,
}

/// A part of the list.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneClientPage)]
struct ClientPage {
    content: Vec<ClientView>,
    pageable: Pageable,
}

impl ClientView {
    fn new(
        rows: &View,
        account: AccountId,
        service: &ServiceAccount,
        client: &Client,
    ) -> Result<Self, Problem> {
        let (scopes, roles) = clients::grants_of(rows, account, service)?;
        Ok(Self {
            id: service.id.to_string(),
            client_id: service.name.to_string(),
            name: client.title.to_string(),
            enabled: service.is_active,
            scopes: scopes.iter().map(ToString::to_string).collect(),
            audiences: client.audiences.iter().map(ToString::to_string).collect(),
            roles: roles.iter().map(ToString::to_string).collect(),
            token_lifetime: client.token_lifetime.map(|lifetime| lifetime.0 / 1_000),
            created_at: time(service.created_at),
            updated_at: time(service.updated_at),
        })
    }
}

/// Which part of the list: all of it, up to 1000, unless it says.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ClientQuery {
    /// From 0.
    page: Option<usize>,
    /// 1000 by default, and at most.
    size: Option<usize>,
}

async fn list(api: &Api, call: &Call) -> Answer {
    let query: ClientQuery = call.query()?;
    let place = Place::new(query.page, query.size, 1_000, 1_000)?;
    let signed = reader(api, call, scope::ADMIN_CLIENTS).await?;
    let permit = signed.caller.authorize::<ReadServices>(&signed.now, &signed.rows)?;
    let (rows, account) = (permit.rows(), permit.account());
    let mut all: Vec<Stored<ServiceAccount>> = service::list(rows, account, None, usize::MAX)?;
    all.retain(|row| row.value.client.is_some());
    all.sort_by(|a, b| a.value.created_at.cmp(&b.value.created_at).then(a.value.id.cmp(&b.value.id)));
    let mut content = Vec::new();
    for row in all.iter().skip(place.skipped()).take(place.size()) {
        if let Some(client) = &row.value.client {
            content.push(ClientView::new(rows, account, &row.value, client)?);
        }
    }
    let page = ClientPage { content, pageable: place.of(all.len()) };
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &page))
}

/// A client to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneNewClient)]
#[serde(rename_all = "camelCase")]
struct NewClientBody {
    #[serde(alias = "client_id")]
    client_id: String,
    /// What people call it; the id without it.
    name: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    /// Whom its tokens may be for; none is this service itself.
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
    enabled: Option<bool>,
    /// Seconds, 60 to 86400.
    #[serde(alias = "token_lifetime")]
    token_lifetime: Option<u64>,
}

impl NewClientBody {
    fn parse(&self) -> Result<NewClient, Problem> {
        let mut fields = Fields::default();
        let name = fields.client_id(&self.client_id);
        let title = fields.label("name", Some(self.name.as_deref().unwrap_or(&self.client_id)));
        let scopes = fields.scopes(&self.scopes);
        let roles = fields.roles(&self.roles);
        let audiences = fields.labels("audiences", &self.audiences, Client::MAX_AUDIENCES);
        let token_lifetime = fields.token_lifetime(self.token_lifetime);
        let (name, title) = fields.done_with(name.zip(title))?;
        let client = Client { title, audiences, token_lifetime };
        Ok(NewClient { name, client, scopes, roles, enabled: self.enabled.unwrap_or(true) })
    }
}

async fn create(api: &Api, call: &Call) -> Answer {
    let new = call.json::<NewClientBody>()?.parse()?;
    let (signed, request) = writer(api, call, scope::ADMIN_CLIENTS).await?;
    let caller = &signed.caller;
    let (id, minted, done) = api.app.create_client(caller, new, &request).await.map_err(of_order)?;
    let (stored, client) = viewed(caller, id, &done)?;
    let body = CreatedView { client, client_secret: minted.key.expose() };
    Ok(reply::created(done.revision, stored.revision, &format!("/api/v1/admin/clients/{id}"), &body))
}

async fn show(api: &Api, call: &Call, id: &str) -> Answer {
    let signed = reader(api, call, scope::ADMIN_CLIENTS).await?;
    let permit = signed.caller.authorize::<ReadServices>(&signed.now, &signed.rows)?;
    let (stored, client) = clients::find(permit.rows(), permit.account(), service_id(id)?)?;
    let body = ClientView::new(permit.rows(), permit.account(), &stored.value, &client)?;
    Ok(reply::tagged(signed.rows.revision(), stored.revision, StatusCode::OK, &body))
}

/// What to change. Lists are all that the client is to have.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneClientChanges)]
#[serde(rename_all = "camelCase")]
struct Changes {
    name: Option<String>,
    scopes: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    roles: Option<Vec<String>>,
    enabled: Option<bool>,
    /// Seconds, 60 to 86400; null leaves it to the nodes again.
    #[serde(alias = "token_lifetime", default)]
    #[schema(value_type = Option<u64>)]
    token_lifetime: Seconds,
}

/// A number that may be taken away: null says something else than nothing.
#[derive(Clone, Copy, Default)]
enum Seconds {
    #[default]
    Unsaid,
    Null,
    Number(u64),
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Number))
    }
}

impl Changes {
    fn parse(&self) -> Result<ClientChanges, Problem> {
        let mut fields = Fields::default();
        let changes = ClientChanges {
            title: fields.label("name", self.name.as_deref()),
            scopes: self.scopes.as_ref().map(|names| fields.scopes(names)),
            audiences: self
                .audiences
                .as_ref()
                .map(|names| fields.labels("audiences", names, Client::MAX_AUDIENCES)),
            roles: self.roles.as_ref().map(|names| fields.roles(names)),
            enabled: self.enabled,
            token_lifetime: match self.token_lifetime {
                Seconds::Unsaid => None,
                Seconds::Null => Some(TokenLifetime::Usual),
                Seconds::Number(seconds) => fields.token_lifetime(Some(seconds)).map(TokenLifetime::Own),
            },
        };
        fields.done()?;
        Ok(changes)
    }
}

async fn change(api: &Api, call: &Call, id: &str) -> Answer {
    let changes = call.json::<Changes>()?.parse()?;
    let id = service_id(id)?;
    let (signed, request) = writer(api, call, scope::ADMIN_CLIENTS).await?;
    let seen = call.if_match()?;
    let done = api.app.change_client(&signed.caller, id, &changes, seen, &request).await.map_err(of_order)?;
    let (stored, body) = viewed(&signed.caller, id, &done)?;
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::OK, &body))
}

async fn remove(api: &Api, call: &Call, id: &str) -> Answer {
    let id = service_id(id)?;
    let (signed, request) = writer(api, call, scope::ADMIN_CLIENTS).await?;
    let expect = expected(call, Some(Resource::ServiceAccount(id)))?;
    Ok(reply::empty(api.app.delete_client(&signed.caller, id, expect, &request).await?.revision))
}

/// Whether the secrets before end now.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = KeystoneRotation)]
#[serde(rename_all = "camelCase")]
struct Rotation {
    #[serde(alias = "revoke_old", default)]
    revoke_old: bool,
}

async fn rotate_secret(api: &Api, call: &Call, id: &str) -> Answer {
    let body: Rotation = call.json_or_default()?;
    let id = service_id(id)?;
    let (signed, request) = writer(api, call, scope::ADMIN_CLIENTS).await?;
    let (minted, done) = api.app.rotate_secret(&signed.caller, id, body.revoke_old, &request).await?;
    let (stored, client) = viewed(&signed.caller, id, &done)?;
    let body = CreatedView { client, client_secret: minted.key.expose() };
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::OK, &body))
}

/// What is no id is the id of no client.
fn service_id(text: &str) -> Result<ServiceId, Problem> {
    text.parse().map_err(|_| bad_id())
}

fn viewed(
    caller: &Caller,
    id: ServiceId,
    done: &Done,
) -> Result<(Stored<ServiceAccount>, ClientView), Problem> {
    let (stored, client) = clients::find(&done.view, caller.account(), id)?;
    let view = ClientView::new(&done.view, caller.account(), &stored.value, &client)?;
    Ok((stored, view))
}

//! Users as this surface shows them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::reply::time;
use crate::app::terms::scopes_of;
use crate::domain::user::User;
use crate::domain::{AccountId, Principal, Timestamp, lockout, membership};
use crate::http::problem::Problem;
use conclave_cluster::state::View;

/// A user.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneUser)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserView {
    #[schema(format = Uuid)]
    id: String,
    username: String,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    enabled: bool,
    roles: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A user as it sees itself.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneProfile)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProfileView {
    #[serde(flatten)]
    user: UserView,
    /// What its tokens may be for.
    scopes: Vec<String>,
    #[schema(format = DateTime)]
    last_login: Option<String>,
}

/// A user as administrators see it.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneManagedUser)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManagedView {
    #[serde(flatten)]
    user: UserView,
    #[schema(format = DateTime)]
    last_login: Option<String>,
    /// Until when it is locked out, from some source at least.
    #[schema(format = DateTime)]
    locked_until: Option<String>,
}

impl UserView {
    pub(super) fn new(rows: &View, account: AccountId, user: &User) -> Result<Self, Problem> {
        let roles = membership::roles_of(rows, account, &Principal::User(user.id))?;
        Ok(Self {
            id: user.id.to_string(),
            username: user.login(),
            email: user.email.as_ref().map(ToString::to_string),
            first_name: user.first_name.as_ref().map(ToString::to_string),
            last_name: user.last_name.as_ref().map(ToString::to_string),
            enabled: user.is_active(),
            roles: roles.iter().map(ToString::to_string).collect(),
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
        })
    }
}

impl ProfileView {
    pub(super) fn new(rows: &View, account: AccountId, user: &User) -> Result<Self, Problem> {
        let scopes = scopes_of(rows, account, &Principal::User(user.id))?;
        Ok(Self {
            user: UserView::new(rows, account, user)?,
            scopes: scopes.iter().map(ToString::to_string).collect(),
            last_login: lockout::find(rows, account, user.id)?.last_success.map(time),
        })
    }
}

impl ManagedView {
    pub(super) fn new(rows: &View, account: AccountId, user: &User, now: Timestamp) -> Result<Self, Problem> {
        let attempts = lockout::find(rows, account, user.id)?;
        Ok(Self {
            user: UserView::new(rows, account, user)?,
            last_login: attempts.last_success.map(time),
            locked_until: attempts.locked_until(now).map(time),
        })
    }
}

//! On which terms somebody signs in: what a surface and its clients agreed on, and what of it is granted.

use std::collections::BTreeSet;
use std::time::Duration;

use conclave_cluster::state::View;

use super::sign_in::RefreshStyle;
use super::{App, Failure};
use crate::domain::session::{Family, Grant};
use crate::domain::{AccountId, Label, Lifetime, Permission, Principal, membership, service};

/// What a sign-in is to give.
#[derive(Clone, Debug)]
pub struct Terms {
    pub family: Family,
    /// Which refresh token, if any.
    pub refresh: Option<RefreshStyle>,
    /// How long the session lasts.
    pub session: Lifetime,
    /// How long each access token is good, unless the client itself says otherwise.
    pub access: Lifetime,
    /// The scopes that are asked for; `None` asks for all there are.
    pub scope: Option<Vec<Permission>>,
    /// Whom the token is to be for; `None` leaves it to the client's own list.
    pub audience: Option<Vec<Label>>,
    /// The client that a user signs in through.
    pub client: Option<Label>,
}

/// How long a client's token is good, unless the client itself says otherwise (contract part 4.1).
const CLIENT_TOKEN: Lifetime = Lifetime::from_secs(900);

/// The issuer of Keystone tokens, which its clients compare (contract part 4.1).
pub const KEYSTONE: &str = "keystone-auth";

impl App {
    /// The terms of the native API and of the engine of seed 001, for people.
    #[must_use]
    pub fn native_terms(&self, refresh: RefreshStyle) -> Terms {
        let settings = self.settings();
        Terms {
            refresh: Some(refresh),
            session: settings.refresh_token,
            ..Terms::bare(Family::Native, settings.access_token)
        }
    }

    /// The same for programs: an API key is good for the next sign-in, so there is no refresh token.
    #[must_use]
    pub fn native_key_terms(&self) -> Terms {
        Terms::bare(Family::Native, self.settings().access_token)
    }

    /// The terms of Keystone for people, who sign in through `client` if it says its name.
    #[must_use]
    pub fn keystone_terms(&self, scope: Option<Vec<Permission>>, client: Option<Label>) -> Terms {
        let settings = &self.settings().keystone;
        Terms {
            refresh: Some(RefreshStyle::Rotating),
            session: lasting(settings.refresh_token_lifetime),
            scope,
            client,
            ..Terms::bare(Family::Keystone, lasting(settings.access_token_lifetime))
        }
    }

    /// The same for clients that act for themselves.
    #[must_use]
    pub fn keystone_client_terms(
        &self,
        scope: Option<Vec<Permission>>,
        audience: Option<Vec<Label>>,
    ) -> Terms {
        Terms { scope, audience, ..Terms::bare(Family::Keystone, CLIENT_TOKEN) }
    }
}

fn lasting(span: Duration) -> Lifetime {
    Lifetime(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

impl Terms {
    fn bare(family: Family, access: Lifetime) -> Self {
        Self { family, refresh: None, session: access, access, scope: None, audience: None, client: None }
    }
}

/// The scopes of a principal: the permissions that its roles spell out. A `*` is no scope, nor are the
/// permissions of the native API: those who hold them use that.
///
/// # Errors
/// [`crate::domain::Rejection::Damaged`] if a row does not decode.
pub fn scopes_of(
    view: &View,
    account: AccountId,
    principal: &Principal,
) -> Result<BTreeSet<Permission>, Failure> {
    let held = membership::permissions_of(view, account, principal)?;
    let is_scope = |held: &Permission| !held.as_str().ends_with('*') && !held.as_str().starts_with("iam:");
    Ok(held.into_iter().filter(is_scope).collect())
}

/// What of the terms is granted to a principal by the rows of `view`.
///
/// # Errors
/// [`Failure::NothingGranted`] when a program asks for scopes or audiences and gets none (contract part 4.1).
pub(super) fn grant(
    view: &View,
    account: AccountId,
    principal: &Principal,
    terms: &Terms,
) -> Result<Grant, Failure> {
    let mut grant = Grant { client: terms.client.clone(), ..Grant::native(terms.access) };
    grant.family = terms.family;
    if terms.family == Family::Native {
        return Ok(grant);
    }
    let owned = scopes_of(view, account, principal)?;
    grant.scope = match &terms.scope {
        Some(asked) => asked.iter().filter(|scope| owned.contains(scope)).cloned().collect(),
        None => owned.into_iter().collect(),
    };
    grant.scope.truncate(Grant::MAX_SCOPES);
    grant.audience = terms.audience.clone().unwrap_or_default();
    if let Principal::Service(id) = principal {
        let asked_in_vain = terms.scope.as_ref().is_some_and(|asked| !asked.is_empty());
        if grant.scope.is_empty() && asked_in_vain {
            return Err(Failure::NothingGranted);
        }
        if let Some(client) = service::find(view, account, *id)?.and_then(|row| row.value.client) {
            grant.access = client.token_lifetime.unwrap_or(terms.access);
            grant.audience = match &terms.audience {
                Some(asked) => asked.iter().filter(|who| client.audiences.contains(who)).cloned().collect(),
                None => client.audiences,
            };
        }
        if grant.audience.is_empty() && terms.audience.as_ref().is_some_and(|asked| !asked.is_empty()) {
            return Err(Failure::NothingGranted);
        }
    }
    Ok(grant)
}

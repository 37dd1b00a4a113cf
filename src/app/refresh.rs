//! A new access token for a refresh token.

use super::terms::scopes_of;
use super::tokens::{Tokens, opened, stored_hash};
use super::{App, Failure, Request};
use crate::domain::lockout::{RefusedSignIn, Why};
use crate::domain::session::{self, Family, Refresh, Rotation};
use crate::domain::{AccountId, Action, Actor, Command, Label, Permission, Rejection};
use crate::replica::Freshness;
use crate::tenants::Gate;

/// What a client asks for with a refresh token.
#[derive(Clone, Debug)]
pub struct Asked<'t> {
    pub family: Family,
    pub token: &'t str,
    /// Fewer scopes than the session has; `None` leaves them.
    pub scope: Option<Vec<Permission>>,
    /// The client that asks, if it says so: another than the user signed in through is refused.
    pub client: Option<&'t str>,
}

impl App {
    /// Gives an access token, and the next refresh token where the old one is good only once. Which of
    /// several uses of such a token wins is decided in log order.
    ///
    /// # Errors
    /// [`Rejection::BadRefreshToken`] for everything that is wrong with it.
    pub async fn refresh(
        &self,
        account: AccountId,
        asked: &Asked<'_>,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        self.admit(Gate::Refresh, None, request).await?;
        let mut tokens = self.try_refresh(account, asked, request).await;
        if let Err(Failure::Rejected(Rejection::BadRefreshToken)) = tokens {
            let view = self.view(Freshness::Linearizable, request.deadline).await?;
            let refused = RefusedSignIn::new(None, "", Why::BadRefreshToken);
            tokens = Err(self.refuse(&view, Some(account), refused, request).await);
        }
        self.counts.tried(&tokens);
        tokens
    }

    async fn try_refresh(
        &self,
        account: AccountId,
        asked: &Asked<'_>,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let presented = stored_hash(asked.token);
        let mut mint = self.mint(request)?;
        // Whether it is the current one is asked of the log: a spent one ends its session there.
        let pointer = session::pointer(&view, account, &presented)?.ok_or(Rejection::BadRefreshToken)?;
        let session =
            session::find(&view, account, pointer.session)?.ok_or(Rejection::BadRefreshToken)?.value;
        let of_client = session.grant.client.as_ref().map(Label::as_str);
        let is_another = asked.client.is_some() && of_client.is_some() && asked.client != of_client;
        if session.grant.family != asked.family || is_another {
            return Err(Rejection::BadRefreshToken.into());
        }
        let scope = match &asked.scope {
            Some(narrower) => {
                let owned = scopes_of(&view, account, &session.principal)?;
                let granted = &session.grant.scope;
                Some(narrower.iter().filter(|s| granted.contains(s) && owned.contains(s)).cloned().collect())
            }
            None => None,
        };
        if let Refresh::None | Refresh::Fixed = session.refresh {
            let now = self.now(&view);
            let live = session::find_by_refresh(&view, account, &presented, now)?;
            return self.issue(&view, account, live.session, scope, now, None, &mut mint);
        }
        let next = mint.refresh_token()?;
        let action = Action::RefreshSession(Rotation { presented, next: stored_hash(next.expose()) });
        let by = Actor::Anonymous;
        let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
        let done = self.execute(&command, request).await?;
        let session = opened(&done, account)?;
        self.issue(&done.view, account, session, scope, done.at, Some(next), &mut mint)
    }
}

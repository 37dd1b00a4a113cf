//! A new access token for a refresh token.

use super::tokens::{Tokens, opened, stored_hash};
use super::{App, Failure, Request};
use crate::domain::session::{self, Refresh, Rotation};
use crate::domain::{AccountId, Action, Actor, Command, Rejection};
use crate::replica::Freshness;
use crate::tenants::Gate;

impl App {
    /// Gives an access token, and the next refresh token where the old one is good only once. Which of
    /// several uses of such a token wins is decided in log order.
    ///
    /// # Errors
    /// [`Rejection::BadRefreshToken`] for everything that is wrong with it.
    pub async fn refresh(
        &self,
        account: AccountId,
        token: &str,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        self.admit(Gate::Refresh, None, request).await?;
        let tokens = self.try_refresh(account, token, request).await;
        self.counts.tried(&tokens);
        tokens
    }

    async fn try_refresh(
        &self,
        account: AccountId,
        token: &str,
        request: &Request,
    ) -> Result<Tokens, Failure> {
        let view = self.view(Freshness::Linearizable, request.deadline).await?;
        let presented = stored_hash(token);
        let mut mint = self.mint(request)?;
        // Whether it is the current one is asked of the log: a spent one ends its session there.
        let pointer = session::pointer(&view, account, &presented)?.ok_or(Rejection::BadRefreshToken)?;
        let session =
            session::find(&view, account, pointer.session)?.ok_or(Rejection::BadRefreshToken)?.value;
        if let Refresh::None | Refresh::Fixed = session.refresh {
            let now = self.now(&view);
            let live = session::find_by_refresh(&view, account, &presented, now)?;
            return self.issue(&view, account, live.session, now, &mut mint);
        }
        let next = mint.refresh_token()?;
        let action = Action::RefreshSession(Rotation { presented, next: stored_hash(next.expose()) });
        let by = Actor::Anonymous;
        let command = Command { account, by, origin: request.origin.clone(), expect: Vec::new(), action };
        let done = self.execute(&command, request).await?;
        let session = opened(&done, account)?;
        let mut tokens = self.issue(&done.view, account, session, done.at, &mut mint)?;
        tokens.refresh = Some(next);
        Ok(tokens)
    }
}

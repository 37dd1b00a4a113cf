//! What a call shows for who makes it.

use tokio::time::Instant;

use super::{Error, Session};
use crate::secret::Secret;

/// Nothing, a token or key as it is, or a session that keeps its token fresh.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    Nobody,
    Token(Secret<String>),
    Session(Session),
}

impl Proof {
    /// The token for a call that ends by `until`.
    pub(super) async fn token(&self, until: Instant) -> Result<Option<Secret<String>>, Error> {
        match self {
            Self::Nobody => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::Session(session) => session.token(until).await.map(Some),
        }
    }

    /// Another token than one that was refused, where there may be one.
    pub(super) async fn token_after(
        &self,
        refused: &Secret<String>,
        until: Instant,
    ) -> Option<Secret<String>> {
        match self {
            Self::Nobody | Self::Token(_) => None,
            Self::Session(session) => session.token_after(refused, until).await,
        }
    }
}

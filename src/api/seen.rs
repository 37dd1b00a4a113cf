//! What a request leaves in the audit trails though it changes nothing: that it was denied, or what it asked.
//!
//! Denials are written down in one place for all surfaces, `Witness`: a surface only says who turned out to
//! ask, by [`Call::comes_from`]. What is asked, each handler says for itself, by [`Api::saw`].

use std::sync::{Arc, OnceLock};

use warp::http::StatusCode;
use warp::reply::Response;

use super::Api;
use super::call::Call;
use crate::app::App;
use crate::domain::audit::{Observation, Trail};
use crate::domain::{AccountId, Actor, Origin};
use crate::http::problem::Problem;

/// Who asks, once that is known.
pub(super) type Asker = Arc<OnceLock<(AccountId, Actor)>>;

impl Call {
    /// Says who turned out to ask: if the answer is 403, their account's trail tells of it.
    pub fn comes_from(&self, account: AccountId, by: Actor) {
        // A call has one caller; that it is found twice changes nothing.
        let _ = self.asker().set((account, by));
    }

    /// That somebody asked something, and whether the answer was yes. `target` is short and no secret.
    pub fn seen(&self, by: Actor, action: &str, target: String, success: bool) -> Observation {
        Observation {
            trail: Trail::Checks,
            by,
            origin: self.origin(),
            action: action.to_owned(),
            target,
            success,
            detail: String::new(),
            count: 1,
            used: None,
        }
    }
}

impl Api {
    /// Has it written down that somebody asked something, see [`Call::seen`].
    pub fn saw(&self, call: &Call, asks: (AccountId, Actor), action: &str, target: String, success: bool) {
        let (account, by) = asks;
        self.app.observe(account, call.seen(by, action, target, success));
    }
}

/// What must be known of a call to tell of its denial, when the handler has taken it.
pub(super) struct Witness {
    asker: Asker,
    origin: Origin,
    route: &'static str,
}

impl Witness {
    pub(super) fn of(call: &Call) -> Self {
        Self { asker: Arc::clone(call.asker()), origin: call.origin(), route: call.route }
    }

    /// Has a 403 to a known caller written down: a stranger's is nobody's.
    pub(super) fn tell(self, app: &App, response: &Response) {
        if response.status() != StatusCode::FORBIDDEN {
            return;
        }
        let Some((account, by)) = self.asker.get().cloned() else { return };
        let lacking = response.extensions().get::<Problem>().map(|problem| {
            // Each surface has its own word for it.
            let named = ["permission", "scope"].into_iter().find_map(|word| problem.extra().get(word));
            named.and_then(|lacking| lacking.as_str()).unwrap_or(problem.code()).to_owned()
        });
        let target = match lacking {
            Some(lacking) => format!("{} {lacking}", self.route),
            None => self.route.to_owned(),
        };
        let observation = Observation {
            trail: Trail::Acts,
            by,
            origin: self.origin,
            action: "denied".to_owned(),
            target,
            success: false,
            detail: String::new(),
            count: 1,
            used: None,
        };
        app.observe(account, observation);
    }
}

//! What people have done for them, and what it comes to.

use conclave::app::refresh::Asked;
use conclave::app::{App, Caller, Failure, Request};
use conclave::auth::mint::ApiKeyForm;
use conclave::domain::session::Family;
use conclave::domain::{Action, ApiKeyId, Reply, ServiceId, SessionId, UserName};
use conclave::replica::Freshness;

use super::history::History;

/// What somebody wants done.
#[derive(Debug)]
pub(super) enum Order {
    Create(String),
    AddKey(ServiceId),
    SignIn(String),
    Refresh(String),
    Act(Box<Action>),
}

/// What an order came to, the same however often it is sent.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) revision: u64,
    pub(super) service: Option<ServiceId>,
    pub(super) key: Option<(ApiKeyId, String)>,
    pub(super) session: Option<SessionId>,
    /// What the rules said to an action.
    pub(super) changed: Option<bool>,
    pub(super) refresh: Option<String>,
    pub(super) access: Option<String>,
}

impl Carried {
    /// But for the access token, which says what roles there are by now.
    pub(super) fn is_the_same(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            (one.revision, one.service, one.key.clone(), one.session, one.changed, one.refresh.clone())
        };
        of(self) == of(other)
    }
}

impl Order {
    /// Has it carried out by a node.
    pub(super) async fn carry_out(
        &self,
        history: &History,
        app: &App,
        request: &Request,
    ) -> Result<Carried, Failure> {
        let nothing = Carried {
            revision: 0,
            service: None,
            key: None,
            session: None,
            changed: None,
            refresh: None,
            access: None,
        };
        let account = history.account;
        let carried = match self {
            Self::Create(name) => {
                let (caller, form) = (root(history, app, request).await?, ApiKeyForm::Prefixed);
                let name = UserName::parse(name).unwrap();
                let making = app.create_service_account(&caller, name, Vec::new(), form, None, request);
                let (id, key, done) = making.await?;
                let key = Some((key.id, key.key.expose().clone()));
                Carried { revision: done.revision, service: Some(id), key, ..nothing }
            }
            Self::AddKey(service) => {
                let caller = root(history, app, request).await?;
                let (key, done) = app.add_api_key(&caller, *service, None, None, request).await?;
                let key = Some((key.id, key.key.expose().clone()));
                Carried { revision: done.revision, key, ..nothing }
            }
            Self::SignIn(key) => {
                let terms = app.native_key_terms();
                let tokens = app.sign_in_with_key(account, None, key, &terms, request).await?;
                let (session, access) = (Some(tokens.session.id), Some(tokens.access.expose().clone()));
                Carried { revision: tokens.revision, session, access, ..nothing }
            }
            Self::Refresh(shown) => {
                let asked = Asked { family: Family::Native, token: shown, scope: None, client: None };
                let tokens = app.refresh(account, &asked, request).await?;
                let refresh = tokens.refresh.map(|token| token.expose().clone());
                Carried { revision: tokens.revision, session: Some(tokens.session.id), refresh, ..nothing }
            }
            Self::Act(action) => {
                let caller = root(history, app, request).await?;
                let order = caller.orders(request, Vec::new(), Action::clone(action));
                let done = app.execute(&order, request).await?;
                let changed = if let Reply::Changed(changed) = done.reply { Some(changed) } else { None };
                Carried { revision: done.revision, changed, ..nothing }
            }
        };
        Ok(carried)
    }
}

/// The root user, whose token is good all the time.
async fn root(history: &History, app: &App, request: &Request) -> Result<Caller, Failure> {
    let view = app.view(Freshness::Linearizable, request.deadline).await?;
    let token = history.told().root_token.clone();
    app.authenticate(&view, &token)
}

/// What became of an order.
pub(super) enum End {
    Done(Carried),
    Refused(Failure),
    /// The run was over first.
    Unknown,
}

/// Whether the same may be tried again.
pub(super) fn is_for_now(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Unavailable(_)
            | Failure::Busy { .. }
            | Failure::Limited(_)
            | Failure::Upgrading(_)
            | Failure::Revision(_)
            | Failure::NotReady
    )
}

pub(super) fn strange(what: &str, end: &End) -> String {
    match end {
        End::Done(carried) => format!("{what} came to {carried:?}"),
        End::Refused(failure) => format!("{what} was refused: {failure:?}"),
        End::Unknown => format!("{what} came to nothing"),
    }
}

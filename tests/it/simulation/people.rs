//! Those who use the system in a run, each through a node drawn anew for every try.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conclave::app::{App, Failure};
use conclave::auth::token::SecretHash;
use conclave::domain::session;
use conclave::domain::{Action, Principal, Rejection, ServiceId, authority};
use conclave::replica::Freshness;
use conclave_cluster::View;
use conclave_cluster::testing::Random;
use tokio::time::{self, Instant};

use super::history::{History, Key, PERMISSION, Register, Service, Token, request};
use super::orders::{Carried, End, Order, is_for_now, strange};
use super::system::{Bug, System};

pub(super) struct Person {
    number: u64,
    system: System,
    random: Random,
    history: History,
    sent: AtomicU64,
}

impl Person {
    pub(super) fn new(number: u64, system: System, random: Random, history: History) -> Self {
        Self { number, system, random, history, sent: AtomicU64::new(0) }
    }

    /// Does this and that until `end`.
    pub(super) async fn live(self, end: Instant) -> Result<(), String> {
        while Instant::now() < end {
            time::sleep(self.random.micros(100, 20_000)).await;
            match self.random.below(22) {
                0..=1 => self.claim(end).await?,
                2 => self.add_key(end).await?,
                3..=5 => self.sign_in(end).await?,
                6..=8 => self.spend(end).await?,
                9..=10 => self.end_session(end).await?,
                11 => self.revoke_key(end).await?,
                12 => self.end_all(end).await?,
                13..=14 => self.change_role(end).await?,
                15..=19 => self.check_token().await?,
                _ => self.check_role().await?,
            }
        }
        Ok(())
    }

    /// Several people want the same names.
    async fn claim(&self, end: Instant) -> Result<(), String> {
        let name = format!("service-{}", self.history.told().owners.len() as u64 + self.random.below(2));
        match self.order(&Order::Create(name.clone()), end).await? {
            End::Done(Carried { service: Some(id), key: Some((key, text)), .. }) => {
                let mut told = self.history.told();
                if let Some(owner) = told.owners.insert(name.clone(), id) {
                    return Err(format!("{name} belongs to {owner} and to {id}"));
                }
                let key = Key { id: key, text, ending: 0, ended: false };
                let role = Register::default();
                let service = Service { id, keys: vec![key], keys_unknown: 0, ending: 0, ended_at: 0, role };
                told.services.push(service);
                Ok(())
            }
            End::Refused(Failure::Rejected(Rejection::NameTaken)) | End::Unknown => Ok(()),
            other @ (End::Done(_) | End::Refused(_)) => Err(strange("a claim of a name", &other)),
        }
    }

    async fn add_key(&self, end: Instant) -> Result<(), String> {
        let Some((service, id)) = self.pick_service() else { return Ok(()) };
        if self.history.told().services[service].keys.len() > 10 {
            return Ok(());
        }
        // From here on there may be one more than were given.
        self.history.told().services[service].keys_unknown += 1;
        let ended = self.order(&Order::AddKey(id), end).await?;
        let mut told = self.history.told();
        match ended {
            End::Done(Carried { key: Some((key, text)), .. }) => {
                told.services[service].keys_unknown -= 1;
                told.services[service].keys.push(Key { id: key, text, ending: 0, ended: false });
                Ok(())
            }
            End::Unknown => Ok(()),
            other @ (End::Done(_) | End::Refused(_)) => Err(strange("a new key", &other)),
        }
    }

    async fn sign_in(&self, end: Instant) -> Result<(), String> {
        let Some((service, _)) = self.pick_service() else { return Ok(()) };
        let (key, text, was_ended) = {
            let told = self.history.told();
            let keys = &told.services[service].keys;
            let key = usize::try_from(self.random.below(keys.len() as u64)).unwrap();
            (key, keys[key].text.clone(), keys[key].ended)
        };
        let ended = self.order(&Order::SignIn(text), end).await?;
        let mut told = self.history.told();
        let is_ending = told.services[service].keys[key].ending > 0;
        match ended {
            End::Done(_) if was_ended => Err("a key opened a session after it was revoked".to_owned()),
            End::Done(Carried { revision, session: Some(session), access: Some(text), .. }) => {
                let of = &told.services[service];
                let (ending, ended) = (of.ending, of.ended_at > revision);
                told.tokens.push(Token { text, service, session, since: revision, ending, ended });
                Ok(())
            }
            End::Refused(Failure::Rejected(Rejection::BadCredentials)) if was_ended || is_ending => Ok(()),
            End::Unknown => Ok(()),
            other @ (End::Done(_) | End::Refused(_)) => Err(strange("a sign-in with a good key", &other)),
        }
    }

    /// Several people have the same refresh token.
    async fn spend(&self, end: Instant) -> Result<(), String> {
        let (chain, shown) = {
            let told = self.history.told();
            let chain = usize::try_from(self.random.below(told.chains.len() as u64)).unwrap();
            (chain, told.chains[chain].current.clone())
        };
        if self.system.has(Bug::SpentAtTheEdge) && !self.looks_unspent(&shown).await {
            return Ok(());
        }
        let ended = self.order(&Order::Refresh(shown.clone()), end).await?;
        let is_spent = match &ended {
            End::Done(_) => true,
            End::Refused(_) => self.system.has(Bug::SpentAtTheEdge),
            End::Unknown => false,
        };
        let is_over = {
            let mut told = self.history.told();
            let chain = &mut told.chains[chain];
            if is_spent && !chain.spent.insert(shown.clone()) {
                return Err("a refresh token was spent twice".to_owned());
            }
            match ended {
                End::Done(Carried { refresh: Some(next), .. }) => {
                    chain.current = next;
                    return Ok(());
                }
                End::Refused(Failure::Rejected(Rejection::BadRefreshToken)) | End::Unknown => {}
                other @ (End::Done(_) | End::Refused(_)) => {
                    return Err(strange("a use of a refresh token", &other));
                }
            }
            chain.current == shown
        };
        if is_over {
            // Somebody showed a spent one, and the session was ended for it; or nobody will know what became of it.
            self.begin_anew(&shown).await;
        }
        Ok(())
    }

    async fn looks_unspent(&self, shown: &str) -> bool {
        let Some(app) = self.pick_app() else { return false };
        let Ok(view) = app.view(Freshness::Linearizable, request().deadline).await else { return false };
        session::find_by_refresh(&view, self.history.account, &SecretHash::of(shown), app.now(&view)).is_ok()
    }

    async fn begin_anew(&self, old: &str) {
        let Some(app) = self.pick_app() else { return };
        let Ok(fresh) = self.history.sign_in(&app).await else { return };
        let mut told = self.history.told();
        if let Some(chain) = told.chains.iter_mut().find(|chain| chain.current == old) {
            chain.current = fresh;
        }
    }

    async fn end_session(&self, end: Instant) -> Result<(), String> {
        let (token, session) = {
            let mut told = self.history.told();
            if told.tokens.is_empty() {
                return Ok(());
            }
            let token = usize::try_from(self.random.below(told.tokens.len() as u64)).unwrap();
            told.tokens[token].ending += 1;
            (token, told.tokens[token].session)
        };
        let ended = self.order(&Order::Act(Box::new(Action::EndSession { session })), end).await?;
        let mut told = self.history.told();
        match ended {
            End::Done(_) => {
                told.tokens[token].ended = true;
                Ok(())
            }
            End::Unknown => Ok(()),
            End::Refused(failure) => Err(format!("a session cannot be ended: {failure:?}")),
        }
    }

    /// Revokes a key. Its service account's sessions end with it: each may be that key's.
    async fn revoke_key(&self, end: Instant) -> Result<(), String> {
        let Some((service, id)) = self.pick_service() else { return Ok(()) };
        let (index, key) = {
            let mut told = self.history.told();
            let keys = &mut told.services[service].keys;
            let index = usize::try_from(self.random.below(keys.len() as u64)).unwrap();
            keys[index].ending += 1;
            (index, keys[index].id)
        };
        if self.end_all_by(service, Action::RevokeApiKey { service: id, key }, end).await? {
            self.history.told().services[service].keys[index].ended = true;
        }
        Ok(())
    }

    async fn end_all(&self, end: Instant) -> Result<(), String> {
        let Some((service, id)) = self.pick_service() else { return Ok(()) };
        let ending = Action::EndSessions { principal: Principal::Service(id), except: None };
        self.end_all_by(service, ending, end).await.map(drop)
    }

    /// Ends all sessions of a service account; says whether that was acknowledged.
    async fn end_all_by(&self, service: usize, action: Action, end: Instant) -> Result<bool, String> {
        let of_service = |token: &&mut Token| token.service == service;
        {
            let mut told = self.history.told();
            told.services[service].ending += 1;
            told.tokens.iter_mut().filter(of_service).for_each(|token| token.ending += 1);
        }
        match self.order(&Order::Act(Box::new(action)), end).await? {
            End::Done(Carried { revision, changed, .. }) => {
                // A key that was revoked before is so without ending anything.
                let ended = if changed == Some(false) { 0 } else { revision };
                let mut told = self.history.told();
                let of = &mut told.services[service];
                of.ended_at = of.ended_at.max(ended);
                of.ending -= 1;
                for token in told.tokens.iter_mut().filter(of_service) {
                    token.ended |= token.since < ended;
                    // Those opened behind it are good. It was counted for those that were told before it.
                    token.ending = token.ending.saturating_sub(u32::from(token.since > ended));
                }
                Ok(true)
            }
            End::Unknown => Ok(false),
            End::Refused(failure) => Err(format!("sessions cannot be ended: {failure:?}")),
        }
    }

    async fn change_role(&self, end: Instant) -> Result<(), String> {
        let Some((service, id)) = self.pick_service() else { return Ok(()) };
        let is_set = {
            let mut told = self.history.told();
            let role = &mut told.services[service].role;
            if role.is_changing {
                return Ok(());
            }
            role.is_changing = true;
            role.version += 1;
            role.is_set
        };
        let (principal, role) = (Principal::Service(id), self.history.role.clone());
        let action = if is_set {
            Action::UnassignRole { principal, role }
        } else {
            Action::AssignRole { principal, role }
        };
        match self.order(&Order::Act(Box::new(action)), end).await? {
            End::Done(_) => {
                let mut told = self.history.told();
                let role = &mut told.services[service].role;
                (role.is_set, role.is_changing) = (!is_set, false);
                Ok(())
            }
            End::Unknown => Ok(()),
            End::Refused(failure) => Err(format!("a role cannot be changed: {failure:?}")),
        }
    }

    async fn check_token(&self) -> Result<(), String> {
        let (token, text, was_ended) = {
            let told = self.history.told();
            if told.tokens.is_empty() {
                return Ok(());
            }
            let token = usize::try_from(self.random.below(told.tokens.len() as u64)).unwrap();
            (token, told.tokens[token].text.clone(), told.tokens[token].ended)
        };
        let Some((app, view)) = self.look().await? else { return Ok(()) };
        let judged = app.authenticate(&view, &text);
        let mut told = self.history.told();
        told.checks += 1;
        let is_ending = told.tokens[token].ending > 0 || told.tokens[token].ended;
        match judged {
            Ok(_) if was_ended => Err(format!(
                "a token was taken at revision {} after it was acknowledged that its session had ended",
                view.revision()
            )),
            Ok(_) => Ok(()),
            Err(Failure::Rejected(Rejection::Unauthenticated)) if is_ending => Ok(()),
            Err(failure) => Err(format!("a good token is refused at {}: {failure:?}", view.revision())),
        }
    }

    async fn check_role(&self) -> Result<(), String> {
        let Some((service, id)) = self.pick_service() else { return Ok(()) };
        let before = self.history.told().services[service].role;
        let Some((_, view)) = self.look().await? else { return Ok(()) };
        let holds = authority::holds(&view, self.history.account, &Principal::Service(id), PERMISSION);
        let holds = holds.map_err(|error| error.to_string())?;
        let mut told = self.history.told();
        told.checks += 1;
        let after = told.services[service].role;
        if before == after && !after.is_changing && holds != after.is_set {
            return Err(format!("{id} holds {PERMISSION}: {holds}, and was told {}", after.is_set));
        }
        Ok(())
    }

    /// The rows as some node reads them, if it can now.
    async fn look(&self) -> Result<Option<(Arc<App>, View)>, String> {
        let Some(app) = self.pick_app().filter(|app| app.is_open()) else { return Ok(None) };
        let newest = self.history.newest();
        if self.system.has(Bug::NoBarrier) {
            let view = app.cluster.view();
            return Ok((view.revision() > 10).then_some((app, view)));
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        let Ok(view) = app.view(Freshness::Linearizable, deadline).await else { return Ok(None) };
        if view.revision() < newest {
            return Err(format!("a read is of {}, and {newest} was acknowledged before", view.revision()));
        }
        Ok(Some((app, view)))
    }

    /// Sends an order until it is known what became of it, or the run is over.
    async fn order(&self, order: &Order, end: Instant) -> Result<End, String> {
        let name = format!("{}-{}", self.number, self.sent.fetch_add(1, Ordering::Relaxed));
        while Instant::now() < end {
            match self.send(order, &name).await {
                None => {}
                Some(Ok(carried)) => {
                    // What was so already is no change, and not written down.
                    if carried.changed != Some(false) {
                        self.history.changed(carried.revision);
                    }
                    if self.random.per_mille(150) {
                        self.send_again(order, &name, &carried).await?;
                    }
                    return Ok(End::Done(carried));
                }
                Some(Err(Failure::Internal(what))) => return Err(format!("internal, at {order:?}: {what}")),
                Some(Err(failure)) if is_for_now(&failure) => {}
                Some(Err(failure)) => return Ok(End::Refused(failure)),
            }
            time::sleep(self.random.millis(1, 50)).await;
        }
        Ok(End::Unknown)
    }

    /// Whoever sends it again is told the same.
    async fn send_again(&self, order: &Order, name: &str, first: &Carried) -> Result<(), String> {
        if self.system.has(Bug::RetriesAsNew) {
            return Ok(());
        }
        match self.send(order, name).await {
            Some(Ok(again)) if !again.is_the_same(first) => {
                Err(format!("{order:?} came to {first:?}, and when it was sent again to {again:?}"))
            }
            // The session may be over by then.
            Some(Err(Failure::Rejected(_))) if matches!(order, Order::SignIn(_) | Order::Refresh(_)) => {
                Ok(())
            }
            Some(Err(failure)) if !is_for_now(&failure) => {
                Err(format!("{order:?} came to {first:?}, and when it was sent again to {failure:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn send(&self, order: &Order, name: &str) -> Option<Result<Carried, Failure>> {
        let app = self.pick_app()?;
        let deadline = Instant::now() + self.random.millis(50, 3_000);
        let mut request = request();
        request.deadline = deadline;
        if !self.system.has(Bug::RetriesAsNew) {
            request = request.keyed(self.history.account.as_str(), "", name, "simulated", b"");
        }
        Some(order.carry_out(&self.history, &app, &request).await)
    }

    fn pick_app(&self) -> Option<Arc<App>> {
        let apps = self.system.apps();
        (!apps.is_empty()).then(|| Arc::clone(self.random.pick(&apps)))
    }

    fn pick_service(&self) -> Option<(usize, ServiceId)> {
        let told = self.history.told();
        let count = told.services.len() as u64;
        let index = usize::try_from((count > 0).then(|| self.random.below(count))?).unwrap();
        Some((index, told.services[index].id))
    }
}

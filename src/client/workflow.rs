//! Looks periodically at who can run a workflow (seed 003's scheduler, contract part 3.2).
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use conclave::client::rodmena::AuthClient;
//! use conclave::client::workflow::Watch;
//!
//! # async fn run() -> Result<(), conclave::client::Error> {
//! let client = AuthClient::new("4b3f6b1e-6a1c-4b58-9f5c-8f1f3a1b2c3d", ["http://127.0.0.1:8080"])?;
//! let watching = Watch::cron("*/5 * * * *")?.start(client, "deploy", async |checked| match checked {
//!     Ok(rows) => rows.iter().for_each(|row| println!("{} can run {}", row.user, row.workflow)),
//!     Err(error) => eprintln!("not known this time: {error}"),
//! });
//! tokio::time::sleep(Duration::from_secs(3600)).await;
//! drop(watching); // no more checks
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::rodmena::AuthClient;
use super::{Error, LONGEST};
use crate::clock::{Clock, SystemClock};

/// When to look. Nothing happens until [`Watch::start`].
#[derive(Clone)]
#[must_use = "nothing is watched until it is started"]
pub struct Watch {
    when: When,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum When {
    Every(Duration),
    Cron(Box<Cron>),
}

/// A user who can run a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub user: String,
    /// What.
    pub workflow: String,
    /// Always `true`, as in the system that this comes from: who cannot is not listed.
    pub can_run: bool,
}

/// A watch that goes on until this is dropped.
#[derive(Debug)]
#[must_use = "the watch stops when this is dropped"]
pub struct Watching(JoinHandle<()>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Watch");
        match &self.when {
            When::Every(interval) => shown.field("every", interval),
            When::Cron(cron) => shown.field("cron", &cron.pattern.to_string()),
        };
        shown.finish_non_exhaustive()
    }
}

impl Watch {
    /// At the minutes of a cron expression, in UTC: `*/5 * * * *`. A field for seconds may stand in front.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no expression, or never comes.
    pub fn cron(expression: &str) -> Result<Self, Error> {
        let invalid = || Error::Invalid("this is no cron expression, or its time never comes".to_owned());
        let cron = Cron::from_str(expression).map_err(|_| invalid())?;
        let watch = Self { when: When::Cron(Box::new(cron.clone())), clock: Arc::new(SystemClock) };
        following(&cron, watch.clock.now().0).ok_or_else(invalid)?;
        Ok(watch)
    }

    /// Every so often, first after one interval. 300 s is what seed 003 has. Less than a millisecond is one.
    pub fn every(interval: Duration) -> Self {
        let interval = interval.clamp(Duration::from_millis(1), LONGEST);
        Self { when: When::Every(interval), clock: Arc::new(SystemClock) }
    }

    /// With another clock than the system's, for cron expressions.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts to look who can run the workflow, and gives each look to `callback`: a row for each user, or why
    /// it is not known this time, after all tries.
    ///
    /// One look follows the other: what is due while a callback is at work is left out. Must be called inside
    /// a tokio runtime.
    pub fn start<F>(
        self,
        client: AuthClient,
        workflow: impl Into<String>,
        callback: impl FnMut(Result<Vec<Row>, Error>) -> F + Send + 'static,
    ) -> Watching
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let workflow: Arc<str> = workflow.into().into();
        let times = Times::new(self.when, self.clock);
        let look = move || {
            let (client, workflow) = (client.clone(), Arc::clone(&workflow));
            async move { look(&client, &workflow).await }
        };
        Watching(tokio::spawn(run(times, look, callback)))
    }
}

/// Looks, tells, and only then waits for the next time.
async fn run<T, L: Future<Output = T>, C: Future<Output = ()>>(
    mut times: Times,
    look: impl Fn() -> L,
    mut callback: impl FnMut(T) -> C,
) {
    while times.next().await {
        callback(look().await).await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One row a user, in the order in which the users came; the answer has one for each role that lets them.
async fn look(client: &AuthClient, workflow: &str) -> Result<Vec<Row>, Error> {
    let members = client.get_users_for_workflow(workflow).await?;
    let mut seen = BTreeSet::new();
    let users = members.into_iter().map(|member| member.user).filter(|user| seen.insert(user.clone()));
    Ok(users.map(|user| Row { user, workflow: workflow.to_owned(), can_run: true }).collect())
}

/// The moments of a watch, one after the other.
enum Times {
    Every { interval: Duration, due: Instant },
    Cron { cron: Box<Cron>, clock: Arc<dyn Clock>, last_ms: u64 },
}

impl Times {
    fn new(when: When, clock: Arc<dyn Clock>) -> Self {
        match when {
            When::Every(interval) => Self::Every { interval, due: Instant::now() + interval },
            When::Cron(cron) => Self::Cron { cron, last_ms: clock.now().0, clock },
        }
    }

    /// Waits for the next; `false` when there is none any more.
    async fn next(&mut self) -> bool {
        match self {
            Self::Every { interval, due } => {
                // Not `tokio::time::interval`: that would look at once for what was missed.
                let late = Instant::now().saturating_duration_since(*due);
                let missed = late.as_nanos().div_ceil(interval.as_nanos().max(1));
                *due += interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX)).min(LONGEST);
                sleep_until(*due).await;
                *due += *interval;
                true
            }
            Self::Cron { cron, clock, last_ms } => {
                // What went by meanwhile is left out, and a clock that was set back gives no moment twice.
                let Some(due) = following(cron, clock.now().0.max(*last_ms)) else { return false };
                loop {
                    let left = Duration::from_millis(due.saturating_sub(clock.now().0));
                    if left.is_zero() {
                        break;
                    }
                    sleep(left.min(LOOK_AT_CLOCK)).await;
                }
                *last_ms = due;
                true
            }
        }
    }
}

/// A sleep does not learn that the clock was set, so none is longer than this.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// The first moment of the expression after this one, in milliseconds since 1970.
fn following(cron: &Cron, after_ms: u64) -> Option<u64> {
    let after = DateTime::<Utc>::from_timestamp_millis(i64::try_from(after_ms).ok()?)?;
    let next = cron.find_next_occurrence(&after, false).ok()?;
    u64::try_from(next.timestamp_millis()).ok()
}

#[cfg(test)]
#[path = "workflow_tests.rs"]
mod tests;

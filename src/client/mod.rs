//! A client of a cluster: `conclave::client`, behind the feature `client`.
//!
//! It knows the wire and nothing of the server: not its rules, not its types. One [`Client`] holds the
//! connections to all nodes of a cluster; share it, it is cheap to clone. What it takes off its users' hands:
//!
//! - **Which node.** A call begins with the node that answered last and goes on to the next one when that
//!   fails, or says that it cannot now (429, 502, 503, 504, with its `Retry-After`), after a pause that grows
//!   and is jittered, until the call's deadline. A node that fails several times in a row is left alone for a
//!   while; an answer of 4xx is an answer and counts for no failure.
//! - **Once.** Every write of the native API carries an idempotency key, so a try whose answer was lost is
//!   repeated under the same key, on any node, and is not done twice.
//! - **How fresh.** Every answer names its revision; a read can ask for one ([`Consistency`]), a write can
//!   insist on one ([`Call::if_match`]).
//! - **Tokens.** A [`Session`] renews its access token by itself, once for all who use it.
//!
//! [`native`] is the whole native API; [`katamari`] and [`rodmena`] have the verbs of those two systems;
//! [`verify`] checks access tokens without asking; [`workflow`] looks periodically at who can run a workflow.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use conclave::client::native::{NewRole, NewUser, Question};
//! use conclave::client::{Client, Consistency, Error, Session};
//!
//! # async fn run() -> Result<(), Error> {
//! let client = Client::new(["http://127.0.0.1:8080", "http://127.0.0.1:8081", "http://127.0.0.1:8082"])?;
//! let tokens = client.sign_in_as_root("admin@example.com", "SecurePass123").await?;
//! let account = Session::new(&client, tokens.value).account();
//!
//! account.roles().create(&NewRole::named("developer").permission("orders:read")).await?;
//! let made = account.users().create(&NewUser::named("dev", "DevPass456").role("developer")).await?;
//! println!("made {} at revision {}", made.id, made.revision);
//!
//! let may = account
//!     .checks()
//!     .one(&Question::of_user("dev", "orders:read"))
//!     .consistency(Consistency::Bounded(Duration::from_millis(200)))
//!     .await?;
//! assert!(may.allowed);
//!
//! match account.roles().create(&NewRole::named("developer")).await {
//!     Err(Error::Refused(refusal)) if refusal.code == "role_exists" => {}
//!     other => drop(other?),
//! }
//! # Ok(())
//! # }
//! ```

mod breaker;
mod builder;
mod call;
mod error;
mod failover;
mod flight;
pub mod katamari;
pub mod native;
mod nodes;
mod path;
mod proof;
pub mod rodmena;
mod session;
mod transport;
pub mod verify;
mod wire;
pub mod workflow;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use builder::Builder;
pub use call::{Answer, Call, Consistency, Read, Write};
pub use error::{Error, Refusal};
pub use session::Session;

use failover::{Limits, Repeat};
use nodes::Nodes;
use transport::{Outgoing, Raw};

/// Longer than any time that is meant: what is given as longer is this long, so that a time and a sum of times
/// stay times.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 10);

/// The connections to a cluster, and what is known of its nodes. Clones share both.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    bases: Arc<[String]>,
    nodes: Arc<Nodes>,
    deadline: Duration,
    attempt: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nodes", &self.bases).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the default settings of these nodes, each as `http://host:port` or `https://host:port`.
    /// Name them all: a node that is not named is never asked.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(nodes: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, Error> {
        Self::builder(nodes).build()
    }

    /// As [`Client::new`], with other settings.
    pub fn builder(nodes: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        Builder::new(nodes)
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Asks one node after the other until one answers.
    async fn ask(&self, request: Outgoing, repeat: Repeat, deadline: Instant) -> Result<Raw, Error> {
        let limits = Limits { deadline, attempt: self.attempt };
        let attempt = |node: usize, limit: Duration| {
            let base = self.bases.get(node).map(String::as_str).unwrap_or_default();
            request.send(&self.http, base, limit)
        };
        failover::ask(&self.nodes, limits, repeat, attempt).await
    }
}

//! Answering enrolment before there is a cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;

use super::{Desk, EnrolHandler, PATIENCE};
use crate::clock::{Clock, SystemClock};
use crate::enrol::EnrolError;
use crate::identity::ClusterId;
use crate::network::doors::Doors;
use crate::network::server::{accepted, begin, is_enrolment};
use crate::network::tls;
use crate::pki::Authority;

/// The enrolment port of a machine that holds the authority of a cluster to be: nodes that are set up together
/// find each other by it. Peers get no answer. Dropping it closes the port, a moment later;
/// [`Listener::close`] waits for that.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on `address` and answers by `handler`, with a certificate that `authority` issues for a day. Clients see what they see on a member.
    ///
    /// # Errors
    /// [`EnrolError::Listen`] or [`EnrolError::Own`].
    pub async fn bind(
        address: SocketAddr,
        authority: &Authority,
        handler: Arc<dyn EnrolHandler>,
    ) -> Result<Self, EnrolError> {
        let certificate = authority.issue_enroller(SystemClock.now());
        let certificate = certificate.map_err(|error| EnrolError::Own(error.to_string()))?;
        let roots = tls::roots(&certificate.authority).map_err(EnrolError::Own)?;
        let config = Arc::new(tls::enrolment(&certificate, roots).map_err(EnrolError::Own)?);
        let listening = |source| EnrolError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let desk = Arc::new(Desk::new());
        desk.set_handler(Some(handler));
        let task = tokio::spawn(accept(listener, config, authority.cluster(), desk));
        Ok(Self { address, task: Some(task) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port; another may listen there afterwards.
    pub async fn close(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // An aborted task ends with an error that says so.
            drop(task.await);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept(
    listener: TcpListener,
    config: Arc<tokio_rustls::rustls::ServerConfig>,
    cluster: ClusterId,
    desk: Arc<Desk>,
) {
    // Ends, with all connections, when this task is aborted.
    let mut connections = JoinSet::new();
    let doors = Doors::new(MOST_CONNECTIONS);
    loop {
        let (stream, from) = accepted(&listener).await;
        while connections.try_join_next().is_some() {}
        let mut door = doors.enter(from.ip());
        let (config, desk) = (Arc::clone(&config), Arc::clone(&desk));
        connections.spawn(async move {
            let begun = tokio::select! {
                biased;
                begun = time::timeout(PATIENCE, begin(stream)) => begun,
                () = door.shown_out() => return,
            };
            drop(door);
            match begun {
                Ok(Ok(start)) if is_enrolment(&start) => desk.serve(start, config, cluster, None).await,
                // A peer of a cluster that is not there yet, or a stranger.
                Ok(Ok(_) | Err(_)) | Err(_) => {}
            }
        });
    }
}

/// Those that have not said yet what they want.
const MOST_CONNECTIONS: usize = 64;

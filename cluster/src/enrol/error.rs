//! Why an enrolment came to nothing, in words for whoever typed the command.

use std::io;
use std::net::SocketAddr;

use crate::clock::LogTime;
use crate::pki::date;

/// Why there is no answer. Nothing was changed, unless it is [`EnrolError::Lost`] or [`EnrolError::TimedOut`]:
/// then the request may have been carried out.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The address cannot be looked up.
    #[error(
        "{address} is not an address that can be found ({reason}): check its spelling, and the name server"
    )]
    Unresolved {
        /// As it was given.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// No connection.
    #[error(
        "cannot connect to {address} ({reason}): check that the node runs, that this is its peer address, and that \
         no firewall is between"
    )]
    Unreachable {
        /// As it was given.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Something answers there, and it is no node.
    #[error(
        "{address} is not the peer port of a Conclave node of this release ({reason}): nodes listen for peers on a \
         port of their own, not on the one that clients use"
    )]
    NotPeerPort {
        /// As it was given.
        address: String,
        /// What came instead.
        reason: String,
    },
    /// A node, of another cluster.
    #[error(
        "{address} belongs to {}: its authority is not the one that was named. Make a new token at the cluster that \
         is meant, and check the address",
        cluster.as_ref().map_or_else(|| "another cluster".to_owned(), |cluster| format!("cluster {cluster}"))
    )]
    OtherCluster {
        /// As it was given.
        address: String,
        /// Which cluster, if its authority says so. Not to be trusted.
        cluster: Option<crate::identity::ClusterId>,
    },
    /// The node's certificate is not valid at this machine's time.
    #[error(
        "the certificate of {address} is valid {}, and this machine's clock says {}: check the clock of this machine \
         first, then that of the node",
        if *is_early { format!("from {} on", date(*bound)) } else { format!("until {}", date(*bound)) },
        date(*now)
    )]
    Clock {
        /// As it was given.
        address: String,
        /// The time here.
        now: LogTime,
        /// Where the certificate's time begins or ends.
        bound: LogTime,
        /// Whether it has yet to begin.
        is_early: bool,
    },
    /// The node says that what this machine showed is not valid at its time.
    #[error(
        "{address} says that the certificate which this machine made is not valid now; the clock here says {}: \
         check the clocks of both machines",
        date(*now)
    )]
    OtherClock {
        /// As it was given.
        address: String,
        /// The time here.
        now: LogTime,
    },
    /// The node says no.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// As it was given.
        address: String,
        /// Why.
        reason: String,
    },
    /// The node says not now.
    #[error("{address} does not answer yet: {reason}. Try again in a moment")]
    NotNow {
        /// As it was given.
        address: String,
        /// Why.
        reason: String,
    },
    /// The connection ended before the answer was there.
    #[error(
        "{address} hung up before it answered ({reason}): try again, and check that it is the peer address of a node"
    )]
    Lost {
        /// As it was given.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "{address} did not answer within {} s: check that it is the peer address of a running node",
        within.as_secs_f32()
    )]
    TimedOut {
        /// As it was given.
        address: String,
        /// How long was waited.
        within: std::time::Duration,
    },
    /// The request is longer than [`super::MOST_BYTES`].
    #[error("the request is too long")]
    TooLong,
    /// This machine's own side of TLS could not be made.
    #[error("cannot prepare the connection: {0}")]
    Own(String),
    /// The address to listen on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl EnrolError {
    /// Whether asking again, here or at another node, may help without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unresolved { .. }
            | Self::Unreachable { .. }
            | Self::NotNow { .. }
            | Self::Lost { .. }
            | Self::TimedOut { .. } => true,
            Self::NotPeerPort { .. }
            | Self::OtherCluster { .. }
            | Self::Clock { .. }
            | Self::OtherClock { .. }
            | Self::Refused { .. }
            | Self::TooLong
            | Self::Own(_)
            | Self::Listen { .. } => false,
        }
    }
}

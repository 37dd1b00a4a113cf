//! Where a node belongs: whether it founds a cluster, has a place in one, or gets one first.

use std::time::Duration;

use conclave_cluster::pki::Authority;
use conclave_cluster::{Clock, DataFolder};
use zeroize::Zeroizing;

use super::NodeError;
use crate::app::nodes::{self, Found, Search, Ticket};
use crate::auth::key_file::KeySource;
use crate::config::{Config, Discovery};

/// Sees to it that the data folder belongs to a node, where the settings say how; says whether this is the first start
/// of a new cluster.
pub(super) async fn find(config: &Config, clock: &dyn Clock) -> Result<bool, NodeError> {
    let data = &config.data;
    if DataFolder::owner(data).map_err(NodeError::Folder)?.is_some() {
        return Ok(false);
    }
    let Some(discovery) = &config.discovery else { return Ok(config.join.is_empty()) };
    let authority = read_authority(discovery)?;
    let search = Search {
        data,
        listen: config.peer_listen,
        addresses: &discovery.addresses,
        expect: discovery.expect,
    };
    let founds = match nodes::discover(search, &authority).await? {
        Found::Nobody => {
            tracing::info!(
                nodes = discovery.expect,
                "all nodes are there and none is a member: founding a cluster"
            );
            DataFolder::found_with(data, &authority, clock.now()).map_err(NodeError::Folder)?;
            true
        }
        Found::Cluster { peers } => {
            // Those that were asked answer too, where members give addresses that are not reached from here.
            let peers = [discovery.addresses.clone(), peers].concat();
            let ticket =
                Ticket::Authority { authority: &authority, peers: &peers, learner: discovery.learner };
            let own = nodes::enrol(data, &KeySource::of(config), ticket, clock, PATIENCE).await?;
            tracing::info!(node = %own.node, cluster = %own.cluster, "the cluster let this node in");
            false
        }
    };
    nodes::forget(data)
        .map_err(|source| NodeError::Authority { path: data.clone(), reason: source.to_string() })?;
    Ok(founds)
}

fn read_authority(discovery: &Discovery) -> Result<Authority, NodeError> {
    let path = &discovery.authority;
    let unusable = |reason: String| NodeError::Authority { path: path.clone(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let text = Zeroizing::new(text);
    let cluster = Authority::cluster_of(&text).map_err(|error| unusable(error.to_string()))?;
    Authority::from_pem(cluster, &text, &text).map_err(|error| unusable(error.to_string()))
}

/// Members may be electing a leader, or still be starting.
const PATIENCE: Duration = Duration::from_mins(10);

//! The nodes of the cluster: letting them in, giving them their places and certificates, taking them out.

use crate::auth::seal::Place;

/// Where the private key of the nodes' authority is sealed.
pub(super) const AUTHORITY_KEY: Place<'_> = Place { account: "", record: "nodes", purpose: "authority key" };

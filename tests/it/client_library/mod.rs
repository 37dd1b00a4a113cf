//! Stories of `conclave::client`: against the three nodes of the harness, through relays that lose answers and
//! go away, and against a small server that speaks as contract part 3 says.

mod katamari;
mod native;
mod relay;
mod rodmena;
mod rodmena_cluster;
mod tokens;
mod trouble;

use conclave::client::native::Account;
use conclave::client::{Client, Session};

use crate::harness::{self, PASSWORD, World};

/// Where the nodes of the harness are.
fn urls() -> Vec<String> {
    (0..3).map(|node| format!("http://{}", World::node(node).http_address())).collect()
}

/// An account of its own, and its root user signed in by the library.
async fn account_of(client: &Client) -> (harness::Account, Account) {
    let account = World::new().account().await;
    let tokens = client.sign_in_as_root(&account.email, PASSWORD).await.unwrap().value;
    let session = Session::new(client, tokens);
    (account, session.account())
}

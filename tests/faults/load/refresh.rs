//! Refresh tokens, each used on every machine at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use super::{PASSWORD, World};
use crate::client::{Client, PATIENCE};
use crate::crew::eventually;
use crate::history::{Op, Outcome, What};

const USER: &str = "refresher";

/// Between two rounds.
const REST: Duration = Duration::from_millis(80);

pub(super) async fn prepare(world: &World) {
    let (client, body) = (Client::new(), json!({"name": USER, "password": PASSWORD}));
    eventually("a user", async || {
        let ask = world.ask(&client, world.machine(0), "POST", "/users").key(USER).json(&body);
        ask.send().await.is_done().then_some(())
    })
    .await;
}

pub(super) async fn live(world: Arc<World>) {
    let client = Client::new();
    let mut token = None;
    while world.goes_on() {
        sleep(REST).await;
        let Some(used) = token.take() else {
            token = sign_in(&world, &client).await;
            continue;
        };
        let (number, body) = (world.number(), json!({"refresh_token": used}));
        let path = world.at("/tokens/refresh");
        let replies = join_all(world.everywhere().into_iter().map(async |machine| {
            let ask = client.ask(machine, "POST", &path).json(&body).patience(PATIENCE / 4);
            let begun = world.recorder.now();
            let reply = world.try_with(machine, &ask).await;
            if reply.is_done() {
                let (what, ended) = (What::Consume { token: number }, world.recorder.now());
                world.recorder.add(Op { what, machine, begun, ended, outcome: Outcome::Done });
            }
            reply
        }))
        .await;
        // Whoever does not learn who won signs in again.
        token = replies.iter().find(|reply| reply.is_done()).map(|reply| reply.text("refresh_token"));
    }
}

async fn sign_in(world: &World, client: &Client) -> Option<String> {
    let machine = world.machine(world.number());
    let body = json!({"login": USER, "password": PASSWORD});
    let ask = client.ask(machine, "POST", &world.at("/sign-in")).json(&body).patience(PATIENCE / 4);
    let reply = world.send(machine, &ask).await;
    reply.is_done().then(|| reply.text("refresh_token"))
}

//! Services that are given a key, sign in with it, are asked about on all machines all the time, and lose it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use super::{PACE, World};
use crate::client::{Client, PATIENCE};
use crate::crew::eventually;
use crate::history::{Op, Outcome, What};

/// How long a token is still tried after its end was acknowledged, besides at the end of all.
const AFTERWARDS: Duration = Duration::from_millis(60);

/// How often a revocation is repeated under its key.
const TRIES: usize = 100;

/// Of those revoked, so many are tried once more on each machine at the end: the last ones, those of the faults.
const AT_THE_END: usize = 150;

fn name(person: usize) -> String {
    format!("service-{person}")
}

pub(super) async fn prepare(world: &World) {
    let client = Client::new();
    for person in 0..2 {
        let (name, body) = (name(person), json!({"name": name(person)}));
        eventually("a service account", async || {
            let ask =
                world.ask(&client, world.machine(0), "POST", "/service-accounts").key(&name).json(&body);
            ask.send().await.is_done().then_some(())
        })
        .await;
    }
}

pub(super) async fn live(world: Arc<World>, person: usize) {
    let client = Client::new();
    while world.goes_on() {
        if let Some(token) = sign_in(&world, &client, person).await {
            end(&world, &client, &token).await;
        }
        sleep(PACE).await;
    }
}

/// An access token, and how it can be ended.
struct Token {
    number: usize,
    text: String,
    /// Below the account; alternately the key that opened the session, and the session itself.
    end: String,
}

/// A new key, and a session that was opened with it.
async fn sign_in(world: &World, client: &Client, person: usize) -> Option<Token> {
    let (number, name) = (world.number(), name(person));
    let (path, key) = (format!("/service-accounts/{name}/keys"), format!("key-{number}"));
    let short = PATIENCE / 8;
    let made = world
        .insist(10, |machine| {
            world.ask(client, machine, "POST", &path).key(&key).json(&json!({})).patience(short)
        })
        .await;
    if made.outcome != Outcome::Done {
        return None;
    }
    let body = json!({"name": name, "api_key": made.reply.text("api_key")});
    let path = world.at("/service-accounts/sign-in");
    let signed =
        world.insist(10, |machine| client.ask(machine, "POST", &path).json(&body).patience(short)).await;
    if signed.outcome != Outcome::Done {
        return None;
    }
    let end = match number % 2 {
        0 => format!("/service-accounts/{name}/keys/{}", made.reply.text("key_id")),
        _ => format!("/sessions/{}", signed.reply.text("session")),
    };
    Some(Token { number, text: signed.reply.text("access_token"), end })
}

/// Revokes it while it is in use everywhere.
async fn end(world: &World, client: &Client, token: &Token) {
    let is_over = AtomicBool::new(false);
    let using = join_all(world.everywhere().into_iter().map(async |machine| {
        while !is_over.load(Ordering::Relaxed) {
            check(world, client, machine, token.number, &token.text, PATIENCE / 8).await;
            sleep(PACE).await;
        }
    }));
    let revoking = async {
        sleep(AFTERWARDS / 2).await;
        let key = format!("end-{}", token.number);
        let begun = world.recorder.now();
        let answer = world
            .insist(TRIES, |machine| {
                world.ask(client, machine, "DELETE", &token.end).key(&key).patience(PATIENCE / 8)
            })
            .await;
        let (what, ended) = (What::Revoke { token: token.number }, world.recorder.now());
        world.recorder.add(Op { what, machine: answer.machine, begun, ended, outcome: answer.outcome });
        if answer.outcome == Outcome::Done {
            world.revoked.lock().unwrap().push((token.number, token.text.clone()));
        }
        sleep(AFTERWARDS).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(using, revoking);
}

/// Asks a machine who the owner of a token is: 200 and 401 tell whether it is good. Whether it was answered.
async fn check(
    world: &World,
    client: &Client,
    machine: usize,
    token: usize,
    text: &str,
    patience: Duration,
) -> bool {
    let path = world.at("/service-accounts/me");
    let begun = world.recorder.now();
    let reply = world.try_with(machine, &client.ask(machine, "GET", &path).by(text).patience(patience)).await;
    let granted = match reply.status {
        200 => true,
        401 => false,
        _ => return false,
    };
    let (what, ended) = (What::Check { token, granted }, world.recorder.now());
    world.recorder.add(Op { what, machine, begun, ended, outcome: Outcome::Done });
    true
}

/// Tries tokens that were revoked on a machine, at the end.
pub(super) async fn check_all(world: &World, client: &Client, machine: usize) {
    let revoked = world.revoked.lock().unwrap().clone();
    for (number, text) in revoked.iter().rev().take(AT_THE_END) {
        eventually("a token is judged", async || {
            check(world, client, machine, *number, text, PATIENCE).await.then_some(())
        })
        .await;
    }
}

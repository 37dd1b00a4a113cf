//! Names: some that one person writes one after the other, and some that several want at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use super::{PACE, World};
use crate::client::{Client, PATIENCE};
use crate::history::{Op, Outcome, What};

/// Waits shorter than this and tries elsewhere: these writes measure how long nobody can write.
const SHORT: Duration = Duration::from_millis(150);

/// Far more than a fault lasts.
const TRIES: usize = 400;

/// Between two races.
const REST: Duration = Duration::from_millis(60);

/// Writes names that nobody else wants, each under a key until it is acknowledged.
pub(super) async fn write(world: Arc<World>, person: usize) {
    let client = Client::new();
    while world.goes_on() {
        let name = format!("own-{person}-{}", world.number());
        let body = json!({"name": name});
        let begun = world.recorder.now();
        let ask =
            |machine| world.ask(&client, machine, "POST", "/roles").key(&name).json(&body).patience(SHORT);
        let answer = world.insist(TRIES, ask).await;
        let (machine, ended) = (answer.machine, world.recorder.now());
        let is_taken = answer.reply.status == 409;
        if is_taken {
            let what = What::Repeat { name: name.clone(), is_taken };
            world.recorder.add(Op { what, machine, begun, ended, outcome: answer.outcome });
        }
        let what = What::Create { name };
        world.recorder.add(Op { what, machine, begun, ended, outcome: answer.outcome });
        sleep(PACE).await;
    }
}

/// Wants the same name on every machine at once, under different keys.
pub(super) async fn race(world: Arc<World>) {
    let client = Client::new();
    while world.goes_on() {
        let name = format!("race-{}", world.number());
        join_all(world.everywhere().into_iter().map(async |machine| {
            let key = format!("{name}-{machine}");
            let body = json!({"name": name, "description": key});
            let ask =
                world.ask(&client, machine, "POST", "/roles").key(&key).json(&body).patience(PATIENCE / 8);
            let begun = world.recorder.now();
            let reply = world.send(machine, &ask).await;
            let outcome = match (reply.is_done(), reply.is_unknown()) {
                (true, _) => Outcome::Done,
                (false, true) => Outcome::Unknown,
                (false, false) => Outcome::Refused,
            };
            let (what, ended) = (What::Create { name: name.clone() }, world.recorder.now());
            world.recorder.add(Op { what, machine, begun, ended, outcome });
        }))
        .await;
        sleep(REST).await;
    }
}

//! A few registers, each a field of a user, that everybody writes and reads on any machine.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{PACE, PASSWORD, World};
use crate::client::Client;
use crate::crew::eventually;
use crate::history::{Op, Outcome, What};

const REGISTERS: usize = 5;

/// How often a write is repeated under its key.
const TRIES: usize = 6;

fn path(register: usize) -> String {
    format!("/users/register-{register}")
}

pub(super) async fn prepare(world: &World) {
    let client = Client::new();
    for register in 0..REGISTERS {
        let name = format!("register-{register}");
        let body = json!({"name": name, "password": PASSWORD, "first_name": "0"});
        let begun = world.recorder.now();
        eventually("a register", async || {
            let ask = world.ask(&client, world.machine(0), "POST", "/users").key(&name).json(&body);
            ask.send().await.is_done().then_some(())
        })
        .await;
        let (what, ended) = (What::Write { register, value: 0 }, world.recorder.now());
        world.recorder.add(Op { what, machine: 0, begun, ended, outcome: Outcome::Done });
    }
}

pub(super) async fn live(world: Arc<World>, patience: Duration) {
    let client = Client::new();
    while world.goes_on() {
        let number = world.number();
        let register = number % REGISTERS;
        if (number / REGISTERS).is_multiple_of(2) {
            write(&world, &client, register, patience).await;
        } else {
            let machine = world.machine(number);
            read(&world, &client, machine, register, patience).await;
        }
        sleep(PACE).await;
    }
}

async fn write(world: &World, client: &Client, register: usize, patience: Duration) {
    let value = u64::try_from(world.number()).unwrap();
    let (key, body) = (format!("write-{value}"), json!({"first_name": value.to_string()}));
    let begun = world.recorder.now();
    let answer = world
        .insist(TRIES, |machine| {
            world.ask(client, machine, "PATCH", &path(register)).key(&key).json(&body).patience(patience)
        })
        .await;
    let (what, ended) = (What::Write { register, value }, world.recorder.now());
    world.recorder.add(Op { what, machine: answer.machine, begun, ended, outcome: answer.outcome });
}

/// Whether it was answered.
async fn read(world: &World, client: &Client, machine: usize, register: usize, patience: Duration) -> bool {
    let begun = world.recorder.now();
    let ask = world.ask(client, machine, "GET", &path(register)).patience(patience);
    let reply = world.send(machine, &ask).await;
    if !reply.is_done() {
        return false;
    }
    let value = reply.text("first_name").parse().expect("what was written");
    let (what, ended) = (What::Read { register, value }, world.recorder.now());
    world.recorder.add(Op { what, machine, begun, ended, outcome: Outcome::Done });
    true
}

/// Reads all of them on a machine, at the end.
pub(super) async fn read_all(world: &World, client: &Client, machine: usize) {
    for register in 0..REGISTERS {
        eventually("a register is read", async || {
            read(world, client, machine, register, crate::client::PATIENCE).await.then_some(())
        })
        .await;
    }
}

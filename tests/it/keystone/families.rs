//! A token of one family is nothing to another (contract part 6).

use conclave::api::Api;
use serde_json::json;

use crate::client::Client;
use crate::harness::{Account, World};
use crate::requests::{Things, of_client_key, of_keystone};

/// Whether the route asks for a token.
fn is_open(name: &str) -> bool {
    include_str!("../open_routes.golden")
        .lines()
        .any(|line| line.rsplit_once(' ').is_some_and(|(open, _)| open == name))
}

#[tokio::test]
async fn tokens_are_nothing_to_the_surfaces_of_other_families() {
    let world = World::new();
    let account = world.account().await;
    let things = Things::make(&world, &account).await;
    let before = world.digest(&account.id).await;
    let desk = &things.keystone;
    let program = desk.program_token(&world).await;
    let digest_after_sign_in = world.digest(&account.id).await;
    assert_ne!(before, digest_after_sign_in);
    let ours = [&desk.admin.access, &desk.user.access, &desk.admin.refresh, &program];
    let native = [&account.token, &things.user.token, &things.service.token, &things.user.refresh];
    let mut tried = 0;
    for (index, route) in Api::routes().iter().enumerate().filter(|(_, route)| !is_open(route.name)) {
        let foreign: &[&String] = if of_keystone(route) { &native } else { &ours };
        for token in foreign {
            let reply = things.sample(route).ask(&world, index).by(token).await;
            let expected = if of_client_key(route) { 400 } else { 401 };
            assert_eq!(reply.status, expected, "{}: {}", route.name, reply.json);
            tried += 1;
        }
        // A refresh token is no access token in its own family either.
        if of_keystone(route) {
            let reply = things.sample(route).ask(&world, index).by(&desk.admin.refresh).await;
            assert_eq!(reply.status, 401, "{}: {}", route.name, reply.json);
        }
    }
    assert!(tried > 300, "{tried}");
    assert_eq!(world.digest(&account.id).await, digest_after_sign_in, "a refused request left something");
    refreshes_are_apart(&world, &account, &things).await;
}

async fn refreshes_are_apart(client: &Client, account: &Account, things: &Things) {
    let ours = things.keystone.user.refresh.as_str();
    let inner = super::claims(ours)["secret"].as_str().unwrap().to_owned();
    for token in [ours, &inner] {
        let body = json!({"refresh_token": token});
        client.post(0, account.at("/tokens/refresh")).json(&body).await.is(401);
    }
    let body = json!({"refresh_token": things.user.refresh});
    let ask = client.post(1, "/api/v1/auth/refresh").header("x-account-id", &account.id);
    ask.json(&body).await.is(401);
}

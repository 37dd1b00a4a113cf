//! The same thing at once on three nodes: one of them gets it.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::{Ask, Reply};
use crate::harness::{PASSWORD, World, unique};

/// How many times each race is run.
const ROUNDS: usize = 5;
/// How many run at once.
const RUNNERS: usize = 9;

/// Sends the same request to the nodes in turn, all at once.
async fn at_once(ask: impl Fn(usize) -> Ask) -> Vec<Reply> {
    join_all((0..RUNNERS).map(|node| ask(node).into_future())).await
}

/// The one that won; all the others were told why not.
#[track_caller]
fn winner(replies: Vec<Reply>, won: u16, lost: u16, code: &str) -> Reply {
    let (mut winners, losers): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == won);
    assert_eq!(winners.len(), 1, "winners beside {losers:?}");
    for loser in losers {
        loser.says(lost, code);
    }
    winners.remove(0)
}

#[tokio::test]
async fn one_root_user_gets_the_address() {
    let world = World::new();
    for _ in 0..ROUNDS {
        let body = json!({"email": format!("race-{}@stories.test", unique()), "password": PASSWORD});
        let replies = at_once(|node| world.post(node, "/iam/v1/SignUpAsRootUser").json(&body)).await;
        let record = winner(replies, 201, 409, "email_taken");
        let signed = world.post(0, "/iam/v1/SignInAsRootUser").json(&body).await.is(200);
        assert_eq!(signed.json["accountId"], record.json["accountId"]);
    }
}

#[tokio::test]
async fn one_user_gets_the_address_and_one_the_name() {
    let world = World::new();
    let account = world.account().await;
    for round in 0..ROUNDS {
        let email =
            json!({"accountId": account.id, "email": format!("{round}@x.test"), "password": PASSWORD});
        let path = "/iam/v1/SignUpAsIAMUser";
        let replies = at_once(|node| world.post(node, path).by(&account.token).json(&email)).await;
        winner(replies, 201, 409, "email_taken");
        // In any case of letters, and a service account of that name is none of a user's business.
        let names = ["Ann", "ann", "ANN"];
        let body = |node: usize| json!({"name": format!("{}{round}", names[node % 3]), "password": PASSWORD});
        let replies = at_once(|node| account.ask(&world, node, "POST", "/users").json(&body(node))).await;
        winner(replies, 201, 409, "name_taken");
        let body = json!({"name": format!("ann{round}")});
        let replies =
            at_once(|node| account.ask(&world, node, "POST", "/service-accounts").json(&body)).await;
        winner(replies, 201, 409, "name_taken");
        let replies = at_once(|node| account.ask(&world, node, "POST", "/roles").json(&body)).await;
        winner(replies, 201, 409, "role_exists");
    }
    let listed = account.ask(&world, 0, "GET", "/users").await.is(200);
    assert_eq!(listed.items().len(), 1 + 2 * ROUNDS);
}

#[tokio::test]
async fn one_user_gets_the_name_that_two_want_to_change_to() {
    let world = World::new();
    let account = world.account().await;
    let mut users = Vec::new();
    for index in 0..3 {
        users.push(account.user(&world, &format!("user-{index}"), &[]).await);
    }
    let body = json!({"name": "the-name", "email": "the@name.test"});
    let tokens: Vec<&str> = users.iter().map(|user| user.token.as_str()).collect();
    let path = account.at("/users/me");
    let asks = (0..3).map(|node| world.patch(node, &path).by(tokens[node]).json(&body).into_future());
    winner(join_all(asks).await, 200, 409, "name_taken");
}

#[tokio::test]
async fn a_rotating_refresh_token_is_spent_once() {
    let world = World::new();
    let account = world.account().await;
    let path = account.at("/tokens/refresh");
    let token = |text: &Value| json!({"refresh_token": text});
    let mut spent = json!(account.user(&world, "ann", &[]).await.refresh);
    for _ in 0..ROUNDS {
        let replies = at_once(|node| world.post(node, &path).json(&token(&spent))).await;
        let won = winner(replies, 200, 401, "bad_refresh_token");
        assert_ne!(won.json["refresh_token"], spent);
        for node in 0..3 {
            world.get(node, account.at("/users/me")).by(&won.text("access_token")).await.is(200);
        }
        spent = won.json["refresh_token"].clone();
    }
    // An older one than the last is no mistake of a client: it ends the session, for the good token too.
    let first = world.post(0, &path).json(&token(&spent)).await.is(200);
    let second = world.post(1, &path).json(&token(&first.json["refresh_token"])).await.is(200);
    world.post(2, &path).json(&token(&spent)).await.says(401, "bad_refresh_token");
    for node in 0..3 {
        world.post(node, &path).json(&token(&second.json["refresh_token"])).await.is(401);
        world.get(node, account.at("/users/me")).by(&second.text("access_token")).await.is(401);
    }
}

#[tokio::test]
async fn a_fixed_refresh_token_serves_all_who_come() {
    let world = World::new();
    let account = world.account().await;
    let body = json!({"login": account.email, "password": crate::harness::PASSWORD, "refresh": "fixed"});
    let signed = world.post(0, account.at("/sign-in")).json(&body).await.is(200);
    let token = json!({"refresh_token": signed.text("refresh_token")});
    let replies = at_once(|node| world.post(node, account.at("/tokens/refresh")).json(&token)).await;
    let mut tokens: Vec<String> =
        replies.into_iter().map(|reply| reply.is(200).text("access_token")).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), RUNNERS, "each has a name of its own");
}

#[tokio::test]
async fn one_change_wins_of_those_that_saw_the_same_revision() {
    let world = World::new();
    let account = world.account().await;
    let role = account.role(&world, "r", &[]).await;
    let tag = role.tag();
    let body = |node: usize| json!({"description": format!("by {node}")});
    let change =
        |node| account.ask(&world, node, "PATCH", "/roles/r").header("if-match", &tag).json(&body(node));
    let won = winner(at_once(change).await, 200, 412, "precondition_failed");
    assert_ne!(won.tag(), tag);
    assert_eq!(account.ask(&world, 0, "GET", "/roles/r").await.is(200).json, won.json);
}

#[tokio::test]
async fn the_same_request_by_the_same_key_is_one_request() {
    let world = World::new();
    let account = world.account().await;
    for round in 0..ROUNDS {
        let body = json!({"name": format!("robot-{round}")});
        let key = format!("key-{round}");
        let replies =
            at_once(|node| account.ask(&world, node, "POST", "/service-accounts").key(&key).json(&body))
                .await;
        for reply in &replies {
            assert_eq!((reply.status, &reply.json), (201, &replies[0].json), "all get the same key");
            assert_eq!(reply.revision(), replies[0].revision());
        }
        let keys =
            account.ask(&world, 0, "GET", &format!("/service-accounts/robot-{round}/keys")).await.is(200);
        assert_eq!(keys.items().len(), 1);
    }
}

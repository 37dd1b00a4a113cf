//! Lost answers, nodes that go away, a leader that dies: calls go on, and a write is done once.

use std::time::{Duration, Instant};

use conclave::client::native::{NewRole, NewServiceAccount, NewUser, Question};
use conclave::client::{Client, Error, Session};
use futures_util::future::join_all;

use super::account_of;
use super::relay::Relay;
use crate::harness::{self, PASSWORD, World};
use crate::processes::Processes;

async fn relays() -> Vec<Relay> {
    join_all((0..3).map(|node| Relay::to(World::node(node).http_address()))).await
}

fn through(relays: &[Relay]) -> Client {
    let urls = relays.iter().map(Relay::url);
    Client::builder(urls)
        .attempt_timeout(Duration::from_secs(10))
        .deadline(harness::PATIENCE)
        .build()
        .unwrap()
}

/// Each relay loses the next answer that it carries.
fn lose_one(relays: &[Relay]) {
    for relay in relays {
        relay.lose_answers(1);
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_once() {
    let relays = relays().await;
    let client = through(&relays);
    let (_, account) = account_of(&client).await;
    let lost = |relays: &[Relay]| relays.iter().map(Relay::lost).sum::<usize>();

    // The first three tries go through and are not told.
    lose_one(&relays);
    let made = account.users().create(&NewUser::named("ann", PASSWORD)).await.unwrap();
    assert_eq!(lost(&relays), 3, "not tried on every node");
    lose_one(&relays);
    let robot = account.service_accounts().create(&NewServiceAccount::named("robot")).await.unwrap();
    assert_eq!(lost(&relays), 6);

    let shown = account.users().get("ann").await.unwrap();
    assert_eq!((shown.id, shown.tag), (made.id, made.tag));
    let key = robot.value.key.api_key;
    account.sign_in_with_key(Some("robot"), key).await.expect("the key that was shown at last is good");
    let records = account.audit().list(0, None).await.unwrap().value.items;
    let of = |action: &str| records.iter().filter(|record| record.action == action).count();
    let actions: Vec<&str> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!((of("user.create"), of("service-account.create")), (1, 1), "{actions:?}");
}

#[tokio::test]
async fn a_refresh_token_is_not_lost_with_an_answer() {
    let relays = relays().await;
    let client = through(&relays);
    let (_, account) = account_of(&client).await;
    account.users().create(&NewUser::named("ann", PASSWORD)).await.unwrap();
    let first = account.sign_in("ann", PASSWORD).await.unwrap().value;
    lose_one(&relays);
    let second = account.tokens().refresh(first.refresh_token.clone().unwrap()).await.unwrap().value;
    // It was not taken for a stolen one: the session lives, and its next token is good.
    let third = account.tokens().refresh(second.refresh_token.unwrap()).await.unwrap().value;
    assert!(account.tokens().validate(third.access_token).await.unwrap().valid);
    // The same token in a call of its own is.
    let stolen = account.tokens().refresh(first.refresh_token.unwrap()).await.unwrap_err();
    assert_eq!(stolen.code(), Some("bad_refresh_token"));
}

#[tokio::test]
async fn a_session_that_ends_itself_takes_a_lost_answer_for_done() {
    let relays = relays().await;
    let client = through(&relays);
    let (_, account) = account_of(&client).await;
    account.users().create(&NewUser::named("ann", PASSWORD)).await.unwrap();
    let session = Session::new(&client, account.sign_in("ann", PASSWORD).await.unwrap().value);
    relays[0].lose_answers(1);
    session.sign_out().await.unwrap();
    let refused = session.account().users().get("me").await.unwrap_err();
    assert_eq!(refused.status(), Some(401), "{refused:?}");
}

#[tokio::test]
async fn a_node_that_goes_away_is_left_and_taken_back() {
    let mut relays = relays().await;
    let client = through(&relays);
    let (_, account) = account_of(&client).await;
    account.roles().create(&NewRole::named("reader").permission("x")).await.unwrap();
    for (stopped, relay) in relays.iter_mut().enumerate() {
        relay.stop().await;
        for number in 0..5 {
            let name = format!("during-{stopped}-{number}");
            account.roles().create(&NewRole::named(&name)).await.unwrap();
            assert!(account.checks().one(&Question::of_me("x")).await.unwrap().allowed);
        }
        relay.start().await;
    }
    assert_eq!(account.roles().list().limit(4).all().await.unwrap().len(), 1 + 3 * 5, "each one once");

    for relay in &mut relays {
        relay.stop().await;
    }
    let started = Instant::now();
    let alone = account.users().get("me").deadline(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(alone, Error::Transport { outcome_unknown: false, .. }), "{alone:?}");
    assert!(!alone.to_string().contains("users"), "{alone}");
    assert!(started.elapsed() < Duration::from_secs(15));
    // All breakers are open by now, and the first call is answered all the same.
    relays[1].start().await;
    account.users().get("me").await.unwrap();
}

#[tokio::test]
async fn a_node_that_says_nothing_is_left() {
    let relays = relays().await;
    let urls = relays.iter().map(Relay::url);
    let client = Client::builder(urls).attempt_timeout(Duration::from_secs(3)).build().unwrap();
    let (_, account) = account_of(&through(&relays)).await;
    relays[0].fall_silent();
    for _ in 0..6 {
        assert_eq!(client.account(account.id()).jwks().await.unwrap().keys.len(), 1);
    }
    assert_eq!(relays[0].ignored(), 1, "it is asked again and again");
}

#[tokio::test]
async fn writes_go_on_while_the_leader_dies_and_each_is_done_once() {
    let mut processes = Processes::start("").await;
    let client = Client::builder(processes.urls()).deadline(harness::PATIENCE).build().unwrap();
    let opened = harness::Account::open(&processes.client()).await;
    let tokens = client.sign_in_as_root(&opened.email, PASSWORD).await.unwrap().value;
    let account = Session::new(&client, tokens).account();
    let leader = processes.leader(&[0, 1, 2]).await;
    let writing = join_all((0..4).map(async |writer| {
        for number in 0..10 {
            account.roles().create(&NewRole::named(format!("r-{writer}-{number}"))).await.unwrap();
        }
    }));
    let killing = async {
        harness::eventually("the writers are at it", async || {
            account.roles().get("r-0-2").await.is_ok().then_some(())
        })
        .await;
        processes.kill(leader);
    };
    tokio::join!(writing, killing);
    assert_eq!(account.roles().list().all().await.unwrap().len(), 40);
    let records = account.audit().list(0, Some(200)).await.unwrap().value.items;
    assert_eq!(records.iter().filter(|record| record.action == "role.create").count(), 40);
}

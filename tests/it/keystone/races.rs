//! What must be used once or be unique, asked of three nodes at the same time (contract part 7).

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{AT, SECRET, Service, mail};
use crate::client::{Ask, Reply};
use crate::harness::{World, unique};

const RUNNERS: usize = 8;
const ROUNDS: usize = 3;

async fn at_once(ask: impl Fn(usize) -> Ask) -> Vec<Reply> {
    join_all((0..RUNNERS).map(|node| ask(node).into_future())).await
}

/// The one that won; all the others were told why not.
#[track_caller]
fn winner(replies: Vec<Reply>, won: u16, lost: u16, error: &str) -> Reply {
    let (mut winners, losers): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == won);
    assert_eq!(winners.len(), 1, "winners beside {losers:?}");
    for loser in losers {
        assert_eq!((loser.status, &loser.json["error"]), (lost, &json!(error)), "{}", loser.json);
    }
    winners.remove(0)
}

#[tokio::test]
async fn a_refresh_token_is_spent_once() {
    let world = World::new();
    let service = Service::new(&world).await;
    let mut spent = service.user(&["user"]).await.refresh;
    for _ in 0..ROUNDS {
        let body = json!({"refresh_token": spent});
        let replies = at_once(|node| world.post(node, format!("{AT}/auth/refresh")).json(&body)).await;
        let won = winner(replies, 200, 401, "invalid_grant");
        for node in 0..3 {
            let ask = world.get(node, format!("{AT}/users/profile")).by(&won.text("access_token"));
            ask.await.is(200);
        }
        spent = won.text("refresh_token");
    }
}

#[tokio::test]
async fn one_person_gets_a_name_and_one_an_address() {
    let world = World::new();
    let path = format!("{AT}/users/register");
    for _ in 0..ROUNDS {
        let name = format!("racer-{}", unique());
        let by_name = |node: usize| {
            let email = mail(&format!("{name}-{node}"));
            json!({"username": name, "email": email, "password": SECRET})
        };
        let replies = at_once(|node| world.post(node, &path).json(&by_name(node))).await;
        let won = winner(replies, 201, 409, "conflict");
        let by_address = |node: usize| json!({"username": format!("{name}-{node}"), "email": mail(&name), "password": SECRET});
        let replies = at_once(|node| world.post(node, &path).json(&by_address(node))).await;
        assert_ne!(winner(replies, 201, 409, "conflict").text("id"), won.text("id"));
    }
}

#[tokio::test]
async fn one_client_gets_an_id() {
    let world = World::new();
    let service = Service::new(&world).await;
    for _ in 0..ROUNDS {
        let name = format!("racer-{}", unique());
        let spelled = |node: usize| if node.is_multiple_of(2) { name.clone() } else { name.to_uppercase() };
        let body = |node: usize| json!({"clientId": spelled(node), "scopes": [format!("s{node}")]});
        let replies = at_once(|node| service.ask(node, "POST", "/admin/clients").json(&body(node))).await;
        let won = winner(replies, 201, 409, "conflict");
        let path = format!("/admin/clients/{}", won.text("id"));
        let shown = service.ask(1, "GET", &path).await.is(200);
        assert_eq!(shown.json["scopes"], won.json["scopes"], "nothing of the losers is left");
    }
}

#[tokio::test]
async fn of_changes_at_once_the_last_in_the_log_stands_whole() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&[]).await;
    let program = service.program(&["s"], &[]).await;
    let (user, program) = (format!("/admin/users/{}", user.id), format!("/admin/clients/{}", program.id));
    let roles = [json!(["user"]), json!(["trader"]), json!(["service"])];
    let scopes = [json!(["a", "b"]), json!(["c"]), json!(["d", "e"])];
    for _ in 0..ROUNDS {
        let change = |node: usize| service.ask(node, "PUT", &user).json(&json!({"roles": roles[node % 3]}));
        for reply in at_once(change).await {
            reply.is(200);
        }
        let shown: Value = service.ask(0, "GET", &user).await.is(200).json["roles"].clone();
        assert!(roles.contains(&shown), "a mixture that nobody wanted: {shown}");
        // Whoever loses every time is told so; nobody is told that it was done when it was not.
        let change =
            |node: usize| service.ask(node, "PUT", &program).json(&json!({"scopes": scopes[node % 3]}));
        for reply in at_once(change).await {
            assert!(matches!(reply.status, 200 | 412), "{}", reply.json);
        }
        let shown: Value = service.ask(1, "GET", &program).await.is(200).json["scopes"].clone();
        assert!(scopes.contains(&shown), "a mixture that nobody wanted: {shown}");
    }
}

//! The same at once on three nodes (contract part 7).

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Key, code, data};
use crate::client::Reply;
use crate::harness::World;

const RUNNERS: usize = 9;
const ROUNDS: usize = 3;

fn with_status(replies: &[Reply], status: u16) -> Vec<&Reply> {
    replies.iter().filter(|reply| reply.status == status).collect()
}

#[tokio::test]
async fn first_writes_with_one_key_make_one_account() {
    let world = World::new();
    for _ in 0..ROUNDS {
        let key = Key::new(&world);
        let writes =
            (0..RUNNERS).map(|node| key.ask(node, "POST", &format!("/role/role-{node}")).into_future());
        for reply in join_all(writes).await {
            assert_eq!(reply.is(200).json, json!({"result": true}));
        }
        for node in 0..3 {
            assert_eq!(key.get(node, "/roles").await.json["result"].as_array().unwrap().len(), RUNNERS);
            assert_eq!(data(&key.get(node, "/audit?action=account_create").await)["total"], 1);
        }
    }
}

#[tokio::test]
async fn a_write_lands_before_a_rotation_or_with_the_old_key_after_it_and_never_in_between() {
    let world = World::new();
    for _ in 0..ROUNDS {
        let key = Key::new(&world);
        key.role("before", &[], &[]).await;
        let rotation = key.ask(1, "POST", "/keys/rotate").into_future();
        let writes =
            (0..RUNNERS).map(|node| key.ask(node, "POST", &format!("/role/role-{node}")).into_future());
        let (rotated, written) = tokio::join!(rotation, join_all(writes));
        let next = Key::with(&world, data(&rotated.is(200))["new_key"].as_str().unwrap());
        let roles = async |key: &Key<'_>, node| -> Vec<String> {
            let rows = key.get(node, "/roles").await.json["result"].clone();
            rows.as_array().unwrap().iter().map(|row| row["role"].as_str().unwrap().to_owned()).collect()
        };
        for reply in &written {
            assert_eq!((reply.status, &reply.json), (200, &json!({"result": true})));
        }
        for node in 0..3 {
            let (kept, begun) = (roles(&next, node).await, roles(&key, node).await);
            assert!(kept.contains(&"before".to_owned()) && !begun.contains(&"before".to_owned()));
            for number in 0..RUNNERS {
                let name = format!("role-{number}");
                assert!(kept.contains(&name) != begun.contains(&name), "{name}: {kept:?} {begun:?}");
            }
        }
    }
}

#[tokio::test]
async fn of_rotations_at_once_one_moves_the_account() {
    let world = World::new();
    for _ in 0..ROUNDS {
        let key = Key::new(&world);
        key.role("admin", &[], &[]).await;
        let replies =
            join_all((0..RUNNERS).map(|node| key.ask(node, "POST", "/keys/rotate").into_future())).await;
        let moved: Vec<Value> = replies
            .into_iter()
            .map(|reply| data(&reply.is(200)))
            .filter(|data| data["migrated"]["roles"] == 1)
            .collect();
        assert_eq!(moved.len(), 1, "{moved:?}");
        let owner = Key::with(&world, moved[0]["new_key"].as_str().unwrap());
        for node in 0..3 {
            assert_eq!(owner.get(node, "/roles").await.json["result"].as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn what_replaces_a_lost_key_is_issued_once_and_used_once() {
    let world = World::new();
    for _ in 0..ROUNDS {
        let key = Key::new(&world);
        key.role("admin", &[], &[]).await;
        let issue = (0..RUNNERS).map(|node| key.ask(node, "POST", "/keys/get_rotate_key").into_future());
        let replies = join_all(issue).await;
        let issued = with_status(&replies, 200);
        assert_eq!((issued.len(), with_status(&replies, 409).len()), (1, RUNNERS - 1));
        let body = json!({"rotate_key": data(issued[0])["rotate_key"]});
        let recover =
            (0..RUNNERS).map(|node| world.post(node, "/api/keys/recover").json(&body).into_future());
        let replies = join_all(recover).await;
        let recovered = with_status(&replies, 200);
        assert_eq!((recovered.len(), with_status(&replies, 401).len()), (1, RUNNERS - 1));
        let owner = Key::with(&world, data(recovered[0])["client_key"].as_str().unwrap());
        for node in 0..3 {
            assert_eq!(owner.get(node, "/roles").await.json["result"].as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn the_26th_key_is_refused_also_when_many_come_at_once() {
    let world = World::new();
    let key = Key::new(&world);
    for _ in 0..20 {
        key.user_key("ann").await;
    }
    let replies =
        join_all((0..RUNNERS).map(|node| key.ask(node, "POST", "/apikeys/user/ann").into_future())).await;
    let refused = with_status(&replies, 400);
    assert_eq!((with_status(&replies, 200).len(), refused.len()), (5, RUNNERS - 5));
    assert!(refused.iter().all(|reply| code(reply) == "limit_reached"));
    for node in 0..3 {
        assert_eq!(data(&key.get(node, "/apikeys/user/ann").await)["count"], 25);
    }
}

#[tokio::test]
async fn one_revocation_is_the_first() {
    let world = World::new();
    let key = Key::new(&world);
    for _ in 0..ROUNDS {
        let path = format!("/apikeys/user/ann/{}", key.user_key("ann").await.0);
        let replies = join_all((0..RUNNERS).map(|node| key.ask(node, "DELETE", &path).into_future())).await;
        let first = replies.into_iter().filter(|reply| data(reply)["already_revoked"] == false).count();
        assert_eq!(first, 1);
    }
}

//! Growing and shrinking.

use std::time::Duration;

use conclave_cluster::{DataFolder, NodeId, StartError};

use crate::harness::{Nodes, eventually, soon, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_grows_to_three_and_shrinks() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    nodes.start(1).await.unwrap();
    nodes.write(1, "put key value").await;
    for id in [2, 3] {
        nodes.prepare(id);
        let node = nodes.start(id).await.unwrap();
        let view = node.read_barrier(soon()).await.unwrap();
        assert_eq!(&*view.get(b"key").unwrap().value, b"value");
    }
    let leader = nodes.leader().await.clone();
    let voters = leader.status().members.iter().filter(|member| member.is_voter).count();
    assert_eq!(voters, 3);
    let removed = NodeId(nodes.follower().await);
    leader.remove(removed).await.unwrap();
    leader.remove(removed).await.unwrap();
    nodes.stop(removed.0).await;
    assert_eq!(leader.status().members.len(), 2);
    nodes.write(leader.identity().node.0, "put key newer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_may_join_at_the_same_time() {
    let mut nodes = Nodes::none(10_000);
    for id in 1..=3 {
        nodes.prepare(id);
    }
    nodes.start(1).await.unwrap();
    let (second, third) = tokio::join!(start(nodes.config(2)), start(nodes.config(3)));
    nodes.running[2] = Some(second.unwrap());
    nodes.running[3] = Some(third.unwrap());
    nodes.write(3, "put key value").await;
    nodes.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_is_found_again() {
    let mut nodes = Nodes::three().await;
    let moved = nodes.follower().await;
    let before = nodes.node(moved).peer_address();
    nodes.stop(moved).await;
    nodes.addresses.remove(&moved);
    let back = nodes.start(moved).await.unwrap();
    let now = back.peer_address();
    assert_ne!(before, now);
    eventually("the new address", || async {
        let members = nodes.leader().await.status().members;
        members.into_iter().find(|member| member.member.peer_addr == now.to_string())
    })
    .await;
    nodes.write(moved, "put key value").await;
    nodes.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_is_refused() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    nodes.start(1).await.unwrap();
    let second = start(nodes.config(1)).await;
    assert!(matches!(second, Err(StartError::Folder(_))), "{second:?}");
    assert!(second.unwrap_err().to_string().contains("another process"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_was_broken_off_can_be_begun_again() {
    let mut nodes = Nodes::none(10_000);
    for id in 1..=2 {
        nodes.prepare(id);
    }
    nodes.start(1).await.unwrap();
    let mut config = nodes.config(2);
    // Nobody listens there: the start waits, and is broken off.
    config.join = vec!["127.0.0.1:1".to_owned()];
    let starting = tokio::time::timeout(Duration::from_secs(1), start(config)).await;
    assert!(starting.is_err(), "{starting:?}");
    eventually("the folder's lock", || async { DataFolder::open(&nodes.folder(2)).ok() }).await;
    nodes.start(2).await.unwrap();
    nodes.write(2, "put key value").await;
}

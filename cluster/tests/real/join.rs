//! Growing and shrinking.

use std::time::Duration;

use conclave_cluster::{ChangeError, DataFolder, NodeId, StartError};

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
async fn a_learner_stays_one_over_restarts_and_moves_until_it_is_promoted() {
    let mut nodes = Nodes::none(10_000);
    nodes.promotes = false;
    nodes.prepare(1);
    nodes.start(1).await.unwrap();
    nodes.write(1, "put key value").await;
    nodes.prepare(2);
    for moves in [false, false, true] {
        if moves {
            nodes.addresses.remove(&2);
        }
        let learner = nodes.start(2).await.unwrap();
        let view = learner.read_barrier(soon()).await.unwrap();
        assert_eq!(&*view.get(b"key").unwrap().value, b"value");
        eventually("readiness", || async { learner.is_ready().then_some(()) }).await;
        nodes.write(2, "put other value").await;
        let address = learner.peer_address().to_string();
        eventually("a learner where it is", || async {
            let members = nodes.node(1).status().members;
            members.into_iter().find(|it| it.member.peer_addr == address && !it.is_voter)
        })
        .await;
        nodes.stop(2).await;
    }
    nodes.start(2).await.unwrap();
    eventually("a learner that has caught up", || async {
        nodes.node(1).caught_up(NodeId(2))?.then_some(())
    })
    .await;
    let after = nodes.node(1).promote(NodeId(2)).await.unwrap();
    assert_eq!((after.voters.len(), after.tolerance), (2, 0));
    // And down again, also when it was a voter before and those who join are made voters.
    nodes.promotes = true;
    nodes.node(1).demote(NodeId(2)).await.unwrap();
    nodes.stop(2).await;
    let learner = nodes.start(2).await.unwrap();
    learner.read_barrier(soon()).await.unwrap();
    assert!(nodes.node(1).status().members.iter().any(|member| !member.is_voter));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_keeps_a_node_out_and_says_so() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    nodes.start(1).await.unwrap();
    nodes.prepare(2);
    let before = nodes.node(1).status().last_index;
    let mut config = nodes.config(2);
    // Nobody listens on the first; node 1, and no other, on the second.
    for wrong in ["127.0.0.1:1".to_owned(), nodes.node(1).peer_address().to_string()] {
        config.peer_addr = Some(wrong.clone());
        let starting = tokio::time::timeout(Duration::from_secs(3), start(config.clone())).await;
        assert!(starting.is_err(), "{starting:?}");
        let status = nodes.node(1).status();
        assert_eq!((status.members.len(), status.last_index), (1, before), "{wrong}");
        let member = conclave_cluster::Member { peer_addr: wrong, api_url: String::new() };
        let refused = nodes.node(1).add_learner(NodeId(2), member).await.unwrap_err();
        assert!(matches!(&refused, ChangeError::Refused(_)), "{refused}");
        assert!(refused.to_string().starts_with("node 2 cannot be reached at 127.0.0.1:"), "{refused}");
        eventually("the folder's lock", || async { DataFolder::open(&nodes.folder(2)).ok() }).await;
    }
    nodes.start(2).await.unwrap();
    nodes.write(2, "put key value").await;
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

//! Writes through any node, and reads that miss nothing.

use std::time::Duration;

use conclave_cluster::{Applied, Unavailable};
use tokio::time::Instant;

use crate::harness::{Nodes, soon};
use crate::machine::proposal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_writes_and_every_node_reads_it_at_once() {
    let nodes = Nodes::three().await;
    for round in 0..30_u64 {
        let writer = round % 3 + 1;
        let value = format!("v{round}");
        let Applied::Done { revision, .. } = nodes.write(writer, &format!("put key {value}")).await else {
            panic!("mismatch");
        };
        for node in nodes.all() {
            let view = node.read_barrier(soon()).await.unwrap();
            assert!(view.revision() >= revision);
            assert_eq!(&*view.get(b"key").unwrap().value, value.as_bytes(), "on {:?}", node.identity());
        }
    }
    nodes.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_has_one_owner_and_a_retry_gets_the_first_answer() {
    let nodes = Nodes::three().await;
    let racing = (1..=3).map(|id| {
        let nodes = &nodes;
        async move { nodes.write(id, &format!("take alice node-{id}")).await }
    });
    let answers = futures_util::future::join_all(racing).await;
    let owners: Vec<_> = answers
        .into_iter()
        .map(|answer| match answer {
            Applied::Done { reply, .. } => reply,
            Applied::Mismatch => panic!("mismatch"),
        })
        .collect();
    assert!(owners.windows(2).all(|pair| pair[0] == pair[1]), "{owners:?}");

    let leader = nodes.leader().await;
    let first = leader.propose(vec![proposal(900, "take bob x")], soon()).await.unwrap();
    let again = leader.propose(vec![proposal(900, "take bob x")], soon()).await.unwrap();
    let (Applied::Done { revision, .. }, Applied::Done { revision: second, replayed, .. }) = (&first[0], &again[0])
    else {
        panic!("mismatch");
    };
    assert_eq!(revision, second);
    assert!(replayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_commands_go_in_one_entry_in_their_order() {
    let nodes = Nodes::three().await;
    let leader = nodes.leader().await;
    let before = leader.status().last_index.unwrap();
    let proposals = (0..100).map(|n| proposal(1000 + n, &format!("take name-{} owner-{n}", n % 50))).collect();
    let applied = leader.propose(proposals, soon()).await.unwrap();
    assert_eq!(applied.len(), 100);
    let revisions: Vec<u64> = (0_u64..)
        .zip(&applied)
        .map(|(n, applied)| {
            let Applied::Done { reply, revision, .. } = applied else { panic!("mismatch") };
            assert_eq!(*reply, format!("owner-{}", n % 50));
            *revision
        })
        .collect();
    assert!(revisions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{revisions:?}");
    assert_eq!(leader.status().last_index.unwrap(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_written_and_no_barrier_passes() {
    let mut nodes = Nodes::three().await;
    nodes.write(1, "put key old").await;
    let leader = nodes.leader().await.identity().node.0;
    for id in 1..=3 {
        if id != leader {
            nodes.stop(id).await;
        }
    }
    let alone = nodes.node(leader);
    let deadline = Instant::now() + Duration::from_secs(3);
    let barrier = alone.read_barrier(deadline).await;
    assert!(barrier.is_err(), "{barrier:?}");
    assert!(Instant::now() < deadline + Duration::from_millis(500));
    let deadline = Instant::now() + Duration::from_secs(1);
    assert!(alone.bounded_view(Duration::ZERO, deadline).await.is_err());
    let written = alone.propose(vec![proposal(77, "put key new")], deadline + Duration::from_secs(1)).await;
    assert!(written.is_err(), "{written:?}");
    assert_eq!(&*alone.view().get(b"key").unwrap().value, b"old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_lead_says_who_does() {
    let nodes = Nodes::three().await;
    let leader = nodes.leader().await.identity().node;
    let follower = nodes.node(nodes.follower().await);
    let refused = follower.propose(vec![proposal(5, "put a b")], soon()).await;
    assert_eq!(refused, Err(Unavailable::NotLeader { leader: Some(leader) }));
    let status = follower.status();
    assert_eq!(status.leader.unwrap().api_url, format!("http://node-{leader}"));
    assert_eq!(status.members.len(), 3);
    assert!(status.members.iter().all(|member| member.is_voter));
    let echoed = follower.call_node(leader, "?".into(), soon()).await.unwrap();
    assert_eq!(echoed, "?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over() {
    let nodes = Nodes::three().await;
    let leader = nodes.leader().await;
    leader.transfer_leader(None, soon()).await.unwrap();
    assert!(!leader.is_leader());
    nodes.write(1, "put key value").await;
    nodes.assert_equal().await;
}

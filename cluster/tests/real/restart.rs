//! Nodes that stop and come back.

use conclave_cluster::{Applied, StartError};

use crate::harness::{Nodes, eventually, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_is_replaced_and_comes_back() {
    let mut nodes = Nodes::three().await;
    for n in 0..20 {
        nodes.write(1, &format!("put key-{n} {n}")).await;
    }
    let old = nodes.leader().await.identity().node.0;
    nodes.stop(old).await;
    let other = nodes.follower().await;
    nodes.write(other, "put key-0 changed").await;
    let back = nodes.start(old).await.unwrap();
    let view = back.read_barrier(soon()).await.unwrap();
    assert_eq!(&*view.get(b"key-0").unwrap().value, b"changed");
    assert_eq!(&*view.get(b"key-19").unwrap().value, b"19");
    nodes.assert_equal().await;
    eventually("readiness", || async { back.is_ready().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_stop_and_come_back() {
    let mut nodes = Nodes::three().await;
    let Applied::Done { revision, .. } = nodes.write(2, "put key value").await else { panic!("mismatch") };
    for id in 1..=3 {
        nodes.stop(id).await;
    }
    for id in 1..=3 {
        nodes.start(id).await.unwrap();
    }
    for node in nodes.all() {
        let view = node.read_barrier(soon()).await.unwrap();
        assert_eq!(view.revision(), revision);
        assert_eq!(&*view.get(b"key").unwrap().value, b"value");
    }
    nodes.write(3, "put key newer").await;
    nodes.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_long_away_gets_a_snapshot() {
    let mut nodes = Nodes::three_with(50).await;
    let away = nodes.follower().await;
    nodes.stop(away).await;
    let writer = nodes.follower().await;
    for n in 0..300 {
        nodes.write(writer, &format!("put key-{n} {n}")).await;
    }
    let index = nodes.node(writer).status().applied.unwrap().index;
    // On whichever of them will be asked.
    eventually("snapshots and purged logs", || async {
        let snapshots = nodes.all().into_iter().map(|node| node.status().snapshot_index);
        snapshots.into_iter().all(|it| it.is_some_and(|snapshot| snapshot + 60 >= index)).then_some(())
    })
    .await;
    let back = nodes.start(away).await.unwrap();
    let view = back.read_barrier(soon()).await.unwrap();
    assert_eq!(&*view.get(b"key-0").unwrap().value, b"0");
    assert_eq!(&*view.get(b"key-299").unwrap().value, b"299");
    assert!(back.status().snapshot_index.is_some_and(|snapshot| snapshot > 60), "no snapshot was needed");
    nodes.assert_equal().await;

    // And it survives a restart with it.
    nodes.stop(away).await;
    let back = nodes.start(away).await.unwrap();
    assert_eq!(&*back.read_barrier(soon()).await.unwrap().get(b"key-0").unwrap().value, b"0");
    nodes.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_log_or_all_its_data_is_refused() {
    let mut nodes = Nodes::three().await;
    nodes.write(1, "put key value").await;
    nodes.stop(3).await;
    for part in [&["log"][..], &["state", "log"]] {
        for part in part {
            let path = nodes.folder(3).join(part);
            if path.exists() {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        let started = nodes.start(3).await;
        assert!(matches!(started, Err(StartError::Lost { .. })), "{started:?}");
    }
    // Even when the folder is made anew: its id is known as a voter.
    std::fs::remove_dir_all(nodes.folder(3)).unwrap();
    nodes.prepare(3);
    let started = nodes.start(3).await;
    assert!(matches!(started, Err(StartError::Refused(_))), "{started:?}");
    nodes.write(1, "put key newer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_state_is_made_again_from_the_log() {
    let mut nodes = Nodes::three().await;
    for n in 0..50 {
        nodes.write(1, &format!("put key-{n} {n}")).await;
    }
    nodes.stop(2).await;
    std::fs::remove_dir_all(nodes.folder(2).join("state")).unwrap();
    let back = nodes.start(2).await.unwrap();
    assert_eq!(&*back.read_barrier(soon()).await.unwrap().get(b"key-49").unwrap().value, b"49");
    nodes.assert_equal().await;
}

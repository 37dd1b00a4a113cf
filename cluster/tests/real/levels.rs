//! Data of a level, and programs that know it or do not.

use conclave_cluster::{NewerLevel, StartError};

use crate::harness::{Nodes, eventually, soon};

const TOO_NEW: StartError = StartError::Newer(NewerLevel { found: 2, known: 1 });

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_know_the_level_of_the_rows_does_not_start() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    // A folder from before levels, with rows that have risen and no word of it in the folder.
    nodes.start(1).await.unwrap();
    nodes.stop(1).await;
    let node = nodes.start_knowing(1, 2).await.unwrap();
    nodes.write(1, "put level 2").await;
    drop(node);
    nodes.stop(1).await;
    for _ in 0..2 {
        let refused = nodes.start(1).await.unwrap_err();
        assert_eq!(refused.to_string(), TOO_NEW.to_string());
    }
    let node = nodes.start_knowing(1, 2).await.unwrap();
    assert_eq!(&*node.read_barrier(soon()).await.unwrap().get(b"level").unwrap().value, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_keeps_an_older_program_out_also_of_a_state_it_could_not_read() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    nodes.start(1).await.unwrap();
    nodes.stop(1).await;
    nodes.start_knowing(1, 2).await.unwrap().require_level(2).unwrap();
    nodes.stop(1).await;
    // What an older program would take for damage, and move aside.
    let state = nodes.folder(1).join("state");
    let aside = nodes.folder(1).join("kept");
    std::fs::rename(&state, &aside).unwrap();
    std::fs::write(&state, "a format of later").unwrap();
    let refused = nodes.start(1).await.unwrap_err();
    assert_eq!(refused.to_string(), TOO_NEW.to_string());
    assert_eq!(std::fs::read(&state).unwrap(), b"a format of later");
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(&aside, &state).unwrap();
    nodes.start_knowing(1, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_when_the_others_move_to_a_level_it_does_not_know() {
    let mut nodes = Nodes::none(10_000);
    for (id, level) in [(1, 2), (2, 2), (3, 1)] {
        nodes.prepare(id);
        nodes.start_knowing(id, level).await.unwrap();
    }
    nodes.write(1, "put level 2").await;
    let old = nodes.node(3).clone();
    let fatal = eventually("a node that must stop", || async { old.status().fatal }).await;
    assert!(fatal.reason.contains(&TOO_NEW.to_string()), "{fatal}");
    assert!(old.view().get(b"level").is_none(), "it shows what it does not know");
    // The others go on; and the same program comes no further, however often it is started.
    nodes.write(1, "put key value").await;
    nodes.stop(3).await;
    match nodes.start(3).await {
        Err(error) => assert!(error.to_string().contains(&TOO_NEW.to_string()), "{error}"),
        Ok(node) => drop(eventually("the same again", || async { node.status().fatal }).await),
    }
    nodes.stop(3).await;
    // A start that failed lets go of the log behind our back.
    eventually("a start with a program that knows the level", async || {
        match nodes.start_knowing(3, 2).await {
            Ok(_) => Some(()),
            Err(StartError::Log(_)) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    nodes.assert_equal().await;
}

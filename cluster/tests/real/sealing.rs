//! Keys of nodes that run: wrong ones are refused, new ones are taken without a pause.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conclave_cluster::seal::Vault;
use conclave_cluster::{Identity, NodeId, StartError};

use crate::harness::{Nodes, soon};
use crate::keys::TestKeys;

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_the_wrong_key_refuses_and_changes_nothing() {
    let mut nodes = Nodes::three_with(50).await;
    for n in 0..120 {
        nodes.write(1, &format!("put canary-{n} {n}")).await;
    }
    nodes.stop(3).await;
    let before = contents(&nodes.folder(3));
    for (path, bytes) in &before {
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "{}", path.display());
    }
    let right = std::mem::replace(&mut nodes.keys, TestKeys::new(&[9]));
    let started = nodes.start(3).await;
    let Err(StartError::Key(error)) = started else { panic!("{started:?}") };
    assert!(error.to_string().contains("sealed with key 1"), "{error}");
    assert_eq!(contents(&nodes.folder(3)), before);

    // Nor when only one of its data keys needs a key that is missing, and others should be wrapped again.
    let owner = nodes.node(1).identity();
    let owner = Identity { node: NodeId(3), ..owner };
    let both = Arc::new(TestKeys::new(&[2, 1]));
    Vault::new(nodes.folder(3).join("state/snapshots"), owner, both).rewrap().unwrap();
    let before = contents(&nodes.folder(3));
    nodes.keys = TestKeys::new(&[3, 1]);
    let started = nodes.start(3).await;
    let Err(StartError::Key(error)) = started else { panic!("{started:?}") };
    assert!(error.to_string().contains("sealed with key 2"), "{error}");
    assert_eq!(contents(&nodes.folder(3)), before);

    right.replace(&[1, 2]);
    nodes.keys = right;
    let back = nodes.start(3).await.unwrap();
    assert_eq!(&*back.read_barrier(soon()).await.unwrap().get(b"canary-119").unwrap().value, b"119");
    nodes.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_while_the_nodes_serve() {
    let mut nodes = Nodes::three_with(50).await;
    let mut number = 0;
    for keys in [&[1, 2][..], &[2, 1], &[2]] {
        nodes.keys.replace(keys);
        for node in nodes.all() {
            let count = node.rewrap_data_keys().unwrap();
            assert_eq!(count > 0, keys == [2, 1], "{count} under {keys:?}");
        }
        // So many that copies and snapshots are made meanwhile.
        for _ in 0..70 {
            number += 1;
            nodes.write(number % 3 + 1, &format!("put key-{number} {number}")).await;
        }
    }
    for node in nodes.all() {
        let keys = node.data_keys().unwrap();
        assert!(keys.len() >= 3 && keys.iter().all(|key| key.key.as_deref() == Some("2")), "{keys:?}");
    }
    nodes.stop(2).await;
    let new = std::mem::replace(&mut nodes.keys, TestKeys::new(&[1]));
    assert!(matches!(nodes.start(2).await, Err(StartError::Key(_))), "the old key opens nothing");
    nodes.keys = new;
    nodes.start(2).await.unwrap();
    nodes.assert_equal().await;
}

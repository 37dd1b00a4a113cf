//! Who must not get in: foreign certificates, wrong names, plain bytes.

use std::time::Duration;

use conclave_cluster::pki::Authority;
use conclave_cluster::{Clock, Config, DataFolder, NodeId, StartError, SystemClock};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time;

use crate::harness::{Nodes, start};

/// Waits for a start that must not succeed; joining goes on for minutes, so not being let in is enough.
async fn is_kept_out(config: Config) -> bool {
    match time::timeout(Duration::from_secs(3), start(config)).await {
        Err(_) | Ok(Err(StartError::NotJoined(_) | StartError::Refused(_))) => true,
        Ok(Err(other)) => panic!("{other}"),
        Ok(Ok(_)) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_kept_out() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    nodes.start(1).await.unwrap();
    let other = Authority::create(SystemClock.now()).unwrap();
    let folder = TempDir::new().unwrap();
    DataFolder::prepare(folder.path(), &other, NodeId(2), SystemClock.now()).unwrap();
    let mut config = nodes.config(2);
    config.data = folder.path().to_owned();
    assert!(is_kept_out(config).await);
    assert_eq!(nodes.node(1).status().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_bytes_get_no_answer_and_do_no_harm() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    nodes.start(1).await.unwrap();
    let address = nodes.node(1).peer_address();
    let junk: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0; 64], &[0xff; 4096], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"];
    for bytes in junk {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // At most a TLS alert (21), never a greeting of ours.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    nodes.write(1, "put key value").await;
}

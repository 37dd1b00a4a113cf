//! Real connections on loopback: who gets through, and what happens to garbage.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::frame::{Hello, Welcome, read_frame, read_greeting, write_greeting};
use super::server::TlsTransport;
use super::tls::Tls;
use super::{Channel, MOST_FRAME_BYTES, Peer, Service, Transport, TransportError};
use crate::clock::{Clock, SystemClock};
use crate::enrol::Desk;
use crate::fence::Fence;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::pki::Authority;

/// Answers with the caller's id and the request.
struct Echo;

impl Service for Echo {
    fn answer(&self, from: NodeId, _: Channel, request: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async move { [from.to_string().as_bytes(), b":", &request[..]].concat().into() })
    }
}

fn authority() -> Authority {
    Authority::create(SystemClock.now()).unwrap()
}

/// TLS of a node that has the certificate of `certified` and says that it is `claimed` of `cluster`.
fn tls_of(authority: &Authority, certified: u64, cluster: ClusterId, claimed: u64) -> Tls {
    let certificate = authority.issue(NodeId(certified), SystemClock.now()).unwrap();
    Tls::new(Identity { cluster, node: NodeId(claimed) }, &certificate, Fence::new()).unwrap()
}

fn tls(authority: &Authority, node: u64) -> Tls {
    tls_of(authority, node, authority.cluster(), node)
}

/// Node 1, listening.
async fn server(authority: &Authority) -> (TlsTransport, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let transport = TlsTransport::new(tls(authority, 1));
    transport.listen(listener, tls(authority, 1), Arc::new(Echo), Arc::new(Desk::new()));
    (transport, addr)
}

async fn call(tls: Tls, node: Option<u64>, addr: &str) -> Result<Bytes, TransportError> {
    let peer = Peer { node: node.map(NodeId), addr: addr.to_owned() };
    TlsTransport::new(tls).call(peer, Channel::Call, "hi".into(), Duration::from_secs(20)).await
}

#[tokio::test]
async fn a_member_is_answered_under_its_own_id() {
    let authority = authority();
    let (_server, addr) = server(&authority).await;
    assert_eq!(call(tls(&authority, 2), Some(1), &addr).await, Ok("2:hi".into()));
    assert_eq!(call(tls(&authority, 3), None, &addr).await, Ok("3:hi".into()));
}

#[tokio::test]
async fn who_is_not_who_it_says_is_refused() {
    let authority = authority();
    let other = self::authority();
    let (_server, addr) = server(&authority).await;
    let refused = [
        ("the wrong node is asked for", tls(&authority, 2), Some(5)),
        ("a certificate of node 3 that says node 2", tls_of(&authority, 3, authority.cluster(), 2), None),
        ("another cluster", tls(&other, 2), Some(1)),
        ("another cluster's certificate that says ours", tls_of(&other, 2, authority.cluster(), 2), Some(1)),
        ("our certificate that says another cluster", tls_of(&authority, 2, other.cluster(), 2), None),
    ];
    for (what, tls, node) in refused {
        let answer = call(tls, node, &addr).await;
        assert!(matches!(answer, Err(TransportError::NotSent { .. })), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn many_calls_share_a_connection_and_large_ones_get_through() {
    let authority = authority();
    let (_server, addr) = server(&authority).await;
    let client = TlsTransport::new(tls(&authority, 2));
    let peer = Peer { node: Some(NodeId(1)), addr };
    let calls = (0..200_usize).map(|n| {
        let request = Bytes::from(vec![b'x'; n * 1000]);
        client.call(peer.clone(), Channel::Log, request, Duration::from_secs(30))
    });
    for (n, answer) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap().len(), n * 1000 + 2);
    }
    let too_large = Bytes::from(vec![0; MOST_FRAME_BYTES]);
    assert!(client.call(peer.clone(), Channel::Log, too_large, Duration::from_secs(30)).await.is_err());
    assert!(client.call(peer, Channel::Log, "again".into(), Duration::from_secs(30)).await.is_ok());
}

#[tokio::test]
async fn garbage_from_a_member_ends_its_connection_and_no_other() {
    let authority = authority();
    let (_server, addr) = server(&authority).await;
    let tls = tls(&authority, 2);
    let own = tls.identity;
    let garbage: [&[u8]; 4] =
        [&[0xff; 64], &[0, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 3, 1, 2, 3], &u32::MAX.to_be_bytes()];
    for bytes in garbage {
        let stream = TcpStream::connect(&addr).await.unwrap();
        let mut stream =
            tls.ends().connector.connect(tls.name_of(Some(NodeId(1))).unwrap(), stream).await.unwrap();
        let hello = Hello { cluster: own.cluster, from: own.node, to: None, channel: Channel::Call };
        write_greeting(&mut stream, &hello).await.unwrap();
        assert_eq!(
            read_greeting::<Welcome>(&mut stream).await.unwrap(),
            Welcome::Accepted { node: NodeId(1) }
        );
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(read_frame(&mut stream).await.is_err());
    }
    assert_eq!(call(tls, Some(1), &addr).await, Ok("2:hi".into()));
}

#[tokio::test]
async fn a_peer_that_is_gone_is_not_reached_and_one_that_is_back_is() {
    let authority = authority();
    let (server, addr) = server(&authority).await;
    let client = TlsTransport::new(tls(&authority, 2));
    let peer = Peer { node: Some(NodeId(1)), addr: addr.clone() };
    let ask = || client.call(peer.clone(), Channel::Beat, "hi".into(), Duration::from_secs(20));
    assert!(ask().await.is_ok());
    server.close();
    // The old connection may take one more call down with it.
    drop(ask().await);
    assert!(ask().await.is_err());
    let listener = loop {
        if let Ok(listener) = TcpListener::bind(&addr).await {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    server.listen(listener, tls(&authority, 1), Arc::new(Echo), Arc::new(Desk::new()));
    let back = async {
        while ask().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
}

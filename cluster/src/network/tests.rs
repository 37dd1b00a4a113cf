//! Real connections on loopback: who gets through, and what happens to garbage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::frame::{Hello, Welcome, read_frame, read_greeting, write_greeting};
use super::server::TlsTransport;
use super::tls::{Ends, Tls};
use super::{Channel, MOST_FRAME_BYTES, Peer, Service, Transport, TransportError};
use crate::clock::{Clock, SystemClock};
use crate::enrol::Desk;
use crate::fence::{Fence, Refused};
use crate::identity::{ClusterId, Identity, NodeId};
use crate::pki::{Authority, NodeCertificate};

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

/// A client with this certificate that says it is node `claimed`, on the way to node 1.
async fn greet(authority: &Authority, certificate: &NodeCertificate, claimed: u64, addr: &str) -> Welcome {
    let identity = Identity { cluster: authority.cluster(), node: NodeId(claimed) };
    let tls = Tls::new(identity, certificate, Fence::new()).unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = tls.name_of(Some(NodeId(1))).unwrap();
    let mut stream = tls.ends().connector.connect(name, stream).await.unwrap();
    let (cluster, from) = (identity.cluster, identity.node);
    write_greeting(&mut stream, &Hello { cluster, from, to: None, channel: Channel::Call }).await.unwrap();
    read_greeting(&mut stream).await.unwrap()
}

#[tokio::test]
async fn neither_a_candidate_nor_nobody_passes_for_a_peer() {
    let authority = authority();
    let (_server, addr) = server(&authority).await;
    let candidate = authority.issue_candidate(SystemClock.now()).unwrap();
    for claimed in [1, 2] {
        let welcome = greet(&authority, &candidate, claimed, &addr).await;
        assert!(matches!(welcome, Welcome::Refused { .. }), "{welcome:?}");
    }
    // Without a certificate TLS itself ends: what is sent is never read.
    let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(super::tls::provider())
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(super::tls::roots(authority.certificate_pem()).unwrap())
        .with_no_client_auth();
    let stream = TcpStream::connect(&addr).await.unwrap();
    let name = authority.cluster().member_name().try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let hello = Hello { cluster: authority.cluster(), from: NodeId(2), to: None, channel: Channel::Call };
    drop(write_greeting(&mut stream, &hello).await);
    assert!(read_greeting::<Welcome>(&mut stream).await.is_err());
}

fn nodes(ids: &[u64]) -> Refused {
    Refused { nodes: ids.iter().map(|id| NodeId(*id)).collect(), ..Refused::default() }
}

fn certificates(serials: &[&str]) -> Refused {
    Refused {
        certificates: serials.iter().map(|serial| (*serial).to_owned()).collect(),
        ..Refused::default()
    }
}

/// What becomes of a call that waits while somebody is refused, and of one after that.
async fn refused_meanwhile(client: Tls, server_tls: Tls, refuse: impl FnOnce()) -> [String; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = TlsTransport::new(server_tls.clone());
    let (asked, mut seen) = tokio::sync::mpsc::unbounded_channel();
    server.listen(listener, server_tls, Arc::new(Stuck(asked)), Arc::new(Desk::new()));
    let client = TlsTransport::new(client);
    let peer = Peer { node: Some(NodeId(1)), addr };
    let call = || client.call(peer.clone(), Channel::Call, "hi".into(), Duration::from_secs(20));
    let waiting = tokio::spawn(call());
    seen.recv().await.unwrap();
    let begin = tokio::time::Instant::now();
    refuse();
    let ended = waiting.await.unwrap().unwrap_err().to_string();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    [ended, call().await.unwrap_err().to_string()]
}

/// Says that it was asked, and does not answer.
struct Stuck(tokio::sync::mpsc::UnboundedSender<()>);

impl Service for Stuck {
    fn answer(&self, _: NodeId, _: Channel, _: Bytes) -> BoxFuture<'static, Bytes> {
        let _ = self.0.send(());
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn whoever_is_refused_loses_its_connections_at_once_and_is_told_why() {
    let authority = authority();
    let serial = |tls: &Tls| tls.ends().facts.serial.clone();

    // The server refuses the client: for its id, and for its certificate.
    for by_id in [true, false] {
        let (client, server) = (tls(&authority, 2), tls(&authority, 1));
        let refused = if by_id { nodes(&[2]) } else { certificates(&[&serial(&client)]) };
        let fence = server.fence.clone();
        let [_, after] = refused_meanwhile(client.clone(), server, move || fence.replace(refused)).await;
        let says = if by_id { "node 2 was removed from this cluster" } else { "was revoked" };
        assert!(after.contains(says), "{after}");
        assert!(client.fence.own().borrow().as_ref().unwrap().contains(says));
    }
    // The client refuses the server.
    for by_id in [true, false] {
        let (client, server) = (tls(&authority, 2), tls(&authority, 1));
        let refused = if by_id { nodes(&[1]) } else { certificates(&[&serial(&server)]) };
        let fence = client.fence.clone();
        for reason in refused_meanwhile(client.clone(), server, move || fence.replace(refused)).await {
            assert!(reason.contains(if by_id { "node 1 was removed" } else { "was revoked" }), "{reason}");
        }
        assert_eq!(*client.fence.own().borrow(), None);
    }
}

#[tokio::test]
async fn a_refusal_of_others_disturbs_nobody() {
    let authority = authority();
    let server_tls = tls(&authority, 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = TlsTransport::new(server_tls.clone());
    server.listen(listener, server_tls.clone(), Arc::new(Echo), Arc::new(Desk::new()));
    let client_tls = tls(&authority, 2);
    let client = TlsTransport::new(client_tls.clone());
    let peer = Peer { node: Some(NodeId(1)), addr };
    for id in 3..20 {
        server_tls.fence.replace(nodes(&[id]));
        client_tls.fence.replace(nodes(&[id]));
        let answer = client.call(peer.clone(), Channel::Call, "hi".into(), Duration::from_secs(20)).await;
        assert_eq!(answer, Ok("2:hi".into()));
    }
}

/// Echoes, after a while.
struct Slow;

impl Service for Slow {
    fn answer(&self, _: NodeId, _: Channel, request: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            request
        })
    }
}

#[tokio::test]
async fn certificates_change_under_load_and_no_call_fails() {
    let authority = authority();
    let (client_tls, server_tls) = (tls(&authority, 2), tls(&authority, 1));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = TlsTransport::new(server_tls.clone());
    server.listen(listener, server_tls.clone(), Arc::new(Slow), Arc::new(Desk::new()));
    let client = Arc::new(TlsTransport::new(client_tls.clone()));
    let peer = Peer { node: Some(NodeId(1)), addr };
    let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, peer) = (Arc::clone(&client), peer.clone());
            let (is_over, count) = (Arc::clone(&is_over), Arc::clone(&count));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let call = client.call(peer.clone(), Channel::Call, "hi".into(), Duration::from_secs(20));
                    call.await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more_calls = || async {
        let seen = count.load(Ordering::Relaxed);
        until("more calls", || count.load(Ordering::Relaxed) > seen + 40).await;
    };
    let old = client_tls.ends().facts.serial.clone();
    let is_left = Arc::downgrade(&client_tls.ends());
    for _ in 0..5 {
        more_calls().await;
        for (tls, node) in [(&client_tls, 2), (&server_tls, 1)] {
            let certificate = authority.issue(NodeId(node), SystemClock.now()).unwrap();
            tls.replace(Ends::new(&certificate).unwrap());
        }
    }
    until("the first connection to be left", || is_left.upgrade().is_none()).await;
    more_calls().await;
    // Nothing is left of the first certificate: refusing it harms nobody.
    server_tls.fence.replace(certificates(&[&old]));
    more_calls().await;
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("never saw {what}"));
}

#[tokio::test]
async fn an_idle_connection_moves_to_the_new_certificate_too() {
    let authority = authority();
    let (server, addr) = server(&authority).await;
    let client_tls = tls(&authority, 2);
    let client = TlsTransport::new(client_tls.clone());
    let peer = Peer { node: Some(NodeId(1)), addr };
    let call = || client.call(peer.clone(), Channel::Call, "hi".into(), Duration::from_secs(20));
    call().await.unwrap();
    let old = Arc::downgrade(&client_tls.ends());
    let certificate = authority.issue(NodeId(2), SystemClock.now()).unwrap();
    client_tls.replace(Ends::new(&certificate).unwrap());
    let begin = tokio::time::Instant::now();
    until("the connection to be left", || old.upgrade().is_none()).await;
    assert!(begin.elapsed() < Duration::from_secs(5));
    call().await.unwrap();
    drop(server);
}

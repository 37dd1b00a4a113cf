//! Real connections on loopback: who is answered, who is told what, and what strangers can do.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::clock::{Clock, LogTime, SystemClock};
use crate::fence::Refused;
use crate::identity::{Identity, NodeId};
use crate::network::server::TlsTransport;
use crate::network::tls::Tls;
use crate::network::{Channel, Service};
use crate::pki::Authority;

/// Says who asks, and what.
struct Echo;

impl EnrolHandler for Echo {
    fn enrol(&self, is_candidate: bool, request: Bytes) -> BoxFuture<'static, Bytes> {
        let who = if is_candidate { "candidate" } else { "stranger" };
        Box::pin(async move { [who.as_bytes(), b":", &request[..]].concat().into() })
    }
}

/// Never answers.
struct Silent;

impl EnrolHandler for Silent {
    fn enrol(&self, _: bool, _: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(std::future::pending())
    }
}

/// No peer gets this far here.
struct Nobody;

impl Service for Nobody {
    fn answer(&self, _: NodeId, _: Channel, _: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async { Bytes::new() })
    }
}

fn authority() -> Authority {
    Authority::create(SystemClock.now()).unwrap()
}

fn token(authority: &Authority) -> Trust<'static> {
    Trust::Fingerprint { cluster: authority.cluster(), fingerprint: authority.fingerprint() }
}

/// Node 1, running since `now`.
struct Member {
    _transport: TlsTransport,
    address: String,
    desk: Arc<Desk>,
    fence: Fence,
}

async fn member(authority: &Authority, now: LogTime) -> Member {
    let certificate = authority.issue(NodeId(1), now).unwrap();
    let identity = Identity { cluster: authority.cluster(), node: NodeId(1) };
    let fence = Fence::new();
    let tls = Tls::new(identity, &certificate, fence.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let transport = TlsTransport::new(tls.clone());
    let desk = Arc::new(Desk::new());
    desk.set_handler(Some(Arc::new(Echo)));
    transport.listen(listener, tls, Arc::new(Nobody), Arc::clone(&desk));
    Member { _transport: transport, address, desk, fence }
}

async fn ask(address: &str, trust: Trust<'_>) -> Result<Bytes, EnrolError> {
    super::ask(address, trust, "hi".into(), Duration::from_secs(20)).await
}

#[tokio::test]
async fn members_and_nodes_to_be_answer_who_knows_their_authority() {
    let authority = authority();
    let member = member(&authority, SystemClock.now()).await;
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(any, &authority, Arc::new(Echo)).await.unwrap();
    for address in [member.address, listener.address().to_string()] {
        assert_eq!(ask(&address, token(&authority)).await.unwrap(), "stranger:hi");
        assert_eq!(ask(&address, Trust::Authority(&authority)).await.unwrap(), "candidate:hi");
    }
}

#[tokio::test]
async fn another_authority_is_told_from_no_node_at_all() {
    let (meant, other) = (authority(), authority());
    let member = member(&other, SystemClock.now()).await;
    for trust in [token(&meant), Trust::Authority(&meant)] {
        let asked = ask(&member.address, trust).await;
        let Err(EnrolError::OtherCluster { cluster, .. }) = asked else { panic!("{asked:?}") };
        assert_eq!(cluster, Some(other.cluster()));
    }
    // The authority is right and the cluster's name is not: nothing to be believed.
    let mixed = Trust::Fingerprint { cluster: meant.cluster(), fingerprint: other.fingerprint() };
    assert!(matches!(ask(&member.address, mixed).await, Err(EnrolError::OtherCluster { .. })));
}

#[tokio::test]
async fn an_authority_that_is_shown_and_did_not_sign_is_no_proof() {
    let (meant, other) = (authority(), authority());
    let mut forged = other.issue(NodeId(1), SystemClock.now()).unwrap();
    let roots = crate::network::tls::roots(&forged.authority).unwrap();
    forged.authority = meant.certificate_pem().to_owned();
    let config = Arc::new(crate::network::tls::enrolment(&forged, roots).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let desk = Desk::new();
    desk.set_handler(Some(Arc::new(Echo)));
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let start = crate::network::server::begin(stream).await.unwrap();
        desk.serve(start, config, meant.cluster(), None).await;
    };
    let (asked, ()) = tokio::join!(ask(&address, token(&meant)), serving);
    assert!(matches!(asked, Err(EnrolError::OtherCluster { .. })), "{asked:?}");
}

#[tokio::test]
async fn clocks_that_differ_are_named_with_their_times() {
    let year = 365 * 24 * 60 * 60 * 1000;
    let now = SystemClock.now().0;
    for (then, is_early) in [(now - year, false), (now + year, true)] {
        let authority = Authority::create(LogTime(now - 2 * year)).unwrap();
        let member = member(&authority, LogTime(then)).await;
        let asked = ask(&member.address, token(&authority)).await;
        let Err(error) = asked else { panic!("{asked:?}") };
        let text = error.to_string();
        assert!(matches!(error, EnrolError::Clock { is_early: found, .. } if found == is_early), "{text}");
        assert!(text.contains("check the clock of this machine"), "{text}");
        assert!(text.contains(if is_early { "valid from 20" } else { "valid until 20" }), "{text}");
        assert!(!error.is_passing());
    }
}

const HANG_UP: &[u8] = b"";

#[tokio::test]
async fn a_port_that_is_no_nodes_is_named_as_such() {
    let authority = authority();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    assert!(matches!(ask(&closed, token(&authority)).await, Err(EnrolError::Unreachable { .. })));
    for bad in ["no port", "node-1", "name.invalid:9080", "127.0.0.1:99999"] {
        let asked = ask(bad, token(&authority)).await;
        assert!(matches!(asked, Err(EnrolError::Unresolved { .. })), "{bad}: {asked:?}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.9\r\n", HANG_UP] {
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        let (asked, ()) = tokio::join!(ask(&address, token(&authority)), answering);
        match asked {
            Err(EnrolError::Lost { .. }) if answer == HANG_UP => {}
            Err(EnrolError::NotPeerPort { .. }) if answer != HANG_UP => {}
            other => panic!("{other:?}"),
        }
    }
    // One that accepts and says nothing.
    let asking = super::ask(&address, token(&authority), "hi".into(), Duration::from_millis(200));
    assert!(matches!(asking.await, Err(EnrolError::TimedOut { .. })));
}

#[tokio::test]
async fn a_node_that_starts_says_so_and_a_revoked_candidate_is_refused() {
    let authority = authority();
    let member = member(&authority, SystemClock.now()).await;
    member.desk.set_handler(None);
    let asked = ask(&member.address, token(&authority)).await;
    let Err(EnrolError::NotNow { reason, .. }) = asked else { panic!("{asked:?}") };
    assert!(reason.contains("still starting"), "{reason}");

    // Certificates of members open nothing here, whether revoked or not.
    let own = authority.issue(NodeId(2), SystemClock.now()).unwrap();
    let serial = own.facts().unwrap().serial;
    for (revoked, says) in [(BTreeSet::new(), "not a candidate's"), (BTreeSet::from([serial]), "revoked")] {
        member.fence.replace(Refused { certificates: revoked, ..Refused::default() });
        let mut stream = raw(&authority, &member.address, Some(&own)).await;
        write_bounded(&mut stream, b"hi").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), Kind::Refused as u8);
        let text = read_bounded(&mut stream).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&text).contains(says), "{text:?}");
    }
}

/// A connection for enrolment, to say things on that [`super::ask`] would not.
async fn raw(
    authority: &Authority,
    address: &str,
    own: Option<&crate::pki::NodeCertificate>,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    use crate::network::tls;
    let roots = tls::roots(authority.certificate_pem()).unwrap();
    let builder = tokio_rustls::rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = tls::certificates(&own.certificate).unwrap();
            builder.with_client_auth_cert(chain, tls::key(own).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![tls::ENROLMENT.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = authority.cluster().member_name().try_into().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn what_is_too_long_is_refused_unread() {
    let authority = authority();
    let member = member(&authority, SystemClock.now()).await;
    let long = Bytes::from(vec![b'x'; MOST_BYTES]);
    let within = Duration::from_secs(20);
    let asked = super::ask(&member.address, token(&authority), long.slice(10..), within).await.unwrap();
    assert_eq!(asked.len(), MOST_BYTES - 1);
    let asked = super::ask(&member.address, token(&authority), vec![0; MOST_BYTES + 1].into(), within).await;
    assert!(matches!(asked, Err(EnrolError::TooLong)));
    for length in [u32::MAX, u32::try_from(MOST_BYTES).unwrap() + 1] {
        let mut stream = raw(&authority, &member.address, None).await;
        stream.write_u32(length).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), Kind::Refused as u8);
    }
    // Cut short: no answer, and no harm.
    let mut stream = raw(&authority, &member.address, None).await;
    stream.write_u32(10).await.unwrap();
    stream.write_all(b"short").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(stream.read_u8().await.is_err());
    assert_eq!(ask(&member.address, token(&authority)).await.unwrap(), "stranger:hi");
}

#[tokio::test]
async fn silent_strangers_take_no_place_for_long_and_none_from_peers() {
    let authority = authority();
    let member = member(&authority, SystemClock.now()).await;
    let mut silent = Vec::new();
    for _ in 0..MOST_AT_ONCE {
        silent.push(raw(&authority, &member.address, None).await);
    }
    // The last handshakes may still be on their way to their place.
    let busy = async {
        loop {
            match ask(&member.address, token(&authority)).await {
                Err(EnrolError::NotNow { reason, .. }) => break reason,
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), busy).await.unwrap().contains("too many"));
    drop(silent);
    let served = async {
        while ask(&member.address, token(&authority)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), served).await.unwrap();
}

#[tokio::test]
async fn a_crowd_of_strangers_leaves_the_door_to_peers_open() {
    let authority = authority();
    let member = member(&authority, SystemClock.now()).await;
    let mut crowd = Vec::new();
    // More than there are places for peers.
    while crowd.len() < 300 {
        crowd.push(TcpStream::connect(&member.address).await.unwrap());
        if let Some(stream) = crowd.last_mut() {
            // All of a first message that says what it is for, and then nothing.
            stream.write_all(&client_hello(&authority)).await.unwrap();
        }
    }
    let identity = Identity { cluster: authority.cluster(), node: NodeId(2) };
    let own = authority.issue(NodeId(2), SystemClock.now()).unwrap();
    let client = TlsTransport::new(Tls::new(identity, &own, Fence::new()).unwrap());
    let peer = crate::network::Peer { node: Some(NodeId(1)), addr: member.address.clone() };
    let within = Duration::from_secs(20);
    let answer = crate::network::Transport::call(&client, peer, Channel::Call, "hi".into(), within).await;
    assert!(answer.is_ok(), "{answer:?}");
}

/// The first message of a connection for enrolment.
fn client_hello(authority: &Authority) -> Vec<u8> {
    use crate::network::tls;
    let mut config = tokio_rustls::rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(tls::roots(authority.certificate_pem()).unwrap())
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ENROLMENT.to_vec()];
    let name = authority.cluster().member_name().try_into().unwrap();
    let mut connection = tokio_rustls::rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn no_connection_lasts_longer_than_it_may() {
    let authority = authority();
    let member = member(&authority, SystemClock.now()).await;
    member.desk.set_handler(Some(Arc::new(Silent)));
    let mut stream = raw(&authority, &member.address, None).await;
    write_bounded(&mut stream, b"hi").await.unwrap();
    let begin = tokio::time::Instant::now();
    assert!(stream.read_u8().await.is_err());
    assert!(begin.elapsed() < PATIENCE + Duration::from_secs(5));
}

#[tokio::test]
async fn a_closed_listener_frees_its_port() {
    let authority = authority();
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(any, &authority, Arc::new(Echo)).await.unwrap();
    let address = listener.address();
    let taken = Listener::bind(address, &authority, Arc::new(Echo)).await;
    assert!(matches!(taken, Err(EnrolError::Listen { .. })), "{taken:?}");
    assert!(ask(&address.to_string(), token(&authority)).await.is_ok());
    listener.close().await;
    let again = Listener::bind(address, &authority, Arc::new(Echo)).await.unwrap();
    assert!(ask(&address.to_string(), token(&authority)).await.is_ok());
    drop(again);
}

//! Strangers at the port of a member: whatever they show, say or leave unsaid, no request of theirs is answered and
//! no peer is shut out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::frame::{Frame, Hello, read_frame, write_frame, write_greeting};
use super::server::TlsTransport;
use super::tls::{self, Tls};
use super::{Channel, Peer, Service, Transport};
use crate::clock::{Clock, LogTime, SystemClock};
use crate::enrol::Desk;
use crate::fence::Fence;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::pki::{Authority, NodeCertificate};

const CHANNELS: [Channel; 4] = [Channel::Log, Channel::Beat, Channel::Snapshot, Channel::Call];

const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;

/// Counts what gets through to it.
#[derive(Default)]
struct Counting(AtomicU64);

impl Service for Counting {
    fn answer(&self, _: NodeId, _: Channel, request: Bytes) -> BoxFuture<'static, Bytes> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { request })
    }
}

/// Node 1, listening.
async fn member(authority: &Authority, service: &Arc<Counting>) -> (TlsTransport, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let certificate = authority.issue(NodeId(1), SystemClock.now()).unwrap();
    let identity = Identity { cluster: authority.cluster(), node: NodeId(1) };
    let tls = Tls::new(identity, &certificate, Fence::new()).unwrap();
    let transport = TlsTransport::new(tls.clone());
    let service: Arc<dyn Service> = Arc::<Counting>::clone(service);
    transport.listen(listener, tls, service, Arc::new(Desk::new()));
    (transport, address)
}

/// A connection that shows this certificate, or none, and does not look at the other side's closely.
async fn connect(
    roots: Arc<RootCertStore>,
    own: Option<&NodeCertificate>,
    name: String,
    to: &str,
) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = tls::certificates(&own.certificate).unwrap();
            builder.with_client_auth_cert(chain, tls::key(own).unwrap()).unwrap()
        }
    };
    let stream = TcpStream::connect(to).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name.try_into().unwrap(), stream).await.ok()
}

/// Says hello as node 2 and asks something without waiting for a welcome. Whether anything is answered behind the
/// welcome.
async fn asks(
    mut stream: tokio_rustls::client::TlsStream<TcpStream>,
    cluster: ClusterId,
    channel: Channel,
) -> bool {
    let hello = Hello { cluster, from: NodeId(2), to: None, channel };
    let _ = write_greeting(&mut stream, &hello).await;
    let _ = write_frame(&mut stream, &Frame { id: 1, body: "hi".into() }).await;
    let _ = stream.flush().await;
    let welcome = super::frame::read_greeting::<super::frame::Welcome>(&mut stream).await;
    welcome.is_ok_and(|welcome| matches!(welcome, super::frame::Welcome::Accepted { .. }))
        || read_frame(&mut stream).await.is_ok()
}

#[tokio::test]
async fn k1_every_wrong_certificate_is_refused_on_every_channel() {
    let now = SystemClock.now();
    let authority = Authority::create(LogTime(now.0 - 2 * YEAR)).unwrap();
    let other = Authority::create(now).unwrap();
    let service = Arc::new(Counting::default());
    let (_member, address) = member(&authority, &service).await;
    let roots = || tls::roots(authority.certificate_pem()).unwrap();
    let name = || authority.cluster().member_name();

    let wrong = [
        ("none", None),
        ("of another authority", Some(other.issue(NodeId(2), now).unwrap())),
        ("expired", Some(authority.issue(NodeId(2), LogTime(now.0 - YEAR)).unwrap())),
        ("not yet valid", Some(authority.issue(NodeId(2), LogTime(now.0 + YEAR)).unwrap())),
        ("of a candidate", Some(authority.issue_candidate(now).unwrap())),
        ("of one who enrols", Some(authority.issue_enroller(now).unwrap())),
        ("of another node", Some(authority.issue(NodeId(3), now).unwrap())),
        ("of the node itself", Some(authority.issue(NodeId(1), now).unwrap())),
    ];
    let mut tried = 0;
    for channel in CHANNELS {
        for (what, own) in &wrong {
            // With TLS 1.3 the client may believe itself connected before it is refused.
            if let Some(stream) = connect(roots(), own.as_ref(), name(), &address).await {
                assert!(!asks(stream, authority.cluster(), channel).await, "{what} on {channel:?}");
            }
            tried += 1;
        }
        // In clear, as a proxy in front of a port without TLS would pass it on.
        let mut plain = TcpStream::connect(&address).await.unwrap();
        let hello = Hello { cluster: authority.cluster(), from: NodeId(2), to: None, channel };
        write_greeting(&mut plain, &hello).await.unwrap();
        let _ = write_frame(&mut plain, &Frame { id: 1, body: "hi".into() }).await;
        let _ = plain.shutdown().await;
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
        // The test is able: the right one is let in.
        let good = authority.issue(NodeId(2), now).unwrap();
        let stream = connect(roots(), Some(&good), name(), &address).await.unwrap();
        assert!(asks(stream, authority.cluster(), channel).await);
    }
    assert_eq!(tried, 32);
    let asked = service.0.load(Ordering::SeqCst);
    assert!(asked <= 4, "{asked} requests were passed on, of four that may be");
}

/// Silent strangers, more than there are places, from the peer's own address and from another.
#[tokio::test]
async fn k1_silent_strangers_shut_no_peer_out() {
    let authority = Authority::create(SystemClock.now()).unwrap();
    let service = Arc::new(Counting::default());
    let (_member, address) = member(&authority, &service).await;
    let mut crowd = Vec::new();
    for n in 0..600 {
        let socket = TcpSocket::new_v4().unwrap();
        let from = if n % 2 == 0 { "127.0.0.1:0" } else { "127.0.0.2:0" };
        socket.bind(from.parse().unwrap()).unwrap();
        crowd.push(socket.connect(address.parse().unwrap()).await.unwrap());
    }
    let certificate = authority.issue(NodeId(2), SystemClock.now()).unwrap();
    let identity = Identity { cluster: authority.cluster(), node: NodeId(2) };
    let peer = Peer { node: Some(NodeId(1)), addr: address };
    for channel in CHANNELS {
        let client = TlsTransport::new(Tls::new(identity, &certificate, Fence::new()).unwrap());
        // Less than it takes until the first of the crowd are cut for their silence.
        let answer = client.call(peer.clone(), channel, "hi".into(), Duration::from_secs(4)).await;
        assert_eq!(answer, Ok("hi".into()), "{channel:?}");
    }
}

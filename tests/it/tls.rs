//! The HTTP port under TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conclave::clock::LogTime;
use conclave::config::{Config, Flags};
use conclave::http::metrics::HttpMetrics;
use conclave::http::tls::Tls;
use conclave::http::{Router, Server, Settings, Surface};
use conclave_cluster::NodeId;
use conclave_cluster::pki::{Authority, NodeCertificate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use warp::Filter;
use warp::reply::Reply;

use crate::harness::eventually;
use crate::raw::{answer, send};

/// A certificate that any authority could have issued; the cluster's own is at hand.
struct Issued {
    certificate: NodeCertificate,
    name: String,
}

fn issue(folder: &Path) -> Issued {
    // Any day will do that is not far from today: the validity is a year.
    let now = conclave::clock::Clock::now(&conclave::clock::SystemClock);
    let authority = Authority::create(LogTime(now.0)).unwrap();
    let certificate = authority.issue(NodeId(1), now).unwrap();
    fs::write(folder.join("tls.pem"), &certificate.certificate).unwrap();
    fs::write(folder.join("tls.key"), &certificate.key).unwrap();
    Issued { certificate, name: authority.cluster().node_name(NodeId(1)) }
}

pub(crate) async fn serve(folder: &Path) -> Server {
    let file = |name: &str| Some(folder.join(name).display().to_string());
    let flags = Flags::default()
        .with("http_listen", Some("127.0.0.1:0"))
        .with("tls_certificate", file("tls.pem"))
        .with("tls_key", file("tls.key"));
    let config = Config::load(flags, None, Vec::new()).unwrap();
    let mut settings = Settings::from_config(&config).unwrap();
    settings.head_timeout = Duration::from_millis(300);
    settings.tls_check = Duration::from_millis(50);
    let show = warp::path!("v1" / "show").map(|| "shown".into_response());
    let router = Router::new().with(Surface::new("/v1", show.boxed()));
    Server::bind(settings, router, HttpMetrics::default()).await.unwrap()
}

fn client(issued: &Issued) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(issued.certificate.authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn get(issued: &Issued, to: SocketAddr) -> String {
    let name = ServerName::try_from(issued.name.clone()).unwrap();
    let stream = TcpStream::connect(to).await.unwrap();
    let mut stream = client(issued).connect(name, stream).await.unwrap();
    let request = b"GET /v1/show HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8(reply).unwrap()
}

/// Whether the port shows what that authority has issued.
async fn shown(issued: &Issued, to: SocketAddr) -> bool {
    let name = ServerName::try_from(issued.name.clone()).unwrap();
    let stream = TcpStream::connect(to).await.unwrap();
    client(issued).connect(name, stream).await.is_ok()
}

#[tokio::test]
async fn replies_under_tls_ask_the_browser_to_stay_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issue(folder.path());
    let server = serve(folder.path()).await;
    let reply = answer(get(&issued, server.local_addr()).await.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "shown"));
    assert_eq!(reply.header("strict-transport-security"), Some("max-age=31536000"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issue(folder.path());
    let server = serve(folder.path()).await;
    let plain = b"GET /v1/show HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert!(send(server.local_addr(), plain).await.is_none(), "an answer in clear");
    let mut silent = TcpStream::connect(server.local_addr()).await.unwrap();
    let end = timeout(Duration::from_secs(10), silent.read(&mut [0; 8])).await;
    assert!(matches!(end, Ok(Ok(0) | Err(_))), "a silent client is kept: {end:?}");
    assert!(get(&issued, server.local_addr()).await.contains("shown"));
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_at_once_and_a_bad_one_never() {
    let (folder, next) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = issue(folder.path());
    let server = serve(folder.path()).await;
    let second = issue(next.path());
    let copy = |name: &str| fs::copy(next.path().join(name), folder.path().join(name)).unwrap();
    let shows = async |issued: &Issued| shown(issued, server.local_addr()).await;
    assert!(shows(&first).await && !shows(&second).await);

    // The certificate without its key, then nonsense, then nothing at all: the first one goes on.
    copy("tls.pem");
    for bad in [None, Some("nonsense"), Some("")] {
        if let Some(text) = bad {
            fs::write(folder.path().join("tls.pem"), text).unwrap();
        }
        // Several looks long.
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            assert!(shows(&first).await);
        }
    }
    fs::remove_file(folder.path().join("tls.key")).unwrap();
    assert!(shows(&first).await);

    copy("tls.pem");
    copy("tls.key");
    eventually("the second is shown", async || shows(&second).await.then_some(())).await;
    assert!(!shows(&first).await);
    server.stop().await;
}

#[test]
fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    issue(folder.path());
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty.pem"), "").unwrap();
    let other = tempfile::tempdir().unwrap();
    issue(other.path());
    for (certificate, key, says) in [
        (path("none.pem"), path("tls.key"), "none.pem"),
        (path("empty.pem"), path("tls.key"), "empty.pem"),
        (path("tls.pem"), path("empty.pem"), "empty.pem"),
        (path("tls.pem"), other.path().join("tls.key"), "cannot be used"),
    ] {
        let error = Tls::open(&certificate, &key).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(says), "{says}: {error}");
    }
}

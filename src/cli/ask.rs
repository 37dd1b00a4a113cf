//! One HTTP request to a node of this machine, for commands that need an answer and no client library.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::{Failure, pinned};
use crate::config::Config;
use crate::secret::Secret;

/// What a node answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// After how many seconds a retry makes sense, where the node says so.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub body: String,
}

/// Longer than any node takes to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than any answer to these commands.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Longer than a node takes to show a certificate that was put in the place of another.
const REPLACED_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks whether it does.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Sends a request over plain HTTP to a node on this machine and waits for the answer, at most 10 s.
///
/// # Errors
/// When the node does not answer, or not in HTTP.
pub async fn ask(node: SocketAddr, method: &str, path: &str, json: Option<&str>) -> io::Result<Answer> {
    let node = reachable(node);
    let request = request(node, method, path, None, json)?;
    timeout(PATIENCE, async { exchange(Box::new(TcpStream::connect(node).await?), request).await }).await?
}

/// Sends a request with a token to the node that these settings are of, over TLS where they say so, and waits for the
/// answer, at most 10 s.
///
/// # Errors
/// What to tell the operator: no node answers, or it is not the one of these settings.
pub(super) async fn ask_with_token(
    config: &Config,
    method: &str,
    path: &str,
    token: &Secret<String>,
    json: Option<&str>,
) -> Result<Answer, Failure> {
    ask_node(config, method, path, Some(token), json).await
}

/// The same without a token.
///
/// # Errors
/// As [`ask_with_token`].
pub(super) async fn ask_plainly(config: &Config, method: &str, path: &str) -> Result<Answer, Failure> {
    ask_node(config, method, path, None, None).await
}

async fn ask_node(
    config: &Config,
    method: &str,
    path: &str,
    token: Option<&Secret<String>>,
    json: Option<&str>,
) -> Result<Answer, Failure> {
    let node = reachable(config.http_listen);
    let request = request(node, method, path, token, json)?;
    let answer = async { exchange(connect(config).await?, request).await };
    let answer = timeout(PATIENCE, answer).await.map_err(io::Error::from).flatten();
    answer.map_err(|error| no_answer(config, &error))
}

/// What to tell the operator when there is no connection, or no answer on it.
pub(super) fn no_answer(config: &Config, error: &io::Error) -> Failure {
    let node = config.http_listen;
    match &config.tls {
        Some(files) if pinned::is_another(error) => format!(
            "what answers at {node} shows another certificate than {}; are these the settings of the node that runs there?",
            files.certificate.display()
        )
        .into(),
        Some(_) | None if error.kind() == io::ErrorKind::InvalidData => {
            let wanted = if config.tls.is_some() { "HTTPS" } else { "HTTP" };
            format!("what answers at {node} does not speak {wanted}: {error}").into()
        }
        Some(_) | None => {
            format!("no node answers at {node}: {error}; is it running, are these its settings?").into()
        }
    }
}

/// A connection to a node.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Connects to the node that these settings are of, over TLS where they say so. A node that still shows the
/// certificate before the one in the file is given the time to see that.
///
/// # Errors
/// When nobody listens, or what does is another; see [`no_answer`].
pub(super) async fn connect(config: &Config) -> io::Result<Box<dyn Wire>> {
    let node = reachable(config.http_listen);
    let begun = Instant::now();
    loop {
        let stream = TcpStream::connect(node).await?;
        let Some(files) = &config.tls else { return Ok(Box::new(stream)) };
        match pinned::connect(stream, &files.certificate, name_of(config, node)).await {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) if pinned::is_another(&error) && begun.elapsed() < REPLACED_WITHIN => {
                sleep(LOOK_AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whom the handshake asks for: who answers for several names chooses by it.
fn name_of(config: &Config, node: SocketAddr) -> ServerName<'static> {
    let url = config.public_url.as_deref().and_then(|url| url.parse::<hyper::Uri>().ok());
    let host = url.as_ref().and_then(hyper::Uri::host).map(|host| host.trim_matches(['[', ']']).to_owned());
    host.and_then(|host| ServerName::try_from(host).ok()).unwrap_or_else(|| node.ip().into())
}

fn request(
    node: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&Secret<String>>,
    json: Option<&str>,
) -> io::Result<Request<Full<Bytes>>> {
    let unfit = |_| io::Error::new(io::ErrorKind::InvalidInput, "the request cannot be written");
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        // By its address, which every node answers to.
        .header(HOST, node.to_string())
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(json.unwrap_or_default().to_owned())))
        .map_err(unfit)?;
    if json.is_some() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(token) = token {
        let text = Zeroizing::new(format!("Bearer {}", token.expose()));
        let mut bearer = HeaderValue::from_str(&text)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the token has signs that none has"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}

async fn exchange(stream: Box<dyn Wire>, request: Request<Full<Bytes>>) -> io::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io_error)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(io_error)?;
        read(response).await
    };
    // The connection does the work of both directions; it has nothing to say of its own.
    let (answer, _) = tokio::join!(asking, connection);
    answer
}

async fn read(response: Response<hyper::body::Incoming>) -> io::Result<Answer> {
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let (status, retry_after_s) =
        (response.status().as_u16(), retry_after.and_then(|s| s.trim().parse().ok()));
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?.to_bytes();
    let body = String::from_utf8(body.into())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the answer is not text"))?;
    Ok(Answer { status, retry_after_s, body })
}

/// What is not HTTP is told apart from what does not answer.
pub(super) fn io_error(error: hyper::Error) -> io::Error {
    let kind = if error.is_parse() { io::ErrorKind::InvalidData } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

/// Where to connect to reach what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of bytes that a listener answers with.
    async fn answered(bytes: &'static [u8]) -> io::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        });
        ask(node, "GET", "/ready", None).await
    }

    #[tokio::test]
    async fn answers_are_taken_apart() {
        let answer = answered(b"HTTP/1.1 201 Created\r\na: b\r\ncontent-length: 6\r\n\r\n{}\r\n\r\n").await;
        let body = "{}\r\n\r\n".to_owned();
        assert_eq!(answer.unwrap(), Answer { status: 201, retry_after_s: None, body });
        let answer = answered(b"HTTP/1.1 503 x\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(answer.unwrap(), Answer { status: 503, retry_after_s: Some(7), body: String::new() });
        for bad in [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/1.1 xxx\r\n\r\n"] {
            assert_eq!(answered(bad).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert!(answered(b"").await.is_err());
    }

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (listens, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.1:3", "10.0.0.1:3")]
        {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}

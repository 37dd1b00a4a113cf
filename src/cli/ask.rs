//! One HTTP request to a node of this machine, for commands that need an answer and no client library.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Failure;
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
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// Sends a request over plain HTTP to a node on this machine and waits for the answer, at most 10 s.
///
/// # Errors
/// When the node does not answer, or not in HTTP.
pub async fn ask(node: SocketAddr, method: &str, path: &str, json: Option<&str>) -> io::Result<Answer> {
    let reply = timeout(PATIENCE, exchange(reachable(node), method, path, None, json)).await??;
    parse(&reply).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// As [`ask`] with a token, of the node that these settings are of.
///
/// # Errors
/// What to tell the operator: no node answers, or it speaks TLS, which this does not.
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
    let node = config.http_listen;
    if config.tls.is_some() {
        return Err(format!("this node speaks TLS: ask {}{path} with curl", config.base_url()).into());
    }
    let no_answer = |error: io::Error| {
        format!("no node answers at {node}: {error}; is it running, are these its settings?")
    };
    let exchange = exchange(reachable(node), method, path, token, json);
    let reply = timeout(PATIENCE, exchange).await.map_err(io::Error::from).flatten().map_err(no_answer)?;
    parse(&reply).ok_or_else(|| format!("what answers at {node} does not speak HTTP").into())
}

async fn exchange(
    node: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&Secret<String>>,
    json: Option<&str>,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(node).await?;
    let body = json.unwrap_or_default();
    let kind = if json.is_some() { "content-type: application/json\r\n" } else { "" };
    let bearer =
        token.map(|token| format!("authorization: Bearer {}\r\n", token.expose())).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {node}\r\nconnection: close\r\n{bearer}{kind}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut reply).await?;
    Ok(reply)
}

/// Our nodes answer with whole bodies, so what follows the head is the body.
fn parse(reply: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(reply).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let retry_after = head.lines().filter_map(|line| line.split_once(':'));
    let retry_after_s = retry_after
        .filter(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
        .find_map(|(_, seconds)| seconds.trim().parse().ok());
    Some(Answer { status, retry_after_s, body: body.to_owned() })
}

/// Where to connect to reach what listens on `address`.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer = parse(b"HTTP/1.1 201 Created\r\na: b\r\n\r\n{}\r\n\r\n");
        let body = "{}\r\n\r\n".to_owned();
        assert_eq!(answer, Some(Answer { status: 201, retry_after_s: None, body }));
        let answer = parse(b"HTTP/1.1 503 x\r\nRetry-After: 7\r\n\r\n");
        assert_eq!(answer, Some(Answer { status: 503, retry_after_s: Some(7), body: String::new() }));
        for bad in
            [&b""[..], b"SSH-2.0-x\r\n", b"HTTP/1.1 20\r\n\r\n", b"HTTP/1.1 xxx\r\n\r\n", b"\xff\r\n\r\n"]
        {
            assert_eq!(parse(bad), None);
        }
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

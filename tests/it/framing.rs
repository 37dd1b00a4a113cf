//! What the HTTP edge does with requests that are wrong on the wire, slow, too many or too big, and with
//! handlers that fail.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use conclave::http::host::AllowedHosts;
use conclave::http::metrics::HttpMetrics;
use conclave::http::{Problem, Router, Segment, Server, Settings, Surface, context, cors, json, problem};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use crate::raw::{Answer, answer, send};

/// Tells a test that the handler runs, and the handler that it may end.
#[derive(Clone, Default)]
struct Gate {
    entered: Arc<Notify>,
    leave: Arc<Notify>,
}

fn router(gate: &Gate) -> Router {
    let echo = warp::path!("v1" / "echo").and(warp::post()).and(json::body::<Value>()).map(echo);
    let show = warp::path!("v1" / "show").and(warp::get()).and(context::context()).map(
        |c: conclave::http::Context| {
            json::reply(StatusCode::OK, &json!({"id": &*c.request_id, "peer": c.peer.ip().to_string()}))
        },
    );
    let broken = warp::path!("v1" / "broken").map(|| -> Response { panic!("hunter2") });
    let user = warp::path!("v1" / "users" / Segment).map(|name: Segment| name.to_string().into_response());
    let hangs = warp::path!("v1" / "hangs").and_then(pending::<Result<Response, Rejection>>);
    let gate = gate.clone();
    let gated = warp::path!("v1" / "gated").then(move || {
        let gate = gate.clone();
        async move {
            gate.entered.notify_one();
            gate.leave.notified().await;
            "done".into_response()
        }
    });
    let v1 =
        echo.or(show).unify().or(broken).unify().or(hangs).unify().or(gated).unify().or(user).unify().boxed();
    let iam =
        warp::path!("iam" / "v1" / "taken").map(|| Problem::conflict("taken", "Taken.").into_response());
    let docs = warp::path("docs").and(warp::path::end()).map(|| "page".into_response());
    Router::new()
        .with(Surface::new("/v1", v1))
        .with(Surface::new("/iam/v1", iam.boxed()).render(problem::detail))
        .with(Surface::new("/docs", docs.boxed()).pages())
}

fn echo(body: Result<Value, Problem>) -> Response {
    match body {
        Ok(body) => json::reply(StatusCode::OK, &body),
        Err(problem) => problem.into_response(),
    }
}

fn settings() -> Settings {
    let mut settings = Settings::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    settings.allowed_hosts = AllowedHosts::new(["iam.example.com"]);
    settings.cors = cors::Cors::new(["https://app.example.com".to_owned()]);
    settings
}

async fn serve(settings: Settings) -> Server {
    Server::bind(settings, router(&Gate::default()), HttpMetrics::default()).await.unwrap()
}

async fn get(server: &Server, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    send(server.local_addr(), request.as_bytes()).await.unwrap()
}

/// A POST to `/v1/echo` with these header lines (each with its line end) and bytes after the head.
fn post(lines: &str, after: &str) -> Vec<u8> {
    format!("POST /v1/echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}\r\n{after}")
        .into_bytes()
}

/// The table of framings. What RFC 9112 lets a recipient take, hyper takes (a bare line feed as the end of
/// a line); all else must be refused before a handler sees it.
#[tokio::test]
async fn framing_table() {
    let server = serve(settings()).await;
    let get = |head: &str| format!("GET /v1/show {head}\r\n\r\n").into_bytes();
    let many = |lines: usize| {
        let lines: String = (0..lines).fold(String::new(), |lines, n| lines + &format!("x-{n}: 1\r\n"));
        post(&format!("{lines}content-length: 2\r\n"), "{}")
    };
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("plain", post("content-length: 2\r\n", "{}"), 200),
        ("chunked", post("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 200),
        ("no host", get("HTTP/1.1\r\nconnection: close"), 400),
        ("no host, 1.0", get("HTTP/1.0"), 400),
        ("two hosts", get("HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close"), 400),
        ("two different hosts", get("HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\nconnection: close"), 400),
        ("foreign host", get("HTTP/1.1\r\nhost: evil.org\r\nconnection: close"), 421),
        ("own host", get("HTTP/1.1\r\nhost: IAM.example.com:443\r\nconnection: close"), 200),
        ("bare LF", b"GET /v1/show HTTP/1.1\nhost: localhost\nconnection: close\n\n".to_vec(), 200),
        ("two lengths", post("content-length: 2\r\ncontent-length: 3\r\n", "{}x"), 400),
        ("signed length", post("content-length: +2\r\n", "{}"), 400),
        ("list of lengths", post("content-length: 2, 3\r\n", "{}x"), 400),
        ("unknown coding", post("transfer-encoding: fancy\r\n", "{}"), 400),
        ("chunked not last", post("transfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"), 400),
        ("space before colon", post("content-length : 2\r\n", "{}"), 400),
        ("folded line", post("x-a: 1\r\n  2\r\ncontent-length: 2\r\n", "{}"), 400),
        ("NUL", post("x-a: 1\u{0}2\r\ncontent-length: 2\r\n", "{}"), 400),
        ("chunk size overflow", post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\n{}"), 400),
        ("bad chunk size", post("transfer-encoding: chunked\r\n", "2 x\r\n{}\r\n0\r\n\r\n"), 400),
        ("LF in chunk extension", post("transfer-encoding: chunked\r\n", "2;a\nb\r\n{}\r\n0\r\n\r\n"), 400),
        ("chunked on 1.0", b"POST /v1/echo HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec(), 400),
        ("90 lines", many(90), 200),
        ("120 lines", many(120), 431),
        ("17 kB head", post(&format!("x-a: {}\r\ncontent-length: 2\r\n", "x".repeat(17_000)), "{}"), 431),
        ("absolute form", b"GET http://localhost/v1/show HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), 200),
        ("absolute form, foreign", b"GET http://evil.org/v1/show HTTP/1.1\r\nhost: evil.org\r\nconnection: close\r\n\r\n".to_vec(), 421),
        ("absolute form, other host", b"GET http://evil.org/v1/show HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), 400),
        ("asterisk", b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), 404),
        ("connect", b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\nconnection: close\r\n\r\n".to_vec(), 404),
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(), 400),
        ("short body", post("content-length: 2\r\n", "{"), 400),
    ];
    for (name, bytes, status) in table {
        let half_closed = name == "short body";
        let got = if half_closed {
            send_and_finish(&server, &bytes).await
        } else {
            send(server.local_addr(), &bytes).await
        };
        // A short body may also be answered by closing: there is nobody to tell.
        let got = got.map(|answer| answer.status);
        assert!(got == Some(status) || (half_closed && got.is_none()), "{name}: {got:?}, not {status}");
    }
    server.stop().await;
}

async fn send_and_finish(server: &Server, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    answer(&reply)
}

#[tokio::test]
async fn length_and_coding_together_end_the_connection() {
    let server = serve(settings()).await;
    let first = "POST /v1/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 30\r\ntransfer-encoding: chunked\r\n\r\n";
    let smuggled = "GET /v1/show HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let reply = send(server.local_addr(), format!("{first}2\r\n{{}}\r\n0\r\n\r\n{smuggled}").as_bytes())
        .await
        .unwrap();
    assert!(!reply.body.contains("HTTP/1.1"), "a second answer: {reply:?}");
    server.stop().await;
}

#[tokio::test]
async fn bodies_have_a_limit_however_they_come() {
    let server = serve(settings()).await;
    let big = format!("\"{}\"", "x".repeat(70_000));
    let announced = post(&format!("content-length: {}\r\n", big.len()), &big);
    let chunked = post("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len()));
    let endless = post("content-length: 300000000\r\n", "x");
    for bytes in [announced, chunked, endless] {
        let answer = send(server.local_addr(), &bytes).await.unwrap();
        assert_eq!(answer.status, 413);
        assert_eq!(answer.json()["code"], "body_too_large");
    }
    let fits = format!("\"{}\"", "x".repeat(64 * 1024 - 2));
    let answer = send(server.local_addr(), &post("content-length: 65536\r\n", &fits)).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 65536));
    server.stop().await;
}

#[tokio::test]
async fn paths_have_one_spelling() {
    let server = serve(settings()).await;
    for (path, status) in [
        ("/v1/show", 200),
        ("/v1/show?x", 200),
        ("/v1/show/", 404),
        ("//v1/show", 404),
        ("/v1//show", 404),
        ("/./v1/show", 404),
        ("/v1/../v1/show", 404),
        ("/v1/%2e%2e/v1/show", 404),
        ("/v1%2fshow", 404),
        ("/v1%5cshow", 404),
        ("/v1/show;a", 404),
        ("/v1/%73how", 404),
        ("/V1/show", 404),
        ("/v1/show%00", 404),
        ("/v1/echo", 405),
        ("/", 404),
        ("/v2", 404),
        ("/v1/users/alice@example.com", 200),
        ("/v1/users/a%20b%25", 200),
        ("/v1/users/%2e%2e", 404),
        ("/v1/users/.", 404),
        ("/v1/users/a%2fb", 404),
        ("/v1/users/a%5Cb", 404),
        ("/v1/users/a;b", 404),
        ("/v1/users/a%0ab", 404),
        ("/v1/users/a%zz", 404),
        ("/docs/", 200),
        ("/docs", 200),
    ] {
        assert_eq!(get(&server, path).await.status, status, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn each_surface_words_errors_in_its_own_way() {
    let server = serve(settings()).await;
    let native = get(&server, "/v1/none").await;
    assert_eq!(native.header("content-type"), Some("application/problem+json"));
    assert_eq!(native.json()["type"], "urn:conclave:problem:route_not_found");
    assert_eq!(native.json()["request_id"].as_str(), native.header("x-request-id"));
    let iam = get(&server, "/iam/v1/taken").await;
    assert_eq!((iam.status, iam.json()["detail"].as_str()), (409, Some("Taken.")));
    let iam = get(&server, "/iam/v1//taken").await;
    assert_eq!(
        (iam.status, iam.json()["detail"].is_string(), iam.json()["type"].is_null()),
        (404, true, true)
    );
    let duplicate =
        send(server.local_addr(), &post("content-length: 13\r\n", r#"{"a":1,"a":2}"#)).await.unwrap();
    assert_eq!((duplicate.status, duplicate.json()["code"].as_str()), (400, Some("invalid_json")));
    let form = post("content-type: text/plain\r\ncontent-length: 2\r\n", "{}");
    assert_eq!(send(server.local_addr(), &form).await.unwrap().status, 415);
    server.stop().await;
}

#[tokio::test]
async fn every_reply_has_its_headers() {
    let server = serve(settings()).await;
    for path in ["/v1/show", "/v1/none", "/none", "//"] {
        let answer = get(&server, path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("vary", "origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert_eq!(answer.header("strict-transport-security"), None);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
    }
    assert!(
        get(&server, "/docs").await.header("content-security-policy").unwrap().contains("script-src 'self'")
    );
    let request = "GET /v1/show HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
        x-request-id: mine-7\r\norigin: https://app.example.com\r\n\r\n";
    let answer = send(server.local_addr(), request.as_bytes()).await.unwrap();
    assert_eq!(answer.header("x-request-id"), Some("mine-7"));
    assert_eq!(answer.json(), json!({"id": "mine-7", "peer": "127.0.0.1"}));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    server.stop().await;
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = serve(settings()).await;
    let request = "HEAD /v1/show HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: h\r\n\r\n";
    let answer = send(server.local_addr(), request.as_bytes()).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_ne!(answer.header("content-length"), Some("0"));
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_one_500_and_nothing_else() {
    let server = serve(settings()).await;
    // On one connection: the panic does not even end that.
    let request = "GET /v1/broken HTTP/1.1\r\nhost: localhost\r\nx-request-id: p1\r\n\r\n\
        GET /v1/show HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = send(server.local_addr(), request.as_bytes()).await.unwrap();
    assert_eq!((answer.status, answer.header("x-request-id")), (500, Some("p1")));
    assert!(answer.body.contains("\"internal\"") && answer.body.contains("HTTP/1.1 200 OK"), "{answer:?}");
    assert!(!answer.body.contains("hunter2"));
    server.stop().await;
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_with_an_unknown_outcome() {
    let mut settings = settings();
    settings.request_timeout = Duration::from_millis(200);
    let server = serve(settings).await;
    let answer = get(&server, "/v1/hangs").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let body = answer.json();
    assert_eq!((&body["code"], &body["outcome_unknown"]), (&json!("timed_out"), &json!(true)));
    server.stop().await;
}

/// Each slow way and the time after which it must be cut, with all times set short.
#[tokio::test]
async fn slow_clients_are_cut() {
    let mut settings = settings();
    settings.head_timeout = Duration::from_millis(200);
    settings.idle_timeout = Duration::from_millis(400);
    settings.body_timeout = Duration::from_millis(300);
    let server = serve(settings).await;
    let body = "POST /v1/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n";
    let done = "GET /v1/show HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (name, first, drip, least, told) in [
        ("head that drips", "GET /v1/show HTTP/1.1\r\n", "x: y\r\n", 200, None),
        ("first byte only", "P", "", 200, None),
        ("nothing at all", "", "", 400, None),
        ("body that drips", body, "x", 300, Some(408)),
        ("nothing after a request", done, "", 400, Some(200)),
    ] {
        let start = Instant::now();
        let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
        let _ = client.write_all(first.as_bytes()).await;
        let (mut from, mut to) = client.split();
        let mut reply = Vec::new();
        let dripping = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while to.write_all(drip.as_bytes()).await.is_ok() {
                tick.tick().await;
            }
            pending::<()>().await;
        };
        tokio::select! {
            _ = timeout(Duration::from_secs(10), from.read_to_end(&mut reply)) => {}
            () = dripping => {}
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(least) && took < Duration::from_secs(5), "{name}: {took:?}");
        let got = answer(&reply).map(|answer| answer.status);
        // hyper says 408 to a head that stalls, on its way out.
        assert!(got == told || (told.is_none() && got == Some(408)), "{name}: {got:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn connections_have_a_cap() {
    let mut settings = settings();
    settings.max_connections_per_address = 2;
    let server = serve(settings).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(b"GET /v1/show HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        held.push(stream);
    }
    let refused = send(server.local_addr(), b"").await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    drop(held);
    // The places come back when the server has seen the ends.
    let free_again = timeout(Duration::from_secs(10), async {
        while get(&server, "/v1/show").await.status != 200 {
            tokio::task::yield_now().await;
        }
    });
    free_again.await.expect("the places do not come back");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_lets_requests_in_progress_end() {
    let gate = Gate::default();
    let server = Server::bind(settings(), router(&gate), HttpMetrics::default()).await.unwrap();
    let address = server.local_addr();
    let idle = TcpStream::connect(address).await.unwrap();
    let asked =
        tokio::spawn(
            async move { send(address, b"GET /v1/gated HTTP/1.1\r\nhost: localhost\r\n\r\n").await },
        );
    gate.entered.notified().await;
    let stopping = tokio::spawn(server.stop());
    // The port is closed before the last request ends.
    timeout(Duration::from_secs(10), async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the port stays open");
    assert!(!stopping.is_finished());
    gate.leave.notify_one();
    let reply = timeout(Duration::from_secs(5), asked).await.expect("its connection is kept after the reply");
    assert_eq!(reply.unwrap().unwrap().status, 200);
    timeout(Duration::from_secs(5), stopping).await.expect("an idle connection holds up the stop").unwrap();
    drop(idle);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let gate = Gate::default();
    let mut settings = settings();
    settings.drain_timeout = Duration::from_millis(200);
    let server = Server::bind(settings, router(&gate), HttpMetrics::default()).await.unwrap();
    let address = server.local_addr();
    let asked =
        tokio::spawn(
            async move { send(address, b"GET /v1/gated HTTP/1.1\r\nhost: localhost\r\n\r\n").await },
        );
    gate.entered.notified().await;
    timeout(Duration::from_secs(4), server.stop()).await.expect("it waits for ever");
    assert!(asked.await.unwrap().is_none());
}

#[tokio::test]
async fn http2_is_served_with_the_same_rules() {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    let server = serve(settings()).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<String>();
    let ask = |path: &str| client.get(format!("http://{}{path}", server.local_addr()).parse().unwrap());
    let answer = ask("/v1/show").await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, warp::http::Version::HTTP_2));
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(ask("/v1/none").await.unwrap().status(), 404);
    assert_eq!(ask("/v1/broken").await.unwrap().status(), 500);
    let foreign = warp::http::Request::get(format!("http://{}/v1/show", server.local_addr()))
        .header("host", "evil.org")
        .body(String::new());
    assert_eq!(client.request(foreign.unwrap()).await.unwrap().status(), 400);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let metrics = conclave::telemetry::Metrics::new();
    let http = metrics.register(HttpMetrics::register);
    let server = Server::bind(settings(), router(&Gate::default()), http).await.unwrap();
    for path in ["/v1/show", "/v1/show", "/v1/broken", "/made/up/by/a/stranger"] {
        get(&server, path).await;
    }
    send(server.local_addr(), b"BREW /v1/show HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    server.stop().await;
    let text = metrics.render();
    for line in [
        "http_requests_total{method=\"GET\",endpoint=\"/v1\",status=\"200\"} 2",
        "http_requests_total{method=\"GET\",endpoint=\"/v1\",status=\"500\"} 1",
        "http_requests_total{method=\"GET\",endpoint=\"unmatched\",status=\"404\"} 1",
        "http_requests_total{method=\"OTHER\",endpoint=\"/v1\",status=\"405\"} 1",
        "http_request_duration_seconds_count{method=\"GET\",endpoint=\"/v1\"} 3",
        "http_connections 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("stranger") && !text.contains("BREW"));
}

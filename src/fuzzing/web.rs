//! What comes over HTTP: bodies, queries, paths, headers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use serde_json::Value;
use warp::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, IF_MATCH};
use warp::http::{HeaderMap, Method, Uri};

use super::{found, must, utf8};
use crate::api::call::{CONSISTENCY, Call, IDEMPOTENCY_KEY};
use crate::api::docs::{ReadsBody, ReadsQuery};
use crate::api::keystone::body::{basic, joined, scopes};
use crate::api::reply::{PageQuery, cursor};
use crate::api::routes::Routes;
use crate::api::{Api, docs, iam};
use crate::app::admit::Left;
use crate::domain::{AccountId, UserId};
use crate::http::context::{Context, REQUEST_ID, request_id};
use crate::http::host::AllowedHosts;
use crate::http::path::{Segment, is_canonical};
use crate::http::problem::Problem;
use crate::http::source::Proxies;
use crate::http::{form, json as bodies, query as queries};
use crate::telemetry::trace;

/// A body, read as that of each operation. A refusal is one of the client's fault and quotes no value.
pub(super) fn body(data: &[u8]) {
    static READERS: LazyLock<Vec<ReadsBody>> = LazyLock::new(|| docs::readers().0);
    assert!(READERS.len() > 20, "no bodies");
    for reads in READERS.iter() {
        if let Err(problem) = reads(data) {
            is_refusal(&problem, data);
        }
    }
}

/// As `serde_json` has it, or refused: what is taken says the same to both.
pub(super) fn json(data: &[u8]) {
    let ours = bodies::parse::<Value>(data);
    let theirs = serde_json::from_slice::<Value>(data);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert!(ours == theirs, "read otherwise: {ours} and {theirs}"),
        (Ok(ours), Err(error)) => found(&format!("{ours} is no JSON: {error}")),
        (Err(problem), _) => is_refusal(&problem, data),
    }
    drop(form::parse::<PageQuery>(data));
}

fn is_refusal(problem: &Problem, data: &[u8]) {
    assert!([400, 413].contains(&problem.status().as_u16()), "{problem:?}");
    // A long value would stand in it to a part.
    assert!(problem.detail().len() < 400 + data.len().min(300), "a long story: {problem:?}");
}

/// A query, read as that of each operation; and a cursor.
pub(super) fn query(data: &[u8]) {
    static READERS: LazyLock<Vec<ReadsQuery>> = LazyLock::new(|| docs::readers().1);
    assert!(READERS.len() > 10, "no queries");
    let Some(text) = utf8(data) else { return };
    for reads in READERS.iter() {
        if let Err(problem) = reads(Some(text)) {
            is_refusal(&problem, data);
        }
    }
    let page = PageQuery { limit: None, cursor: Some(text.to_owned()) };
    if let Ok(Some(id)) = page.after::<UserId>() {
        let again = PageQuery { limit: None, cursor: Some(cursor(id)) };
        assert!(again.after::<UserId>().is_ok_and(|again| again == Some(id)), "a cursor is another one now");
    }
    if let Ok(Some(scopes_of)) = scopes(Some(text)) {
        let again = scopes(Some(&joined(&scopes_of)));
        assert!(again.is_ok_and(|again| again == Some(scopes_of)), "scopes are others now");
    }
}

/// A method and a path.
pub(super) fn path(data: &[u8]) {
    static ROUTES: LazyLock<Routes> =
        LazyLock::new(|| must(Routes::new(Api::routes()), "the routes fit together"));
    let Some(text) = utf8(data) else { return };
    let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
    if let Ok(segment) = path.parse::<Segment>() {
        assert!(!segment.0.is_empty() && !segment.0.chars().any(char::is_control), "{segment}");
    }
    if let Some(id) = AccountId::parse("123456789012").ok().and_then(|account| iam::user_named(path, account))
    {
        let krn = format!("krn:iam:123456789012:users:{id}");
        let account = must(AccountId::parse("123456789012"), "an account");
        assert!(iam::user_named(&krn, account) == Some(id), "a user is another one now: {krn}");
    }
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), path.parse::<Uri>()) else { return };
    if !is_canonical(uri.path()) {
        return;
    }
    for segment in uri.path().split('/').skip(1) {
        let plain = queries::decode(segment, false);
        assert!(plain.is_some_and(|plain| !["..", "."].contains(&plain.as_str())), "routed: {uri}");
    }
    match ROUTES.find(&method, uri.path()) {
        Ok((route, parameters)) => {
            assert!(route.method == method.as_str(), "{method} is taken for {}", route.name);
            for (name, value) in parameters {
                let is_plain =
                    !value.is_empty() && !value.contains('/') && !value.chars().any(char::is_control);
                assert!(is_plain, "{name} is {value:?} in {uri}");
            }
        }
        Err(problem) => assert!([404, 405].contains(&problem.status().as_u16()), "{problem:?}"),
    }
}

/// Headers that say something, each with the same value.
pub(super) fn headers(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::new();
    let names =
        [AUTHORIZATION, HOST, IF_MATCH, CONSISTENCY, IDEMPOTENCY_KEY, HeaderName::from_static(REQUEST_ID)];
    for name in names {
        headers.insert(name, value.clone());
    }
    let id = request_id(&headers);
    assert!((1..=64).contains(&id.len()) && id.is_ascii(), "a request is called {id}");
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    drop(AllowedHosts::new(["iam.example.com"]).check(&Uri::from_static("/"), &headers, local));
    let context = Context {
        request_id: id,
        peer: local,
        source: local.ip(),
        deadline: tokio::time::Instant::now(),
        secure: false,
        upload: None,
    };
    let call = Call::new(context, "GET /x", Left::default(), Vec::new(), headers, None, bytes::Bytes::new());
    if let Ok(Some(token)) = call.bearer_if_any() {
        assert!(!token.is_empty() && data.len() > token.len() + "bearer".len(), "a token out of nothing");
    }
    drop(call.freshness());
    if let Ok(Some(revision)) = call.if_match() {
        assert!(data.starts_with(b"\"") && data.ends_with(b"\""), "a tag without quotes: {revision}");
    }
    let keyed = call.request("", "").is_ok();
    assert!(
        keyed == (data.len() <= 255 && !data.is_empty() && data.iter().all(u8::is_ascii_graphic)),
        "a key"
    );
    let Some(text) = utf8(data) else { return };
    if let Some(parent) = trace::read(text) {
        assert!(parent.is_valid(), "a parent that is none");
    }
    drop(basic(text));
}

/// Who asks, behind proxies that are trusted: an address that somebody wrote or that of the peer.
pub(super) fn source(data: &[u8]) {
    let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| must(network.parse(), "a network"));
    let proxies = Proxies::new(networks.to_vec());
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append("x-forwarded-for", value);
    }
    let stranger = IpAddr::from([203, 0, 113, 9]);
    assert!(proxies.source(stranger, &headers) == stranger, "a stranger is believed");
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let source = proxies.source(proxy, &headers);
    assert!(source == source.to_canonical(), "{source} has another name");
    if data.is_empty() {
        assert!(source == proxy, "{source} out of nothing");
    }
}

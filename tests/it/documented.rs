//! A node answers as its API document says; its browser is there; a scrape shows its figures.

mod nodes;
mod token_service;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use conclave::auth::kek::Kek;
use conclave::config::{Config, Flags};
use conclave::node::Node;
use conclave::telemetry::Metrics;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{interval, timeout};

use crate::openapi::operations;
use crate::raw::{Answer, send};
use crate::rodmena::{in_days, new_key};
use crate::schema::{fits, resolve};

/// A node alone, which ends with the test.
struct Alone {
    node: Node,
    address: SocketAddr,
    key_file: PathBuf,
    _folder: TempDir,
}

impl Alone {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = Flags::default()
            .with("data", Some(folder.path().join("data").display().to_string()))
            .with("http_listen", Some("127.0.0.1:0"))
            .with("peer_listen", Some("127.0.0.1:0"))
            .with("argon2_memory_kib", Some("7168"))
            .with("argon2_iterations", Some("1"))
            .with("rate_limit_login", Some("off"))
            .with("rate_limit_register", Some("off"));
        let config = Config::load(flags, None, Vec::new()).unwrap();
        let node = Node::start(&config, Arc::new(Metrics::new())).await.unwrap();
        let address = node.http_address();
        let alone = Self { node, address, key_file: config.key_file, _folder: folder };
        let ready = async {
            let mut ticks = interval(Duration::from_millis(20));
            while alone.get("/ready").await.status != 200 {
                ticks.tick().await;
            }
        };
        timeout(Duration::from_secs(20), ready).await.expect("the node does not become ready");
        alone
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", None).await
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let bearer =
            if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{bearer}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        send(self.address, request.as_bytes()).await.unwrap()
    }
}

/// Asks a node, and compares what it answers with what the document says it does.
struct Asker<'n> {
    node: &'n Alone,
    document: Value,
    token: String,
    account: String,
    seen: BTreeSet<String>,
}

impl Asker<'_> {
    async fn ask(&mut self, route: &str, names: &[(&str, &str)], body: Option<Value>, status: u16) -> Value {
        let (method, pattern) = route.split_once(' ').unwrap();
        let (pattern, query) = pattern.split_once('?').unwrap_or((pattern, ""));
        let mut path = pattern.replace("{account}", &self.account);
        for (name, value) in names {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let answer = self.node.ask(method, &path, &self.token, body).await;
        assert_eq!(answer.status, status, "{route}: {answer:?}");
        let told = &self.document["paths"][pattern][method.to_lowercase()]["responses"][status.to_string()];
        let told = told.get("$ref").map_or(told, |to| resolve(&self.document, to).unwrap());
        assert!(told.is_object(), "{route} is not told to answer {status}");
        self.seen.insert(format!("{method} {pattern}"));
        for header in
            told.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys())
        {
            assert!(answer.header(&header.to_lowercase()).is_some(), "{route}: no {header}: {answer:?}");
        }
        let Some((format, content)) = told["content"].as_object().and_then(|content| content.iter().next())
        else {
            assert_eq!(answer.body, "", "{route}");
            return Value::Null;
        };
        assert_eq!(answer.header("content-type"), Some(format.as_str()), "{route}");
        let body = answer.json();
        fits(&self.document, &content["schema"], &body).unwrap_or_else(|fault| panic!("{route}: {fault}"));
        body
    }

    /// The request body that the document gives as the example.
    fn example(&self, route: &str) -> Option<Value> {
        let (method, path) = route.split_once(' ').unwrap();
        let operation = &self.document["paths"][path][method.to_lowercase()];
        operation.pointer("/requestBody/content/application~1json/example").cloned()
    }

    async fn example_of(&mut self, route: &str, names: &[(&str, &str)], status: u16) -> Value {
        let body = self.example(route);
        self.ask(route, names, body, status).await
    }
}

const IN: &str = "/v1/accounts/{account}";

#[tokio::test]
async fn a_node_answers_as_the_document_says() {
    let node = Alone::start().await;
    let document = node.get("/openapi.json").await.json();
    let mut asker =
        Asker { node: &node, document, token: String::new(), account: String::new(), seen: BTreeSet::new() };
    people(&mut asker).await;
    programs(&mut asker).await;
    refusals(&mut asker).await;
    goodbyes(&mut asker).await;
    seed_of_iam(&mut asker).await;
    authorization_by_key(&mut asker).await;
    nodes::setup(&mut asker).await;
    token_service::ask_all(&mut asker).await;
    operators(&mut asker).await;
    asker.token = String::new();
    asker.ask("GET /health", &[], None, 200).await;
    asker.ask("GET /ready", &[], None, 200).await;
    asker.ask("GET /readyz", &[], None, 200).await;
    asker.ask("GET /ping", &[], None, 200).await;
    let all = operations(&asker.document).into_iter();
    let all = all.map(|(method, path, _)| format!("{} {path}", method.to_uppercase()));
    let unseen: Vec<String> = all.filter(|route| !asker.seen.contains(route)).collect();
    // The first is no JSON and asked below, the others are stories of their own: they change the keys of a node, or give bytes.
    assert_eq!(
        unseen,
        [
            "GET /metrics",
            "POST /v1/cluster/accounts/{account}/restore",
            "GET /v1/cluster/backup",
            "GET /v1/cluster/keys",
            "POST /v1/cluster/keys/reload"
        ]
    );
    scrape(&node).await;
    pages(&node).await;
    node.node.stop().await;
}

async fn people(asker: &mut Asker<'_>) {
    let at = |route: &str| route.replace("..", IN);
    let opened = asker.example_of("POST /v1/accounts", &[], 201).await;
    opened["account"]["id"].as_str().unwrap().clone_into(&mut asker.account);
    let tokens = asker.example_of("POST /v1/sign-in", &[], 200).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    asker.token = text(&tokens["access_token"]);
    asker.ask(&at("GET .."), &[], None, 200).await;
    asker.ask(&at("GET ../jwks.json"), &[], None, 200).await;
    asker.ask(&at("POST ../signing-keys"), &[], None, 201).await;
    asker.example_of(&at("POST ../roles"), &[], 201).await;
    let user = asker.example_of(&at("POST ../users"), &[], 201).await;
    let dev = &[("user", "dev"), ("role", "developer")];
    let dev_id = text(&user["id"]);
    for (route, status) in [
        ("GET ../users/{user}", 200),
        ("PATCH ../users/{user}", 200),
        ("GET ../users/{user}/roles", 200),
        ("GET ../users/{user}/permissions", 200),
        ("DELETE ../users/{user}/roles/{role}", 200),
        ("PUT ../users/{user}/roles/{role}", 200),
        ("GET ../roles/{role}", 200),
        ("GET ../roles/{role}/members", 200),
        ("PATCH ../roles/{role}", 200),
        ("GET ../roles", 200),
        ("GET ../users", 200),
        ("GET ../audit", 200),
        ("GET ../audit/head", 200),
        ("GET ../settings", 200),
        ("PATCH ../settings", 200),
        ("GET ../users/{user}/lockout", 200),
        ("DELETE ../users/{user}/lockout", 204),
        ("POST ../sign-in", 200),
        ("POST ../check", 200),
        ("POST ../check/batch", 200),
        ("POST ../workflows/who", 200),
        ("POST ../workflows/check", 200),
        ("GET ../users/{user}/sessions", 200),
        ("DELETE ../users/{user}/sessions", 204),
        ("PUT ../users/{user}/password", 204),
        ("POST ../password", 204),
        ("POST ../password-strength", 200),
        ("POST ../users/{user}/disable", 200),
        ("POST ../users/{user}/enable", 200),
    ] {
        asker.example_of(&at(route), dev, status).await;
    }
    let page = asker.ask(&at("GET ../users?limit=1"), &[], None, 200).await;
    assert!(page["next"].is_string(), "{page}");
    let verdict = asker.ask(&at("GET ../check?permission=x"), &[], None, 200).await;
    assert_eq!(verdict["allowed"], true);
    let holders = asker.ask(&at("GET ../who-can?permission=orders:read"), &[], None, 200).await;
    assert_eq!(holders["items"][0]["id"], dev_id.as_str(), "{holders}");
    for (route, status) in [("validate", 200), ("introspect", 200)] {
        let body = json!({"token": asker.token});
        asker.ask(&at(&format!("POST ../tokens/{route}")), &[], Some(body), status).await;
    }
    let body = json!({"token": "none"});
    let seen = asker.ask(&at("POST ../tokens/introspect"), &[], Some(body), 200).await;
    assert_eq!(seen, json!({"active": false}));
    let body = json!({"refresh_token": tokens["refresh_token"]});
    let next = asker.ask(&at("POST ../tokens/refresh"), &[], Some(body), 200).await;
    asker.token = text(&next["access_token"]);
}

async fn programs(asker: &mut Asker<'_>) {
    let at = |route: &str| route.replace("..", IN);
    let made = asker.example_of(&at("POST ../service-accounts"), &[], 201).await;
    let service = &[("service", "payment-service"), ("role", "developer")];
    let body = json!({"name": "payment-service", "api_key": made["api_key"]});
    let tokens = asker.ask(&at("POST ../service-accounts/sign-in"), &[], Some(body), 200).await;
    assert!(tokens.get("refresh_token").is_none());
    for (route, status) in [
        ("GET ../service-accounts", 200),
        ("GET ../service-accounts/{service}", 200),
        ("GET ../service-accounts/{service}/roles", 200),
        ("GET ../service-accounts/{service}/permissions", 200),
        ("DELETE ../service-accounts/{service}/roles/{role}", 200),
        ("PUT ../service-accounts/{service}/roles/{role}", 200),
        ("GET ../service-accounts/{service}/sessions", 200),
        ("DELETE ../service-accounts/{service}/sessions", 204),
        ("POST ../service-accounts/{service}/disable", 200),
        ("POST ../service-accounts/{service}/enable", 200),
        ("POST ../service-accounts/{service}/keys", 201),
        ("GET ../service-accounts/{service}/keys", 200),
    ] {
        asker.example_of(&at(route), service, status).await;
    }
    let key = made["key_id"].as_str().unwrap();
    asker
        .ask(&at("DELETE ../service-accounts/{service}/keys/{key}"), &[service[0], ("key", key)], None, 204)
        .await;
    let dev = &[("user", "dev"), ("role", "developer")];
    asker.ask(&at("DELETE ../roles/{role}"), dev, None, 204).await;
    asker.ask(&at("DELETE ../users/{user}"), dev, None, 204).await;
    let results = asker.example_of(&at("POST ../transactions"), &[], 200).await;
    assert!(results["results"][1]["id"].is_string(), "{results}");
    asker.ask(&at("DELETE ../service-accounts/{service}"), service, None, 204).await;
}

async fn refusals(asker: &mut Asker<'_>) {
    let at = |route: &str| route.replace("..", IN);
    asker.example_of("POST /v1/accounts", &[], 409).await;
    asker.ask(&at("GET ../users/{user}"), &[("user", "nobody")], None, 404).await;
    asker.ask(&at("POST ../roles"), &[], Some(json!({"name": "a b"})), 400).await;
    let body = json!({"preconditions": [{"resource": "account", "revision": 1}], "actions": [
        {"action": "delete_role", "role": "developer"}]});
    asker.ask(&at("POST ../transactions"), &[], Some(body), 412).await;
    let token = std::mem::take(&mut asker.token);
    asker.ask(&at("GET ../users"), &[], None, 401).await;
    asker.ask(&at("POST ../sign-in"), &[], Some(json!({"login": "dev", "password": "x"})), 401).await;
    asker.token = token;
}

fn as_operator(asker: &mut Asker<'_>) {
    asker.token.clone_from(Kek::read_file(&asker.node.key_file).unwrap().operator_token().expose());
}

async fn operators(asker: &mut Asker<'_>) {
    as_operator(asker);
    for route in [
        "GET /v1/cluster/members",
        "GET /v1/cluster/reports",
        "GET /v1/cluster/accounts?limit=1",
        "GET /v1/cluster/audit?raw=true",
        "GET /v1/cluster/audit/head",
    ] {
        asker.ask(route, &[], None, 200).await;
    }
    asker.ask("GET /v1/cluster/audit?account=100000000009", &[], None, 404).await;
    nodes::ask_all(asker).await;
}

async fn goodbyes(asker: &mut Asker<'_>) {
    let at = |route: &str| route.replace("..", IN);
    let body = json!({"token": asker.token});
    asker.ask(&at("POST ../tokens/revoke"), &[], Some(body), 200).await;
    asker.ask(&at("GET .."), &[], None, 401).await;
    asker.token.clear();
    let tokens = asker.example_of("POST /v1/sign-in", &[], 200).await;
    tokens["access_token"].as_str().unwrap().clone_into(&mut asker.token);
    asker.ask(&at("DELETE ../sessions/{session}"), &[("session", "me")], None, 204).await;
    asker.ask(&at("GET .."), &[], None, 401).await;
}

async fn seed_of_iam(asker: &mut Asker<'_>) {
    let token = std::mem::take(&mut asker.token);
    let root = json!({"email": "iam@example.com", "password": "SecurePass123"});
    let mut account = Value::Null;
    for (verb, user) in [("S", "one"), ("s", "another")] {
        let mut body = root.clone();
        body["email"] = json!(format!("{user}-{}", root["email"].as_str().unwrap()));
        account =
            asker.ask(&format!("POST /iam/v1/{verb}ignUpAsRootUser"), &[], Some(body.clone()), 201).await;
        asker.ask(&format!("POST /iam/v1/{verb}ignInAsRootUser"), &[], Some(body.clone()), 200).await;
        let tokens = asker.ask(&format!("POST /iam/v1/{verb}ignInAsRootUser"), &[], Some(body), 200).await;
        tokens["access_token"].as_str().unwrap().clone_into(&mut asker.token);
        let body =
            json!({"accountId": account["accountId"], "email": "dev@example.com", "password": "DevPass456"});
        let made =
            asker.ask(&format!("POST /iam/v1/{verb}ignUpAsIAMUser"), &[], Some(body.clone()), 201).await;
        asker.ask(&format!("POST /iam/v1/{verb}ignUpAsIAMUser"), &[], Some(body.clone()), 409).await;
        asker.ask(&format!("POST /iam/v1/{verb}ignInAsIAMUser"), &[], Some(body), 200).await;
        let user = &[("user", made["uuid"].as_str().unwrap())];
        asker.ask("GET /iam/v1/users/{user}", user, None, 200).await;
        asker.example_of("PUT /iam/v1/users/{user}", user, 200).await;
        asker.ask("DELETE /iam/v1/users/{user}", user, None, 200).await;
        asker.ask("GET /iam/v1/users/{user}", user, None, 404).await;
    }
    assert_eq!(account["isRoot"], true);
    asker.token = token;
}

async fn authorization_by_key(asker: &mut Asker<'_>) {
    asker.token.clear();
    asker.ask("GET /api/roles", &[], None, 401).await;
    asker.token = new_key();
    let mut ask = async |route: &str, key: &str, body: Option<Value>, status: u16| {
        let names = [
            ("role", "admin"),
            ("permission", "deploy"),
            ("workflow", "deploy"),
            ("user", "john"),
            ("key", key),
        ];
        let (method, path) = route.split_once(' ').unwrap();
        let route = format!("{method} /api{path}");
        let body = body.or_else(|| asker.example(&route));
        asker.ask(&route, &names, body, status).await
    };
    for route in [
        "POST /role/{role}",
        "POST /permission/{role}/{permission}",
        "GET /permission/{role}/{permission}",
        "GET /role_permissions/{role}",
        "POST /membership/{user}/{role}",
        "GET /membership/{user}/{role}",
        "GET /roles",
        "GET /user_roles/{user}",
        "GET /members/{role}",
        "GET /has_permission/{user}/{permission}",
        "GET /user_permissions/{user}",
        "GET /which_roles_can/{permission}",
        "GET /which_users_can/{permission}",
        "GET /workflow/users/{workflow}",
        "GET /workflow/user/{user}/can_run/{workflow}",
        "POST /workflows/users",
        "POST /workflows/user/{user}",
        "GET /settings",
        "PUT /settings",
        "POST /apikeys/validate",
        "POST /apikeys/check_permission",
        "GET /audit",
    ] {
        ask(route, "", None, 200).await;
    }
    let made = ask("POST /apikeys/user/{user}", "", None, 200).await;
    let (id, secret) = (made["data"]["key_id"].as_str().unwrap(), &made["data"]["api_key"]);
    ask("GET /apikeys/user/{user}", "", None, 200).await;
    ask("POST /apikeys/validate", "", Some(json!({"api_key": secret})), 200).await;
    let both = json!({"api_key": secret, "permission": "deploy"});
    ask("POST /apikeys/check_permission", "", Some(both), 200).await;
    let path = "/apikeys/user/{user}/{key}";
    ask(&format!("PATCH {path}"), id, Some(json!({"expires_at": in_days(3)})), 200).await;
    ask(&format!("DELETE {path}"), id, None, 200).await;
    ask(&format!("DELETE {path}"), "00000000-0000-4000-8000-000000000000", None, 404).await;
    ask("PUT /settings", "", Some(json!({"strict_users": true})), 200).await;
    ask("GET /has_permission/{user}/{permission}", "", None, 200).await;
    ask("POST /membership/{user}/{role}", "", None, 409).await;
    ask("DELETE /membership/{user}/{role}", "", None, 200).await;
    ask("DELETE /permission/{role}/{permission}", "", None, 200).await;
    ask("DELETE /role/{role}", "", None, 200).await;
    let recovery = ask("POST /keys/get_rotate_key", "", None, 200).await;
    ask("POST /keys/get_rotate_key", "", None, 409).await;
    ask("POST /keys/rotate", "", None, 200).await;
    ask("POST /keys/recover", "", Some(json!({"rotate_key": recovery["data"]["rotate_key"]})), 200).await;
    ask("POST /keys/recover", "", None, 401).await;
}

/// The figures that operators are promised, and no label that a caller made up.
async fn scrape(node: &Alone) {
    node.ask("GET", "/v1/accounts/made-up-by-a-caller/users", "made.up.token", None).await;
    node.ask("MADEUP", "/made-up-by-a-caller", "", None).await;
    node.ask("POST", "/v1/sign-in", "", Some(json!({"email": "made-up@caller", "password": "x"}))).await;
    let reply = node.get("/metrics").await;
    assert_eq!(reply.header("content-type"), Some(&*Metrics::CONTENT_TYPE.to_lowercase()));
    let text = reply.body;
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    };
    assert!((value("conclave_raft_role{role=\"leader\"}") - 1.0).abs() < 0.1);
    assert!((value("conclave_raft_role{role=\"follower\"}")).abs() < 0.1);
    assert!((value("conclave_raft_members{kind=\"voter\"}") - 1.0).abs() < 0.1);
    for risen in [
        "conclave_ready",
        "conclave_raft_term",
        "conclave_raft_applied",
        "conclave_raft_revision",
        "conclave_tenants_actors",
        "conclave_verifier_cached_tokens",
        "conclave_hash_pool_done_total",
        "conclave_log_bytes",
        "conclave_state_bytes",
        "conclave_forward_duration_seconds_count{to=\"self\"}",
        "auth_attempts_total{result=\"success\"}",
        "auth_attempts_total{result=\"refused\"}",
        "tokens_generated_total{type=\"access\"}",
        "tokens_generated_total{type=\"refresh\"}",
    ] {
        assert!(value(risen) > 0.0, "{risen}");
    }
    for there in [
        "conclave_raft_durable",
        "conclave_hash_pool_waiting",
        "conclave_hash_pool_running",
        "conclave_hash_pool_refused_total",
        "conclave_snapshot_bytes",
        "conclave_tenants_admitted",
        "conclave_tenants_waiting",
        "conclave_tenants_in_flight",
        "conclave_tenants_refused_total",
        "conclave_observations_waiting",
        "conclave_observations_written_total",
        "conclave_observations_lost_total",
    ] {
        assert!(value(there) >= 0.0, "{there}");
    }
    assert!(!text.to_lowercase().contains("made"), "{text}");
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(names.len(), text.lines().filter(|line| line.starts_with("# TYPE ")).count(), "told twice");
}

async fn pages(node: &Alone) {
    let entrance = node.get("/docs").await;
    assert_eq!((entrance.status, entrance.header("location")), (308, Some("/docs/")));
    let page = node.get("/docs/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!page.body.contains("://") || !page.body.contains("<script src=\"http"), "{}", page.body);
    let named = page.body.split(['"', '\'']).filter_map(|text| text.strip_prefix("./"));
    let files: Vec<&str> = named.filter(|name| name.contains('.')).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files.iter().copied().chain(["index.css"]) {
        assert_eq!(node.get(&format!("/docs/{file}")).await.status, 200, "{file}");
    }
    assert!(node.get("/docs/swagger-initializer.js").await.body.contains("/openapi.json"));
    for none in ["/docs/oauth2-redirect.html", "/docs/swagger-ui.js.map", "/docs/x/y"] {
        assert_eq!(node.get(none).await.status, 404, "{none}");
    }
}

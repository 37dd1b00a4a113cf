//! What can be seen of requests from outside: log lines and spans, on every node that a request passes, and no secret.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Account, NEW_PASSWORD, PASSWORD, eventually};
use crate::processes::{Processes, program};

/// The lines of a node's log about a request.
fn lines(processes: &Processes, node: usize, request: &str) -> Vec<Value> {
    let log = processes.log(node);
    let lines = log.lines().filter(|line| line.contains(request));
    lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn is_in_span(line: &Value, span: &str, request: &str) -> bool {
    let spans = line["spans"].as_array().cloned().unwrap_or_default();
    spans.iter().any(|has| has["name"] == span && has["request"] == request)
}

#[tokio::test]
async fn the_leader_names_the_request_that_came_to_another_node() {
    let processes = Processes::start("log_format = 'json'\nlog_level = 'info,conclave=debug'\n").await;
    let leader = processes.leader(&[0, 1, 2]).await;
    let asked = (leader + 1) % 3;
    let client = processes.client();
    let body = json!({"email": "ada@stories.test", "password": PASSWORD});
    let made = client.post(asked, "/v1/accounts").header("x-request-id", "story-1").json(&body).await.is(201);
    assert_eq!(made.headers["x-request-id"], "story-1");
    eventually("both have said it", async || {
        let here = lines(&processes, asked, "story-1");
        let there = lines(&processes, leader, "story-1");
        let answered = here.iter().any(|line| is_in_span(line, "http", "story-1") && line["status"] == 201);
        let decided = there
            .iter()
            .any(|line| is_in_span(line, "order", "story-1") && line["message"] == "the command was decided");
        (answered && decided).then_some(())
    })
    .await;
    let third = 3 - leader - asked;
    assert!(lines(&processes, third, "story-1").is_empty());
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let processes = Processes::start("log_level = 'trace'\n").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    let mut secrets = vec![PASSWORD.to_owned(), NEW_PASSWORD.to_owned(), account.token.clone()];
    let user = account.user(&client, "eve", &[]).await;
    let service = account.service(&client, "robot", &[]).await;
    secrets.extend([user.token.clone(), user.refresh.clone(), service.token.clone()]);
    secrets.push(service.key.unwrap().1);
    let body = json!({"login": "eve", "current_password": PASSWORD, "new_password": NEW_PASSWORD});
    account.send(&client, 2, "POST", "/password", body).await.is(204);

    let run = |command: &[&str]| {
        let output = program().args(command).arg("--config").arg(processes.settings(1)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    secrets.push(run(&["token", "create"]));
    let offer: Value = serde_json::from_str(&run(&["setup", "--json"])).unwrap();
    let url = offer["url"].as_str().unwrap();
    secrets.push(url.rsplit(['/', '#', '=']).next().unwrap().to_owned());
    run(&["certs", "rotate"]);
    run(&["keys", "reload"]);
    let key_file = fs::read_to_string(processes.data(0).with_file_name("conclave.kek")).unwrap();
    secrets.extend(key_file.lines().filter(|line| line.len() > 20).map(str::to_owned));
    let authority = processes.data(0).join("ca.key");
    if let Ok(pem) = fs::read_to_string(authority) {
        secrets.extend(pem.lines().filter(|line| line.len() > 40).map(str::to_owned));
    }

    for node in 0..3 {
        let log = processes.log(node);
        assert!(log.contains("TRACE"), "nothing to look through");
        for secret in &secrets {
            assert!(secret.len() > 15, "too short to be looked for: {secret}");
            let line = log.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "node {node}: {secret} in {}", line.unwrap_or_default());
        }
    }
}

/// A collector that keeps what it gets: `instance`, trace id and name of each span.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<(String, String, String)>>>);

impl Collected {
    async fn serve(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let own = self.clone();
            tokio::spawn(async move { own.take(stream).await });
        }
    }

    async fn take(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                return;
            }
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            break (head.clone(), end + 4 + length.parse::<usize>().unwrap());
        };
        while bytes.len() < length {
            stream.read_buf(&mut bytes).await.unwrap();
        }
        assert!(
            head.starts_with("post /v1/traces ") && head.contains("content-type: application/x-protobuf")
        );
        let start = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let message = ExportTraceServiceRequest::decode(&bytes[start..length]).unwrap();
        for of_process in message.resource_spans {
            let attributes = of_process.resource.unwrap().attributes;
            let instance = attributes.iter().find(|has| has.key == "service.instance.id").unwrap();
            let Some(Attribute::StringValue(instance)) = instance.value.clone().unwrap().value else {
                panic!("no text")
            };
            for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let trace =
                    span.trace_id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
                self.0.lock().unwrap().push((instance.clone(), trace, span.name));
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    }

    fn of_trace(&self, trace: &str) -> BTreeSet<(String, String)> {
        let all = self.0.lock().unwrap();
        let own = all.iter().filter(|(_, has, _)| has == trace);
        own.map(|(instance, _, name)| (instance.clone(), name.clone())).collect()
    }
}

#[tokio::test]
async fn a_callers_trace_goes_through_both_nodes_and_a_dead_collector_hurts_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let collected = Collected::default();
    let serving = tokio::spawn(collected.clone().serve(listener));
    let settings = format!("otlp_endpoint = 'http://{address}'\notlp_sample_ratio = '0'\n");
    let processes = Processes::start(&settings).await;
    let leader = processes.leader(&[0, 1, 2]).await;
    let asked = (leader + 1) % 3;
    let client = processes.client();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let sign_up = async |name: &str, parent: Option<&str>| {
        let body = json!({"email": format!("{name}@stories.test"), "password": PASSWORD});
        let mut ask = client.post(asked, "/v1/accounts").json(&body);
        if let Some(parent) = parent {
            ask = ask.header("traceparent", parent);
        }
        ask.await.is(201);
    };
    // Nobody has asked for a trace of this one.
    sign_up("ada", None).await;
    sign_up("bob", Some(&parent)).await;
    let urls = processes.urls();
    let of = |node: usize, name: &str| (urls[node].clone(), name.to_owned());
    let expected = BTreeSet::from([
        of(asked, "POST /v1/accounts"),
        of(asked, "hash"),
        of(asked, "forward"),
        of(leader, "order"),
        of(leader, "propose"),
        of(asked, "apply"),
    ]);
    eventually("the spans of both", async || collected.of_trace(trace).is_superset(&expected).then_some(()))
        .await;
    let others: Vec<_> =
        collected.0.lock().unwrap().iter().filter(|(_, has, _)| has != trace).cloned().collect();
    assert!(others.is_empty(), "{others:?}");

    serving.abort();
    for number in 0..5 {
        sign_up(&format!("more-{number}"), Some(&parent)).await;
    }
    eventually("the loss is a figure", async || {
        let page = client.get(asked, "/metrics").await.is(200);
        let text = String::from_utf8_lossy(&page.body).into_owned();
        let failed = text.lines().find_map(|line| line.strip_prefix("conclave_spans_failed_total "))?;
        (failed.parse::<u64>().unwrap() > 0).then_some(())
    })
    .await;
}

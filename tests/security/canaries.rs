//! Secrets that are easy to find again, said to every route; and names that would like to be lines of the log.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use conclave::api::Api;
use conclave::api::routes::Route;
use conclave::auth::kek::Kek;
use serde_json::{Value, json};

use super::tokens;
use crate::client::{Ask, Client, Reply};
use crate::harness::{Account, NEW_PASSWORD, PASSWORD, eventually};
use crate::keystone::SECRET;
use crate::processes::{Processes, program};
use crate::requests::{Things, of_client_key, of_keystone};

/// How each canary begins.
const CANARY: &str = "CaNaRy-5ecret-";

/// Members whose values are secrets, by a part of their name.
const SECRETS: [&str; 5] = ["password", "secret", "token", "api_key", "_key"];

/// Members that end like one and are none.
const NO_SECRETS: [&str; 6] =
    ["token_type", "key_id", "tokenlifetime", "password_strength", "tokens", "expired_key"];

fn is_secret(member: &str) -> bool {
    let member = member.to_lowercase();
    SECRETS.iter().any(|part| member.contains(part)) && !NO_SECRETS.contains(&member.as_str())
}

/// The secrets that an answer hands out.
fn handed_out(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if is_secret(name) && text.len() >= 20 => drop(found.insert(text.to_owned())),
                    _ => handed_out(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| handed_out(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same request with a canary in place of each secret, and of each name that somebody signs in with: people type
/// their password into the wrong field.
fn with_canaries(body: &Value, count: &mut usize) -> Value {
    let mut body = body.clone();
    for (name, value) in body.as_object_mut().into_iter().flatten() {
        if value.is_string() && (is_secret(name) || ["login", "username"].contains(&name.as_str())) {
            *value = json!(format!("{CANARY}{count} typed by hand"));
            *count += 1;
        }
    }
    body
}

/// The answer of a cluster that has time: the processes of these stories are told to give up soon.
async fn answered(ask: Ask) -> Reply {
    eventually("an answer", async || {
        let reply = ask.clone().send().await.ok()?;
        (reply.status != 503).then_some(reply)
    })
    .await
}

/// Everything that a cluster shows of what was done in it.
async fn shown(client: &Client, account: &Account, things: &Things, operator: &str) -> Vec<Reply> {
    let (_, client_key, _) = things.holder.secrets();
    let mut asks: Vec<Ask> = (0..3).map(|node| client.get(node, "/metrics")).collect();
    for path in [
        "/audit?limit=200",
        "/audit?limit=200&trail=checks",
        "/audit?limit=200&order=desc",
        "/users",
        "/roles",
    ] {
        asks.push(account.ask(client, 0, "GET", path));
    }
    for path in [
        "/v1/cluster/audit?limit=200",
        "/v1/cluster/members",
        "/v1/cluster/reports",
        "/v1/cluster/join-tokens",
    ] {
        asks.push(client.get(1, path).by(operator));
    }
    asks.push(client.get(2, "/v1/cluster/backup").by(operator));
    asks.push(client.get(2, "/api/audit").by(&client_key));
    let mut replies = Vec::new();
    for ask in asks {
        replies.push(answered(ask).await);
    }
    replies
}

/// Whether what the sample is about may be gone afterwards. Making all anew for each route would take most of the time.
fn takes_away(route: &Route) -> bool {
    let ends =
        ["logout", "password", "refresh", "revoke", "rotate", "recover", "rotate-secret", "get_rotate_key"];
    route.method == "DELETE"
        || ends.iter().any(|end| route.pattern.ends_with(end))
        || route.pattern.contains("{session}")
}

/// Whose proof a route takes.
fn proof<'p>(route: &Route, own: &'p str, account: &'p Account, operator: &'p str) -> &'p str {
    if of_keystone(route) || of_client_key(route) {
        own
    } else if route.pattern.starts_with("/v1/cluster/") {
        operator
    } else {
        &account.token
    }
}

/// The files below a folder that have one of these texts in them.
fn found_in(folder: &Path, texts: &BTreeSet<String>) -> Vec<String> {
    let patterns = tempfile::NamedTempFile::new().unwrap();
    fs::write(patterns.path(), texts.iter().fold(String::new(), |all, text| all + text + "\n")).unwrap();
    let mut grep = Command::new("grep");
    let output = grep.args(["-rlaF", "-f"]).arg(patterns.path()).arg(folder).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The lines of the files that have one of these texts, for whoever has to find out.
fn lines_of(files: &[String], texts: &BTreeSet<String>) -> String {
    let mut told = String::new();
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        let mut lines = text.lines().filter(|line| texts.iter().any(|secret| line.contains(secret.as_str())));
        let line = lines.next().unwrap_or_default();
        let _ = writeln!(told, "{file}: {}", line.chars().take(600).collect::<String>());
    }
    told
}

#[tokio::test]
async fn l3_no_secret_of_any_route_is_told_anywhere() {
    let mut processes = Processes::start("log_level = 'trace'\n").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    let mut things = Things::make(&client, &account).await;
    let folder = processes.data(0).parent().unwrap().to_owned();
    let key_file = folder.join("conclave.kek");
    let operator = Kek::read_file(&key_file).unwrap().operator_token().expose().clone();
    let program_token = things.keystone.program_token(&client).await;
    // Ids are shown to those who may see them.
    let mut secrets: BTreeSet<String> = tokens::secrets(&account, &things, &program_token)
        .into_iter()
        .filter(|(name, _)| !name.contains("id"))
        .map(|(_, secret)| secret)
        .collect();
    secrets.extend([PASSWORD, NEW_PASSWORD, SECRET, CANARY, operator.as_str()].map(str::to_owned));
    let (mut canaries, mut walked) = (0, 0);
    for (node, route) in Api::routes().iter().enumerate() {
        if route.pattern.ends_with("/backup") {
            continue;
        }
        if takes_away(route) {
            things.renew(&client, route).await;
        }
        let sample = things.sample(route);
        let own = sample.proof(&account.token).to_owned();
        handed_out(&sample.body.clone().unwrap_or_default(), &mut secrets);
        let wrong = sample.body.as_ref().map(|body| with_canaries(body, &mut canaries));
        let mut spoiled = sample.clone();
        spoiled.body = wrong.or(spoiled.body);
        let stranger = format!("{CANARY}bearer-{node}");
        let asks = [
            spoiled.ask(&client, node).by(proof(route, &own, &account, &operator)),
            spoiled.ask(&client, node + 1).by(&stranger),
            sample.ask(&client, node + 2).by(proof(route, &own, &account, &operator)),
        ];
        for (index, ask) in asks.into_iter().enumerate() {
            let reply = answered(ask).await;
            let said = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(reply.status < 500, "{}: {said}", route.name);
            assert!(!said.contains(CANARY), "{} repeats a secret: {said}", route.name);
            if index == 2 {
                handed_out(&reply.json, &mut secrets);
                walked += usize::from(reply.status < 300);
            }
        }
        // As a query, where careless clients put them.
        let path =
            format!("{}?token={CANARY}query&password={CANARY}query", sample.path.split('?').next().unwrap());
        let reply = answered(client.ask(node, sample.method, path)).await;
        assert!(!String::from_utf8_lossy(&reply.body).contains(CANARY), "{} repeats a query", route.name);
    }
    assert!(walked > 100 && canaries > 40 && secrets.len() > 45, "{walked} {canaries} {}", secrets.len());
    // The id of something is no secret, whatever it is called.
    secrets.retain(|secret| secret.len() >= 14);

    let settings = processes.settings(0).display().to_string();
    let file = folder.join("all.backup").display().to_string();
    for command in [
        &["backup", "save", &file][..],
        &["members", "--json"],
        &["doctor"],
        &["keys", "list"],
        &["token", "list"],
        &["audit", "verify"],
    ] {
        let output = program().args(command).arg("--config").arg(&settings).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let told = secrets.iter().find(|secret| said.contains(secret.as_str()));
        assert!(told.is_none(), "{command:?} tells {told:?}: {said}");
    }
    for reply in shown(&client, &account, &things, &operator).await {
        let said = String::from_utf8_lossy(&reply.body).into_owned();
        let told = secrets.iter().find(|secret| said.contains(secret.as_str()));
        assert!(told.is_none(), "{told:?} in {said}");
    }
    for node in 0..3 {
        assert!(processes.log(node).contains("TRACE"), "nothing to look through");
        // How it ends is told elsewhere; what matters here is that all is on the disk.
        processes.stop(node).await;
    }
    let sealed = fs::read_to_string(&key_file).unwrap();
    secrets
        .extend(sealed.lines().filter(|line| line.len() > 20 && !line.starts_with('#')).map(str::to_owned));
    let mut files = found_in(&folder, &secrets);
    files.retain(|file| Path::new(file) != key_file);
    assert!(files.is_empty(), "\n{}", lines_of(&files, &secrets));
    // What looks through the files is able to.
    fs::write(folder.join("leak"), format!("x{PASSWORD}\n")).unwrap();
    assert_eq!(found_in(&folder, &secrets).len(), 2, "the leak and the key file");
}

/// What would be a line, a colour, or a text that reads from the other side.
const EVIL: &str = "eve\n2026-01-01T00:00:00Z ERROR forged\r\n\u{1b}[31mred\u{202e}\u{0}\u{9b}31m";

#[tokio::test]
async fn l2_names_and_headers_cannot_write_lines_of_the_log() {
    let processes = Processes::start("log_level = 'trace'\n").await;
    let client = processes.client();
    let account = Account::open(&client).await;
    let things = Things::make(&client, &account).await;
    let encoded: String = EVIL.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
    for (node, route) in Api::routes().iter().enumerate() {
        let sample = things.sample(route);
        if let Some(Value::Object(members)) = &sample.body {
            let mut members = members.clone();
            for (_, value) in members.iter_mut().filter(|(name, value)| value.is_string() && !is_secret(name))
            {
                *value = json!(EVIL);
            }
            let mut evil = sample.clone();
            evil.body = Some(Value::Object(members));
            evil.ask(&client, node)
                .by(sample.proof(&account.token))
                .header("x-request-id", "a b;c\tred")
                .await;
        }
        let path: Vec<&str> = route.pattern.split('/').collect();
        let path: Vec<&str> = path
            .into_iter()
            .map(|part| if part.starts_with('{') { encoded.as_str() } else { part })
            .collect();
        let ask = client.ask(node, route.method, format!("{}?{encoded}={encoded}", path.join("/")));
        ask.by(&account.token).header("user-agent", "x\tred").await;
    }
    for node in 0..3 {
        let log = processes.log(node);
        assert!(log.lines().count() > 1_000, "nothing to look through");
        for (what, sign) in
            [("escape", '\u{1b}'), ("right to left", '\u{202e}'), ("NUL", '\0'), ("CSI", '\u{9b}')]
        {
            let line = log.lines().find(|line| line.contains(sign));
            assert!(line.is_none(), "{what} in {:?}", line.unwrap_or_default());
        }
        let forged = log.lines().find(|line| line.starts_with("2026-01-01T00:00:00Z"));
        assert!(forged.is_none(), "{forged:?}");
        assert!(!log.contains('\r'));
    }
}

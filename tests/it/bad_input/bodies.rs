//! Bodies that are no good.

use conclave::api::Api;
use serde_json::{Value, json};

use super::is_refused;
use crate::harness::World;
use crate::requests::{Sample, Things};

/// Members that may be left out of the sample requests.
const OPTIONAL: [&str; 9] =
    ["user", "first_name", "firstName", "scopes", "description", "label", "lockout", "expires_in_s", "to"];

/// Routes that answer any text with a 200 that says no.
const ANSWERED: [&str; 4] = ["/validate", "/introspect", "/revoke", "/check"];

/// The sample's body, spoiled in every way that no route accepts.
fn spoiled(sample: &Sample, body: &Value) -> Vec<(String, Vec<u8>)> {
    let text = body.to_string();
    let members = body.as_object().unwrap();
    let (first, value) = members.iter().next().unwrap();
    let deep = "[".repeat(200) + &"]".repeat(200);
    let mut all: Vec<(String, Vec<u8>)> = [
        ("cut", text[..text.len() - 1].to_owned()),
        ("no JSON", "email=a&password=b".to_owned()),
        ("two documents", format!("{text}{text}")),
        ("deep", deep.clone()),
        ("deep inside", format!("{{\"{first}\":{deep}}}")),
        ("twice", format!("{{\"{first}\":{value},{}", &text[1..])),
        ("list", format!("[{text}]")),
        ("null", "null".to_owned()),
        ("a text", "\"x\"".to_owned()),
        ("comment", format!("/* */{text}")),
        ("comma", format!("{},}}", &text[..text.len() - 1])),
        ("too long", format!("{text}{}", " ".repeat(64 * 1024))),
    ]
    .map(|(name, text)| (name.to_owned(), text.into_bytes()))
    .into();
    all.push(("no UTF-8".to_owned(), [text.as_bytes(), b"\xff"].concat()));
    let may_be_empty = ["POST /api/apikeys/user/{user}", "POST /v1/cluster/step-down"];
    if sample.path.contains("/keys") || may_be_empty.contains(&sample.name) {
        // This one may go without a body.
    } else {
        all.push(("empty".to_owned(), Vec::new()));
    }
    let mut changed = |name: String, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut members = members.clone();
        change(&mut members);
        all.push((name, Value::Object(members).to_string().into_bytes()));
    };
    let forbidden =
        ["nonsense", "is_root", "isRoot", "account", "id", "uuid", "epoch", "hash", "status", "krn"];
    // Clients of the token service may say more than it reads.
    for forbidden in forbidden.into_iter().filter(|_| !sample.path.starts_with("/api/v1/")) {
        changed(format!("with {forbidden}"), &|members| {
            drop(members.insert(forbidden.to_owned(), json!(true)));
        });
    }
    for member in members.keys() {
        if !OPTIONAL.contains(&member.as_str()) {
            changed(format!("without {member}"), &|members| drop(members.remove(member)));
            changed(format!("{member} null"), &|members| drop(members.insert(member.clone(), Value::Null)));
        }
        for wrong in [json!(5), json!(1.5), json!(true), json!({"a": 1}), json!([[]])] {
            if (wrong.is_boolean() && members[member].is_boolean())
                || (wrong.is_u64() && members[member].is_u64())
            {
                continue;
            }
            changed(format!("{member} {wrong}"), &|members| {
                drop(members.insert(member.clone(), wrong.clone()));
            });
        }
    }
    all
}

#[tokio::test]
async fn every_spoiled_body_is_refused_by_every_route_and_changes_nothing() {
    let world = World::new();
    let account = world.account().await;
    let things = Things::make(&world, &account).await;
    let before = world.digest(&account.id).await;
    let mut cases = 0;
    for (index, route) in Api::routes().iter().enumerate() {
        let sample = things.sample(route);
        let Some(body) = &sample.body else { continue };
        let ask = || world.ask(index, sample.method, &sample.path).by(sample.proof(&account.token));
        for (what, bytes) in spoiled(&sample, body) {
            let expected = if what == "too long" { 413 } else { 400 };
            let reply = ask().body(bytes).await;
            let name = format!("{} {what}", sample.name);
            is_refused(&name, &reply);
            assert_eq!(reply.status, expected, "{name}: {}", reply.json);
            cases += 1;
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let reply = ask().header("content-type", kind).body(body.to_string()).await;
            is_refused(sample.name, &reply);
            // OAuth's own endpoints take forms, of which this is none.
            let is_form = kind.contains("form-url") && sample.path.starts_with("/api/v1/auth/");
            let expected = if is_form { 400 } else { 415 };
            assert_eq!(reply.status, expected, "{} {kind}", sample.name);
        }
    }
    assert!(cases > 900, "{cases}");
    assert_eq!(world.digest(&account.id).await, before, "a refused request left something behind");
}

#[tokio::test]
async fn texts_that_are_too_long_are_refused_and_never_cut() {
    let world = World::new();
    let account = world.account().await;
    let things = Things::make(&world, &account).await;
    for (index, route) in Api::routes().iter().enumerate() {
        let sample = things.sample(route);
        let Some(Value::Object(members)) = &sample.body else { continue };
        for (member, _) in members.iter().filter(|(_, value)| value.is_string()) {
            for text in ["x".repeat(10_000), "\u{0}".to_owned(), "a\r\nb: c".repeat(200)] {
                let mut members = members.clone();
                members.insert(member.clone(), json!(text));
                let ask = world.ask(index, sample.method, &sample.path).by(sample.proof(&account.token));
                let reply = ask.json(&Value::Object(members)).await;
                // A password may be of any characters.
                let is_answered = ANSWERED.iter().any(|end| route.pattern.contains(end))
                    || (text.len() == 1 && member.to_lowercase().contains("password"));
                if !is_answered || reply.status >= 400 {
                    is_refused(&format!("{} {member}", sample.name), &reply);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_parameter_that_is_given_twice_is_refused_by_every_route() {
    let world = World::new();
    let account = world.account().await;
    let things = Things::make(&world, &account).await;
    let before = world.digest(&account.id).await;
    for (index, route) in Api::routes().iter().enumerate() {
        let mut sample = things.sample(route);
        let base = sample.path.split('?').next().unwrap().to_owned();
        for query in ["permission=a&permission=b", "x=1&x=1", "limit=1&%6cimit=1", "x=%zz"] {
            sample.path = format!("{base}?{query}");
            let reply = sample.ask(&world, index).by(sample.proof(&account.token)).await;
            is_refused(&format!("{} {query}", sample.name), &reply);
            assert_eq!(reply.status, 400, "{} {query}", sample.name);
        }
    }
    assert_eq!(world.digest(&account.id).await, before, "a refused request left something behind");
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let world = World::new();
    let account = world.account().await;
    let things = Things::make(&world, &account).await;
    for (index, route) in Api::routes().iter().enumerate() {
        let sample = things.sample(route);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let is_there =
                Api::routes().iter().any(|other| other.pattern == route.pattern && other.method == method);
            if is_there {
                continue;
            }
            let reply = world.ask(index, method, &sample.path).by(sample.proof(&account.token)).await;
            assert_eq!(reply.status, 405, "{method} {}", route.pattern);
            assert!(reply.header("allow").is_some_and(|allow| allow.contains(route.method)));
            is_refused(&format!("{method} {}", route.pattern), &reply);
        }
    }
}

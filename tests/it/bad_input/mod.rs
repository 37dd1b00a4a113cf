//! What no client should send, to every route there is: a clear refusal in the shape of the surface, and
//! nothing changed.

mod bodies;
mod elsewhere;
mod passwords;
pub(crate) mod proofs;

use serde_json::json;

use crate::client::Reply;

/// Words that an answer to the outside never has.
const INSIDES: [&str; 9] =
    ["panic", ".rs", "openraft", "sled", "argon2", "postcard", "serde", "BTreeMap", "stack"];

/// Fails the test unless the request was refused as its surface refuses.
#[track_caller]
fn is_refused(name: &str, reply: &Reply) {
    let said = String::from_utf8_lossy(&reply.body);
    assert!((400..500).contains(&reply.status), "{name}: {} {said}", reply.status);
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{name}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{name}");
    for inside in INSIDES {
        assert!(!said.contains(inside), "{name} tells {inside}: {said}");
    }
    if name.contains(" /api/") && !name.contains(" /api/v1/") {
        let (envelope, details) = (&reply.json, &reply.json["details"]);
        assert_eq!(
            (&envelope["success"], &envelope["code"]),
            (&json!(false), &json!(reply.status)),
            "{name}: {said}"
        );
        assert!(envelope["message"].is_string() && envelope["timestamp"].is_string(), "{name}: {said}");
        assert!(details["code"].is_string() && details["request_id"].is_string(), "{name}: {said}");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
        return;
    }
    if name.contains(" /api/v1/") {
        for member in ["error", "error_description", "timestamp", "path"] {
            assert!(reply.json[member].is_string(), "{name}: {said}");
        }
        assert!(reply.json.get("details").is_none_or(serde_json::Value::is_array), "{name}: {said}");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
        return;
    }
    assert!(reply.json["detail"].is_string() && reply.json["code"].is_string(), "{name}: {said}");
    assert!(reply.json["request_id"].is_string(), "{name}: {said}");
    let is_detail = name.contains(" /iam/");
    let kind = if is_detail { "application/json" } else { "application/problem+json" };
    assert_eq!(reply.header("content-type"), Some(kind), "{name}");
    if !is_detail {
        assert_eq!(reply.json["status"], reply.status, "{name}");
        let kind = format!("urn:conclave:problem:{}", reply.json["code"].as_str().unwrap());
        assert_eq!(reply.json["type"], kind, "{name}");
    }
}

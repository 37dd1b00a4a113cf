//! Parameters and headers that many operations share.

use serde_json::{Value, json};

/// A parameter of a path.
pub(super) fn in_path(path: &str, name: &str) -> Value {
    const ID: &str = "2c9a3f8e-6d0b-4f5e-9a51-0d7c6f1f8b11";
    let (about, example) = match name {
        "user" if path.starts_with("/api/") => {
            ("The user's name: 1 to 64 of letters, digits and `_ - . @ + : |`.", "john_doe")
        }
        "role" if path.starts_with("/api/") => {
            ("The role's name: 1 to 64 of letters, digits and `_ -`.", "admin")
        }
        "permission" => ("The permission: 1 to 128 of letters, digits and `_ -`.", "manage_users"),
        "workflow" => ("The workflow, which is the permission of that name.", "nightly_report"),
        "account" => ("The account's number: 12 digits.", "123456789012"),
        "user" => ("The user's id, name or e-mail address; `me` is whoever asks.", "me"),
        "service" => ("The service account's id or name; `me` is whoever asks.", "payment-service"),
        "role" => ("The role's name.", "developer"),
        "session" => ("The session's id; `me` is the session that asks.", "me"),
        "user_id" => ("The user's id.", ID),
        "client_id" => ("The client's `id`, which is not its `clientId`.", ID),
        "key" => ("The API key's id.", ID),
        "node" => ("The node's number, from 1.", "3"),
        "token" => ("The join token's id, which is not the token.", ID),
        _ => ("", ""),
    };
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": about,
        "schema": {"type": "string"},
        "example": example,
    })
}

/// The headers that requests may have.
pub(super) fn request_headers() -> Value {
    let header = |name: &str, about: &str, schema: Value| json!({"name": name, "in": "header", "required": false, "description": about, "schema": schema});
    let consistency = json!({
        "type": "string",
        "default": "linearizable",
        "pattern": "^(linearizable|bounded(=[0-9]+)?|at-least=[0-9]+|as-of=[0-9]+)$",
    });
    let key = json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"});
    json!({
        "Conclave-Consistency": header(
            "Conclave-Consistency",
            "How fresh the answer must be. `linearizable` (the default): all that was acknowledged \
             anywhere before. `bounded` or `bounded=<ms up to 1000>`: this node's own rows, if it heard \
             from the leader that lately. `at-least=<revision>`: waits for that revision. \
             `as-of=<revision>`: the rows of that revision, as far back as they are kept; rights are \
             judged by the present.",
            consistency,
        ),
        "Idempotency-Key": header(
            "Idempotency-Key",
            "Names the request: a retry with the same key and body acts once and is given the first \
             answer, on whichever node.",
            key,
        ),
        "If-Match": header(
            "If-Match",
            "The `ETag` that the thing must still have, or nothing is done.",
            json!({"type": "string", "pattern": "^(\\*|\"[0-9]+\")$"}),
        ),
    })
}

/// The headers that replies have.
pub(super) fn reply_headers() -> Value {
    json!({
        "Conclave-Revision": {
            "description": "The revision that the reply holds at. Send it on as `at-least=<revision>`.",
            "schema": {"type": "integer", "format": "int64", "minimum": 0},
        },
        "ETag": {
            "description": "The revision at which the thing was last changed, in quotes.",
            "schema": {"type": "string", "pattern": "^\"[0-9]+\"$"},
        },
        "Location": {
            "description": "The path of what was made.",
            "schema": {"type": "string", "format": "uri-reference"},
        },
        "Retry-After": {
            "description": "After so many seconds a retry makes sense.",
            "schema": {"type": "integer", "minimum": 1},
        },
        "X-RateLimit-Limit": {
            "description": "How often in all, where the request counts against a limit.",
            "schema": {"type": "integer", "minimum": 1},
        },
        "X-RateLimit-Remaining": {
            "description": "How often still.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "X-RateLimit-Reset": {
            "description": "When all of it is left again, in seconds since 1970.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
    })
}

//! The refusals, in the shape of each family of paths.

use serde_json::{Map, Value, json};

/// Status, name of the component, and when it is given.
const REFUSALS: [(u16, &str, &str); 13] = [
    (400, "BadRequest", "The request is wrong and stays wrong when repeated."),
    (401, "Unauthenticated", "The token or the credentials are missing, wrong, expired or revoked."),
    (403, "Forbidden", "The caller is known and may not do this."),
    (404, "NotFound", "There is no such thing, or none that this caller may know of."),
    (409, "Conflict", "What must be unique is taken, or what is to go is still needed."),
    (410, "Gone", "The rows of that revision are no longer kept."),
    (412, "PreconditionFailed", "A thing is not at the revision asked for. Nothing was done."),
    (413, "TooLarge", "The body is longer than 64 KiB."),
    (415, "UnsupportedMediaType", "The body is not JSON by its own account."),
    (422, "Unprocessable", "The idempotency key names another request, or a limit is reached."),
    (423, "Locked", "The credentials are right, and too many wrong ones came before."),
    (429, "TooManyRequests", "A limit on requests is used up. Nothing was done."),
    (
        503,
        "Unavailable",
        "Not now: no leader, too much waiting, or not in time. `outcome_unknown` tells \
         whether it may have been done.",
    ),
];

/// The shapes of refusals: RFC 9457, those of `/iam` and `/api/v1`, and the envelope of `/api`.
const SHAPES: [(&str, &str, &str); 4] = [
    ("", "application/problem+json", "Problem"),
    ("Iam", "application/json", "IamProblem"),
    ("Keystone", "application/json", "KeystoneProblem"),
    ("Authz", "application/json", "AuthzProblem"),
];

/// The refusal of an operation at this path, as a reference.
pub(super) fn reference(path: &str, status: u16) -> Value {
    let shape = match path {
        _ if path.starts_with("/iam/") => "Iam",
        _ if path.starts_with("/api/v1/") => "Keystone",
        _ if path.starts_with("/api/") => "Authz",
        _ => "",
    };
    let name = REFUSALS.iter().find(|(of, _, _)| *of == status).map_or("", |(_, name, _)| *name);
    json!({"$ref": format!("#/components/responses/{shape}{name}")})
}

/// All refusals, as components.
pub(super) fn responses() -> Value {
    let mut all = Map::new();
    for (shape, format, schema) in SHAPES {
        for (status, name, about) in REFUSALS {
            let headers = match status {
                401 => json!({"WWW-Authenticate": {"$ref": "#/components/headers/WWW-Authenticate"}}),
                429 => {
                    let names =
                        ["Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
                    let header = |name| json!({"$ref": format!("#/components/headers/{name}")});
                    names
                        .into_iter()
                        .map(|name| (name.to_owned(), header(name)))
                        .collect::<Map<_, _>>()
                        .into()
                }
                503 => json!({"Retry-After": {"$ref": "#/components/headers/Retry-After"}}),
                _ => json!({}),
            };
            let schema = json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}});
            let content = json!({format: schema});
            let response = json!({"description": about, "headers": headers, "content": content});
            all.insert(format!("{shape}{name}"), response);
        }
    }
    Value::Object(all)
}

/// The bodies of refusals.
pub(super) fn schemas() -> [(String, Value); 4] {
    let request_id = json!({"type": "string", "description": "Names the request in the log of its node."});
    let code = json!({"type": "string", "description": "Stable, for programs.", "examples": ["email_taken"]});
    let detail = json!({"type": "string", "description": "One sentence for people."});
    let problem = json!({
        "type": "object",
        "description": "A refusal (RFC 9457). Some codes bring more members, such as `field` or `revision`.",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri", "examples": ["urn:conclave:problem:email_taken"]},
            "title": {"type": "string", "examples": ["Conflict"]},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": detail,
            "code": code,
            "request_id": request_id,
            "field": {"type": "string", "description": "The member of the request that is wrong."},
            "permission": {"type": "string", "description": "What the caller lacks."},
            "account": {"type": "string", "description": "Where an expired password can be changed."},
            "breaches": {
                "type": "array",
                "description": "Every rule that a new password breaks.",
                "items": {"$ref": "#/components/schemas/Breach"},
            },
            "revision": {"type": "integer", "description": "The revision that the thing is at."},
            "retry_after": {"type": "integer", "description": "After so many seconds a retry makes sense."},
            "outcome_unknown": {"type": "boolean", "description": "Whether it may have been done."},
        },
    });
    let iam = json!({
        "type": "object",
        "description": "A refusal, as clients of `/iam` expect it.",
        "required": ["detail", "code", "request_id"],
        "properties": {"detail": detail, "code": code, "request_id": request_id},
    });
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let keystone = json!({
        "type": "object",
        "description": "A refusal, as OAuth has it (RFC 6749 section 5.2).",
        "required": ["error", "error_description", "timestamp", "path"],
        "properties": {
            "error": {"type": "string", "description": "Stable, for programs.", "examples": ["invalid_grant"]},
            "error_description": {"type": "string", "description": "One sentence for people."},
            "timestamp": {"type": "string", "format": "date-time"},
            "path": {"type": "string", "description": "The path that was asked."},
            "details": {"description": "Each fault of the request.", "allOf": [texts]},
        },
    });
    let details = json!({
        "type": "object",
        "description": "`code` and `request_id`, as in other refusals, and what else there is to say.",
        "required": ["code", "request_id"],
        "properties": {"code": code, "request_id": request_id},
    });
    let authz = json!({
        "type": "object",
        "description": "A refusal, as clients of `/api` expect it.",
        "required": ["success", "code", "message", "details", "timestamp"],
        "properties": {
            "success": {"type": "boolean", "enum": [false]},
            "code": {"type": "integer", "minimum": 400, "maximum": 599},
            "message": detail,
            "details": details,
            "timestamp": {"type": "string", "description": "In UTC, without a letter that says so."},
        },
    });
    [("Problem", problem), ("IamProblem", iam), ("KeystoneProblem", keystone), ("AuthzProblem", authz)]
        .map(|(name, schema)| (name.to_owned(), schema))
}

//! Puts the document together.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::operation::Group;
use super::{parameters, problems};

const ABOUT: &str = "Users, roles, sessions and permission checks, kept by a cluster: any node answers.\n\n\
    - Every reply says in `Conclave-Revision` at which revision it holds; send it back as \
    `Conclave-Consistency: at-least=<revision>` to any node.\n\
    - A revocation that was acknowledged is refused by every node from then on.\n\
    - Every request ends within 5 seconds as done, refused or unknown. After an unknown end, retry with the \
    same `Idempotency-Key`.\n\
    - Bodies are JSON of at most 64 KiB; unknown and duplicate members are refused. \
    `X-Request-Id` names a request in logs and problems.";

/// The document of these operations. Of two schemas with one name the first counts; a test sees to it that
/// there are no two.
pub(super) fn document(groups: &[Group]) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut schemas = BTreeMap::from(problems::schemas());
    for group in groups {
        for operation in &group.operations {
            let (method, path) = operation.method_and_path();
            let told = operation.to_value(group.tag, |status| problems::reference(path, status));
            paths.entry(path).or_default().insert(method.to_lowercase(), told);
            for (name, schema) in operation.schemas() {
                schemas.entry(name.clone()).or_insert_with(|| schema.clone());
            }
        }
    }
    let tags: Vec<_> =
        groups.iter().map(|group| json!({"name": group.tag, "description": group.about})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Conclave",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The node that serves this page."}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": parameters::request_headers(),
            "headers": parameters::reply_headers(),
            "responses": problems::responses(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token, as signing in gives it.",
                },
                "clientKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "UUID of version 4",
                    "description": "A key that the client drew itself. It owns the account that its first \
                        write opens.",
                },
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of an operator, who can read the node's key file.",
                },
            },
        },
    })
}

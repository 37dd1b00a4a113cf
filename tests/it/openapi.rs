//! The API document against the routes, and against the rules of `OpenAPI` 3.1.

use std::collections::BTreeSet;

use conclave::api::{Api, docs, setup_page};
use serde_json::{Value, json};

use crate::schema::{fits, resolve};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn document() -> Value {
    serde_json::from_slice(docs::document()).unwrap()
}

/// Method, path, operation.
pub(crate) fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let members =
        paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |m| (path, m)));
    members.map(|(path, (method, operation))| (method.as_str(), path.as_str(), operation)).collect()
}

#[test]
fn document_and_routes_agree() {
    let document = document();
    let told: BTreeSet<String> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| format!("{} {path}", method.to_uppercase()))
        .collect();
    let pages: BTreeSet<&str> =
        docs::routes().iter().chain(&setup_page::routes()).map(|route| route.name).collect();
    let routes = Api::routes().into_iter().map(|route| route.name).filter(|name| !pages.contains(name));
    let routes: BTreeSet<String> = routes.map(str::to_owned).collect();
    assert!(routes.len() > 60, "{}", routes.len());
    assert_eq!(told.difference(&routes).collect::<Vec<_>>(), Vec::<&String>::new(), "told but not routed");
    assert_eq!(routes.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "routed but not told");
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = document();
    let mut references = BTreeSet::new();
    walk(&document, &mut |value| {
        references.extend(value.get("$ref").and_then(Value::as_str).map(str::to_owned));
    });
    for reference in &references {
        resolve(&document, &json!(reference)).unwrap();
    }
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            let is_used = match kind.as_str() {
                "securitySchemes" => operations(&document).iter().any(|(_, _, operation)| {
                    operation["security"].as_array().unwrap().iter().any(|one| one.get(name).is_some())
                }),
                _ => references.contains(&format!("#/components/{kind}/{name}")),
            };
            // Refusals are made for both shapes, whether or not some route of the shape gives them.
            assert!(is_used || kind == "responses", "{kind} {name} is not used");
        }
    }
}

#[test]
fn the_document_is_one_of_openapi_3_1() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    for member in ["/info/title", "/info/version", "/info/license/name"] {
        assert!(document.pointer(member).is_some_and(Value::is_string), "{member}");
    }
    let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(METHODS.contains(&method) && path.starts_with('/'), "{place}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place}: its id is taken");
        assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(&tag)), "{place}");
        check_parameters(&document, &place, path, operation);
        check_body(&document, &place, operation);
        check_replies(&document, &place, operation);
    }
    walk(&document, &mut |value| {
        let told = value.get("description").and_then(Value::as_str).unwrap_or_default();
        assert!(!told.contains("[`") && !told.to_lowercase().contains("seed"), "not for clients: {told}");
    });
    walk(&document["components"], &mut |value| {
        let is_schema = value.get("properties").is_some_and(Value::is_object) && value.get("in").is_none();
        let required = value.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter(|_| is_schema) {
            assert!(value["properties"].get(name.as_str().unwrap()).is_some(), "{name} in {value}");
        }
    });
}

fn check_parameters(document: &Value, place: &str, path: &str, operation: &Value) {
    let mut in_path = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for parameter in operation["parameters"].as_array().unwrap() {
        let parameter = parameter.get("$ref").map_or(parameter, |to| resolve(document, to).unwrap());
        let (name, place_of) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
        assert!(seen.insert((name, place_of)), "{place}: {name} twice");
        assert!(["path", "query", "header"].contains(&place_of), "{place}: {name}");
        assert!(parameter["schema"].is_object(), "{place}: {name}");
        assert!(
            parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{place}: {name} is not told"
        );
        if place_of == "path" {
            assert_eq!(parameter["required"], true, "{place}: {name}");
            in_path.insert(format!("{{{name}}}"));
        }
    }
    let wanted: BTreeSet<String> =
        path.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned).collect();
    assert_eq!(in_path, wanted, "{place}");
}

fn check_body(document: &Value, place: &str, operation: &Value) {
    let Some(body) = operation.get("requestBody") else { return };
    let content = body["content"].as_object().unwrap();
    assert_eq!(content.len(), 1, "{place}");
    if content.contains_key("application/octet-stream") {
        return;
    }
    let content = &content["application/json"];
    fits(document, &content["schema"], &content["example"])
        .unwrap_or_else(|fault| panic!("{place}: {fault}"));
    let mut more = content["example"].clone();
    more["surprise"] = json!(1);
    // Clients of the token service may say more than it reads.
    let takes_more = place.contains(" /api/v1/");
    assert_eq!(fits(document, &content["schema"], &more).is_ok(), takes_more, "{place}: unknown members");
}

fn check_replies(document: &Value, place: &str, operation: &Value) {
    let replies = operation["responses"].as_object().unwrap();
    assert_eq!(replies.keys().filter(|status| status.starts_with('2')).count(), 1, "{place}");
    for (status, reply) in replies {
        let status: u16 = status.parse().unwrap();
        assert!((200..600).contains(&status), "{place}");
        let reply = reply.get("$ref").map_or(reply, |to| resolve(document, to).unwrap());
        assert!(reply["description"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
        assert_eq!(reply.get("content").is_none(), status == 204, "{place} {status}");
    }
}

fn walk(value: &Value, see: &mut impl FnMut(&Value)) {
    see(value);
    match value {
        Value::Object(members) => members.values().for_each(|member| walk(member, see)),
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

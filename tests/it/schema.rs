//! As much of JSON Schema 2020-12 as the API document uses. A keyword that it does not know is a fault.

use serde_json::Value;

/// What a schema may say that rules nothing out.
const NOTES: [&str; 7] = ["description", "title", "example", "examples", "default", "format", "writeOnly"];

/// Looked at before, and found good.
const JUDGED: [&str; 6] = ["enum", "oneOf", "anyOf", "allOf", "minimum", "maximum"];

/// Said of headers only, which are not looked at here.
const OF_HEADERS: [&str; 3] = ["pattern", "minLength", "maxLength"];

/// Whether `value` is as `schema` says; else where it is not.
pub(crate) fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let fault = |what: &str| Err(format!("{what}: {value} is not {schema}"));
    let Some(rules) = schema.as_object() else { return fault("no schema") };
    for (keyword, rule) in rules {
        let (keyword, all): (_, Vec<&Value>) =
            (keyword.as_str(), rule.as_array().into_iter().flatten().collect());
        let good =
            |schemas: &[&Value]| schemas.iter().filter(|rule| fits(document, rule, value).is_ok()).count();
        match keyword {
            "$ref" => fits(document, resolve(document, rule)?, value)?,
            "type" => {
                let names = if all.is_empty() { vec![rule] } else { all };
                if !names.iter().any(|name| is_a(name, value)) {
                    return fault("type");
                }
            }
            "enum" if !all.contains(&value) => return fault("enum"),
            "oneOf" if good(&all) != 1 => return fault("oneOf"),
            "anyOf" if good(&all) == 0 => return fault("anyOf"),
            "allOf" if good(&all) != all.len() => return fault("allOf"),
            "required" => {
                if let Some(missing) = all.iter().find(|name| value.get(name.as_str().unwrap()).is_none()) {
                    return fault(&format!("{missing} is missing"));
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    value.get(name).map_or(Ok(()), |member| fits(document, rule, member))?;
                }
            }
            "additionalProperties" => {
                assert_eq!(*rule, Value::Bool(false), "more than yes or no");
                let unknown = |name: &&String| schema["properties"].get(name.as_str()).is_none();
                if let Some(name) = value.as_object().and_then(|members| members.keys().find(unknown)) {
                    return fault(&format!("{name} is unknown"));
                }
            }
            "items" => {
                value.as_array().into_iter().flatten().try_for_each(|item| fits(document, rule, item))?;
            }
            // These say nothing of what is no number.
            "minimum" if value.is_number() && value.as_f64() < rule.as_f64() => return fault(keyword),
            "maximum" if value.is_number() && value.as_f64() > rule.as_f64() => return fault(keyword),
            other if JUDGED.contains(&other) || NOTES.contains(&other) || OF_HEADERS.contains(&other) => {}
            other => return fault(&format!("the keyword {other} is not known")),
        }
    }
    Ok(())
}

/// What a reference leads to.
pub(crate) fn resolve<'d>(document: &'d Value, reference: &Value) -> Result<&'d Value, String> {
    let path = reference.as_str().and_then(|path| path.strip_prefix('#'));
    path.and_then(|path| document.pointer(path)).ok_or_else(|| format!("{reference} leads nowhere"))
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

#[test]
fn what_does_not_fit_is_seen() {
    let document = serde_json::json!({"a": {"type": "object", "required": ["x"], "properties": {
        "x": {"type": ["string", "null"]}, "y": {"type": "array", "items": {"enum": ["p", "q"]}},
    }, "additionalProperties": false}});
    let fit = |text: &str| {
        let value = serde_json::from_str(text).unwrap();
        fits(&document, &serde_json::json!({"$ref": "#/a"}), &value)
    };
    for good in [r#"{"x": "1"}"#, r#"{"x": null, "y": ["p"]}"#] {
        fit(good).unwrap();
    }
    for bad in ["{}", "[]", r#"{"x": 1}"#, r#"{"x": "1", "y": ["r"]}"#, r#"{"x": "1", "z": 1}"#] {
        fit(bad).unwrap_err();
    }
}

//! Compares what is printed as JSON with the schema: every field, and none that is not there.

use serde_json::Value;

/// What is wrong with a value that should be as that part of the schema says.
pub fn wrong(schema: &Value, part: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let wanted = schema.pointer(&format!("/properties/{part}")).unwrap();
    find_wrong(wanted, value, schema, part, &mut found);
    found
}

/// What is wrong with a value, by the part of JSON Schema that is used here; a field without a word in the schema is wrong too.
fn find_wrong(schema: &Value, value: &Value, whole: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let part = whole.pointer(name.trim_start_matches('#')).unwrap();
        return find_wrong(part, value, whole, at, found);
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        Value::Null => return,
        one => vec![one.clone()],
    };
    if !kinds
        .iter()
        .any(|kind| is_of(value, kind.as_str().unwrap()))
    {
        found.push(format!("{at}: {value} is no {kinds:?}"));
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|words| !words.contains(value))
    {
        found.push(format!("{at}: {value} is an unknown word"));
    }
    if let Value::Object(fields) = value {
        for required in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(required.as_str().unwrap()) {
                found.push(format!("{at}: without {required}"));
            }
        }
        for (name, field) in fields {
            let known = schema["properties"].get(name);
            match known.or_else(|| schema.get("additionalProperties")) {
                Some(part) => find_wrong(part, field, whole, &format!("{at}.{name}"), found),
                None => found.push(format!("{at}: unknown field {name}")),
            }
        }
    }
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        let part = schema["prefixItems"]
            .get(place)
            .or_else(|| schema.get("items"));
        find_wrong(part.unwrap(), item, whole, &format!("{at}[{place}]"), found);
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("{kind}"),
    }
}

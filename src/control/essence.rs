//! Whether a status tells something new: most of its numbers always change.

use serde_json::Value;

/// Fields that always change, and whose change is no news.
const ALWAYS_DIFFERENT: [&str; 10] = [
    "silent_for",
    "answered",
    "looked",
    "lasts",
    "forgotten_in",
    "changed",
    "counters",
    "lateness",
    "start_times",
    "last_start",
];

/// Without the fields that are different in every answer.
pub fn essence_of(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(essence_of).collect(),
        Value::Object(fields) => {
            let lasting = fields
                .iter()
                .filter(|(name, _)| !ALWAYS_DIFFERENT.contains(&name.as_str()));
            lasting
                .map(|(name, value)| (name.clone(), essence_of(value)))
                .collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_age_is_no_news_and_a_state_is() {
        let seen = |age: u32, state: &str| {
            essence_of(
                &json!({"nodes": [{"silent_for": age, "liveness": state}], "counters": {"a": age}}),
            )
        };
        assert_eq!(seen(1, "active"), seen(2, "active"));
        assert_ne!(seen(1, "active"), seen(1, "dead"));
    }
}

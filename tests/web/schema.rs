//! `/api/v1/schema` describes what is really answered: every field, and none that is not there.

use serde_json::Value;

use crate::cluster::{Cluster, wait};
use crate::judge::wrong;
use crate::rig::{BOB, get, pair};

fn asked(cluster: &Cluster, path: &str) -> Value {
    let (code, text) = get(cluster, "", &format!("http://{BOB}:9694/api/v1/{path}"));
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn conforms(cluster: &Cluster) {
    let schema = asked(cluster, "schema");
    for path in ["status", "history"] {
        let found = wrong(&schema, path, &asked(cluster, path));
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn the_answers_are_as_the_schema_says() {
    let cluster = pair("web-schema");
    assert!(wait(|| asked(&cluster, "status")["lateness"].is_object()));
    conforms(&cluster);
    cluster.lab.crash("alice").unwrap();
    assert!(wait(
        || asked(&cluster, "status")["problems"] != serde_json::json!([])
    ));
    conforms(&cluster);
}

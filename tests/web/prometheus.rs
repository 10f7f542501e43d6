//! Prometheus of Debian: its rules, and a real alert about a real crash.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cluster::{Cluster, wait};
use crate::rig::{BOB, blueprint_with, file, get, up};

const RULES: &str = "packaging/prometheus/had.rules.yml";
const DASHBOARD: &str = "packaging/grafana/had.json";

#[test]
fn the_rules_fire_when_they_shall_and_only_then() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus");
    let tested = Command::new("promtool")
        .args(["test", "rules", "had.rules.test.yml"])
        .current_dir(folder)
        .output()
        .expect("promtool (apt install prometheus)");
    assert!(tested.status.success(), "{tested:?}");
    let tests = file("packaging/prometheus/had.rules.test.yml");
    let rules = file(RULES);
    let alerts = rules
        .lines()
        .filter_map(|l| l.trim().strip_prefix("- alert: "));
    let untested: Vec<_> = alerts
        .filter(|name| !tests.contains(&format!("alertname: {name}\n")))
        .collect();
    assert!(untested.is_empty(), "{untested:?}");
}

/// All words of a text that are metrics by their beginning.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|w| w.starts_with("had_"));
    ours.map(str::to_owned).collect()
}

/// The metrics of a node.
fn measured(cluster: &Cluster) -> BTreeSet<String> {
    let (_, page) = get(cluster, "", &format!("http://{BOB}:9694/metrics"));
    let types = page.lines().filter_map(|l| l.strip_prefix("# TYPE "));
    let names = types.filter_map(|l| l.split(' ').next());
    names.map(str::to_owned).collect()
}

/// Prometheus with short intervals, on the client.
fn start(cluster: &Cluster) {
    let rules: Vec<String> = file(RULES)
        .lines()
        .map(|line| match line.split_once("for: ") {
            Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s"),
            _ => line.to_owned(),
        })
        .collect();
    let settings = "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n\
        rule_files: [/run/had.rules.yml]\n\
        scrape_configs:\n- job_name: had\n  static_configs: [{targets: ['10.0.0.1:9694', '10.0.0.2:9694']}]\n";
    let rules = rules.join("\n");
    cluster.sh(
        "client",
        &format!("cat >/run/had.rules.yml <<'END'\n{rules}\nEND"),
    );
    cluster.sh(
        "client",
        &format!("cat >/run/prometheus.yml <<'END'\n{settings}END"),
    );
    let command = "exec prometheus --config.file=/run/prometheus.yml --storage.tsdb.path=/run/prometheus \
        --web.listen-address=127.0.0.1:9090 >/run/prometheus.log 2>&1";
    cluster.lab.spawn("client", &["sh", "-c", command]).unwrap();
}

fn ask(cluster: &Cluster, path: &str) -> Value {
    let (_, text) = get(cluster, "", &format!("http://127.0.0.1:9090{path}"));
    serde_json::from_str(&text).unwrap_or_default()
}

/// The alerts that fire, each with the node or group that it is about.
fn firing(cluster: &Cluster) -> BTreeSet<String> {
    let answer = ask(cluster, "/api/v1/alerts");
    let alerts = answer["data"]["alerts"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let fires = alerts.iter().filter(|a| a["state"] == "firing");
    fires
        .map(|a| {
            let label = |name: &str| a["labels"][name].as_str().unwrap_or_default().to_owned();
            format!("{} {}{}", label("alertname"), label("node"), label("group"))
        })
        .collect()
}

#[test]
fn prometheus_fires_an_alert_about_a_crash_and_resolves_it() {
    // No group here waits for it, so nobody is fenced.
    let switch = "fence alice /etc/ha.d/fence_lab plug=alice\n";
    let blueprint = blueprint_with("web-prometheus", switch);
    let cluster = up(blueprint.file("fence_lab", "#!/bin/sh\nexit 0\n", 0o755));
    let mut known = measured(&cluster);
    start(&cluster);
    let scraped = || {
        let answer = ask(&cluster, "/api/v1/query?query=sum(had_up)");
        answer["data"]["result"][0]["value"][1] == "2"
    };
    assert!(
        wait(scraped),
        "{}",
        cluster.sh("client", "cat /run/prometheus.log")
    );
    let format = "/api/v1/query?query=had_group_runs";
    let answer = ask(&cluster, format);
    assert_eq!(
        answer["data"]["result"].as_array().map(Vec::len),
        Some(4),
        "{answer}"
    );
    let rules = ask(&cluster, "/api/v1/rules");
    let healthy = rules.to_string().matches(r#""health":"ok""#).count();
    assert!(healthy > 10, "{rules}");
    assert_eq!(firing(&cluster), BTreeSet::new());

    cluster.lab.crash("alice").unwrap();
    for wanted in ["HadNodeDead alice", "HadFailover web"] {
        assert!(
            wait(|| firing(&cluster).contains(wanted)),
            "{wanted}: {:?}",
            firing(&cluster)
        );
    }
    assert!(wait(|| !firing(&cluster)
        .iter()
        .any(|a| a.starts_with("HadGroupDown"))));

    // A family without a sample is not shown: there are problems only now, nothing is drilled here, and no
    // check watches a replica.
    known.extend(measured(&cluster));
    known.insert("had_last_drill_timestamp_seconds".to_owned());
    known.insert("had_check_replica_lag_seconds".to_owned());
    for place in [RULES, DASHBOARD] {
        let unknown: Vec<_> = named(&file(place)).difference(&known).cloned().collect();
        assert!(
            unknown.is_empty(),
            "{place} names what is not measured: {unknown:?}"
        );
    }
    assert_eq!(named(&file("packaging/man/had-web.8")), known, "had-web(8)");

    // The machine comes back, and what its crash fired is resolved.
    cluster.lab.restart("alice").unwrap();
    let resolved = || !firing(&cluster).iter().any(|a| a.ends_with(" alice"));
    assert!(wait(resolved), "{:?}", firing(&cluster));
}

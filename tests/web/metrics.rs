//! `/metrics` of real daemons.

use crate::cluster::{Cluster, wait};
use crate::rig::{ALICE, BOB, get, pair, sample, until_code};

fn metrics(cluster: &Cluster, address: &str) -> String {
    let (code, page) = get(cluster, "", &format!("http://{address}:9694/metrics"));
    assert_eq!(code, 200, "{page}");
    page
}

fn until_sample(cluster: &Cluster, address: &str, name: &str, wanted: f64) {
    let mut last = String::new();
    let met = wait(|| {
        last = metrics(cluster, address);
        sample(&last, name).is_some_and(|value| (value - wanted).abs() < 0.01)
    });
    assert!(met, "{name} does not become {wanted}:\n{last}");
}

/// What promtool has to say of a page.
fn complaints(cluster: &Cluster, address: &str) -> String {
    let command =
        format!("curl -s http://{address}:9694/metrics | promtool check metrics 2>&1; true");
    cluster.sh("client", &command)
}

#[test]
fn the_metrics_follow_a_failover_and_a_silent_daemon() {
    let cluster = pair("web-metrics");
    assert_eq!(complaints(&cluster, ALICE), "");
    let page = metrics(&cluster, BOB);
    for (name, wanted) in [
        ("had_up", 1.0),
        ("had_joined", 1.0),
        ("had_quorum", 1.0),
        ("had_quorum_votes", 3.0),
        (r#"had_node_up{node="alice"}"#, 1.0),
        (r#"had_ping_up{ping="10.0.0.254"}"#, 1.0),
        (
            r#"had_link_up{node="alice",link="eth0",relay="false"}"#,
            1.0,
        ),
        (r#"had_group_owner{group="web",node="alice"}"#, 1.0),
        (r#"had_group_state{group="web",state="online"}"#, 0.0),
        (r#"had_group_state{group="db",state="online"}"#, 1.0),
        (r#"had_group_starts_total{group="db"}"#, 1.0),
        (r#"had_resource_running{group="db",resource="db"}"#, 1.0),
        (r#"had_check_passes{check="disk"}"#, 1.0),
    ] {
        assert_eq!(sample(&page, name), Some(wanted), "{name}\n{page}");
    }
    assert!(
        sample(
            &page,
            r#"had_scheduling_delay_seconds{window="life",measure="maximum"}"#
        )
        .is_some()
    );
    assert!(sample(&page, "had_status_age_seconds").is_some_and(|age| age < 5.0));

    cluster.lab.crash("alice").unwrap();
    until_sample(
        &cluster,
        BOB,
        r#"had_group_state{group="web",state="online"}"#,
        1.0,
    );
    let page = metrics(&cluster, BOB);
    for (name, wanted) in [
        (r#"had_node_up{node="alice"}"#, 0.0),
        (r#"had_problems{kind="node-dead"}"#, 1.0),
        (r#"had_group_preferred{group="web"}"#, 0.0),
        (
            r#"had_group_claims_total{group="web",reason="owner-dead"}"#,
            1.0,
        ),
    ] {
        assert_eq!(sample(&page, name), Some(wanted), "{name}\n{page}");
    }
    let took = sample(&page, r#"had_group_last_start_seconds{group="web"}"#);
    assert!(took.is_some_and(|t| t > 0.0 && t < 30.0), "{page}");
    let switched = sample(&page, r#"had_last_switch_timestamp_seconds{group="web"}"#);
    assert!(switched.is_some_and(|at| at > 1.7e9), "{page}");
    let drilled = r#"had_last_drill_timestamp_seconds{group="web"}"#;
    assert_eq!(sample(&page, drilled), None, "{page}");
    assert_eq!(complaints(&cluster, BOB), "");

    // Stopped, not ended: it holds its socket and says nothing.
    let had = cluster.lab.had_pid("bob").unwrap().unwrap();
    cluster.sh("bob", &format!("kill -STOP {had}"));
    until_sample(&cluster, BOB, "had_up", 0.0);
    let age = || sample(&metrics(&cluster, BOB), "had_status_age_seconds").unwrap();
    let first = age();
    assert!(first > 3.0, "{first}");
    assert!(wait(|| age() > first + 1.0), "the age does not grow");
    let text = until_code(&cluster, &format!("http://{BOB}:9694/healthz"), 503);
    assert!(
        text.starts_with("error: the daemon has not answered for "),
        "{text}"
    );
    assert!(!metrics(&cluster, BOB).contains("had_group_state"));
    cluster.sh("bob", &format!("kill -CONT {had}"));
    until_code(&cluster, &format!("http://{BOB}:9694/healthz"), 200);
}

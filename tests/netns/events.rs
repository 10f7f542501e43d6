//! `hactl events`, and the JSON of the other commands: against the schema, and as a stream.

use serde_json::Value;

use crate::common::{Blueprint, Cluster, HACTL, STAND_IN, TIMES, wait};
use crate::judge::wrong;

const HA_CF: &str = "auto_failback off\nnode alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n";
const GROUP: &str = "10.0.0.100";

fn pair(name: &str) -> Cluster {
    let cluster = Blueprint::new(name, &format!("{TIMES}{HA_CF}"), "alice 10.0.0.100 first\n")
        .script("first", STAND_IN)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .watch(&[GROUP])
        .up();
    cluster.until_owner(GROUP, "alice");
    cluster.until_active(&["alice", "bob"]);
    cluster
}

fn conforms(cluster: &Cluster, part: &str, text: &str) {
    let schema: Value = serde_json::from_str(&cluster.sh("bob", "hactl schema")).unwrap();
    let value = serde_json::from_str(text).unwrap();
    let found = wrong(&schema, part, &value);
    assert!(found.is_empty(), "{found:#?} in {text}");
}

/// What a follower on alice has printed.
fn followed(cluster: &Cluster) -> String {
    cluster.sh("alice", "cat /var/log/events")
}

#[test]
fn a_follower_prints_each_decision_once_and_survives_a_restart() {
    let cluster = pair("events-follow");
    let line = format!("{HACTL} events --follow --json >/var/log/events 2>/var/log/said");
    cluster.sh("alice", "touch /var/log/events /var/log/said");
    let since = cluster.sh("alice", "hactl events --json");
    let _follower = cluster.lab.spawn("alice", &["sh", "-c", &line]).unwrap();
    // It has begun when it prints what was decided afterwards.
    let mut turn = 0;
    assert!(wait(|| {
        turn += 1;
        let word = if turn % 2 == 1 { "on" } else { "off" };
        cluster.exits(0, "alice", &format!("hactl maintenance {word}"));
        followed(&cluster).contains("\"event\":\"commanded\"")
    }));
    cluster.exits(0, "alice", "hactl maintenance off");
    cluster.exits(0, "alice", "hactl restart --no-wait");
    let said = |text: &str| cluster.sh("alice", "cat /var/log/said").contains(text);
    assert!(wait(|| said("trying again until it answers")));
    assert!(wait(|| cluster.lab.had_pid("alice").unwrap().is_none()));
    cluster.lab.start_had("alice").unwrap();
    assert!(wait(|| said("the daemon answers again")));
    cluster.until_owner(GROUP, "alice");
    cluster.exits(0, "alice", "hactl standby");
    for word in ["daemon-ended", "daemon-started", "adopt", "offline"] {
        let event = format!("\"event\":\"{word}\"");
        assert!(
            wait(|| followed(&cluster).contains(&event)),
            "{word}: {}",
            followed(&cluster)
        );
    }
    // No line is missing and none is there twice: they are the end of the whole journal.
    assert!(wait(|| {
        let (whole, part) = (
            cluster.sh("alice", "hactl events --json"),
            followed(&cluster),
        );
        whole.ends_with(&part) && whole.len() - part.len() >= since.len()
    }));
    for line in followed(&cluster).lines() {
        conforms(&cluster, "event", line);
    }
}

#[test]
fn a_follower_ends_when_nobody_reads() {
    let cluster = pair("events-closed");
    // `true` reads nothing and ends. What counts is a time in which nothing was decided that could have been written.
    let follow = "(timeout 30 hactl events --follow; echo $? >/run/code) | true; cat /run/code";
    let decided = || cluster.sh("alice", "hactl events --json");
    assert!(wait(|| {
        let before = decided();
        assert_eq!(cluster.exits(0, "alice", follow), "0\n");
        before == decided()
    }));
    let said = cluster.exits(0, "alice", "hactl events --since 1h | head -n 1");
    assert!(said.contains("had "), "{said}");
    let none = cluster.exits(0, "alice", "hactl events --since '2999-01-01 00:00'");
    assert_eq!(none, "");
    cluster.exits(2, "alice", "hactl events --since soon");
    cluster.lab.stop_had("bob").unwrap();
    let said = cluster.exits(3, "bob", "hactl events --follow");
    assert!(said.contains("cannot reach had"), "{said}");
}

#[test]
fn what_is_printed_as_json_is_as_the_schema_says() {
    let cluster = pair("events-schema");
    for (part, command) in [
        ("status", "status --json"),
        ("fencing", "fence status --json"),
        ("check", "check --json"),
    ] {
        let text = cluster.sh("alice", &format!("hactl {command}"));
        conforms(&cluster, part, &text);
    }
    for command in ["history --json", "why --json", "why 10.0.0.100 --json"] {
        let text = cluster.sh("alice", &format!("hactl {command}"));
        assert!(!text.is_empty(), "{command}");
        for line in text.lines() {
            conforms(&cluster, "event", line);
        }
    }
}

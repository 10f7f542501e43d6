//! A replay of what a real daemon recorded, on its node.

use had::model::decision::Decision;

use crate::common::{Blueprint, Cluster, STAND_IN, TIMES, wait};
use crate::judge::wrong;

const HA_CF: &str = "auto_failback off\nnode alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n";

fn pair(name: &str, record: &str) -> Cluster {
    let cluster = Blueprint::new(
        name,
        &format!("{TIMES}{HA_CF}{record}"),
        "alice 10.0.0.100 first\n",
    )
    .script("first", STAND_IN)
    .node("alice", &["eth0 10.0.0.1/24"], &[])
    .node("bob", &["eth0 10.0.0.2/24"], &[])
    .watch(&["10.0.0.100"])
    .up();
    cluster.until_owner("10.0.0.100", "alice");
    cluster.until_active(&["alice", "bob"]);
    cluster
}

/// The messages of the journal, in order, but for those of the daemon, which are no decisions.
fn journal(cluster: &Cluster, node: &str) -> Vec<String> {
    let text = cluster.exits(0, node, "hactl history -n 1000");
    // Time and level are 34 characters.
    let messages = text.lines().map(|line| line[34..].to_owned());
    messages.filter(|text| !text.starts_with("had ")).collect()
}

/// The messages of the decisions in a replay.
fn replayed(cluster: &Cluster, node: &str) -> Vec<String> {
    let text = cluster.exits(0, node, "hactl replay --json");
    let schema = serde_json::from_str(&cluster.sh(node, "hactl schema")).unwrap();
    let decision = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let found = wrong(&schema, "replay", &line);
        assert!(found.is_empty(), "{found:#?} in {line}");
        let decision = line["seen"]["ordered"].get("Record")?;
        let decision: Decision = serde_json::from_value(decision.clone()).unwrap();
        Some(decision.to_string())
    };
    text.lines().filter_map(decision).collect()
}

#[test]
fn a_replay_comes_to_the_decisions_of_the_journal_and_another_deadtime_to_others() {
    let cluster = pair("replay-takeover", "record 4M\n");
    cluster.lab.crash("alice").unwrap();
    cluster.until_owner("10.0.0.100", "bob");
    let same = || {
        let journal = journal(&cluster, "bob");
        let came_up = journal
            .iter()
            .any(|text| text.contains("10.0.0.100: online"));
        came_up && replayed(&cluster, "bob") == journal
    };
    assert!(
        wait(same),
        "{:#?}\n{:#?}",
        replayed(&cluster, "bob"),
        journal(&cluster, "bob")
    );

    let text = cluster.exits(0, "bob", "hactl replay");
    for said in [
        "starts on bob",
        "alice reports: active; 10.0.0.100 online",
        "node alice is dead: nothing heard for 2",
        "10.0.0.100: the start of 10.0.0.100 succeeded",
        "== on bob: 10.0.0.100 is online",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }

    let set = "hactl replay --set deadtime=1h --set initdead=1h";
    let text = cluster.exits(0, "bob", set);
    for said in [
        "deadtime 3600s (it was 2s)",
        "- as recorded, + with the changed settings",
        "- node alice is dead",
        "== - on bob: 10.0.0.100 is online",
        "== + on bob: 10.0.0.100 is offline",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(!text.contains("+ node alice is dead"), "{text}");
    let text = cluster.exits(1, "bob", "hactl replay --set deadtime=1h");
    assert!(text.contains("initdead (4 s) must not be less"), "{text}");
    let text = cluster.exits(2, "bob", "hactl replay --set deadtme=1h");
    assert!(text.contains("did you mean `deadtime`?"), "{text}");

    // It contains no key.
    cluster.exits(1, "bob", "grep -r a-key-for-a-test /var/lib/had/recording");
    cluster.exits(1, "bob", "hactl replay /etc/ha.d/haresources");
}

#[test]
fn a_daemon_that_is_killed_is_recorded_to_its_last_second_and_its_next_life_too() {
    let cluster = pair("replay-killed", "record 4M\n");
    let replay = || cluster.run("alice", "hactl replay").stdout;
    // The last second may be lost.
    assert!(wait(|| replay().contains("10.0.0.100 is online")));
    cluster.lab.kill_had("alice").unwrap();
    cluster.lab.start_had("alice").unwrap();
    cluster.until_owner("10.0.0.100", "alice");
    let lives = || {
        let text = replay();
        text.matches("starts on alice").count() == 2 && text.contains("kept running")
    };
    assert!(wait(lives), "{}", replay());
}

#[test]
fn recording_begins_and_ends_with_a_reload() {
    let cluster = pair("replay-reload", "");
    let text = cluster.exits(1, "bob", "hactl replay");
    assert!(text.contains("`record 16M` into ha.cf"), "{text}");
    cluster.sh("bob", "echo record 1M >> /etc/ha.d/ha.cf");
    let text = cluster.exits(0, "bob", "hactl reload");
    assert!(text.contains("record changes from off to 1M"), "{text}");
    let replays = || cluster.run("bob", "hactl replay").success();
    assert!(wait(replays));
    cluster.exits(0, "bob", "hactl standby off");
    let told = || {
        let text = cluster.exits(0, "bob", "hactl replay");
        text.contains("in the middle of the life") && text.contains("standby off")
    };
    assert!(wait(told), "{}", cluster.exits(0, "bob", "hactl replay"));

    cluster.sh("bob", "sed -i 's/^record.*/record off/' /etc/ha.d/ha.cf");
    let text = cluster.exits(0, "bob", "hactl reload");
    assert!(text.contains("record changes from 1M to off"), "{text}");
    let nobody_writes = || {
        !cluster
            .run("bob", "ls -l /proc/$(pidof had)/fd | grep recording")
            .success()
    };
    assert!(wait(nobody_writes));
}

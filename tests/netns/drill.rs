//! `hactl drill`: a real switch, its measured gap, and what keeps it from beginning.

use std::time::Duration;

use serde_json::Value;

use crate::common::{Blueprint, Cluster, TIMES, group_of, ip, wait};
use crate::judge::wrong;

const HA_CF: &str = "auto_failback off\nnode alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n";
const ADDRESS: &str = "10.0.0.100";
/// A client and a node measure the same switch; more than this between them is no measurement.
const TOLERANCE_MS: f64 = 1000.0;
/// Its start fails while `/run/NAME.broken` exists.
const SCRIPT: &str = "#!/bin/sh
name=${0##*/}
case $1 in
start) if [ -e /run/$name.broken ]; then echo \"$name is broken\"; exit 1; fi; touch /run/$name.on;;
stop) rm -f /run/$name.on;;
status) if [ -e /run/$name.on ]; then echo running; else echo stopped; fi;;
esac
";

/// Whether this node is ready to get its groups back.
const READY: &str = "#!/bin/sh\n[ ! -e /run/stale ] || { echo lag 900 s; exit 1; }\n";

fn pair(name: &str) -> Cluster {
    pair_with(name, "")
}

fn pair_with(name: &str, more: &str) -> Cluster {
    let haresources = "alice 10.0.0.100 first\nalice second\n";
    let cluster = Blueprint::new(name, &format!("{TIMES}{HA_CF}{more}"), haresources)
        .script("first", SCRIPT)
        .script("second", SCRIPT)
        .file("ready", READY, 0o755)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .client("eth0 10.0.0.9/24")
        .watch(&[ADDRESS])
        .up();
    cluster.until_owner(ADDRESS, "alice");
    cluster.until_owner("second", "alice");
    cluster.until_active(&["alice", "bob"]);
    cluster
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no \"{word}\" in:\n{text}");
    }
}

#[test]
fn a_drill_there_and_back_is_measured_and_remembered() {
    let cluster = pair("drill-back");
    let said = cluster.exits(1, "alice", &format!("hactl drill {ADDRESS} </dev/null"));
    says(
        &said,
        &[
            "really moves 10.0.0.100 from alice to another node",
            "Nothing was done",
            "--yes",
        ],
    );
    says(
        &cluster.sh("alice", "hactl status"),
        &["Last switch to another node\n  10.0.0.100  none known\n"],
    );

    let probe = cluster
        .lab
        .probe(ip(ADDRESS), Duration::from_millis(2))
        .unwrap();
    let command = format!("hactl drill {ADDRESS} --back --yes --json");
    let text = cluster.sh("alice", &command);
    let seen = probe.finish().unwrap();
    cluster.until_owner(ADDRESS, "alice");
    let schema: Value = serde_json::from_str(&cluster.sh("alice", "hactl schema")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let found = wrong(&schema, "drill", &report);
    assert!(found.is_empty(), "{found:#?} in {text}");
    let mut longest: f64 = 0.0;
    for (at, from, to) in [(0, "alice", "bob"), (1, "bob", "alice")] {
        let moved = &report["moves"][at];
        assert_eq!(
            (&moved["from"], &moved["to"]),
            (&from.into(), &to.into()),
            "{text}"
        );
        assert_eq!(moved["measured"], "address", "{text}");
        longest = longest.max(moved["gap_ms"].as_f64().unwrap());
    }
    let client = seen.outage().as_secs_f64() * 1000.0;
    assert!(
        (longest - client).abs() < TOLERANCE_MS,
        "{longest} ms here, {client} ms at a client"
    );
    let short = format!("hactl drill {ADDRESS} --back --yes --timeout 10s");
    let said = cluster.exits(1, "alice", &short);
    says(&said, &["--back needs a --timeout of at least 40 s"]);

    says(
        &cluster.sh("alice", "hactl history"),
        &["10.0.0.100: drill: bob took over in ", ", back in "],
    );
    let page = cluster.sh("alice", "hactl status");
    let line = page
        .lines()
        .find(|l| l.starts_with("  10.0.0.100  ") && l.contains(" ago"));
    says(
        line.unwrap_or_else(|| panic!("{page}")),
        &[" s ago, last drill "],
    );
    // Nothing is left that keeps the group from moving by itself.
    assert!(!page.contains("gave it away"), "{page}");
    // It is on the disk.
    let before = cluster.status("alice").unwrap();
    cluster.lab.stop_had("bob").unwrap();
    assert!(wait(|| cluster
        .sh("alice", "cat /var/lib/had/moves")
        .contains("drilled_ms\":1")));
    cluster.lab.kill_had("alice").unwrap();
    cluster.lab.start_had("alice").unwrap();
    cluster.until_status("alice", "the times are known", |after| {
        let (old, new) = (group_of(&before, ADDRESS), group_of(after, ADDRESS));
        new.last_drill_ms.is_some()
            && old.last_drill_ms == new.last_drill_ms
            && old.last_switch_ms == new.last_switch_ms
    });
}

#[test]
fn a_drill_from_the_other_node_takes_the_group_there() {
    let cluster = pair("drill-here");
    let said = cluster.exits(1, "bob", &format!("hactl drill {ADDRESS} --to carol --yes"));
    says(&said, &["there is no node carol that could run it"]);
    let said = cluster.exits(0, "bob", &format!("hactl drill {ADDRESS} --yes"));
    says(
        &said,
        &[
            "bob took over from alice in ",
            "by pings of 10.0.0.100 from here",
            "note: alice has given it away",
            "`hactl standby off 10.0.0.100`, typed there,",
        ],
    );
    cluster.until_owner(ADDRESS, "bob");
    let said = cluster.exits(1, "alice", &format!("hactl drill {ADDRESS} --back --yes"));
    says(&said, &["run hactl drill 10.0.0.100 --back on bob"]);
    let said = cluster.exits(1, "bob", &format!("hactl drill {ADDRESS} --to bob --yes"));
    says(&said, &["bob runs it already"]);
    // On a terminal it asks.
    let typed = |word: &str| {
        let ask = format!("script -qec 'hactl drill {ADDRESS}' /dev/null");
        cluster.run("alice", &format!("echo {word} | {ask}")).stdout
    };
    says(
        &typed("no"),
        &["Move 10.0.0.100 now? Type yes: ", "nothing was done"],
    );
    cluster.until_owner(ADDRESS, "bob");
    says(&typed("yes"), &["alice took over from bob in "]);
    cluster.until_owner(ADDRESS, "alice");
    // A group without an address is measured by the journal.
    let said = cluster.exits(0, "alice", "hactl drill second --back --yes");
    says(
        &said,
        &[
            "bob took over from alice in ",
            "alice took over from bob in ",
            "by the journal",
        ],
    );
    cluster.until_owner("second", "alice");
}

#[test]
fn what_is_not_ready_is_not_drilled() {
    let cluster = pair("drill-refused");
    let drill = |node: &str, words: &[&str]| {
        let said = cluster.exits(1, node, &format!("hactl drill {ADDRESS} --yes"));
        says(&said, &["is not ready for a drill, so nothing was done:"]);
        says(&said, words);
        assert_eq!(
            group_of(&cluster.status("alice").unwrap(), ADDRESS).owners[0].as_str(),
            "alice"
        );
    };
    cluster.exits(0, "bob", "hactl standby");
    cluster.until_status("alice", "bob is in standby", |s| {
        !group_of(s, ADDRESS).notes.is_empty()
    });
    drill("alice", &["bob: is in standby"]);
    cluster.exits(0, "bob", "hactl standby off");
    cluster.until_status("alice", "standby has ended", |s| {
        group_of(s, ADDRESS).notes.is_empty()
    });
    cluster.exits(0, "alice", "hactl maintenance on");
    drill("alice", &["maintenance"]);
    cluster.exits(0, "alice", "hactl maintenance off");
    cluster.lab.stop_had("bob").unwrap();
    cluster.until_status("alice", "bob has left", |s| !s.problems().is_empty());
    drill("alice", &["bob: its daemon was stopped"]);
}

#[test]
fn a_drill_that_fails_says_where_the_group_is_and_what_to_do() {
    let cluster = pair("drill-fails");
    cluster.sh("bob", "touch /run/first.broken");
    let said = cluster.exits(1, "alice", &format!("hactl drill {ADDRESS} --yes"));
    says(
        &said,
        &[
            "did not succeed: ",
            "now:\n",
            "10.0.0.100",
            "what to do: `hactl why 10.0.0.100`",
        ],
    );
    cluster.until_owner(ADDRESS, "alice");
    let page = cluster.sh("alice", "hactl status; true");
    assert!(!page.contains("gave it away"), "{page}");
    let history = cluster.sh("alice", "hactl history");
    assert!(!history.contains("drill: "), "{history}");
}

/// `failback_when` says what the database lacks: an order to take over would not ask it.
#[test]
fn a_group_does_not_go_back_to_a_node_that_is_not_ready() {
    let cluster = pair_with(
        "drill-stale",
        "failback_when exec /etc/ha.d/ready every 1s\n",
    );
    cluster.sh("alice", "touch /run/stale");
    let drill = format!("hactl drill {ADDRESS} --back --yes --timeout 40s");
    let said = cluster.exits(1, "alice", &drill);
    says(&said, &["it stays on bob: ", "lag 900 s"]);
    cluster.until_owner(ADDRESS, "bob");
    let history = cluster.sh("alice", "hactl history");
    says(&history, &["drill: bob took over in "]);
    assert!(!history.contains(", back in "), "{history}");
}

/// Nobody reads, and Ctrl-C comes in the middle: the wish to give the group away is taken back all the same.
#[test]
fn an_interrupted_drill_leaves_nothing_behind() {
    let cluster = pair("drill-interrupted");
    let drill = format!("exec hactl drill {ADDRESS} --back --yes 2>/run/said");
    let drill = format!("sh -c 'echo $$ >/run/pid; {drill}' | true");
    let interrupt =
        "until grep -q waiting /run/said; do sleep 0.05; done; kill -INT $(cat /run/pid)";
    let both = format!("touch /run/said; ({interrupt}) & {drill}; wait");
    cluster.sh("alice", &both);
    let said = cluster.sh("alice", "cat /run/said");
    says(&said, &["it stays on bob: the drill was interrupted"]);
    cluster.until_owner(ADDRESS, "bob");
    let page = cluster.sh("alice", "hactl status; true");
    assert!(!page.contains("gave it away"), "{page}");
    says(
        &cluster.sh("alice", "hactl history"),
        &["drill: bob took over in "],
    );
}

//! Programs that are notified about groups and nodes.

use crate::common::{Blueprint, Cluster, TIMES, wait};

const NODES: [&str; 2] = ["alice", "bob"];
const ADDRESS: &str = "10.0.0.100";

/// Records everything that it is told.
const WRITES: &str = "#!/bin/sh
echo \"$HA_NOTIFY_SEQUENCE $HA_NOTIFY_FROM $HA_NOTIFY_TO +$HA_NOTIFY_SKIPPED $HA_NOTIFY_GROUP on $HA_CURHOST: $HA_NOTIFY_REASON\" >> /var/log/told
";
/// Holds up everything after it while a file exists.
const WAITS: &str = "#!/bin/sh
while [ -e /run/wait ]; do sleep 0.02; done
echo \"waited with $HA_NOTIFY_TO\" >> /var/log/told
";
const COMPLAINS: &str = "#!/bin/sh
echo no such mailbox
exit 3
";
const STATUS: &str = "#!/bin/sh
echo \"$HA_t: $HA_src is $HA_st\" >> /var/log/nodes
";

fn cluster(name: &str, lines: &str) -> Cluster {
    let ha_cf =
        format!("{TIMES}bcast eth0\nauto_failback off\nnode alice bob\nping 10.0.0.254\n{lines}");
    let cluster = Blueprint::new(name, &ha_cf, "alice 10.0.0.100/24/eth0\n")
        .file("notify.d/10-writes", WRITES, 0o755)
        .file("notify.d/20-waits", WAITS, 0o755)
        .file("notify.d/30-complains", COMPLAINS, 0o755)
        .file("notify.d/README", "no program", 0o644)
        .file("hangs", "#!/bin/sh\nsleep 600 & wait\n", 0o755)
        .file("rc.d/status", STATUS, 0o755)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .gateway("eth0 10.0.0.254/24")
        .watch(&[ADDRESS])
        .up();
    cluster.until_owner(ADDRESS, "alice");
    cluster.until_active(&NODES);
    cluster
}

/// Waits until a file on a node has this many lines.
fn lines(cluster: &Cluster, node: &str, file: &str, many: usize) -> Vec<String> {
    let read = || {
        let text = cluster.sh(node, &format!("touch {file}; cat {file}"));
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let enough = wait(|| read().len() >= many);
    assert!(enough, "{node} has only {:#?}", read());
    read()
}

const TOLD: &str = "/var/log/told";

#[test]
fn programs_are_told_in_order_with_both_states_and_the_reason_whatever_the_others_do() {
    let cluster = cluster(
        "notify",
        "notify /etc/ha.d/hangs timeout 200ms\nnotify /etc/ha.d/notify.d\n",
    );
    let told = lines(&cluster, "alice", TOLD, 2);
    let group = format!("{ADDRESS}/24/eth0");
    assert_eq!(
        told,
        [
            &format!("1 unknown online +0 {group} on alice: all its resources are started"),
            "waited with online"
        ]
    );
    cluster.sh("alice", "hactl standby");
    let told = lines(&cluster, "alice", TOLD, 4);
    assert_eq!(
        told[2..],
        [
            &format!("2 online offline +0 {group} on alice: this node is in standby for it"),
            "waited with offline"
        ]
    );
    let of_bob = lines(&cluster, "bob", TOLD, 2);
    assert!(of_bob[0].contains("unknown online +0"), "{of_bob:?}");
    let said = |what: &str| {
        let log = || cluster.lab.log("alice").unwrap();
        assert!(wait(|| log().contains(what)), "{what}: {}", log());
    };
    said(
        "/etc/ha.d/hangs timed out and was killed (it was run for \"10.0.0.100/24/eth0 is online\")",
    );
    said("/etc/ha.d/notify.d/30-complains failed with exit code 3: no such mailbox");

    // The end of the daemon is reported too, before it is gone.
    cluster.lab.stop_had("bob").unwrap();
    let told = lines(&cluster, "bob", TOLD, 4);
    assert!(told[2].contains("online offline"), "{told:?}");

    // Notifications about nodes, with heartbeat's words.
    let nodes = lines(&cluster, "alice", "/var/log/nodes", 2);
    assert_eq!(nodes, ["status: bob is active", "status: bob is dead"]);
}

#[test]
fn what_happens_while_a_program_is_busy_is_told_as_one() {
    let cluster = cluster("notify-busy", "notify /etc/ha.d/notify.d\n");
    lines(&cluster, "alice", TOLD, 2);
    cluster.sh("alice", "touch /run/wait; hactl standby");
    cluster.until_owner(ADDRESS, "bob");
    lines(&cluster, "alice", TOLD, 3);
    // It moves there, back, and there again: only the end is reported.
    cluster.sh("alice", "hactl standby off; hactl takeover");
    cluster.sh("bob", "hactl takeover");
    cluster.sh("alice", "hactl takeover");
    cluster.until_owner(ADDRESS, "alice");
    cluster.sh("alice", "rm /run/wait");
    let told = lines(&cluster, "alice", TOLD, 6);
    let waited = |state: &str| format!("waited with {state}");
    assert_eq!(
        [&told[3], &told[5]],
        [&waited("offline"), &waited("online")],
        "{told:#?}"
    );
    assert!(told[4].starts_with("5 offline online +0 "), "{told:#?}");
    assert_eq!(told.len(), 6);
}

#[test]
fn the_programs_to_notify_are_checked_beforehand() {
    let cluster = cluster("notify-check", "notify /etc/ha.d/notify.d timeout 5s\n");
    let check = cluster.sh("alice", "hactl check");
    let d = "/etc/ha.d/notify.d";
    let told = format!(
        "notified when a group is online, offline, failed or stuck here: {d}/10-writes, then {d}/20-waits, then {d}/30-complains, timeout 5 s"
    );
    assert!(check.contains(&told), "{check}");
    assert!(check.contains("notified when a node is active or dead: /etc/ha.d/rc.d/status"));
    cluster.sh("alice", "echo mach_down >> /etc/ha.d/rc.d/status");
    let check = cluster.sh("alice", "hactl check");
    assert!(
        check.contains("heartbeat's own script is not run"),
        "{check}"
    );
    cluster.sh("alice", "chmod 777 /etc/ha.d/notify.d/20-waits");
    let refused = cluster.exits(1, "alice", "hactl reload");
    assert!(
        refused.contains("ha.cf:9:8: /etc/ha.d/notify.d/20-waits"),
        "{refused}"
    );
    cluster.sh("alice", "rm /etc/ha.d/notify.d/[0-9]*");
    let plan = cluster.sh("alice", "hactl check");
    assert!(plan.contains("there is no program in"), "{plan}");
}

//! A busy machine, a late daemon, and a wall clock that jumps.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use had::model::status::LatenessStatus;

use crate::common::*;

fn lateness(cluster: &Cluster, node: &str) -> LatenessStatus {
    cluster.status(node).lateness.unwrap()
}

/// Stops bob's daemon for less than warntime, unless the machine is too busy.
fn stumble(cluster: &Cluster) {
    let pid = cluster.lab.had_pid("bob").unwrap().unwrap();
    cluster.sh(
        "bob",
        &format!("kill -STOP {pid}; sleep 0.7; kill -CONT {pid}"),
    );
}

#[test]
fn a_daemon_that_is_late_says_so_in_time_and_once() {
    let cluster = Cluster::up("nf-stumble", &USUAL);
    let before = lateness(&cluster, "bob");
    assert_eq!(before.carries, DEADTIME / 5);
    assert!(
        before.life.count > 0 && before.life.p50 <= before.life.max,
        "{before:?}"
    );
    for _ in 0..3 {
        stumble(&cluster);
    }
    cluster.until_log("bob", "the heartbeat loop of this node was up to");
    let after = lateness(&cluster, "bob");
    let stumbled = Duration::from_millis(500);
    assert!(
        after.life.max > stumbled && after.recent.max > stumbled,
        "{after:?}"
    );
    let page = cluster.page("bob");
    assert!(
        page.contains("the times in ha.cf tolerate a delay of 600 ms"),
        "{page}"
    );
    let log = cluster.lab.log("bob").unwrap();
    let told: Vec<_> = log
        .lines()
        .filter(|l| l.contains("heartbeat loop"))
        .collect();
    assert!(told.len() <= 2, "the start and the trouble: {told:#?}");
    let told = told.last().unwrap();
    for part in ["WARN", "keepalive 200 ms", "or set deadtime"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn the_start_ends_with_a_word_on_lateness() {
    let cluster = Cluster::up("nf-start", &USUAL);
    // It depends on this machine whether they are good.
    cluster.until_log("alice", "the heartbeat loop");
    assert!(lateness(&cluster, "alice").life.count > 100);
}

/// A busy daemon never loses its address to its own kernel: eight processes on two processors, no real-time priority, a short
/// deadtime, and no other node.
#[test]
fn a_busy_owner_keeps_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let text = "node alice\nucast eth0 10.0.0.2\nauto_failback off\nrealtime off\nquorum off\n\
        keepalive 20ms\nwarntime 50ms\ndeadtime 100ms\ninitdead 12s\n";
    write_config(
        &config,
        dir.path(),
        text,
        ADDRESS.haresources,
        "secret-of-this-lab",
    );
    let plan = plan("nf-busy", vec![node("alice", 1, &config)]);
    let mut cluster = Cluster::of(&plan, dir, &[vip()]);
    cluster.start("alice");
    cluster.until_owner("alice");
    let spin =
        "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; sleep 25; kill $(jobs -p)";
    let running = cluster.lab.spawn("alice", &["bash", "-c", spin]).unwrap();
    // The longest pause of an ordinary process: the daemon may pause as long.
    let (mut last, mut longest) = (now(), Duration::ZERO);
    let pid = running.pid.to_string();
    while cluster
        .lab
        .exec("alice", &["kill", "-0", &pid])
        .unwrap()
        .success()
    {
        longest = longest.max(now().since(last));
        last = now();
        pass(Duration::from_millis(10));
    }
    let shown = lateness(&cluster, "alice");
    println!("MEASURED busy and without priority: {shown:?}, ordinary processes {longest:?}");
    let report = cluster.never_two_owners();
    let had: Vec<_> = report.owners.iter().map(|o| o.2.as_slice()).collect();
    assert!(
        had == [&[][..], &["alice".to_owned()]] || longest > Duration::from_secs(1),
        "{report:#?}"
    );
}

/// A cluster where each daemon reads the offset of its wall clock from a file. The other clocks are those of the machine.
fn with_shifted_clocks(name: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let text = ha_cf(&["alice", "bob"], &["eth0"], &format!("{TIMES}{PING}"));
    write_config(
        &config,
        dir.path(),
        &text,
        USUAL.haresources,
        "secret-of-this-lab",
    );
    // libfaketime shifts timers of every clock; this shifts the wall clock only.
    let library = build_library(dir.path(), include_str!("wall_clock.c"));
    let variables = format!(
        "LD_PRELOAD={} WALL_CLOCK_OFFSET={}/$(uname -n).offset",
        library.display(),
        dir.path().display()
    );
    let had = had_with(dir.path(), &variables);
    let mut plan = plan(
        name,
        vec![node("alice", 1, &config), node("bob", 2, &config)],
    );
    plan.had = had;
    let cluster = Cluster::of(&plan, dir, &[vip()]);
    for node in ["alice", "bob"] {
        shift(&cluster, node, 0);
    }
    cluster.start_both();
    cluster.until_owner_seen("bob", "alice");
    cluster
}

/// Sets the offset of the wall clock of a node's daemon.
fn shift(cluster: &Cluster, node: &str, seconds: i32) {
    let path = cluster.shared().join(format!("{node}.offset"));
    let new = path.with_extension("new");
    fs::write(&new, seconds.to_string()).unwrap();
    fs::rename(new, path).unwrap();
}

/// The days in the lines of a node's log.
fn days(cluster: &Cluster, node: &str) -> BTreeSet<String> {
    let log = cluster.lab.log(node).unwrap();
    let first = log.lines().filter_map(|l| l.split(' ').next());
    first
        .filter(|w| w.starts_with("20"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_wall_clock_that_jumps_a_day_either_way_changes_nothing() {
    let mut cluster = with_shifted_clocks("nf-jump");
    for (node, days) in [("alice", 1), ("bob", -1), ("alice", -1), ("bob", 1)] {
        shift(&cluster, node, days * 24 * 3600);
        // Longer than deadtime: a deadline on that clock would come at once or never.
        pass(DEADTIME + DEADTIME / 3);
        cluster.until_owner_seen(node, "alice");
        // Writes a line into its log.
        cluster.run(node, &["hactl", "maintenance", "off", GROUP]);
    }
    let calm = |node| lateness(&cluster, node).life.max < DEADTIME / 4;
    let calm = calm("alice") && calm("bob");
    for node in ["alice", "bob"] {
        let three = until(
            "its log has seen three days",
            || days(&cluster, node),
            |d| d.len() >= 3,
        );
        println!("{node}: {three:?}");
        let log = cluster.lab.log(node).unwrap();
        for bad in [
            "this node was stopped",
            "alice is dead",
            "bob is dead",
            "stopping here",
        ] {
            // Allowed only if the machine itself was stopped.
            assert!(!calm || !log.contains(bad), "{bad}: {log}");
        }
    }
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    cluster.never_two_owners();
}

//! Time that is short, or jumps: a busy machine, a daemon that is late, a wall clock that is a day off.

use std::time::Duration;

use had::model::status::LatenessStatus;

use crate::common::*;

fn lateness(cluster: &Cluster, node: &str) -> LatenessStatus {
    cluster.status(node).lateness.unwrap()
}

/// Stops bob's daemon for less than warntime, as far as the machine allows.
fn stumble(cluster: &Cluster) {
    let pid = cluster.lab.had_pid("bob").unwrap().unwrap();
    cluster.sh(
        "bob",
        &format!("kill -STOP {pid}; sleep 0.7; kill -CONT {pid}"),
    );
}

#[test]
fn a_daemon_that_is_late_says_so_in_time_and_once() {
    let cluster = Cluster::up("nf-stumble", &Setup::default());
    let before = lateness(&cluster, "bob");
    assert_eq!(before.carries, DEADTIME / 5);
    assert!(
        before.life.count > 0 && before.life.p50 <= before.life.max,
        "{before:?}"
    );
    for _ in 0..3 {
        stumble(&cluster);
    }
    cluster.until_log("bob", "the heartbeat loop of this node acted up to");
    let after = lateness(&cluster, "bob");
    let stumbled = Duration::from_millis(500);
    assert!(
        after.life.max > stumbled && after.recent.max > stumbled,
        "{after:?}"
    );
    let page = cluster.run("bob", &["hactl", "status"]);
    assert!(
        page.contains("the times of ha.cf carry 600.00 ms"),
        "{page}"
    );
    let log = cluster.lab.log("bob").unwrap();
    let told: Vec<_> = log
        .lines()
        .filter(|l| l.contains("heartbeat loop"))
        .collect();
    assert!(told.len() <= 2, "the start and the trouble: {told:#?}");
    let told = told.last().unwrap();
    for part in ["WARN", "keepalive 200ms", "or set deadtime"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn the_start_ends_with_a_word_on_lateness() {
    let cluster = Cluster::up("nf-start", &Setup::default());
    // Good or bad, as this machine is.
    cluster.until_log("alice", "the heartbeat loop");
    assert!(lateness(&cluster, "alice").life.count > 100);
}

/// A busy owner that lives never loses its address to its own kernel: eight processes for two processors, no real-time
/// priority, a short deadtime, and nobody who would take over.
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
        ADDRESS_LINE,
        "secret-of-this-lab",
    );
    let plan = plan("nf-busy", vec![node("alice", 1, &config)]);
    let mut cluster = Cluster::of(&plan, dir, &[vip()]);
    cluster.start("alice");
    cluster.until_owner("alice");
    let spin =
        "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; sleep 25; kill $(jobs -p)";
    let running = cluster.lab.spawn("alice", &["bash", "-c", spin]).unwrap();
    // What the machine gives an ordinary process: where that stands still for a second, so may the daemon.
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

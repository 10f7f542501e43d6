//! A daemon that is killed or stopped leaves its storage in place, and its machine answers: nobody else starts it.

use crate::common::*;
use had::lab::LinkDirection;

const HELD: &str = "the daemon of alice is silent but its machine answers";

/// Alice, bob and carol; alice runs an address and what counts as shared storage.
fn three(name: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let more = format!("{TIMES}timeout LVM stop 4s\n");
    let names = ["alice", "bob", "carol"];
    let lines = "alice 10.0.0.100/24/eth0 LVM::web\n";
    let text = ha_cf(&names, &["eth0"], &more);
    write_config(&config, dir.path(), &text, lines, "secret-of-this-lab");
    let nodes = names
        .iter()
        .zip(1..)
        .map(|(n, last)| node(n, last, &config));
    let cluster = Cluster::of(&plan(name, nodes.collect()), dir, &[vip()]);
    cluster.start_both();
    cluster.start("carol");
    cluster.until_owner("alice");
    for other in ["bob", "carol"] {
        cluster.until_owner_seen(other, "alice");
    }
    cluster
}

fn signal(cluster: &Cluster, signal: &str) {
    let pid = cluster.lab.had_pid("alice").unwrap().unwrap().to_string();
    cluster.run("alice", &["kill", signal, &pid]);
}

/// Waits until the others hold the group. They still do long after the stop deadlines, and have said it once.
fn assert_held(cluster: &Cluster) {
    for other in ["bob", "carol"] {
        cluster.until_status(other, "holds the group", |s| notes(s).contains(HELD));
    }
    // deadtime, the stop deadline, and the time in which a machine that is off is found silent.
    pass(DEADTIME * 2 + std::time::Duration::from_secs(14));
    cluster.only_the_first_start();
    for other in ["bob", "carol"] {
        let log = cluster.lab.log(other).unwrap();
        assert_eq!(log.matches(HELD).count(), 1, "{log}");
    }
}

/// No node starts what another has started and not stopped.
fn assert_active_once(cluster: &Cluster) {
    let mut active: Option<String> = None;
    for call in cluster.calls() {
        match call.what.as_str() {
            "web start begin" => {
                let free = active.as_ref().is_none_or(|node| *node == call.node);
                assert!(free, "{:?}", cluster.calls());
                active = Some(call.node);
            }
            "web stop end" if active.as_ref() == Some(&call.node) => active = None,
            _ => {}
        }
    }
}

#[test]
fn what_a_killed_daemon_left_is_started_once_its_daemon_is_back() {
    let mut cluster = three("nf-machine-kill");
    signal(&cluster, "-KILL");
    assert_held(&cluster);
    let said = cluster.run("bob", &["hactl", "why", GROUP]);
    assert!(said.contains("hactl takeover --force"), "{said}");
    cluster.start("alice");
    let owner = |c: &Cluster| {
        ["alice", "bob", "carol"].iter().any(|n| {
            let status = c.try_status(n);
            status.is_some_and(|s| {
                owners(&s) == [*n]
                    && state(&s, n) == Some(had::model::heartbeat::GroupState::Online)
            })
        })
    };
    until("the group runs again", || owner(&cluster), |runs| *runs);
    assert_active_once(&cluster);
    cluster.never_two_owners();
}

#[test]
fn what_a_stopped_daemon_left_is_taken_over_once_its_machine_is_off() {
    let mut cluster = three("nf-machine-stop");
    signal(&cluster, "-STOP");
    assert_held(&cluster);
    cluster.lab.crash("alice").unwrap();
    cluster.until_owner("bob");
    let starts = cluster.calls();
    let on_bob = starts.iter().filter(|c| c.what == "web start begin");
    assert_eq!(on_bob.filter(|c| c.node == "bob").count(), 1);
    cluster.never_two_owners();
}

/// A machine without power does not answer: it is not held.
#[test]
fn a_machine_without_power_is_taken_over_without_a_word() {
    let mut cluster = three("nf-machine-off");
    let way = LinkDirection::Both;
    cluster.lab.isolate("alice", None, way).unwrap();
    cluster.until_owner("bob");
    let log = cluster.lab.log("bob").unwrap();
    assert!(!log.contains(HELD), "{log}");
    assert_active_once(&cluster);
    cluster.never_two_owners();
}

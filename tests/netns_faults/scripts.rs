//! Resource scripts that hang or fail, and addresses that somebody else removes.

use std::net::IpAddr;
use std::time::Duration;

use had::model::heartbeat::GroupState;
use had::model::status::Liveness;

use crate::common::*;

/// Short deadlines for the script.
const SHORT: &str = "ping 10.0.0.254\ntimeout svc start 2s stop 2s monitor 2s\n";
/// Hangs together with a grandchild. Both ignore TERM.
const HANG: &str = "trap '' TERM; sh -c \"trap '' TERM; sleep 98765; true\" & sleep 98765; true";

fn cluster(name: &str, start: bool) -> Cluster {
    let setup = USUAL.ha_cf(SHORT);
    Cluster::up(name, &Setup { start, ..setup })
}

fn nothing_left(cluster: &Cluster, node: &str) {
    assert_eq!(cluster.processes(node, "sleep 98765"), [] as [String; 0]);
}

/// How often a script was called like this.
fn count(cluster: &Cluster, node: &str, what: &str) -> usize {
    let calls = cluster.calls();
    calls
        .iter()
        .filter(|c| c.node == node && c.what == what)
        .count()
}

/// Alice, the preferred node, cannot start it: it moves to bob, and she says why.
fn a_bad_start(name: &str, action: &str, does: &str, why: &[&str]) {
    let mut cluster = cluster(name, false);
    cluster.script_does("alice", action, does);
    cluster.start_both();
    cluster.until_owner("bob");
    let status = cluster.until_owner_seen("alice", "bob");
    assert_eq!(state(&status, "alice"), Some(GroupState::Failed));
    for text in why {
        assert!(notes(&status).contains(text), "{}", notes(&status));
    }
    nothing_left(&cluster, "alice");
    let seen = cluster.until_status("bob", "hears that it failed", |s| {
        notes(s).contains("failed on alice")
    });
    assert_eq!(owners(&seen), ["bob"]);
    // After `clear` she could run it again, but nothing moves.
    cluster.script_is_well("alice", action);
    let said = cluster.run("alice", &["hactl", "clear", GROUP]);
    assert!(said.contains("its failure here is forgotten"), "{said}");
    cluster.until_status("bob", "hears that it was cleared", |s| {
        state(s, "alice") == Some(GroupState::Offline)
    });
    assert_eq!(count(&cluster, "bob", "web start end"), 1);
    assert_eq!(count(&cluster, "bob", "web stop begin"), 0);
    cluster.never_two_owners();
}

#[test]
fn a_start_that_hangs_is_ended_with_all_it_began_and_the_group_goes_elsewhere() {
    a_bad_start(
        "nf-hang-start",
        "start",
        HANG,
        &[
            "failed here: script /etc/ha.d/resource.d/svc web start",
            "timed out and was killed",
        ],
    );
}

#[test]
fn a_start_that_fails_goes_elsewhere_and_says_what_it_said() {
    a_bad_start(
        "nf-fail-start",
        "start",
        "echo no such disk; exit 3",
        &["svc web start failed with exit code 3: no such disk"],
    );
}

#[test]
fn a_look_that_hangs_is_a_failure_and_the_group_goes_elsewhere() {
    a_bad_start(
        "nf-hang-status",
        "status",
        HANG,
        &["svc web status timed out and was killed"],
    );
}

/// What alice could not stop may still run. Nobody starts it until a person has looked, even if she dies.
fn a_bad_stop(name: &str, does: &str, why: &str) {
    let mut cluster = cluster(name, true);
    cluster.script_does("alice", "stop", does);
    let refused = cluster.lab.exec("alice", &["hactl", "standby"]).unwrap();
    assert!(!refused.success(), "{refused:?}");
    let status = cluster.until_status("alice", "is stuck", |s| {
        state(s, "alice") == Some(GroupState::Stuck)
    });
    assert!(
        notes(&status).contains("its stop failed here"),
        "{}",
        notes(&status)
    );
    assert!(notes(&status).contains(why), "{}", notes(&status));
    nothing_left(&cluster, "alice");
    cluster.until_status("bob", "says that it is stuck", |s| {
        notes(s).contains("stuck on alice: its stop failed")
    });
    pass(DEADTIME);
    cluster.lab.crash("alice").unwrap();
    cluster.until_liveness("bob", "alice", Liveness::Dead);
    let status = cluster.until_status("bob", "does not start it", |s| {
        notes(s).contains("not running: its stop failed on alice")
    });
    assert!(notes(&status).contains("hactl clear"), "{}", notes(&status));
    pass(2 * DEADTIME);
    assert_eq!(count(&cluster, "bob", "web start begin"), 0);
    assert_eq!(owners(&cluster.status("bob")), [] as [&str; 0]);
    cluster.run("bob", &["hactl", "clear", GROUP]);
    cluster.until_owner("bob");
    cluster.never_two_owners();
}

#[test]
fn a_stop_that_hangs_makes_the_group_stuck_until_it_is_cleared() {
    a_bad_stop("nf-hang-stop", HANG, "timed out and was killed");
}

#[test]
fn a_stop_that_fails_makes_the_group_stuck_until_it_is_cleared() {
    a_bad_stop(
        "nf-fail-stop",
        "echo busy; exit 1",
        "failed with exit code 1: busy",
    );
}

#[test]
fn a_stuck_group_that_is_mended_and_cleared_on_its_node_goes_on() {
    let mut cluster = cluster("nf-mended", true);
    cluster.script_does("alice", "stop", "echo busy; exit 1");
    cluster.lab.exec("alice", &["hactl", "standby"]).unwrap();
    cluster.until_status("alice", "is stuck", |s| {
        state(s, "alice") == Some(GroupState::Stuck)
    });
    cluster.script_is_well("alice", "stop");
    cluster.sh("alice", "/etc/ha.d/resource.d/svc web stop");
    cluster.run("alice", &["hactl", "clear", GROUP]);
    let see = || {
        let status = cluster.status("bob");
        let owners: Vec<String> = owners(&status).iter().map(ToString::to_string).collect();
        (owners, group(&status).states.clone())
    };
    until("somebody runs it", see, |(owners, states)| {
        owners.len() == 1 && states.iter().any(|s| s.1 == GroupState::Online)
    });
    cluster.never_two_owners();
}

/// A wrong entry for the client's neighbour table, which only an announcement can repair.
fn poison(cluster: &Cluster) {
    let words = "ip neigh replace 10.0.0.100 lladdr 02:00:00:00:00:01 dev eth0 nud stale";
    cluster.sh("client", words);
}

/// Removes the address by hand. It must come back, be announced and logged. Returns how long it was away.
fn removed_by_hand(name: &str, removal: &str) {
    let mut cluster = Cluster::up(name, &USUAL);
    let mac = cluster.lab.mac("alice", "eth0").unwrap();
    poison(&cluster);
    let sampler = cluster
        .lab
        .sampler(&[vip()], Duration::from_millis(1))
        .unwrap();
    cluster.sh("alice", removal);
    cluster.until_log("alice", ", which something else had removed");
    until(
        "the client was told",
        || cluster.lab.neighbour("client", vip()).unwrap(),
        |known| *known == mac,
    );
    let report = sampler.finish().unwrap();
    let times = report.owners.iter().map(|o| o.0);
    let away = report
        .owners
        .iter()
        .zip(times.skip(1))
        .filter(|(gone, _)| gone.2.is_empty())
        .map(|(gone, back)| back.since(gone.0))
        .max();
    let away = away.unwrap_or_default();
    println!("MEASURED after `{removal}` the address was away for at most {away:?}");
    assert!(away < Duration::from_secs(2), "{report:#?}");
    assert_eq!(report.owners.last().unwrap().2, ["alice"], "{report:#?}");
    cluster.until_owner_seen("bob", "alice");
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    cluster.never_two_owners();
}

#[test]
fn an_address_removed_by_hand_is_back_at_once_announced_and_told() {
    removed_by_hand("nf-hand", "ip address del 10.0.0.100/24 dev eth0");
}

/// `flush` removes everything, several times in a row. That counts as one removal. The test itself restores the node's own
/// address.
#[test]
fn an_interface_flushed_by_hand_has_its_address_back_at_once() {
    removed_by_hand(
        "nf-flush",
        "ip address flush dev eth0; ip address add 10.0.0.1/24 dev eth0",
    );
}

#[test]
fn an_address_that_is_removed_again_and_again_is_lost_and_the_group_moves() {
    let mut cluster = Cluster::up("nf-fight", &USUAL);
    let fight = "while :; do ip address del 10.0.0.100/24 dev eth0 2>/dev/null; sleep 0.1; done";
    cluster.lab.spawn("alice", &["sh", "-c", fight]).unwrap();
    cluster.until_owner("bob");
    let status = cluster.until_owner_seen("alice", "bob");
    assert!(
        notes(&status).contains("if it is a network manager"),
        "{}",
        notes(&status)
    );
    assert_eq!(count(&cluster, "alice", "web stop end"), 1);
    cluster.never_two_owners();
}

/// Every address of a group is guarded, not only the first.
#[test]
fn two_addresses_removed_at_once_are_both_back() {
    let mut cluster = Cluster::up(
        "nf-both",
        &USUAL.haresources("alice 10.0.0.100/24/eth0 10.0.0.101/24/eth0 svc::web\n"),
    );
    let second = IpAddr::from([10, 0, 0, 101]);
    cluster.sh(
        "alice",
        "ip address del 10.0.0.101/24 dev eth0; ip address del 10.0.0.100/24 dev eth0",
    );
    let held = || {
        let all = cluster.lab.addresses("alice").unwrap();
        [vip(), second].map(|ip| all.iter().any(|a| a.address == ip))
    };
    until("both are back", held, |held| *held == [true, true]);
    cluster.never_two_owners();
}

/// A stuck group stays when it is removed from the configuration, and it can still be cleared.
#[test]
fn a_stuck_group_that_was_configured_away_can_be_cleared_by_its_name() {
    let mut cluster = cluster("nf-stuck-away", true);
    cluster.script_does("alice", "stop", "echo busy; exit 1");
    cluster.lab.exec("alice", &["hactl", "standby"]).unwrap();
    cluster.until_status("alice", "is stuck", |s| {
        state(s, "alice") == Some(GroupState::Stuck)
    });
    for node in ["alice", "bob"] {
        cluster.sh(
            node,
            "echo alice 10.0.0.101/24/eth0 > /etc/ha.d/haresources",
        );
        cluster.run(node, &["hactl", "reload"]);
    }
    let status = cluster.status("alice");
    assert_eq!(state(&status, "alice"), Some(GroupState::Stuck));
    cluster.script_is_well("alice", "stop");
    let said = cluster.run("alice", &["hactl", "clear", GROUP]);
    assert!(said.contains("probed again"), "{said}");
    cluster.until_status("alice", "has forgotten it", |s| {
        s.groups.iter().all(|g| g.name.as_str() != GROUP)
    });
    nothing_left(&cluster, "alice");
    cluster.never_two_owners();
}

/// The three steps of authkeys(5), each on one node after the other.
#[test]
fn a_key_is_changed_without_an_interruption() {
    let mut cluster = cluster("nf-keys", true);
    let new = "2 sha256 another-key-for-a-test";
    let steps = [
        format!("echo '{new}' >> /etc/ha.d/authkeys"),
        "sed -i 's/^auth 1/auth 2/' /etc/ha.d/authkeys".to_owned(),
        "sed -i '/^1 /d' /etc/ha.d/authkeys".to_owned(),
    ];
    for step in steps {
        for node in ["alice", "bob"] {
            cluster.sh(node, &step);
            let plan = cluster.run(node, &["hactl", "reload", "--dry-run"]);
            assert!(plan.contains("hear each other"), "{plan}");
            assert!(!plan.contains("do not hear"), "{plan}");
            cluster.run(node, &["hactl", "reload"]);
            pass(DEADTIME / 2);
        }
    }
    pass(DEADTIME);
    for node in ["alice", "bob"] {
        let log = cluster.lab.log(node).unwrap();
        assert!(
            !log.contains("is late") && !log.contains("is dead"),
            "{log}"
        );
        assert!(!log.contains("rejected"), "{log}");
    }
    cluster.never_two_owners();
}

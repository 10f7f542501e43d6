//! What a group needs of its node is there or not: cables, interfaces, mount points.

use std::os::unix::fs::PermissionsExt;

use had::lab::LabPlan;
use had::model::status::Status;

use crate::common::{
    Cluster, DEADTIME, PING, Setup, TIMES, USUAL, ha_cf, node, notes, owners, pass, plan, until,
    vip, write_config,
};

/// Heartbeats and one address on eth0, the other address on eth1.
const TWO_CABLES: Setup<'static> =
    USUAL.haresources("alice 10.0.0.100/24/eth0 10.0.1.100/24/eth1\n");

/// Waits until a node has both addresses.
fn until_both_addresses(cluster: &Cluster, node: &str) {
    for address in ["10.0.0.100", "10.0.1.100"] {
        let see = || cluster.sh(node, &format!("ip -o address show to {address}"));
        until(address, see, |shown| !shown.is_empty());
    }
}

/// Makes an interface with a carrier.
fn make(name: &str) -> String {
    format!(
        "ip link add {name} type veth peer name o{name} && ip link set {name} up && ip link set o{name} up"
    )
}

/// Whether a status names the problem of a group.
fn says(status: &Status, text: &str) -> bool {
    let of_groups = status.groups.iter().flat_map(|g| &g.notes);
    let mut notes = of_groups.chain(status.nodes.iter().flat_map(|n| &n.notes));
    let mut checks = status.checks.iter();
    notes.any(|n| n.contains(text)) || checks.any(|c| c.text.contains(text))
}

#[test]
fn a_dead_cable_of_one_address_moves_the_whole_group() {
    let mut cluster = Cluster::up("nf-dead-cable", &TWO_CABLES);
    cluster.sh("alice", "ip link set eth1 down");
    cluster.until_owner("bob");
    until_both_addresses(&cluster, "bob");
    for node in ["alice", "bob"] {
        cluster.until_status(node, "says why", |s| says(s, "eth1 is down"));
    }
    cluster.sh("alice", "ip link set eth1 up");
    for node in ["alice", "bob"] {
        cluster.until_status(node, "all is well", |s| !says(s, "eth1"));
    }
    cluster.never_two_owners();
}

#[test]
fn a_dead_cable_takes_no_other_address_while_no_node_can_take_over() {
    let mut cluster = Cluster::up("nf-dead-cables", &TWO_CABLES);
    cluster.sh("bob", "ip link set eth1 down");
    cluster.until_status("alice", "knows of bob", |s| says(s, "eth1 is down"));
    cluster.sh("alice", "ip link set eth1 down");
    cluster.until_status("alice", "says that it stays", |s| {
        notes(s).contains("stays here")
    });
    pass(2 * DEADTIME);
    assert_eq!(owners(&cluster.status("bob")), ["alice"]);
    let shown = cluster.sh("alice", "ip -o address show to 10.0.0.100");
    assert!(!shown.is_empty(), "the address of the good cable is gone");
    let log = cluster.lab.log("alice").unwrap();
    let lines = log.lines().filter(|l| l.contains("eth1"));
    assert!(lines.count() < 10, "{log}");
    cluster.sh("bob", "ip link set eth1 up");
    cluster.until_owner("bob");
    until_both_addresses(&cluster, "bob");
    cluster.never_two_owners();
}

/// Only the group that needs it waits.
#[test]
fn a_missing_interface_and_a_missing_mount_point_hold_up_their_group_alone() {
    let setup = USUAL.haresources(
        "alice 10.0.0.100/24/eth0 svc::web\n\
         alice 10.9.9.9/24/vlan9\n\
         alice 10.8.8.8\n\
         alice Filesystem::t::/run/data::tmpfs\n",
    );
    let cluster = Cluster::up("nf-missing", &setup.idle());
    cluster.sh("bob", "mkdir /run/data");
    for node in ["alice", "bob"] {
        // Not on a disk that both share.
        cluster.sh(node, "mount -t tmpfs t /run 2>/dev/null; true");
    }
    cluster.start_both();
    cluster.until_owner("alice");
    for text in [
        "there is no interface vlan9",
        "10.8.8.8 belongs to no connected network",
        "there is no directory /run/data",
    ] {
        cluster.until_status("alice", text, |s| says(s, text));
    }
    cluster.sh(
        "alice",
        &format!(
            "{}; {}; ip address add 10.8.8.1/24 dev vlan8; mkdir /run/data",
            make("vlan9"),
            make("vlan8")
        ),
    );
    for (what, wanted) in [
        ("ip -o address show dev vlan9", "10.9.9.9/24"),
        ("ip -o address show dev vlan8", "10.8.8.8/24"),
        ("mount", "/run/data"),
    ] {
        until(wanted, || cluster.sh("alice", what), |s| s.contains(wanted));
    }
}

/// The program before it in its group makes its interface.
#[test]
fn an_interface_that_an_earlier_member_makes_is_no_obstacle() {
    let setup = USUAL.haresources("alice svc::web 10.9.9.9/24/vlan9\n");
    let cluster = Cluster::up("nf-made", &setup.idle());
    for node in ["alice", "bob"] {
        cluster.script_does(node, "start", &make("vlan9"));
        cluster.script_does(node, "stop", "ip link del vlan9");
    }
    cluster.start_both();
    let shown = || cluster.sh("alice", "ip -o address show");
    until("10.9.9.9", shown, |s| s.contains("10.9.9.9/24"));
    cluster.run("bob", &["hactl", "takeover", "all"]);
    let shown = || cluster.sh("bob", "ip -o address show");
    until("10.9.9.9", shown, |s| s.contains("10.9.9.9/24"));
}

/// What a daemon may not do is known before a takeover needs it.
#[test]
fn a_daemon_that_may_not_set_addresses_is_no_candidate() {
    let dir = tempfile::tempdir().unwrap();
    let had = dir.path().join("had");
    let program = env!("CARGO_BIN_EXE_had");
    let text = format!("#!/bin/sh\nexec setpriv --bounding-set=-net_admin {program} \"$@\"\n");
    std::fs::write(&had, text).unwrap();
    std::fs::set_permissions(&had, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = dir.path().join("ha.d");
    let ha_cf = ha_cf(&["alice", "bob"], &["eth0"], &format!("{TIMES}{PING}"));
    write_config(
        &config,
        dir.path(),
        &ha_cf,
        USUAL.haresources,
        "a-secret-of-this-lab",
    );
    let nodes = vec![node("alice", 1, &config), node("bob", 2, &config)];
    let plan = LabPlan {
        had,
        ..plan("nf-capability", nodes)
    };
    let cluster = Cluster::of(&plan, dir, &[vip()]);
    cluster.start("alice");
    cluster.until_status("alice", "names it", |s| says(s, "CAP_NET_ADMIN"));
}

#[test]
fn differing_keys_are_named_beside_the_node_that_is_not_heard() {
    let dir = tempfile::tempdir().unwrap();
    let ha_cf = ha_cf(&["alice", "bob"], &["eth0"], &format!("{TIMES}{PING}"));
    let configs = ["one-key", "another-key"].map(|key| {
        let config = dir.path().join(key);
        write_config(&config, dir.path(), &ha_cf, USUAL.haresources, key);
        config
    });
    let nodes = vec![node("alice", 1, &configs[0]), node("bob", 2, &configs[1])];
    let cluster = Cluster::of(&plan("nf-keys", nodes), dir, &[]);
    cluster.start("alice");
    cluster.start("bob");
    for (by, address) in [("alice", "10.0.0.2"), ("bob", "10.0.0.1")] {
        let text = format!(
            "datagrams from {address} are refused: the digest does not match; authkeys must be the same"
        );
        cluster.until_status(by, "names the keys", |s| says(s, &text));
    }
}

//! Interfaces that are created again under a running daemon.

use crate::common::{Blueprint, Cluster, TIMES, wait};
use had::model::status::Status;

/// Makes the bridge for heartbeats. It is not up yet.
const MAKE: &str = "ip link add hb0 type bridge && ip link set eth1 master hb0";
/// Occupies the port on the new bridge until `/run/let-go` exists.
const THIEF: &str = r"perl -MSocket -e '
    socket(S, AF_INET, SOCK_DGRAM, 0) or die $!;
    setsockopt(S, SOL_SOCKET, 25, pack(q(Z16), q(hb0))) or die $!;
    bind(S, sockaddr_in(694, INADDR_ANY)) or die $!;
    open(F, q(>), q(/run/taken)); close(F);
    select(undef, undef, undef, 0.05) until -e q(/run/let-go);'";

fn hears_on(status: &Status, link: &str) -> bool {
    let mut links = status.nodes.iter().flat_map(|n| &n.links);
    links.any(|l| l.link.as_str() == link && l.hears)
}

/// Alice and bob with two links; alice has no `hb0` yet.
fn without_second_link(name: &str, first: &str) -> Cluster {
    let ha_cf = format!("{TIMES}{first}auto_failback off\nnode alice bob\nquorum off\n");
    let cluster = Blueprint::new(name, &ha_cf, "alice 10.0.0.100/24/eth0\n")
        .node(
            "alice",
            &["eth0 10.0.0.1/24", "eth1"],
            &["ucast hb0 10.0.1.2"],
        )
        .node(
            "bob",
            &["eth0 10.0.0.2/24", "eth1"],
            &["ucast hb0 10.0.1.1"],
        )
        .idle()
        .up();
    make_second_link(&cluster, "bob", "10.0.1.2");
    cluster.lab.start_had("bob").unwrap();
    cluster
}

fn make_second_link(cluster: &Cluster, node: &str, address: &str) {
    cluster.sh(node, MAKE);
    cluster.sh(
        node,
        &format!("ip address add {address}/24 dev hb0; ip link set hb0 up"),
    );
}

/// At boot one of two cards may be late, or broken.
#[test]
fn a_missing_second_interface_is_used_once_it_appears() {
    let media = "ucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n";
    let cluster = without_second_link("late", media);
    cluster.lab.start_had("alice").unwrap();
    cluster.until_active(&["alice", "bob"]);
    cluster.until_owner("10.0.0.100/24/eth0", "alice");
    let status = cluster.sh("alice", "hactl status; true");
    assert!(
        status.contains("! cannot receive heartbeats on hb0, UDP port 694"),
        "{status}"
    );
    let log = cluster.lab.log("alice").unwrap();
    assert!(
        log.contains("had uses the other links, and tries this one again every second"),
        "{log}"
    );
    make_second_link(&cluster, "alice", "10.0.1.1");
    cluster.until_status("alice", "hears bob on hb0", |s| hears_on(s, "hb0"));
    cluster.until_status("bob", "hears alice on hb0", |s| hears_on(s, "hb0"));
    let status = cluster.sh("alice", "hactl status; true");
    assert!(!status.contains("cannot receive"), "{status}");
}

/// A daemon that can hear nobody takes no part, and says what it waits for.
#[test]
fn without_any_interface_the_daemon_waits_and_says_so() {
    let cluster = without_second_link("waits", "");
    let had = env!("CARGO_BIN_EXE_had");
    let command = format!("exec {had} > /run/out 2>&1");
    cluster.lab.spawn("alice", &["sh", "-c", &command]).unwrap();
    let text = "there is no interface hb0: had waits for it and takes no part in the cluster";
    assert!(wait(|| cluster
        .run("alice", "hactl status")
        .stderr
        .contains(text)));
    assert!(cluster.sh("alice", "cat /run/out").contains(text));
    make_second_link(&cluster, "alice", "10.0.1.1");
    cluster.until_active(&["alice", "bob"]);
}

/// The port is occupied when the interface comes back, and nothing changes on the interface after that.
#[test]
fn a_port_that_was_taken_on_a_new_interface_is_listened_on_once_it_is_free() {
    let media = "ucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n";
    let ha_cf = format!("{TIMES}{media}auto_failback off\nnode alice bob\nquorum off\n");
    let cluster = Blueprint::new("port", &ha_cf, "alice 10.0.0.100/24/eth0\n")
        .node(
            "alice",
            &["eth0 10.0.0.1/24", "eth1"],
            &["ucast hb0 10.0.1.2"],
        )
        .node(
            "bob",
            &["eth0 10.0.0.2/24", "eth1"],
            &["ucast hb0 10.0.1.1"],
        )
        .idle()
        .up();
    for (node, address) in [("alice", "10.0.1.1"), ("bob", "10.0.1.2")] {
        cluster.sh(node, MAKE);
        cluster.sh(
            node,
            &format!("ip address add {address}/24 dev hb0; ip link set hb0 up"),
        );
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_active(&["alice", "bob"]);
    cluster.until_status("alice", "hears bob on hb0", |s| hears_on(s, "hb0"));
    cluster.sh("alice", "ip link del hb0");
    cluster.until_status("alice", "does not hear on hb0", |s| !hears_on(s, "hb0"));
    cluster.sh("alice", MAKE);
    cluster.lab.spawn("alice", &["sh", "-c", THIEF]).unwrap();
    assert!(wait(|| cluster
        .run("alice", "test -e /run/taken")
        .success()));
    cluster.sh(
        "alice",
        "ip address add 10.0.1.1/24 dev hb0; ip link set hb0 up",
    );
    let said = |text: &str| wait(|| cluster.lab.log("alice").unwrap().contains(text));
    assert!(said("trying again every second"));
    cluster.sh("alice", "touch /run/let-go");
    assert!(said("listening on hb0 again"));
    cluster.until_status("alice", "hears bob on hb0 again", |s| hears_on(s, "hb0"));
}

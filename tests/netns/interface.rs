//! Interfaces that are created again under a running daemon.

use crate::common::{Blueprint, TIMES, wait};
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

//! The addresses of an interface change under a running daemon: DHCP was slow, a virtual address was the source of heartbeats.

use crate::common::{Cluster, DEADTIME, Setup, USUAL, link, pass, until};

const ON_ETH0: Setup<'static> = USUAL.ha_cf("ping 10.0.0.254\nrelay off\n").idle();

fn until_both_hear(cluster: &Cluster) {
    for (by, of) in [("alice", "bob"), ("bob", "alice")] {
        cluster.until_status(by, "hears on eth0", |s| link(s, of, "eth0").hears);
    }
}

/// After twice deadtime each still hears the other.
fn go_on_hearing(cluster: &Cluster) {
    pass(2 * DEADTIME);
    for (by, of) in [("alice", "bob"), ("bob", "alice")] {
        let status = cluster.status(by);
        assert!(link(&status, of, "eth0").hears, "{by} {of}");
    }
}

#[test]
fn an_address_that_comes_after_the_daemon_is_used() {
    let mut cluster = Cluster::up("nf-late-address", &ON_ETH0);
    for node in ["alice", "bob"] {
        for interface in ["eth0", "eth1"] {
            cluster.sh(node, &format!("ip address flush dev {interface}"));
        }
        cluster.start(node);
        cluster.until_status(node, "listens", |_| true);
    }
    for (node, address) in [("alice", "10.0.0.1"), ("bob", "10.0.0.2")] {
        cluster.sh(node, &format!("ip address add {address}/24 dev eth0"));
    }
    until_both_hear(&cluster);
    cluster.agreed_owner();
    go_on_hearing(&cluster);
    cluster.never_two_owners();
}

/// Where a route says so, the kernel prefers a virtual address as the source.
#[test]
fn a_virtual_address_that_was_the_source_of_heartbeats_may_move() {
    let setup = ON_ETH0.haresources("alice 10.0.0.100/24/eth0\n");
    let mut cluster = Cluster::up("nf-source", &setup);
    for (node, address) in [("alice", "10.0.0.1"), ("bob", "10.0.0.2")] {
        cluster.sh(node, "ip address flush dev eth0 scope global");
        cluster.sh(node, &format!("ip address add {address}/16 dev eth0"));
    }
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    let prefer = "ip route add 10.0.0.0/24 dev eth0 src 10.0.0.100";
    cluster.sh("alice", prefer);
    cluster.lab.kill_had("alice").unwrap();
    cluster.until_gone("alice");
    cluster.start("alice");
    cluster.until_owner("alice");
    until_both_hear(&cluster);
    let source = cluster.sh("alice", "ip route get 10.0.0.2");
    assert!(source.contains("src 10.0.0.100"), "{source}");
    cluster.run("bob", &["hactl", "takeover"]);
    cluster.until_owner("bob");
    go_on_hearing(&cluster);
    cluster.never_two_owners();
}

/// Without an address on it, the kernel takes the source from another interface.
#[test]
fn an_interface_that_is_made_anew_gets_its_own_source_with_its_address() {
    let setup = Setup {
        links: &["eth0", "eth1"],
        ..USUAL
    };
    let mut cluster = Cluster::up("nf-anew", &setup);
    let source = || {
        let sockets = cluster.sh("alice", "ss --udp --numeric --no-header dst 10.0.1.2");
        let local = sockets.split_whitespace().nth(2).map(str::to_owned);
        local.unwrap_or(sockets)
    };
    assert!(source().starts_with("10.0.1.1"), "{}", source());
    cluster.sh("alice", "ip address flush dev eth1 scope global");
    until("another source", source, |s| !s.starts_with("10.0.1.1"));
    cluster.sh("alice", "ip address add 10.0.1.1/24 dev eth1");
    until("its own source", source, |s| s.starts_with("10.0.1.1"));
    cluster.never_two_owners();
}

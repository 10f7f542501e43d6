//! Heartbeats that bounce off the ping node: two nodes that cannot reach each other, and a gateway that both reach.

use std::net::{IpAddr, SocketAddrV4};
use std::thread;

use had::lab::{LinkDirection, PingPlan, SamplerReport};
use had::model::status::{LinkStatus, Liveness, Status};
use socket2::{Domain, Protocol, Type};

use crate::common::*;
use crate::flood::{Segment, pour, setting};
use crate::hostile::{counted, harmful, signed};

const VIA: &str = "via 10.0.0.254";
/// An address and a service; in the cut, no node can probe whether the other has the address.
const RELAYED: Setup<'_> = USUAL;
/// Both nodes, each with its peer.
const PAIR: [(&str, &str); 2] = [("alice", "bob"), ("bob", "alice")];

fn cut(cluster: &Cluster) {
    let way = LinkDirection::Both;
    cluster.lab.cut("alice", "bob", None, way).unwrap();
}

fn is_up(link: &LinkStatus) -> bool {
    link.hears && link.heard == Some(true)
}

fn has_links(status: &Status, of: &str, direct: &str, direct_is_up: bool, via: &str) -> bool {
    let peer = peer(status, of);
    let find = |name: &str| peer.links.iter().find(|l| l.link.as_str() == name);
    let relayed = find(via).is_some_and(is_up);
    let direct = find(direct).is_some_and(|l| {
        if direct_is_up {
            is_up(l)
        } else {
            !l.hears && l.heard == Some(false)
        }
    });
    peer.liveness == Liveness::Active && direct && relayed
}

/// Waits until both nodes hear each other through the gateway only.
fn until_relayed(cluster: &Cluster, direct: &str, via: &str) {
    for (by, of) in PAIR {
        cluster.until_status(by, "hears the other through the gateway only", |s| {
            has_links(s, of, direct, false, via)
        });
    }
}

/// Waits until both nodes hear each other directly and through the gateway.
fn until_direct(cluster: &Cluster, direct: &str, via: &str) {
    for (by, of) in PAIR {
        cluster.until_status(by, "hears the other on both links", |s| {
            has_links(s, of, direct, true, via)
        });
    }
}

/// Asserts that neither node took the other for dead.
fn nobody_was_dead(cluster: &Cluster) {
    for (by, of) in PAIR {
        let log = cluster.lab.log(by).unwrap();
        assert!(!log.contains(&format!("node {of} is dead")), "{log}");
    }
}

/// The nodes that had the address, one after the other.
fn owners_in_turn(report: &SamplerReport) -> Vec<String> {
    let owned = report.owners.iter().filter(|o| o.1 == vip());
    let mut names: Vec<String> = owned.flat_map(|o| o.2.clone()).collect();
    names.dedup();
    names
}

#[test]
fn twenty_cuts_between_nodes_that_reach_the_gateway_move_nothing() {
    let mut cluster = Cluster::up("nf-relay", &RELAYED);
    until_direct(&cluster, "eth0", VIA);
    let probe = cluster.probe();
    for _ in 0..20 {
        cut(&cluster);
        until_relayed(&cluster, "eth0", VIA);
        cluster.lab.heal_all().unwrap();
        until_direct(&cluster, "eth0", VIA);
    }
    cut(&cluster);
    until_relayed(&cluster, "eth0", VIA);
    for node in ["alice", "bob"] {
        let page = cluster.page(node);
        assert!(page.contains("eth0: down"), "{page}");
        let relayed = page.contains("via 10.0.0.254: up in both directions");
        assert!(relayed, "{page}");
    }
    let report = probe.finish().unwrap();
    tell_gap("cuts between nodes that reach the gateway", &report);
    // A machine with other work to do may stand still for a moment; a takeover takes deadtime.
    assert!(report.outage() < DEADTIME / 2, "{report:?}");
    cluster.only_the_first_start();
    nobody_was_dead(&cluster);
    assert_eq!(owners_in_turn(&cluster.never_two_owners()), ["alice"]);
}

#[test]
fn the_owner_changes_during_a_cut() {
    let mut cluster = Cluster::up("nf-relay-move", &RELAYED);
    cut(&cluster);
    until_relayed(&cluster, "eth0", VIA);
    cluster.run("alice", &["hactl", "standby"]);
    cluster.until_owner("bob");
    cluster.until_owner_seen("alice", "bob");
    cluster.run("alice", &["hactl", "standby", "off"]);
    // The next cut begins in the middle of a change.
    cluster.lab.heal_all().unwrap();
    until_direct(&cluster, "eth0", VIA);
    cluster.script_does("bob", "stop", "sleep 2");
    let stops = || {
        cluster
            .calls()
            .iter()
            .filter(|c| c.what == "web stop begin")
            .count()
    };
    thread::scope(|scope| {
        let moved = scope.spawn(|| cluster.run("bob", &["hactl", "standby"]));
        until("bob stops the service", stops, |n| *n == 2);
        cut(&cluster);
        moved.join().unwrap();
    });
    cluster.until_owner("alice");
    until_relayed(&cluster, "eth0", VIA);
    cluster.until_owner_seen("bob", "alice");
    cluster.were_called(&[
        ("alice", "web start begin"),
        ("alice", "web start end"),
        ("alice", "web stop begin"),
        ("alice", "web stop end"),
        ("bob", "web start begin"),
        ("bob", "web start end"),
        ("bob", "web stop begin"),
        ("bob", "web stop end"),
        ("alice", "web start begin"),
        ("alice", "web start end"),
    ]);
    nobody_was_dead(&cluster);
    let report = cluster.never_two_owners();
    assert_eq!(owners_in_turn(&report), ["alice", "bob", "alice"]);
}

#[test]
fn a_node_that_boots_during_a_cut_starts_nothing() {
    let mut cluster = Cluster::up("nf-relay-boot", &RELAYED.idle());
    cut(&cluster);
    cluster.start("alice");
    cluster.until_owner("alice");
    let probe = cluster.probe();
    for _ in 0..2 {
        cluster.start("bob");
        cluster.until_owner_seen("bob", "alice");
        until_relayed(&cluster, "eth0", VIA);
        pass(2 * DEADTIME);
        cluster.until_owner_seen("bob", "alice");
        cluster.lab.crash("bob").unwrap();
        cluster.lab.heal_all().unwrap();
        cluster.until_liveness("alice", "bob", Liveness::Dead);
        cluster.lab.restart("bob").unwrap();
        cut(&cluster);
    }
    let report = probe.finish().unwrap();
    assert!(report.outage() < DEADTIME / 2, "{report:?}");
    cluster.only_the_first_start();
    assert_eq!(owners_in_turn(&cluster.never_two_owners()), ["alice"]);
}

/// The addresses of the nodes are not in ha.cf. What was learned from their heartbeats outlives a reload.
#[test]
fn addresses_learned_from_broadcasts_outlive_a_reload_during_a_cut() {
    let setup = Setup {
        links: &[],
        ..RELAYED.ha_cf("ping 10.0.0.254\nbcast eth0\n")
    };
    let mut cluster = Cluster::up("nf-relay-bcast", &setup);
    until_direct(&cluster, "eth0", VIA);
    cut(&cluster);
    until_relayed(&cluster, "eth0", VIA);
    for (by, of) in PAIR {
        cluster.run(by, &["hactl", "reload"]);
        pass(2 * DEADTIME);
        assert_eq!(peer(&cluster.status(by), of).liveness, Liveness::Active);
    }
    cluster.only_the_first_start();
    nobody_was_dead(&cluster);
    cluster.never_two_owners();
}

/// The gateway believes no address that comes from the card of another machine.
#[test]
fn a_network_that_drops_relayed_heartbeats_is_named_and_is_no_problem() {
    const SAYS: &str = "nothing comes through: the network drops relayed heartbeats";
    let mut cluster = Cluster::up("nf-relay-dropped", &RELAYED.idle());
    let guard = |(node, address): (&str, &str)| {
        let mac = cluster.sh(node, "cat /sys/class/net/eth0/address");
        format!(
            "nft add rule netdev guard arrivals ip saddr {address} ether saddr != {mac} counter drop"
        )
    };
    let guards = [("alice", "10.0.0.1"), ("bob", "10.0.0.2")].map(guard);
    cluster.sh(
        "gateway",
        &format!(
            "nft add table netdev guard
        nft 'add chain netdev guard arrivals {{ type filter hook ingress device eth0 priority 0; }}'
        {}",
            guards.join("\n")
        ),
    );
    cluster.start_both();
    for (by, of) in PAIR {
        cluster.until_owner_seen(by, "alice");
        let heard = |l: &LinkStatus| l.link.as_str() == "eth0" && is_up(l);
        cluster.until_status(by, "hears the other directly", |s| {
            peer(s, of).links.iter().any(heard)
        });
        let page = cluster.page(by);
        let said: Vec<&str> = page.lines().filter(|l| l.contains(SAYS)).collect();
        assert_eq!(said.len(), 1, "{page}");
        assert!(!said[0].starts_with('!'), "{page}");
        assert!(said[0].trim_start().starts_with(VIA), "{page}");
    }
    let dropped = cluster.sh("gateway", "nft list table netdev guard");
    assert!(
        !dropped.contains("packets 0 "),
        "nothing was relayed: {dropped}"
    );
    cluster.sh("gateway", "nft delete table netdev guard");
    until_direct(&cluster, "eth0", VIA);
    nobody_was_dead(&cluster);
    cluster.only_the_first_start();
    cluster.never_two_owners();
}

#[test]
fn a_reload_turns_the_relay_off_and_on() {
    let mut cluster = Cluster::up(
        "nf-relay-off",
        &RELAYED.ha_cf("ping 10.0.0.254\nrelay off\n"),
    );
    let has_relay = |s: &Status, of: &str| peer(s, of).links.iter().any(|l| l.relay);
    for (from, to) in [("off", "on"), ("on", "off"), ("off", "on")] {
        let change = format!("sed -i 's/^relay .*/relay {to}/' /etc/ha.d/ha.cf");
        let says = format!("relay changes from {from} to {to}");
        for (node, of) in PAIR {
            cluster.sh(node, &change);
            let plan = cluster.run(node, &["hactl", "reload", "--dry-run"]);
            assert!(plan.contains(&says), "{plan}");
            assert_eq!(has_relay(&cluster.status(node), of), from == "on");
        }
        for (node, of) in PAIR {
            let done = cluster.run(node, &["hactl", "reload"]);
            assert!(done.contains(&says), "{done}");
            cluster.until_status(node, "has the relay or not", |s| {
                has_relay(s, of) == (to == "on")
            });
        }
    }
    until_direct(&cluster, "eth0", VIA);
    cut(&cluster);
    until_relayed(&cluster, "eth0", VIA);
    cluster.only_the_first_start();
    nobody_was_dead(&cluster);
    cluster.never_two_owners();
}

#[test]
fn heartbeats_are_relayed_over_ipv6() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let media = "ucast6 eth0 fd00::1\nucast6 eth0 fd00::2\nping6 fd00::fe\n";
    let text = ha_cf(&["alice", "bob"], &[], &format!("{TIMES}{media}"));
    let line = "alice 10.0.0.100/24/eth0 IPv6addr::fd00::100/64/eth0 svc::web\n";
    write_config(&config, dir.path(), &text, line, "secret-of-this-lab");
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let nodes = [("alice", 1), ("bob", 2)].map(|(name, last)| {
        let mut node = node(name, last, &config);
        let address = ip(&format!("fd00::{last}"));
        node.interfaces[0].addresses.push((address, 64));
        node
    });
    let mut plan = plan("nf-relay-v6", nodes.to_vec());
    plan.pings = vec![PingPlan {
        name: "gateway".into(),
        segment: "seg0".into(),
        address: ip("fd00::fe"),
        prefix: 64,
    }];
    let mut cluster = Cluster::of(&plan, dir, &[vip(), ip("fd00::100")]);
    cluster.start_both();
    cluster.until_owner_seen("bob", "alice");
    for _ in 0..2 {
        until_direct(&cluster, "eth0", "via fd00::fe");
        cut(&cluster);
        until_relayed(&cluster, "eth0", "via fd00::fe");
        pass(2 * DEADTIME);
        cluster.lab.heal_all().unwrap();
    }
    cluster.only_the_first_start();
    nobody_was_dead(&cluster);
    cluster.never_two_owners();
}

/// The gateway is the bridge itself, and an attacker there answers what nobody asked, 10,000 times a second. First the nodes hear
/// each other directly; then the bridge forwards nothing between them.
#[test]
fn a_flood_of_relayed_datagrams_costs_no_heartbeat() {
    /// That of the usual name of a cluster.
    const RELAY_ID: [u8; 2] = [0x55, 0x4d];
    let media = "ucast fast0 10.8.0.1\nucast fast0 10.8.0.2\nping 10.8.0.9\n";
    let setup = Setup {
        links: &[],
        ..RELAYED.ha_cf(media).idle()
    };
    let mut cluster = Cluster::up("nf-relay-flood", &setup);
    let segment = Segment::join(&cluster);
    cluster.start_both();
    cluster.until_owner_seen("alice", "alice");
    cluster.until_owner_seen("bob", "alice");
    let via = "via 10.8.0.9";
    until_direct(&cluster, "fast0", via);
    let reply =
        |payload: &[u8]| [&[0, 0, 0, 0], &RELAY_ID[..], &[0, 1], b"had\x01", payload].concat();
    let forged = signed(&harmful("bob", 1 << 40, 1), "another-secret");
    let replayed = signed(&harmful("bob", 1, 1), "secret-of-this-lab");
    let kinds = [reply(&forged), reply(&replayed), reply(b"")];
    let rate = setting("HAD_FLOOD_RATE", 10_000) / kinds.len() as u64;
    for is_cut in [false, true] {
        if is_cut {
            segment.isolate_nodes();
            until_relayed(&cluster, "fast0", via);
        }
        let before = cluster.status("alice");
        let times_late = || {
            let log = cluster.lab.log("alice").unwrap();
            log.matches("node bob is late").count()
        };
        let late_before = times_late();
        let time = if is_cut { 3 * DEADTIME } else { DEADTIME };
        let senders = kinds.clone().map(|datagram| {
            let socket = segment.enter(|| {
                socket2::Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap()
            });
            let to = SocketAddrV4::new([10, 8, 0, 1].into(), 0);
            thread::spawn(move || pour(&socket, to, &datagram, rate, time))
        });
        let sent: u64 = senders.into_iter().map(|s| s.join().unwrap()).sum();
        println!("MEASURED {sent} datagrams in {time:?}");
        let after = cluster.until_status("alice", "has counted every kind", |s| {
            ["digest does not match", "replays", "begins with neither"]
                .iter()
                .all(|kind| counted(s, kind) > counted(&before, kind) + 10)
        });
        println!("counted: {:#?}", after.counters);
        assert_eq!(counted(&after, "queue was full"), 0);
        let generation = |s: &Status| peer(s, "bob").generation;
        assert_eq!(generation(&after), generation(&before));
        assert_eq!(peer(&after, "bob").liveness, Liveness::Active);
        assert_eq!(times_late(), late_before, "heartbeats were missed");
    }
    cluster.until_owner_seen("bob", "alice");
    cluster.only_the_first_start();
    nobody_was_dead(&cluster);
    cluster.never_two_owners();
}

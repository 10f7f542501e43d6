//! A pair starts and hands over on each medium, and an IPv6 address moves like an IPv4 one.

use std::time::Duration;

use had::lab::LinkDirection;
use had::model::status::{Liveness, Status};

use crate::common::{Blueprint, Cluster, TIMES, ip};

/// A pair with two networks and these media.
fn pair(name: &str, media: &str, haresources: &str) -> Cluster {
    let ha_cf = format!("{TIMES}{media}auto_failback off\nnode alice bob\n");
    let cluster = Blueprint::new(name, &ha_cf, haresources)
        .node(
            "alice",
            &["eth0 10.0.0.1/24 fd00::1/64", "eth1 10.0.1.1/24 fd01::1/64"],
            &[],
        )
        .node(
            "bob",
            &["eth0 10.0.0.2/24 fd00::2/64", "eth1 10.0.1.2/24 fd01::2/64"],
            &[],
        )
        .client("eth0 10.0.0.9/24 fd00::9/64")
        .watch(&["10.0.0.100", "fd00::100"])
        .up();
    cluster.until_active(&["alice", "bob"]);
    cluster
}

/// Whether there are this many links, each heard in both directions.
fn links(status: &Status, count: usize) -> bool {
    let peer = status.nodes.iter().find(|n| n.liveness != Liveness::Here);
    peer.is_some_and(|p| {
        p.links.len() == count && p.links.iter().all(|l| l.hears && l.heard == Some(true))
    })
}

fn comes_up_and_hands_over(name: &str, media: &str, count: usize) -> Cluster {
    let cluster = pair(name, media, "alice 10.0.0.100/24/eth0\n");
    cluster.until_owner("10.0.0.100", "alice");
    for node in ["alice", "bob"] {
        cluster.until_status(node, "all links are heard", |s| links(s, count));
    }
    cluster.sh("bob", "hactl takeover 10.0.0.100");
    cluster.until_owner("10.0.0.100", "bob");
    cluster.lab.crash("bob").unwrap();
    cluster.until_owner("10.0.0.100", "alice");
    cluster.lab.restart("bob").unwrap();
    cluster.until_active(&["alice", "bob"]);
    cluster.until_owner("10.0.0.100", "alice");
    cluster
}

#[test]
fn ucast() {
    comes_up_and_hands_over("ucast", "ucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n", 1);
}

#[test]
fn bcast() {
    comes_up_and_hands_over("bcast", "bcast eth0\n", 1);
}

#[test]
fn mcast() {
    comes_up_and_hands_over("mcast", "mcast eth0 239.0.0.1 694 1 0\n", 1);
}

#[test]
fn ucast6() {
    comes_up_and_hands_over("ucast6", "ucast6 eth0 fd00::1\nucast6 eth0 fd00::2\n", 1);
}

#[test]
fn mcast6() {
    comes_up_and_hands_over("mcast6", "mcast6 eth0 ff02::694 694 1 0\n", 1);
}

#[test]
fn two_media_and_one_is_enough() {
    let media = "ucast eth0 10.0.0.1\nucast eth0 10.0.0.2\nmcast eth1 239.0.0.1 694 1 0\n";
    let mut cluster = comes_up_and_hands_over("two-media", media, 2);
    cluster.owners_so_far();
    for link in ["eth0", "eth1"] {
        cluster
            .lab
            .cut("alice", "bob", Some(link), LinkDirection::Both)
            .unwrap();
        for node in ["alice", "bob"] {
            cluster.until_status(node, "one link is down", |s| {
                let peer = s.nodes.iter().find(|n| n.liveness != Liveness::Here);
                peer.is_some_and(|p| {
                    p.liveness == Liveness::Active && p.links.iter().any(|l| !l.hears)
                })
            });
        }
        cluster.lab.heal_all().unwrap();
        for node in ["alice", "bob"] {
            cluster.until_status(node, "both links are heard", |s| links(s, 2));
        }
    }
    let report = cluster.owners_so_far();
    let owners: Vec<_> = report
        .owners
        .into_iter()
        .filter(|o| !o.2.is_empty())
        .collect();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(owners[0].2, ["alice"]);
}

#[test]
fn an_address_of_ipv6_moves_and_the_client_follows() {
    let line = "alice IPv6addr::fd00:0:0:0:0:0:0:100/64/eth0\n";
    let cluster = pair("ipv6", "ucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n", line);
    cluster.until_owner("IPv6addr", "alice");
    cluster.sh("client", "ping -6 -c 1 -W 5 fd00::100");
    cluster.until_neighbour("client", "fd00::100", "alice", "eth0");
    for owner in ["bob", "alice"] {
        let probe = cluster
            .lab
            .probe(ip("fd00::100"), Duration::from_millis(5))
            .unwrap();
        cluster.sh(owner, "hactl takeover fd00:0:0:0:0:0:0:100");
        cluster.until_owner("IPv6addr", owner);
        cluster.until_neighbour("client", "fd00::100", owner, "eth0");
        cluster.sh("client", "ping -6 -c 1 -W 5 fd00::100");
        let gap = probe.finish().unwrap().longest_gap;
        println!("IPv6 to {owner}: silent for {gap:?}");
        assert!(gap < Duration::from_secs(1), "{gap:?}");
    }
    cluster.lab.crash("alice").unwrap();
    cluster.until_owner("IPv6addr", "bob");
    // A single request that is on its way to the dead node is not repeated.
    cluster.until_neighbour("client", "fd00::100", "bob", "eth0");
    cluster.sh("client", "ping -6 -c 1 -W 5 fd00::100");
}

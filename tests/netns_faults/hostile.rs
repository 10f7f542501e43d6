//! Strangers on the network: forged, damaged, old and foreign datagrams are counted and change nothing.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use had::model::heartbeat::{GroupReport, GroupState, Heartbeat};
use had::model::keys::{Key, Keys, Method};
use had::model::status::{Liveness, Status};
use had::model::{Generation, GroupName, NodeName, Sequence, Term};
use had::wire::{Envelope, encode};

use crate::common::*;

fn keys(secret: &str) -> Keys {
    let key = Key {
        method: Method::Sha1,
        secret: secret.as_bytes().to_vec(),
    };
    Keys {
        signing: 1,
        keys: [(1, key)].into(),
    }
}

/// The most harmful heartbeat: bob claims to own the group by the oldest right.
pub fn harmful(src: &str, generation: u64, sequence: u64) -> Heartbeat {
    Heartbeat {
        deadtime: DEADTIME,
        groups: vec![GroupReport {
            group: GroupName::new(GROUP),
            state: GroupState::Online,
            term: Term(0),
            can: true,
            offer: None,
            to: None,
        }],
        ..Heartbeat::new(
            NodeName::new(src),
            Generation(generation),
            Sequence(sequence),
        )
    }
}

pub fn signed(heartbeat: &Heartbeat, secret: &str) -> Vec<u8> {
    let envelope = Envelope {
        uuid: [7; 16],
        wall_seconds: 1,
        loadavg: "0.0".into(),
        ttl: 3,
        cluster: "linux-ha".into(),
    };
    encode(heartbeat, &envelope, &keys(secret))
}

/// Makes a host send with the TTL of heartbeats.
const HEARTBEAT_TTL: &str = "echo 255 > /proc/sys/net/ipv4/ip_default_ttl";

/// Sends each file as a datagram from the address of a peer.
fn send(cluster: &Cluster, from: &str, to: &str, folder: &Path) {
    let script = format!(
        "{HEARTBEAT_TTL}; for f in {}/*; do cat $f > /dev/udp/{to}/694; done",
        folder.display()
    );
    cluster.run(from, &["bash", "-c", &script]);
}

pub fn counted(status: &Status, what: &str) -> u64 {
    let fits = |(name, n): (&String, &u64)| name.contains(what).then_some(*n);
    status.counters.iter().filter_map(fits).sum()
}

/// Asserts that everything is as before.
pub fn undisturbed(cluster: &Cluster) {
    cluster.until_owner_seen("alice", "alice");
    cluster.until_owner_seen("bob", "alice");
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    for (by, of) in [("alice", "bob"), ("bob", "alice")] {
        let log = cluster.lab.log(by).unwrap();
        let dead = format!("node {of} is dead");
        assert!(
            !log.contains(&dead) && !log.contains("stopping here"),
            "{log}"
        );
    }
}

#[test]
fn forged_damaged_old_and_random_datagrams_are_counted_and_change_nothing() {
    let mut cluster = Cluster::up("nf-hostile", &USUAL);
    let before = cluster.status("alice");
    let folder = cluster.shared().join("datagrams");
    fs::create_dir(&folder).unwrap();
    let good = signed(&harmful("bob", 1, 1), "secret-of-this-lab");
    let mut datagrams = vec![
        // An old one of bob's: the signature is right.
        good.clone(),
        // Signed with another secret.
        signed(&harmful("bob", 1 << 40, 1), "another-secret"),
        // From a node that is not in ha.cf.
        signed(&harmful("mallory", 1 << 40, 1), "secret-of-this-lab"),
        b"A".to_vec(),
        vec![0xff; 60_000],
    ];
    // Damaged in every byte, and cut at every length.
    for at in (1..good.len()).step_by(7) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x20;
        datagrams.push(damaged);
        datagrams.push(good[..at].to_vec());
    }
    let mut noise = 1u64;
    for length in 1..100 {
        let mut random = vec![];
        for _ in 0..length * 5 {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            random.push((noise >> 56) as u8);
        }
        datagrams.push(random);
    }
    for (n, bytes) in datagrams.iter().enumerate() {
        fs::write(folder.join(format!("{n:05}")), bytes).unwrap();
    }
    for (from, to) in [("bob", "10.0.0.1"), ("alice", "10.0.0.2")] {
        send(&cluster, from, to, &folder);
    }
    let status = cluster.until_status("alice", "has counted them", |s| {
        counted(s, "datagrams refused") >= datagrams.len() as u64 - 2
    });
    println!("counted: {:#?}", status.counters);
    assert!(counted(&status, "digest does not match") >= 1);
    assert!(counted(&status, "malformed datagram") >= 99);
    assert_eq!(counted(&status, "that ha.cf does not name"), 1);
    assert_eq!(status.generation, before.generation);
    assert_eq!(group(&status).term, group(&before).term);
    let bob = |s: &Status| peer(s, "bob").generation;
    assert_eq!(
        bob(&status),
        bob(&before),
        "a forged generation was believed"
    );
    undisturbed(&cluster);
    // Logged once per kind, not once per datagram.
    let log = cluster.lab.log("alice").unwrap();
    let told = log.matches("rejected a datagram from").count();
    assert!((2..20).contains(&told), "{log}");
    cluster.never_two_owners();
}

/// A shell sends datagrams to alice. Meanwhile alice must hear the heartbeats of bob.
fn flooded(
    name: &str,
    from: &str,
    script: impl Fn(&Cluster) -> String,
    counter: &str,
    at_least: u64,
) {
    let mut cluster = Cluster::up(name, &USUAL);
    let probe = cluster.probe();
    let script = script(&cluster);
    let (alice, bob) = (cluster.status("alice"), cluster.status("bob"));
    let begin = now();
    cluster.run(from, &["bash", "-c", &script]);
    let took = now().since(begin);
    let after = cluster.until_status("alice", "has counted the flood", |s| {
        counted(s, counter) >= at_least
    });
    // The sixth number of the second line: datagrams for which a socket had no room.
    let overrun = cluster.sh(
        "alice",
        "grep '^Udp:' /proc/net/snmp | sed -n 2p | cut -d ' ' -f 6",
    );
    let bob_after = cluster.status("bob");
    let sent = counted(&bob_after, "heartbeats sent") - counted(&bob, "heartbeats sent");
    let believed = counted(&after, "heartbeats believed") - counted(&alice, "heartbeats believed");
    println!(
        "MEASURED {name}: flood of {took:?}, {} refused one by one, {overrun} found no room; of {sent} heartbeats {believed} heard; {:?}",
        counted(&after, "datagrams refused"),
        after.lateness
    );
    // The two counts are read one after the other, so the last heartbeats may be in only one of them, and the lab's switch may
    // lose a part of a burst. Half is still far from silence.
    assert!(2 * (believed + 2) >= sent, "{sent} sent, {believed} heard");
    assert_eq!(counted(&after, "queue was full"), 0);
    assert_eq!(peer(&after, "bob").liveness, Liveness::Active);
    undisturbed(&cluster);
    tell_gap(name, &probe.finish().unwrap());
    cluster.never_two_owners();
}

const UNREAD: &str = "dropped unread: not from an address of a peer";

/// A shell writes forty thousand lines, each a datagram. They come from no peer, so hardly any is read.
#[test]
fn a_flood_of_pieces_costs_no_heartbeat() {
    let pieces = |_: &Cluster| {
        "exec 3> /dev/udp/10.0.0.1/694; for ((i = 0; i < 20000; i++)); do printf '###\n(2)t=status\n' >&3; done"
            .to_owned()
    };
    flooded("nf-pieces", "client", pieces, UNREAD, 30_000);
}

/// Complete datagrams from the address of bob, whose signatures must be checked, in twenty bursts of a thousand.
#[test]
fn a_flood_of_forgeries_costs_no_heartbeat() {
    let what = "digest does not match";
    flooded("nf-forgeries", "bob", forgeries(HEARTBEAT_TTL), what, 5_000);
}

/// The same from a host that is no peer: most signatures are not checked.
#[test]
fn a_flood_from_no_peer_is_dropped_unread() {
    flooded("nf-stranger", "client", forgeries("true"), UNREAD, 5_000);
}

/// The same from the address of bob, as if from behind a router.
#[test]
fn a_flood_from_farther_away_than_the_peer_is_dropped_unread() {
    let farther = "echo 254 > /proc/sys/net/ipv4/ip_default_ttl";
    let what = "dropped unread: from farther away";
    flooded("nf-farther", "bob", forgeries(farther), what, 5_000);
}

fn forgeries(first: &str) -> impl Fn(&Cluster) -> String {
    move |cluster: &Cluster| {
        let forged = signed(&harmful("bob", 1 << 40, 1), "another-secret");
        let file = cluster.shared().join("forged");
        fs::write(&file, forged.repeat(1000)).unwrap();
        format!(
            "{first}; for ((i = 0; i < 20; i++)); do dd status=none if={} bs={} > /dev/udp/10.0.0.1/694; done",
            file.display(),
            forged.len()
        )
    }
}

/// Two clusters on the same segment and port. Each receives all datagrams of the other.
fn neighbours(name: &str, second: &str, key: &str, counter: &str) {
    let dir = tempfile::tempdir().unwrap();
    let line = "carol 10.0.0.110/24/eth0 svc::other\n";
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let text = ha_cf(&["alice", "bob"], &["eth0"], PING);
    write_config(
        &ours,
        dir.path(),
        &text,
        USUAL.haresources,
        "secret-of-this-lab",
    );
    let text = ha_cf(&["carol", "dave"], &["eth0"], &format!("{PING}{second}"));
    write_config(&theirs, dir.path(), &text, line, key);
    let nodes = vec![
        node("alice", 1, &ours),
        node("bob", 2, &ours),
        node("carol", 3, &theirs),
        node("dave", 4, &theirs),
    ];
    let other = IpAddr::from([10, 0, 0, 110]);
    let mut cluster = Cluster::of(&plan(name, nodes), dir, &[vip(), other]);
    for node in ["alice", "bob", "carol", "dave"] {
        cluster.start(node);
    }
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    let owned_by = |s: &Status, owner: &str| {
        let names: Vec<&str> = s.groups[0].owners.iter().map(NodeName::as_str).collect();
        names == [owner]
    };
    cluster.until_status("dave", "sees carol own it", |s| owned_by(s, "carol"));
    for node in ["alice", "bob", "carol", "dave"] {
        let status = cluster.until_status(node, "counts strangers", |s| counted(s, counter) > 10);
        assert_eq!(status.nodes.len(), 2);
    }
    // They are independent: one moves its group, and the other does not notice.
    cluster.lab.crash("carol").unwrap();
    cluster.until_status("dave", "has taken over", |s| owned_by(s, "dave"));
    pass(Duration::from_millis(500));
    let status = cluster.status("alice");
    assert_eq!(owners(&status), ["alice"]);
    assert_eq!(peer(&status, "bob").liveness, Liveness::Active);
    let log = cluster.lab.log("alice").unwrap();
    assert!(!log.contains("carol"), "{log}");
    cluster.never_two_owners();
}

#[test]
fn a_second_cluster_with_another_key_disturbs_nothing() {
    neighbours(
        "nf-key",
        "timeout svc stop 2s\n",
        "secret-of-the-others",
        "digest does not match",
    );
}

#[test]
fn a_second_cluster_with_another_name_and_the_same_key_disturbs_nothing() {
    neighbours(
        "nf-name",
        "timeout svc stop 2s\ncluster theirs\n",
        "secret-of-this-lab",
        "another cluster that uses the same key",
    );
}

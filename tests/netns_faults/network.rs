//! Links that lose frames, flap, work in one direction, or have no carrier: as long as one path works, nothing moves.

use std::time::Instant;

use had::lab::LinkDirection;
use had::model::status::Liveness;

use crate::common::*;

const TWO: Setup<'_> = Setup {
    links: &["eth0", "eth1"],
    ..USUAL
};

/// Asserts that the group was only ever started once, by alice.
fn nothing_moved(cluster: &Cluster) {
    cluster.only_the_first_start();
    assert_eq!(owners(&cluster.status("alice")), ["alice"]);
    assert_eq!(owners(&cluster.status("bob")), ["alice"]);
}

#[test]
fn a_link_that_loses_a_third_moves_nothing() {
    let cluster = Cluster::up("nf-loss", &TWO);
    let probe = cluster.probe();
    cluster
        .lab
        .loss_between("alice", "bob", 30, Some("eth1"))
        .unwrap();
    pass(3 * DEADTIME);
    cluster.lab.heal_all().unwrap();
    let report = probe.finish().unwrap();
    tell_gap("30 % loss on one of two links", &report);
    nothing_moved(&cluster);
    let log = cluster.lab.log("alice").unwrap();
    assert!(!log.contains("node bob is dead"), "{log}");
}

#[test]
fn a_link_that_flaps_faster_than_deadtime_moves_nothing() {
    let cluster = Cluster::up("nf-flap", &USUAL);
    let probe = cluster.probe();
    for _ in 0..4 {
        // Well under deadtime even on a machine that stalls for a second.
        cluster
            .lab
            .cut("alice", "bob", None, LinkDirection::Both)
            .unwrap();
        pass(DEADTIME / 4);
        cluster.lab.heal_all().unwrap();
        cluster.until_liveness("bob", "alice", Liveness::Active);
        cluster.until_liveness("alice", "bob", Liveness::Active);
    }
    tell_gap("a link that flaps", &probe.finish().unwrap());
    nothing_moved(&cluster);
}

#[test]
fn two_links_cut_one_after_the_other_move_nothing_while_one_is_left() {
    let cluster = Cluster::up("nf-two", &TWO);
    for (cut, left) in [("eth0", "eth1"), ("eth1", "eth0")] {
        cluster
            .lab
            .cut("alice", "bob", Some(cut), LinkDirection::Both)
            .unwrap();
        for (by, of) in [("alice", "bob"), ("bob", "alice")] {
            let status = cluster.until_status(by, "misses the link", |s| {
                !link(s, of, cut).hears && link(s, of, left).hears
            });
            assert_eq!(peer(&status, of).liveness, Liveness::Active);
            let note = format!("not heard on {cut}");
            assert!(peer(&status, of).notes.iter().any(|n| n.starts_with(&note)));
        }
        cluster.lab.heal_all().unwrap();
        cluster.until_status("bob", "hears on both", |s| {
            ["eth0", "eth1"].iter().all(|l| link(s, "alice", l).hears)
        });
    }
    nothing_moved(&cluster);
}

#[test]
fn a_pulled_cable_is_known_at_once_and_moves_nothing() {
    let cluster = Cluster::up("nf-carrier", &TWO);
    let begin = Instant::now();
    cluster.lab.unplug("alice", Some("eth1")).unwrap();
    let status = cluster.until_status("alice", "knows that the link is down", |s| {
        !link(s, "bob", "eth1").hears
    });
    let took = begin.elapsed();
    println!("MEASURED carrier loss in status after {took:?}");
    assert!(took < DEADTIME, "as slow as silence: {took:?}");
    let log = cluster.lab.log("alice").unwrap();
    assert!(
        log.contains("node bob is not heard on eth1: the interface has no carrier"),
        "{log}"
    );
    let notes = &peer(&status, "bob").notes;
    assert!(
        notes.iter().any(|n| n.contains("eth1 (no carrier here)")),
        "{notes:?}"
    );
    pass(2 * DEADTIME);
    cluster.lab.plug("alice", Some("eth1")).unwrap();
    for (by, of) in [("alice", "bob"), ("bob", "alice")] {
        cluster.until_status(by, "hears on eth1 again", |s| link(s, of, "eth1").hears);
    }
    nothing_moved(&cluster);
}

/// The socket for them is opened by another thread than that which uses it.
#[test]
fn other_ping_nodes_are_reached_after_a_reload() {
    let mut cluster = Cluster::up("nf-pings", &USUAL);
    for node in ["alice", "bob"] {
        cluster.sh(node, "sed -i 's/^ping .*/ping 10.0.0.9/' /etc/ha.d/ha.cf");
        cluster.sh(node, "hactl reload");
    }
    for node in ["alice", "bob"] {
        let page = || cluster.page(node);
        let words = |page: &String| page.split_whitespace().collect::<Vec<_>>().join(" ");
        until("the new ping node answers", page, |page| {
            words(page).contains("10.0.0.9 answers")
        });
        cluster.until_owner_seen(node, "alice");
    }
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    cluster.never_two_owners();
}

//! A pair of two versions moves groups both ways, and each takes over from the other.

use crate::{DB, NODES, Pair, WEB, former, present};

/// Alice is of the former version, bob of this one; or the other way round.
fn each_takes_over(new: &str, old: &str) {
    let mut pair = Pair::up(&format!("versions-{new}"));
    pair.replace(new, &former(), &present());
    let cluster = &pair.cluster;
    // A move by command, to and fro.
    for (from, to) in [("alice", "bob"), ("bob", "alice")] {
        cluster.sh(to, &format!("hactl takeover {WEB}"));
        cluster.until_owner(WEB, to);
        assert_ne!(from, to);
    }
    // Each dies once.
    for (dies, other) in [(new, old), (old, new)] {
        cluster.lab.crash(dies).unwrap();
        for group in [WEB, DB] {
            cluster.until_owner(group, other);
        }
        cluster.lab.restart(dies).unwrap();
        cluster.until_active(&NODES);
    }
    pair.cluster.owners_so_far();
}

#[test]
fn the_former_version_on_alice() {
    each_takes_over("bob", "alice");
}

#[test]
fn the_former_version_on_bob() {
    each_takes_over("alice", "bob");
}

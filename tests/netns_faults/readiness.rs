//! A standby that could not take over is seen before it must.

use had::model::status::{Note, Status};

use crate::common::{Cluster, PING, USUAL, owners};

/// Everything that a status says against one standby of the usual group.
fn against<'s>(status: &'s Status, node: &str) -> Vec<&'s Note> {
    let standbys = status.groups.iter().flat_map(|g| &g.standbys);
    let of_node = standbys.filter(|s| s.node.as_str() == node);
    of_node.flat_map(|s| &s.reasons).collect()
}

fn is_ready(status: &Status, node: &str) -> bool {
    let mut standbys = status.groups.iter().flat_map(|g| &g.standbys);
    standbys.any(|s| s.node.as_str() == node && s.ready)
}

/// What is done to bob, what undoes it, and what is then said: its kind, and words of it.
const FAULTS: [(&str, &str, &str, &str); 4] = [
    (
        "mv /etc/ha.d/resource.d/svc /run/svc",
        "mv /run/svc /etc/ha.d/resource.d/svc",
        "standby-lacks",
        "error in haresources, line 1",
    ),
    (
        "ip route del default",
        "ip route add default via 10.0.0.254",
        "no-route",
        "no default route for IPv4",
    ),
    (
        "mv /run/folder /run/gone",
        "mv /run/gone /run/folder",
        "node-lacks",
        "cannot read /run/folder",
    ),
    (
        "mount -t tmpfs -o size=1m full /var/log; dd if=/dev/zero of=/var/log/full bs=1k count=1024; true",
        "rm /var/log/full",
        "node-lacks",
        "/var/log is full",
    ),
];

#[test]
fn a_standby_that_could_not_take_over_is_seen_within_a_minute() {
    let ha_cf = format!("{PING}compare /run/folder /run/file\n");
    let mut cluster = Cluster::up("nf-ready", &USUAL.ha_cf(&ha_cf).idle());
    for node in ["alice", "bob"] {
        let files =
            "mkdir -p /run/folder/deeper; echo a > /run/folder/deeper/a; echo b > /run/file";
        cluster.sh(node, files);
        cluster.sh(node, "ip route add default via 10.0.0.254");
    }
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_status("alice", "bob is ready", |s| is_ready(s, "bob"));
    for (fault, ..) in FAULTS {
        cluster.sh("bob", fault);
    }
    cluster.sh("bob", "echo other > /run/file");
    let tells = |s: &Status, id: &str, words: &str| {
        let mut reasons = against(s, "bob").into_iter();
        reasons.any(|n| n.id == id && n.text.contains(words))
    };
    let told = cluster.until_status("alice", "says all of it", |s| {
        FAULTS.iter().all(|(.., id, words)| tells(s, id, words))
            && tells(s, "tree-differs", "/run/file")
    });
    assert!(!is_ready(&told, "bob"));
    let problems = told.problems();
    for (.., id, words) in FAULTS {
        let mut of_kind = problems.iter().filter(|p| p.id == id);
        assert!(of_kind.any(|p| p.text.contains(words)), "{problems:?}");
    }
    // On the standby itself too, and it still could if it must.
    let own = cluster.until_status("bob", "says it too", |s| {
        FAULTS.iter().all(|(.., id, words)| tells(s, id, words))
    });
    assert_eq!(owners(&own), ["alice"], "a look moves nothing");
    for (_, cure, ..) in FAULTS {
        cluster.sh("bob", cure);
    }
    cluster.sh("bob", "echo b > /run/file");
    cluster.until_status("alice", "bob is ready", |s| is_ready(s, "bob"));
    cluster.never_two_owners();
}

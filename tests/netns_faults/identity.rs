//! Two machines with one name, with real daemons.

use std::fs;

use had::model::GroupName;
use had::model::heartbeat::Heartbeat;
use had::model::identity::{Identity, Instance};
use had::model::status::Status;
use had::model::{Generation, Sequence};

use crate::common::*;
use crate::hostile::{harmful, signed};

const NODES: [&str; 3] = ["alice", "bob", "carol"];
const SHARED: &str = "two machines call themselves alice: ";

/// Three nodes, of which alice runs the group, and a machine that is off yet.
fn three_and_clone(name: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let text = ha_cf(&NODES, &["eth0"], TIMES);
    let lines = USUAL.haresources;
    write_config(&config, dir.path(), &text, lines, "secret-of-this-lab");
    let machines = ["alice", "bob", "carol", "clone"];
    let nodes = (1..).zip(machines).map(|(n, name)| node(name, n, &config));
    let cluster = Cluster::of(&plan(name, nodes.collect()), dir, &[vip()]);
    cluster.sh("clone", "echo alice > /proc/sys/kernel/hostname");
    for node in NODES {
        cluster.start(node);
        cluster.until_status(node, "listens", |_| true);
    }
    cluster.until_owner("alice");
    for node in NODES {
        cluster.until_owner_seen(node, "alice");
    }
    cluster
}

fn said(status: &Status) -> bool {
    let notes = status.nodes.iter().flat_map(|n| &n.notes);
    notes.into_iter().any(|n| n.contains(SHARED))
}

fn logged(cluster: &Cluster, node: &str, text: &str) -> usize {
    cluster.lab.log(node).unwrap().matches(text).count()
}

#[test]
fn a_clone_of_the_owner_stays_out_and_every_node_says_so() {
    let mut cluster = three_and_clone("nf-clone");
    let before = cluster.status("alice");
    cluster.start("clone");
    for node in NODES {
        cluster.until_status(node, "tells of two machines", said);
    }
    let clone = cluster.until_status("clone", "says that it stays out", |s| {
        let waits = s
            .waiting
            .as_ref()
            .is_some_and(|w| w.contains("the other machine"));
        said(s) && waits
    });
    assert_eq!(clone.node.as_str(), "alice");
    let bob = cluster.status("bob");
    let notes = peer(&bob, "alice").notes.join("\n");
    let addresses = "two machines call themselves alice: 10.0.0.1 and 10.0.0.4";
    assert!(notes.contains(addresses), "{notes}");
    let page = cluster.page("carol");
    assert!(page.contains(addresses), "{page}");

    // Both go on for a while: nothing moves, and nothing floods the log or the disk.
    let lines = |node: &str| cluster.lab.log(node).unwrap().lines().count();
    let machines = ["alice", "bob", "carol", "clone"];
    let logs = machines.map(lines);
    pass(3 * DEADTIME);
    for (node, before) in machines.iter().zip(logs) {
        assert!(
            lines(node) < before + 5,
            "{}",
            cluster.lab.log(node).unwrap()
        );
        assert_eq!(
            logged(&cluster, node, "two machines call themselves"),
            1,
            "{node}"
        );
    }
    let after = cluster.status("alice");
    assert_eq!(after.generation, before.generation);
    assert_eq!(cluster.status("clone").generation, clone.generation);
    assert_eq!(owners(&after), ["alice"]);
    cluster.only_the_first_start();

    // The first is switched off: the group goes to a node that takes part, and then the second one is alice.
    cluster.lab.crash("alice").unwrap();
    cluster.until_owner("bob");
    cluster.until_status("bob", "hears alice again", |s| {
        peer(s, "alice").liveness == had::model::status::Liveness::Active
    });
    cluster.until_status("clone", "takes part", |s| s.waiting.is_none());
    cluster.never_two_owners();
}

#[test]
fn recorded_heartbeats_of_a_former_life_change_nothing() {
    let mut cluster = three_and_clone("nf-former");
    let before = cluster.status("alice");
    let folder = cluster.shared().join("recorded");
    fs::create_dir(&folder).unwrap();
    for sequence in 1..100 {
        let former = Heartbeat {
            identity: Identity {
                instance: Some(Instance(7)),
                succeeds: None,
            },
            ..harmful("alice", 5, sequence)
        };
        assert_eq!(former.generation, Generation(5));
        assert_eq!(former.sequence, Sequence(sequence));
        assert_eq!(former.groups[0].group, GroupName::new(GROUP));
        let file = folder.join(format!("{sequence:05}"));
        fs::write(file, signed(&former, "secret-of-this-lab")).unwrap();
    }
    let script = format!(
        "echo 255 > /proc/sys/net/ipv4/ip_default_ttl; for f in {}/*; do for to in 1 2 3; do cat $f > /dev/udp/10.0.0.$to/694; done; sleep 0.05; done",
        folder.display()
    );
    cluster.run("clone", &["bash", "-c", &script]);
    for node in NODES {
        let status = cluster.until_owner_seen(node, "alice");
        assert!(!said(&status), "{status:#?}");
        for text in ["two machines", "stays out", "continuing with generation"] {
            assert_eq!(logged(&cluster, node, text), 0, "{node}: {text}");
        }
    }
    assert_eq!(cluster.status("alice").generation, before.generation);
    cluster.only_the_first_start();
    cluster.never_two_owners();
}

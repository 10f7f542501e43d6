//! Several groups, several nodes.

use had::model::status::Liveness;

use crate::common::{Blueprint, Cluster, STAND_IN, TIMES, group_of};

/// Two groups with different preferred nodes.
fn crossed() -> Cluster {
    let ha_cf =
        format!("{TIMES}bcast eth0\nauto_failback on\nnode test1 test2\nping 10.1.88.254\n");
    let cluster = Blueprint::new("crossed", &ha_cf, "test1 10.1.88.200\ntest2 10.1.88.201\n")
        .node("test1", &["eth0 10.1.88.168/24"], &[])
        .node("test2", &["eth0 10.1.88.177/24"], &[])
        .gateway("eth0 10.1.88.254/24")
        .client("eth0 10.1.88.9/24")
        .watch(&["10.1.88.200", "10.1.88.201"])
        .up();
    cluster.until_owner("10.1.88.200", "test1");
    cluster.until_owner("10.1.88.201", "test2");
    for address in ["10.1.88.200", "10.1.88.201"] {
        cluster.sh("client", &format!("ping -c 1 -W 5 {address}"));
    }
    cluster
}

#[test]
fn crossed_groups_are_active_on_both_nodes_and_meet_on_the_survivor() {
    let mut cluster = crossed();
    cluster.lab.crash("test1").unwrap();
    cluster.until_owner("10.1.88.200", "test2");
    cluster.until_owner("10.1.88.201", "test2");
    cluster.until_neighbour("client", "10.1.88.200", "test2", "eth0");
    cluster.lab.restart("test1").unwrap();
    cluster.until_owner("10.1.88.200", "test1");
    cluster.until_neighbour("client", "10.1.88.200", "test1", "eth0");
    cluster.until_owner("10.1.88.201", "test2");
    let [first, second] = cluster.owners_of(["10.1.88.200", "10.1.88.201"]);
    assert_eq!(first, ["test1", "test2", "test1"]);
    assert_eq!(second, ["test2"]);
}

#[test]
fn three_nodes_place_move_and_return_groups() {
    let ha_cf = format!("{TIMES}bcast eth0\nauto_failback on\nnode a b c\n");
    let groups = "a 10.0.0.101 first\nb 10.0.0.102\nc 10.0.0.103 third\n";
    let cluster = Blueprint::new("three", &ha_cf, groups)
        .script("first", STAND_IN)
        .script("third", STAND_IN)
        .node("a", &["eth0 10.0.0.1/24"], &[])
        .node("b", &["eth0 10.0.0.2/24"], &[])
        .node("c", &["eth0 10.0.0.3/24"], &[])
        .client("eth0 10.0.0.9/24")
        .watch(&["10.0.0.101", "10.0.0.102", "10.0.0.103"])
        .up();
    let at_home = || {
        for (group, node) in [
            ("10.0.0.101", "a"),
            ("10.0.0.102", "b"),
            ("10.0.0.103", "c"),
        ] {
            cluster.until_owner(group, node);
        }
    };
    at_home();
    cluster.until_active(&["a", "b", "c"]);

    // Of two equal nodes, the first in ha.cf gets it.
    cluster.lab.crash("a").unwrap();
    cluster.until_owner("10.0.0.101", "b");
    cluster.until_owner("10.0.0.102", "b");
    cluster.lab.restart("a").unwrap();
    at_home();

    // A clean stop while all others run: its groups are placed again.
    cluster.lab.stop_had("b").unwrap();
    cluster.until_status("a", "b has left", |s| s.nodes[1].liveness == Liveness::Left);
    cluster.until_owner("10.0.0.102", "a");
    cluster.until_owner("10.0.0.103", "c");
    cluster.lab.start_had("b").unwrap();
    at_home();

    // Two of three are a majority, one of two is not: the last node must not continue alone.
    cluster.lab.crash("a").unwrap();
    cluster.until_owner("10.0.0.101", "b");
    cluster.lab.stop_had("b").unwrap();
    cluster.until_status("c", "nothing runs", |s| {
        !s.quorum.held && s.groups.iter().all(|g| g.owners.is_empty())
    });
    let status = cluster.status("c").unwrap();
    assert!(group_of(&status, "10.0.0.103").owners.is_empty());
    cluster.lab.restart("a").unwrap();
    cluster.lab.start_had("b").unwrap();
    at_home();
}

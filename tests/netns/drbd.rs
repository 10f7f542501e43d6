//! The questions about DRBD that daemons ask each other. DRBD itself needs its own kernel and is tested in virtual machines
//! (`tests/run vm`). Here nobody has the resource, and each node must be asked to find that out.

use crate::common::{Blueprint, Cluster, HACTL, TIMES, wait};

const HA_CF: &str = "logfile /var/log/ha-log\nauto_failback off\nnode alice bob\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\n";

fn pair(name: &str) -> Cluster {
    let cluster = Blueprint::new(name, &format!("{TIMES}{HA_CF}"), "alice 10.0.0.100\n")
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .client("eth0 10.0.0.9/24")
        .watch(&["10.0.0.100"])
        .up();
    cluster.until_owner("10.0.0.100", "alice");
    cluster.until_active(&["alice", "bob"]);
    cluster
}

#[test]
fn a_question_reaches_the_other_daemon_and_its_answer_comes_back() {
    let cluster = pair("drbd-ask");
    let says = |code, command: &str, wanted: &str| {
        let said = cluster.exits(code, "alice", command);
        assert!(said.contains(wanted), "no \"{wanted}\" in:\n{said}");
    };
    says(0, "hactl drbd", "no group in haresources uses DRBD");
    // Without this it would report that bob did not answer.
    says(0, "hactl drbd db", "no node that answers has it");
    let asked = "asked to outdate the data here: this node does not have the resource";
    let heard = || cluster.sh("bob", &format!("grep -c '{asked}' /var/log/ha-log || true"));
    assert_eq!(heard().trim(), "0");
    says(
        5,
        "hactl drbd fence-peer -r db",
        "no other node with db is alive",
    );
    // It was asked once, although many heartbeats carried the question.
    assert!(wait(|| heard().trim() == "1"), "{}", heard());
    says(
        5,
        "DRBD_RESOURCE=db hactl drbd fence-peer",
        "no other node with db is alive",
    );
    cluster.sh("alice", &format!("ln -s {HACTL} /run/drbd-peer-outdater"));
    says(
        5,
        "/run/drbd-peer-outdater -p bob -r db -t 60",
        "no other node with db is alive",
    );
    says(1, "/run/drbd-peer-outdater -r", "usage");
    says(1, "hactl drbd fence-peer", "DRBD_RESOURCE");
    says(20, "hactl drbd fence-peer -r ../db", "cannot be the name");
}

#[test]
fn who_is_asked_and_dies_is_waited_for_no_longer_than_that_takes() {
    let cluster = pair("drbd-dies");
    cluster.lab.freeze("bob").unwrap();
    // Otherwise after fifty minutes. Only a dead node is reported as dead.
    let said = cluster.exits(5, "alice", "hactl drbd fence-peer -r db -t 3000");
    assert!(said.contains("no other node with db is alive"), "{said}");
    let bob = cluster.status("alice").unwrap();
    let bob = bob.nodes.iter().find(|n| n.name.as_str() == "bob").unwrap();
    assert_eq!(bob.liveness, had::model::status::Liveness::Dead);
    let view = cluster.exits(0, "alice", "hactl drbd db");
    assert!(
        view.contains("bob  unknown: the node is dead or has left"),
        "{view}"
    );
}

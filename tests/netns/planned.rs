//! Planned changes that cost something: a stop, another list of nodes, a restart with an error in the files.

use crate::common::{Blueprint, Cluster, STAND_IN, TIMES, wait};

const ADDRESS: &str = "10.0.0.100";
const NODES: [&str; 3] = ["alice", "bob", "carol"];

/// Three nodes whose votes count. The fourth address is for a node that comes later.
fn three(name: &str) -> Cluster {
    let media =
        "ucast eth0 10.0.0.1\nucast eth0 10.0.0.2\nucast eth0 10.0.0.3\nucast eth0 10.0.0.4\n";
    let text = format!("{TIMES}auto_failback off\nquorum stop\nnode alice bob carol\n{media}");
    let cluster = Blueprint::new(name, &text, "alice 10.0.0.100 first\n")
        .script("first", STAND_IN)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .node("carol", &["eth0 10.0.0.3/24"], &[])
        .client("eth0 10.0.0.9/24")
        .watch(&[ADDRESS])
        .up();
    cluster.until_owner(ADDRESS, "alice");
    cluster.until_active(&NODES);
    cluster
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no \"{word}\" in:\n{text}");
    }
}

/// What a node's page says of a change of the list of voters.
fn list_changes(cluster: &Cluster, node: &str) -> String {
    let page = cluster.sh(node, "hactl status; true");
    let lines = page
        .lines()
        .filter(|l| l.contains("the list of voters changes"));
    lines.collect::<Vec<_>>().join("\n")
}

fn use_nodes(cluster: &Cluster, on: &str, nodes: &str) {
    let change = format!("sed -i 's/^node .*/node {nodes}/' /etc/ha.d/ha.cf");
    cluster.sh(on, &change);
}

fn crash_carol(cluster: &Cluster) {
    cluster.lab.crash("carol").unwrap();
    for node in ["alice", "bob"] {
        cluster.until_status(node, "carol is dead", |s| {
            s.nodes[2].liveness == had::model::status::Liveness::Dead
        });
    }
}

#[test]
fn a_stop_that_costs_the_others_quorum_is_refused() {
    let cluster = three("planned-stop");
    let said = cluster.exits(0, "carol", "hactl stop");
    says(&said, &["stopping all groups", "the daemon has ended"]);
    assert_eq!(cluster.lab.had_pid("carol").unwrap(), None);
    let said = cluster.exits(1, "alice", "hactl stop");
    says(
        &said,
        &[
            "bob and this node are the only ones left of 3 voters",
            "bob has 1 of 3 votes, 2 needed, and stops everything",
            "hactl stop --force",
        ],
    );
    cluster.until_owner(ADDRESS, "alice");
    assert!(cluster.lab.had_pid("alice").unwrap().is_some());
    cluster.exits(0, "alice", "hactl stop --force");
    assert_eq!(cluster.lab.had_pid("alice").unwrap(), None);
    assert_eq!(cluster.calls("alice").last().unwrap(), "first stop");
}

#[test]
fn a_reload_that_gives_safety_up_is_refused() {
    let cluster = three("planned-reload");
    cluster.sh("alice", "cp /etc/ha.d/ha.cf /run/ha.cf");
    cluster.sh("alice", "sed -i 's/^quorum .*/quorum off/' /etc/ha.d/ha.cf");
    let refused = ["refused without --force: quorum becomes off"];
    says(
        &cluster.exits(0, "alice", "hactl reload --dry-run"),
        &refused,
    );
    let said = cluster.exits(1, "alice", "hactl reload");
    says(&said, &refused);
    says(&said, &["nothing was changed", "hactl reload --force"]);
    cluster.sh("alice", "cp /run/ha.cf /etc/ha.d/ha.cf");
    says(
        &cluster.exits(0, "alice", "hactl reload"),
        &["nothing changes"],
    );

    use_nodes(&cluster, "alice", "alice bob");
    let said = cluster.exits(1, "alice", "hactl reload");
    says(&said, &["carol is heard", "hactl stop", "--force"]);
    let done = cluster.exits(0, "alice", "hactl reload --force");
    says(
        &done,
        &["the nodes change from alice, bob, carol to alice, bob"],
    );
    says(
        &list_changes(&cluster, "alice"),
        &[
            "bob has not shown the new one; quorum is counted by the new list and by each old one; run `hactl reload` on bob",
        ],
    );
    use_nodes(&cluster, "bob", "alice bob");
    cluster.exits(0, "bob", "hactl reload --force");
    for node in ["alice", "bob"] {
        assert!(wait(|| list_changes(&cluster, node).is_empty()), "{node}");
    }
    cluster.until_owner(ADDRESS, "alice");
    let calls = cluster.calls("alice");
    assert!(!calls.contains(&"first stop".to_owned()), "{calls:?}");
}

#[test]
fn a_dead_node_that_holds_up_a_change_is_forgotten() {
    let cluster = three("planned-forget");
    crash_carol(&cluster);
    for node in ["alice", "bob"] {
        use_nodes(&cluster, node, "alice bob carol dave");
        cluster.exits(0, node, "hactl reload");
    }
    let waits = "carol has not shown the new one; quorum is counted by the new list and by each old one; start carol with the new ha.cf, or `hactl forget carol --yes`";
    for node in ["alice", "bob"] {
        assert!(
            wait(|| list_changes(&cluster, node).contains(waits)),
            "{}",
            list_changes(&cluster, node)
        );
    }
    says(
        &cluster.sh("alice", "hactl why"),
        &["the list of voters changes"],
    );
    let said = cluster.exits(1, "alice", "hactl forget carol");
    says(
        &said,
        &[
            "gone for good",
            "Nothing was done",
            "hactl forget carol --yes",
        ],
    );
    assert!(!list_changes(&cluster, "alice").is_empty());
    says(
        &cluster.exits(1, "alice", "hactl forget bob --yes"),
        &["bob is heard"],
    );
    cluster.exits(0, "alice", "hactl forget carol --yes");
    for node in ["alice", "bob"] {
        assert!(wait(|| list_changes(&cluster, node).is_empty()), "{node}");
    }
    cluster.until_owner(ADDRESS, "alice");
}

#[test]
fn a_restart_with_an_error_in_the_files_is_refused() {
    let cluster = three("planned-restart");
    let before = cluster.status("alice").unwrap().generation;
    cluster.sh(
        "alice",
        "cp /etc/ha.d/ha.cf /run/ha.cf; echo nonsense 7 >> /etc/ha.d/ha.cf",
    );
    let said = cluster.exits(1, "alice", "hactl restart");
    says(
        &said,
        &[
            "would not start",
            "the running daemon goes on",
            "unknown directive",
            "ha.cf:",
        ],
    );
    assert_eq!(cluster.status("alice").unwrap().generation, before);
    cluster.until_owner(ADDRESS, "alice");
    cluster.sh("alice", "cp /run/ha.cf /etc/ha.d/ha.cf");
    cluster.exits(0, "alice", "hactl restart --no-wait");
    assert!(wait(|| cluster.lab.had_pid("alice").unwrap().is_none()));
    let calls = cluster.calls("alice");
    assert!(!calls.contains(&"first stop".to_owned()), "{calls:?}");
}

/// Two of three nodes run, and the files get two more nodes and their addresses.
#[test]
fn a_restart_that_costs_quorum_is_refused() {
    let cluster = three("planned-restart-quorum");
    crash_carol(&cluster);
    use_nodes(&cluster, "alice", "alice bob carol dave erin");
    cluster.sh("alice", "echo ucast eth0 10.0.0.5 >> /etc/ha.d/ha.cf");
    let before = cluster.status("alice").unwrap().generation;
    let reason = "refused without --force: this side would lose quorum: 2 of 5 votes, 3 needed";
    for command in ["hactl reload", "hactl restart"] {
        let said = cluster.exits(1, "alice", command);
        says(&said, &[reason, "hactl restart --force"]);
    }
    assert_eq!(cluster.status("alice").unwrap().generation, before);
    cluster.until_owner(ADDRESS, "alice");
    cluster.exits(0, "alice", "hactl restart --force --no-wait");
    assert!(wait(|| cluster.lab.had_pid("alice").unwrap().is_none()));
}

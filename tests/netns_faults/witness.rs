//! Two nodes and a witness, with real daemons.

use crate::common::*;
use had::model::status::Liveness;

/// Alice, bob and carol, who is a witness and has neither haresources nor scripts. No ping node has a vote.
fn two_and_witness(name: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, witness) = (dir.path().join("ha.d"), dir.path().join("witness"));
    let more = format!("{TIMES}witness carol\n");
    let text = ha_cf(&["alice", "bob"], &["eth0"], &more);
    let lines = USUAL.haresources;
    for folder in [&nodes, &witness] {
        write_config(folder, dir.path(), &text, lines, "secret-of-this-lab");
    }
    std::fs::remove_file(witness.join("haresources")).unwrap();
    std::fs::remove_dir_all(witness.join("resource.d")).unwrap();
    let plan = plan(
        name,
        vec![
            node("alice", 1, &nodes),
            node("bob", 2, &nodes),
            node("carol", 3, &witness),
        ],
    );
    let cluster = Cluster::of(&plan, dir, &[vip()]);
    cluster.start("carol");
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    cluster.until_owner_seen("carol", "alice");
    cluster
}

#[test]
fn a_witness_lets_the_other_node_take_over_from_one_that_crashed_or_is_cut_off() {
    let mut cluster = two_and_witness("nf-witness");
    let said = cluster.run("carol", &["hactl", "check"]);
    assert!(said.contains("carol: 2 nodes, 1 witness, 1 link"), "{said}");
    assert!(!said.contains("differs"), "{said}");
    let page = cluster.page("alice");
    assert!(page.contains("no problem seen"), "{page}");
    assert!(page.contains("carol  witness, active"), "{page}");
    let page = cluster.page("carol");
    assert!(page.contains("all is well"), "{page}");
    let output = cluster.lab.exec("carol", &["hactl", "takeover"]).unwrap();
    let refused =
        "carol is a witness: it has a vote and runs no groups; run this command on a node";
    assert!(
        !output.success() && output.stderr.contains(refused),
        "{output:?}"
    );

    cluster.isolate("alice");
    cluster.until_owner("bob");
    cluster.until_log("alice", "10.0.0.100/24/eth0: offline");
    cluster.lab.heal_all().unwrap();
    cluster.until_owner_seen("alice", "bob");
    cluster.until_liveness("alice", "carol", Liveness::Active);

    cluster.lab.crash("bob").unwrap();
    cluster.until_owner("alice");
    cluster.until_owner_seen("carol", "alice");
    let report = cluster.never_two_owners();
    let owned: Vec<_> = report.owners.iter().filter(|o| !o.2.is_empty()).collect();
    let names: Vec<_> = owned.iter().flat_map(|o| o.2.clone()).collect();
    assert_eq!(names, ["alice", "bob", "alice"], "{report:#?}");
}

#[test]
fn the_loss_of_the_witness_moves_nothing() {
    let mut cluster = two_and_witness("nf-witness-lost");
    cluster.lab.crash("carol").unwrap();
    cluster.until_liveness("alice", "carol", Liveness::Dead);
    pass(2 * DEADTIME);
    cluster.only_the_first_start();
    let page = cluster.page("alice");
    assert!(page.contains("1 problem, marked with !"), "{page}");
    cluster.run("bob", &["hactl", "takeover"]);
    cluster.until_owner("bob");
    cluster.never_two_owners();
}

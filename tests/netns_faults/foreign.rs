//! A machine that is no node of the cluster has the address of a group.

use crate::common::*;

#[test]
fn a_foreign_machine_with_the_address_is_named_at_a_cold_start_and_holds_the_group_for_ten_seconds()
{
    let mut cluster = Cluster::up("nf-foreign", &ADDRESS);
    // Both know each other's hardware addresses, also after a restart.
    for node in ["alice", "bob"] {
        let kept = "grep -l hardware /var/lib/had/kept >/dev/null && grep -c '\"hardware\":\\[\\[' /var/lib/had/kept";
        let see = || cluster.lab.exec(node, &["sh", "-c", kept]).unwrap();
        until(
            "the other's hardware is kept",
            see,
            had::lab::ExecOutput::success,
        );
    }
    for node in ["alice", "bob"] {
        cluster.lab.stop_had(node).unwrap();
        cluster.until_gone(node);
    }
    cluster.sh("client", "ip addr add 10.0.0.100/24 dev $(ip -br -4 addr | awk '/10.0.0.9/ { sub(/@.*/, \"\", $1); print $1 }')");
    let begun = now();
    cluster.start("alice");
    cluster.start("bob");
    cluster.until_log("alice", "which is no node of this cluster");
    let status = cluster.status("alice");
    assert!(
        notes(&status).contains("10.0.0.100 is answered by"),
        "{}",
        notes(&status)
    );
    cluster.until_owner("alice");
    let took = now().since(begun).as_secs_f64();
    assert!(took >= 10.0, "{took}");
    let double = cluster.sampler_report().double;
    assert!(
        double
            .iter()
            .all(|d| d.nodes.contains(&"client".to_owned())),
        "{double:?}"
    );
    println!("MEASURED {took:.1} s until the group runs beside a foreign machine");
}

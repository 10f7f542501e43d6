//! The setups of our first users.

use std::time::Duration;

use had::lab::SpawnedProgram;
use had::model::status::Liveness;
use nix::sys::signal::Signal;

use crate::common::{Cluster, ip, wait};
use crate::web::{FETCH, NODES, WEB, blueprint, page, served_by};

/// No planned move may take this long. A few milliseconds are usual.
const SANE: Duration = Duration::from_secs(1);

/// A web server and its address as one group on two nodes.
fn web(name: &str, auto_failback: &str) -> Cluster {
    let cluster = blueprint(
        name,
        &format!("auto_failback {auto_failback}\n"),
        "master-node IPaddr::10.11.7.235/24/ens192 nginx\n",
    )
    .gateway("ens192 10.11.7.254/24")
    .up();
    served_by(&cluster, "master-node");
    cluster.sh("gateway", "ping -c 1 -W 5 10.11.7.235");
    cluster.until_active(&NODES);
    cluster
}

fn moved_to(cluster: &Cluster, node: &str) {
    served_by(cluster, node);
    cluster.until_neighbour("gateway", WEB, node, "ens192");
}

/// Measures how long the address is silent during an action.
fn silence(cluster: &Cluster, what: &str, act: impl FnOnce()) -> Duration {
    let probe = cluster
        .lab
        .probe(ip(WEB), Duration::from_millis(5))
        .unwrap();
    act();
    let report = probe.finish().unwrap();
    println!("{what}: silent for {:?}", report.longest_gap);
    report.longest_gap
}

/// A client that fetches the page again and again.
struct Visitor(SpawnedProgram);

impl Visitor {
    fn new(cluster: &Cluster) -> Visitor {
        let visit = format!(
            "while :; do page=$({FETCH}) || page=none; echo $page >> /var/log/pages; sleep 0.02; done"
        );
        let job = cluster.lab.spawn("client", &["sh", "-c", &visit]);
        let visitor = Visitor(job.unwrap());
        visitor_is_served_by(cluster, "master-node");
        visitor
    }

    /// Prints how many pages came from each node, and how many did not come.
    fn report(self, cluster: &Cluster, what: &str) {
        cluster
            .lab
            .signal("client", -self.0.pid, Signal::SIGKILL)
            .unwrap();
        let pages = cluster.sh("client", "sort /var/log/pages | uniq -c");
        println!(
            "{what}: pages {:?}",
            pages.split_whitespace().collect::<Vec<_>>()
        );
    }
}

/// Waits for the next page of this node. A fetch that a move cut off takes a second to give up, so the address must not move
/// again before that.
fn visitor_is_served_by(cluster: &Cluster, node: &str) {
    let last = "tail -n 1 /var/log/pages";
    let page = || cluster.run("client", last).stdout;
    assert!(
        wait(|| page().trim() == node),
        "{node} never served the visitor"
    );
}

#[test]
fn the_owner_of_a_web_address_crashes() {
    let cluster = web("web-crash", "off");
    let visitor = Visitor::new(&cluster);
    silence(&cluster, "crash", || {
        cluster.lab.crash("master-node").unwrap();
        moved_to(&cluster, "slave-node");
    });
    visitor_is_served_by(&cluster, "slave-node");
    visitor.report(&cluster, "crash");
}

#[test]
fn the_owner_of_a_web_address_is_stopped_cleanly() {
    let cluster = web("web-stop", "off");
    let visitor = Visitor::new(&cluster);
    let gap = silence(&cluster, "clean stop", || {
        cluster.lab.stop_had("master-node").unwrap();
        moved_to(&cluster, "slave-node");
    });
    visitor_is_served_by(&cluster, "slave-node");
    visitor.report(&cluster, "clean stop");
    assert!(gap < SANE, "{gap:?}");
    // It said that it leaves, so deadtime was not waited for.
    let status = cluster.status("slave-node").unwrap();
    assert_eq!(status.nodes[0].liveness, Liveness::Left);
    let log = cluster.lab.log("slave-node").unwrap();
    assert!(!log.contains("node master-node is dead"), "{log}");
    assert_eq!(cluster.run("master-node", "pgrep nginx").stdout, "");
}

#[test]
fn a_web_address_goes_back_with_auto_failback_on() {
    let cluster = web("web-on", "on");
    cluster.lab.crash("master-node").unwrap();
    moved_to(&cluster, "slave-node");
    let gap = silence(&cluster, "failback", || {
        cluster.lab.restart("master-node").unwrap();
        moved_to(&cluster, "master-node");
    });
    assert!(gap < SANE, "{gap:?}");
}

#[test]
fn twenty_returns_with_auto_failback_off_move_nothing() {
    let mut cluster = web("web-off", "off");
    cluster.lab.crash("master-node").unwrap();
    moved_to(&cluster, "slave-node");
    cluster.owners_so_far();
    let gap = silence(&cluster, "20 returns", || {
        cluster.lab.restart("master-node").unwrap();
        for round in 0..20 {
            cluster.until_active(&NODES);
            assert_eq!(page(&cluster), "slave-node");
            match round % 3 {
                0 => cluster.lab.restart("master-node").unwrap(),
                1 => {
                    cluster.lab.stop_had("master-node").unwrap();
                    cluster.lab.start_had("master-node").unwrap();
                }
                _ => {
                    cluster.lab.kill_had("master-node").unwrap();
                    cluster.lab.start_had("master-node").unwrap();
                }
            }
        }
        cluster.until_active(&NODES);
    });
    assert!(gap < SANE, "{gap:?}");
    cluster.until_owner("IPaddr", "slave-node");
    let owners: Vec<_> = cluster
        .owners_so_far()
        .owners
        .into_iter()
        .map(|o| o.2)
        .collect();
    assert_eq!(owners, [["slave-node"]], "no move, not for a moment");
}

#[test]
fn a_web_address_is_handed_over_both_ways_by_standby_and_takeover() {
    let cluster = web("web-hand", "off");
    let visitor = Visitor::new(&cluster);
    let [master, slave] = NODES;
    for (at, command, owner) in [
        (master, "hactl standby", slave),
        (master, "hactl standby off && hactl takeover", master),
        (slave, "hactl takeover", slave),
        (slave, "hactl standby", master),
        (slave, "hactl standby off", master),
    ] {
        let mut said = String::new();
        let gap = silence(&cluster, command, || {
            said = cluster.sh(at, command);
            moved_to(&cluster, owner);
        });
        visitor_is_served_by(&cluster, owner);
        assert!(gap < SANE, "{command}: {gap:?}");
        if !command.ends_with("off") {
            assert!(
                said.contains(&format!("runs on {owner}")),
                "{command}: {said}"
            );
        }
    }
    visitor.report(&cluster, "handovers");
}

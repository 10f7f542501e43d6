//! What our first users run.

use std::time::Duration;

use had::lab::SpawnedProgram;
use had::model::status::Liveness;
use nix::sys::signal::Signal;

use crate::common::{Blueprint, Cluster, TIMES, ip, wait};

const NODES: [&str; 2] = ["master-node", "slave-node"];
/// No planned move is silent this long; it is usually a few milliseconds.
const SANE: Duration = Duration::from_secs(1);

const WEB: &str = "10.11.7.235";

/// Answers with the name of its node.
const NGINX_CONF: &str = "user root;
pid /run/nginx.pid;
error_log /var/log/nginx.log;
events {}
http {
    access_log off;
    server { listen 80; location / { return 200 $hostname; } }
}
";

/// A web server behind an address, on two nodes.
fn web(name: &str, auto_failback: &str) -> Cluster {
    let ha_cf = format!(
        "{TIMES}ucast ens192 10.11.7.231\nucast ens192 10.11.7.232\nauto_failback {auto_failback}\n\
         node master-node\nnode slave-node\nenv NGINX=/etc/ha.d/nginx\n"
    );
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/resource.d/nginx");
    let cluster = Blueprint::new(
        name,
        &ha_cf,
        "master-node IPaddr::10.11.7.235/24/ens192 nginx\n",
    )
    .script("nginx", &std::fs::read_to_string(agent).unwrap())
    .file("nginx.conf", NGINX_CONF, 0o644)
    .file(
        "nginx",
        "#!/bin/sh\nexec /usr/sbin/nginx -c /etc/ha.d/nginx.conf \"$@\"\n",
        0o755,
    )
    .node("master-node", &["ens192 10.11.7.231/24"], &[])
    .node("slave-node", &["ens192 10.11.7.232/24"], &[])
    .gateway("ens192 10.11.7.254/24")
    .client("ens192 10.11.7.9/24")
    .watch(&[WEB])
    .up();
    served_by(&cluster, "master-node");
    cluster.sh("gateway", "ping -c 1 -W 5 10.11.7.235");
    cluster.until_active(&NODES);
    cluster
}

/// Prints the page, or fails.
const FETCH: &str = "timeout 1 bash -c 'exec 3<>/dev/tcp/10.11.7.235/80; printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; sed 1,/^.$/d <&3' 2>&1";

fn fetch(cluster: &Cluster) -> String {
    cluster.run("client", FETCH).stdout
}

/// The group is there, its page is its node's, and the gateway sends to it.
fn served_by(cluster: &Cluster, node: &str) {
    cluster.until_owner("IPaddr", node);
    assert!(
        wait(|| fetch(cluster) == node),
        "{WEB} is not served by {node}"
    );
}

fn moved_to(cluster: &Cluster, node: &str) {
    served_by(cluster, node);
    cluster.until_neighbour("gateway", WEB, node, "ens192");
}

/// Measures the silence of the address while something is done.
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

/// Fetches the page again and again until the client is asked what it got.
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

    /// Prints how many pages came from whom, and how many did not come.
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

/// Waits for the next page of this node. A fetch that the move cut off takes a second to give up, so whoever
/// moves the address on before that has shown the visitor nothing.
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
    // Not by its silence: deadtime was not waited for.
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
            assert_eq!(fetch(&cluster), "slave-node");
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

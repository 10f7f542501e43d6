//! What our first users run.

use std::time::Duration;

use crate::common::{Blueprint, Cluster, TIMES, ip, wait};

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
    cluster.until_active(&["master-node", "slave-node"]);
    cluster
}

fn fetch(cluster: &Cluster) -> String {
    cluster
        .run("client", "curl --silent --max-time 2 http://10.11.7.235/")
        .stdout
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

#[test]
fn the_owner_of_a_web_address_crashes() {
    let cluster = web("web-crash", "off");
    cluster.lab.crash("master-node").unwrap();
    moved_to(&cluster, "slave-node");
}

//! `ha.d/examples/web-pair`: nginx on two machines with an IPv4 and an IPv6 address, watched by the script that its users
//! published for keepalived.

use crate::cluster::{Cluster, wait};
use crate::common::{example, until_well};
use crate::web;

const NODES: [&str; 2] = ["master-node", "slave-node"];
const IPV4: &str = "10.11.7.235";
const IPV6: &str = "fd00:11:7::235";

/// Answers with the name of its node.
const SERVERS: &str = "server { listen 80; listen [::]:80; location / { return 200 $hostname; } }";

/// nginx runs on both nodes, and the first has the addresses. `change` edits ha.cf.
fn pair(name: &str, change: impl Fn(&str) -> String) -> Cluster {
    let ha_cf = concat!(env!("CARGO_MANIFEST_DIR"), "/ha.d/examples/web-pair/ha.cf");
    let text = std::fs::read_to_string(ha_cf).unwrap();
    let cluster = example(name, "web-pair")
        .file("ha.cf", &change(&text), 0o644)
        .node(NODES[0], &["ens192 10.11.7.231/24 fd00:11:7::231/64"], &[])
        .node(NODES[1], &["ens192 10.11.7.232/24 fd00:11:7::232/64"], &[])
        .gateway("ens192 10.11.7.254/24")
        .client("ens192 10.11.7.9/24")
        .client("ens192 fd00:11:7::9/64")
        .watch(&[IPV4, IPV6])
        .idle()
        .up();
    for node in NODES {
        web::install(&cluster, node, SERVERS);
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_active(&NODES);
    served_by(&cluster, "master-node");
    for node in NODES {
        until_well(&cluster, node, 2);
    }
    cluster
}

fn served_by(cluster: &Cluster, node: &str) {
    cluster.until_owner(IPV4, node);
    for address in [IPV4.to_owned(), format!("[{IPV6}]")] {
        web::until_page(cluster, &address, node);
    }
}

/// Asserts that both addresses were on these nodes in this order since the last call.
fn were_on(cluster: &mut Cluster, nodes: &[&str]) {
    assert_eq!(cluster.owners_of([IPV4, IPV6]), [nodes, nodes]);
}

fn why(cluster: &Cluster, node: &str, says: &str) {
    let why = cluster.sh(node, "hactl why");
    assert!(why.contains(says), "{says} is missing in {why}");
}

#[test]
fn nginx_that_dies_is_started_again_and_what_is_worse_moves_the_addresses_and_back() {
    let [master, slave] = NODES;
    let mut cluster = pair("web-pair", str::to_owned);
    were_on(&mut cluster, &[master]);

    // Killed: the script restarts it in place.
    let process = || cluster.sh(master, "cat /run/nginx.pid");
    let before = process();
    web::kill(&cluster, master);
    assert!(wait(|| process() != before), "it was not started again");
    served_by(&cluster, master);
    were_on(&mut cluster, &[master]);

    // It cannot be started: the script tries to stop keepalived, which does not exist.
    web::break_configuration(&cluster, master);
    web::kill(&cluster, master);
    served_by(&cluster, slave);
    cluster.until_status(master, "the script says what it wanted", |s| {
        let mut checks = s.checks.iter();
        checks.any(|c| c.name == "nginx" && c.text.contains("keepalived.service not loaded"))
    });
    web::mend_configuration(&cluster, master);
    served_by(&cluster, master);
    until_well(&cluster, master, 2);
    were_on(&mut cluster, &[master, slave, master]);

    // It answers with an error, which a count of processes does not show.
    cluster.sh(
        master,
        "sed -i 's/return 200/return 500/' /run/nginx.conf && nginx -c /run/nginx.conf -s reload",
    );
    served_by(&cluster, slave);
    why(&cluster, master, "check page fails: status 500");
    cluster.sh(
        master,
        "sed -i 's/return 500/return 200/' /run/nginx.conf && nginx -c /run/nginx.conf -s reload",
    );
    served_by(&cluster, master);
    until_well(&cluster, master, 2);

    // It hangs, but all its processes are there.
    cluster.sh(master, "pkill -STOP -x nginx");
    served_by(&cluster, slave);
    why(&cluster, master, "check page fails: no answer in time");
    cluster.sh(master, "pkill -CONT -x nginx");
    served_by(&cluster, master);
    were_on(&mut cluster, &[master, slave, master, slave, master]);
}

#[test]
fn without_preemption_the_addresses_stay_where_they_went() {
    let [master, slave] = NODES;
    let off = |text: &str| text.replace("\nauto_failback on\n", "\nauto_failback off\n");
    let mut cluster = pair("web-pair-off", off);
    web::break_configuration(&cluster, master);
    web::kill(&cluster, master);
    served_by(&cluster, slave);
    web::mend_configuration(&cluster, master);
    until_well(&cluster, master, 2);
    served_by(&cluster, slave);
    were_on(&mut cluster, &[master, slave]);
}

/// How long a client gets no page, for each kind of failure.
#[test]
fn the_gap_of_each_failure_is_short() {
    let [master, slave] = NODES;
    let cluster = pair("web-pair-gaps", str::to_owned);
    let visitor = web::Visitor::impatient(&cluster, IPV4, "gaps");
    let fails = [
        (
            "nginx cannot be started",
            "echo nonsense >> /run/nginx.conf; pkill -KILL -x nginx",
            "sed -i /nonsense/d /run/nginx.conf",
        ),
        (
            "nginx hangs",
            "pkill -STOP -x nginx",
            "pkill -CONT -x nginx",
        ),
    ];
    for (what, fail, mend) in fails {
        cluster.sh(master, fail);
        served_by(&cluster, slave);
        visitor.tell_gap(what);
        cluster.sh(master, mend);
        served_by(&cluster, master);
        visitor.tell_gap(&format!("{what}, on return"));
        until_well(&cluster, master, 2);
    }
    cluster.lab.stop_had(master).unwrap();
    served_by(&cluster, slave);
    visitor.tell_gap("the daemon is stopped");
    cluster.lab.start_had(master).unwrap();
    served_by(&cluster, master);
    visitor.tell_gap("the daemon is stopped, on return");
    cluster.lab.crash(master).unwrap();
    served_by(&cluster, slave);
    visitor.tell_gap("power loss");
}

#[test]
fn the_manager_is_upgraded_killed_and_halted_without_a_failed_request_and_puts_lost_addresses_back()
{
    let [master, slave] = NODES;
    let mut cluster = pair("web-pair-load", str::to_owned);
    let visitors = [(IPV4, "4"), ("[fd00:11:7::235]", "6")];
    let visitors = visitors.map(|(a, name)| web::Visitor::new(&cluster, a, name));
    for node in NODES {
        // Here the test does what the service manager would: it starts the new one.
        cluster.sh(node, "hactl restart --no-wait");
        let started = || cluster.lab.start_had(node).is_ok();
        assert!(wait(started), "the old daemon of {node} does not end");
        cluster.until_active(&NODES);
        until_well(&cluster, node, 2);
        cluster.lab.kill_had(node).unwrap();
        cluster.lab.start_had(node).unwrap();
        cluster.until_active(&NODES);
        until_well(&cluster, node, 2);
        // The daemon is stopped for less than the lifetime of its addresses in the kernel.
        cluster.sh(
            node,
            "kill -STOP $(pidof had); sleep 1; kill -CONT $(pidof had)",
        );
        cluster.until_active(&NODES);
        until_well(&cluster, node, 2);
    }
    // On the node without the addresses it may even be stopped.
    cluster.lab.stop_had(slave).unwrap();
    cluster.lab.start_had(slave).unwrap();
    cluster.until_active(&NODES);
    until_well(&cluster, slave, 2);
    for visitor in &visitors {
        visitor.asks_on();
        let failed = visitor.failed();
        assert!(failed.is_empty(), "{failed:?}");
    }
    served_by(&cluster, master);

    // On the node with the addresses they move at once. Only requests that are being answered at that moment can fail.
    cluster.lab.stop_had(master).unwrap();
    served_by(&cluster, slave);
    cluster.lab.start_had(master).unwrap();
    served_by(&cluster, master);
    for visitor in visitors {
        visitor.asks_on();
        let (asked, failed) = visitor.end();
        println!("{asked} pages, of which two moves cost {}", failed.len());
        assert!(failed.len() <= 2, "of {asked}: {failed:?}");
    }
    were_on(&mut cluster, &[master, slave, master]);
    until_well(&cluster, master, 2);

    for (address, prefix) in [(IPV4, 24), (IPV6, 64)] {
        let took = cluster.sh(
            master,
            &format!(
                "ip addr del {address}/{prefix} dev ens192; begun=$(date +%s%N); \
                 until [ \"$(ip -o addr show to {address})\" ]; do :; done; \
                 echo $((($(date +%s%N) - begun) / 1000000))"
            ),
        );
        println!("{address} was put back after {} ms", took.trim());
    }
    // Another tool configures the interface again, with only the node's own addresses.
    let took = cluster.sh(
        master,
        &format!(
            "ip addr flush dev ens192; begun=$(date +%s%N); \
             ip addr add 10.11.7.231/24 dev ens192; ip addr add fd00:11:7::231/64 dev ens192 nodad; \
             for address in {IPV4} {IPV6}; do until [ \"$(ip -o addr show to $address)\" ]; do :; done; done; \
             echo $((($(date +%s%N) - begun) / 1000000))"
        ),
    );
    println!("flushed, both were put back after {} ms", took.trim());
    served_by(&cluster, master);
    until_well(&cluster, slave, 2);
}

//! `ha.d/examples/two-balancers`: two nginx balancers before two web servers. Each balancer is preferred for one address.

use crate::cluster::{Cluster, group_of, wait};
use crate::common::{example, until_well};
use crate::web;

const NODES: [&str; 2] = ["test1", "test2"];
const FIRST: &str = "10.1.88.200";
const SECOND: &str = "10.1.88.201";

/// As published, except for the algorithm: here any web server may answer, and a header names the balancer.
const BALANCER: &str = "upstream web1 { server 10.1.88.168:80; server 10.1.88.177:80; }
server { listen 80; add_header Balancer $hostname; proxy_connect_timeout 1s;
location / { proxy_pass http://web1; proxy_next_upstream http_500 http_502 http_504 error timeout invalid_header; } }
server { listen 127.0.0.1:8081; return 204; }";
const WEB_SERVER: &str = "server { listen 80; return 200 page; }";

fn balancers(name: &str) -> Cluster {
    let cluster = example(name, "two-balancers")
        .node("test1", &["eth0 10.1.88.171/24"], &[])
        .node("test2", &["eth0 10.1.88.172/24"], &[])
        // Not members: no daemon runs there.
        .node("web1", &["eth0 10.1.88.168/24"], &[])
        .node("web2", &["eth0 10.1.88.177/24"], &[])
        .gateway("eth0 10.1.88.254/24")
        .client("eth0 10.1.88.9/24")
        .watch(&[FIRST, SECOND])
        .idle()
        .up();
    for host in ["web1", "web2"] {
        web::install(&cluster, host, WEB_SERVER);
    }
    for node in NODES {
        web::install(&cluster, node, BALANCER);
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_active(&NODES);
    each_has_its_own(&cluster);
    for node in NODES {
        until_well(&cluster, node, 2);
    }
    cluster
}

fn each_has_its_own(cluster: &Cluster) {
    served_by(cluster, FIRST, "test1");
    served_by(cluster, SECOND, "test2");
}

/// Waits until the address answers with a web server's page, passed on by this balancer.
fn served_by(cluster: &Cluster, address: &str, node: &str) {
    cluster.until_owner(address, node);
    let wanted = ("page".to_owned(), node.to_owned());
    let seen = || web::page_by(cluster, address);
    assert!(wait(|| seen() == wanted), "{address}: {:?}", seen());
}

#[test]
fn each_balancer_keeps_its_address_while_it_can_and_the_other_is_not_disturbed() {
    let mut cluster = balancers("balancers");
    cluster.owners_so_far();

    // Killed: it is restarted in place.
    let process = || cluster.sh("test1", "cat /run/nginx.pid");
    let before = process();
    let visitor = web::Visitor::new(&cluster, SECOND, "killed");
    web::kill(&cluster, "test1");
    assert!(wait(|| process() != before), "it was not started again");
    served_by(&cluster, FIRST, "test1");

    // It cannot be started: its address moves to the other balancer, whose own address has no failed request.
    let concerned = web::Visitor::impatient(&cluster, FIRST, "concerned");
    web::break_configuration(&cluster, "test1");
    web::kill(&cluster, "test1");
    served_by(&cluster, FIRST, "test2");
    concerned.tell_gap("nginx cannot be started");
    let told = cluster.sh("test1", "hactl status; true");
    assert!(told.contains("[emerg]"), "{told}");
    served_by(&cluster, SECOND, "test2");

    // Repaired: the address returns.
    web::mend_configuration(&cluster, "test1");
    each_has_its_own(&cluster);
    concerned.tell_gap("nginx cannot be started, on return");
    visitor.asks_on();
    let (asked, failed) = visitor.end();
    println!("{asked} pages of the address that was not concerned");
    assert!(failed.is_empty(), "of {asked}: {failed:?}");
    let [report] = cluster.owners_of([FIRST]);
    assert_eq!(report, ["test1", "test2", "test1"]);
}

#[test]
fn a_web_server_that_dies_is_no_business_of_the_cluster() {
    let mut cluster = balancers("balancers-web");
    let terms = |c: &Cluster| {
        let status = c.status("test1").unwrap();
        [FIRST, SECOND].map(|g| group_of(&status, g).term)
    };
    let before = terms(&cluster);
    cluster.lab.crash("web1").unwrap();
    // Each balancer has asked it without an answer, and was then answered by the other server.
    for address in [FIRST, SECOND] {
        for _ in 0..4 {
            web::until_page(&cluster, address, "page");
        }
    }
    for node in NODES {
        let log = || cluster.sh(node, "cat /var/log/nginx.log");
        let asked = |l: String| l.contains("upstream: \"http://10.1.88.168:80/\"");
        assert!(wait(|| asked(log())), "{}", log());
        until_well(&cluster, node, 2);
    }
    each_has_its_own(&cluster);
    assert_eq!(terms(&cluster), before, "no group was touched");
    assert_eq!(cluster.owners_of([FIRST]), [["test1"]]);
}

/// What is wrong with a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ill {
    No,
    /// nginx is dead and cannot be started.
    Broken,
    /// nginx hangs.
    Hung,
    /// The daemon was stopped.
    Left,
}

/// Does something to a balancer and returns what. `other` is whether the other balancer works.
fn strike(cluster: &Cluster, node: &str, ill: Ill, other: bool, pick: u64) -> (Ill, &'static str) {
    match (ill, pick % 5) {
        (Ill::Broken, _) => {
            web::mend_configuration(cluster, node);
            (Ill::No, "mended")
        }
        (Ill::Hung, _) => {
            cluster.sh(node, "pkill -CONT -x nginx");
            (Ill::No, "woken")
        }
        (Ill::Left, _) => {
            cluster.lab.start_had(node).unwrap();
            (Ill::No, "started")
        }
        (Ill::No, 0) if other => {
            web::break_configuration(cluster, node);
            web::kill(cluster, node);
            (Ill::Broken, "broken")
        }
        (Ill::No, 1) if other => {
            // It may still be starting.
            cluster.sh(node, "until pkill -STOP -x nginx; do sleep 0.05; done");
            (Ill::Hung, "hung")
        }
        (Ill::No, 2) if other => {
            cluster.lab.stop_had(node).unwrap();
            (Ill::Left, "stopped")
        }
        (Ill::No, 3) => {
            cluster.lab.kill_had(node).unwrap();
            cluster.lab.start_had(node).unwrap();
            (Ill::No, "its daemon killed")
        }
        (Ill::No, _) => {
            web::kill(cluster, node);
            (Ill::No, "nginx killed")
        }
    }
}

/// `HAD_BALANCER_EVENTS` sets their number, `HAD_BALANCER_SEED` chooses others.
#[test]
fn whatever_happens_each_address_has_one_owner_while_one_balancer_is_well() {
    let number = |name: &str, usual: u64| {
        let text = std::env::var(name).ok();
        text.map_or(usual, |text| text.parse().unwrap())
    };
    let (seed, events) = (
        number("HAD_BALANCER_SEED", 1),
        number("HAD_BALANCER_EVENTS", 20),
    );
    println!("HAD_BALANCER_SEED={seed}");
    let cluster = balancers("balancers-random");
    let mut ill = [Ill::No; 2];
    let mut random = seed;
    for event in 1..=events {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (at, pick) = (usize::from(random >> 40 & 1 == 1), random >> 45);
        let other = ill[1 - at] == Ill::No;
        let (now, what) = strike(&cluster, NODES[at], ill[at], other, pick);
        println!("{event}: {}: {what}", NODES[at]);
        ill[at] = now;
        for address in [FIRST, SECOND] {
            let well = NODES.iter().zip(ill).filter(|(_, ill)| *ill == Ill::No);
            let well: Vec<&str> = well.map(|(node, _)| *node).collect();
            let served = || {
                let (page, by) = web::page_by(&cluster, address);
                page == "page" && well.contains(&by.as_str())
            };
            assert!(wait(served), "{address} is not served by one of {well:?}");
        }
    }
    // Without faults each address returns home. That none had two owners is checked throughout.
    for (node, state) in NODES.iter().zip(ill) {
        if state != Ill::No {
            strike(&cluster, node, state, true, 0);
        }
    }
    each_has_its_own(&cluster);
}

//! `ha.d/examples/forum-pair`: nginx and MariaDB on two machines, an inside and an outside address, pushed files, and cron on
//! the owner. Its users published it with a shell loop.

use std::fs;

use std::time::Duration;

use had::lab::LinkDirection;
use had::model::status::{CheckState, CheckStatus, Liveness};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, STAND_IN, group_of, wait};
use crate::common::{example, until_well};
use crate::{mariadb, web};

const NODES: [&str; 2] = ["web1", "web2"];
const PLACES: [&str; 2] = ["192.168.146.213", "192.168.146.215"];
const INSIDE: &str = "192.168.146.214";
const OUTSIDE: &str = "72.249.146.214";
const GROUP: &str = "rsync_push";

/// A PHP page with the name of its node.
const SITE: &str = "server { listen 80; location / { fastcgi_pass unix:/run/forum.sock;
fastcgi_param SCRIPT_FILENAME /srv/www/index.php; fastcgi_param REQUEST_METHOD $request_method; } }";
const PAGE: &str = "<?php echo gethostname();";
const PHP: &str = "[global]\nerror_log = /var/log/php.log\n[www]\nuser = www-data\nlisten = /run/forum.sock\n\
     listen.owner = root\npm = static\npm.max_children = 2\n";

/// Everything runs on both nodes, and the first has the addresses. Only cron is a stand-in.
fn forum(name: &str) -> Cluster {
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/resource.d/rsync_push");
    let cluster = example(name, "forum-pair")
        .script("rsync_push", &fs::read_to_string(agent).unwrap())
        .script("cron", STAND_IN)
        .node(
            "web1",
            &["eth0 192.168.146.213/24", "eth1 72.249.146.213/24"],
            &[],
        )
        .node(
            "web2",
            &["eth0 192.168.146.215/24", "eth1 72.249.146.215/24"],
            &[],
        )
        .gateway("eth0 192.168.146.1/24")
        // The outside gateway. The visitors are behind it.
        .client("eth1 72.249.146.193/24")
        .watch(&[INSIDE, OUTSIDE])
        .idle()
        .up();
    mariadb::copy_each_other(&cluster, NODES, PLACES);
    for node in NODES {
        web::install(&cluster, node, SITE);
        cluster.sh(
            node,
            "for d in /srv /etc/php /etc/nginx; do mkdir -p $d; mount -t tmpfs none $d; done; mkdir /srv/www && \
             rsync --daemon --config=/etc/ha.d/rsyncd.conf",
        );
        cluster.sh(
            node,
            &format!(
                "printf '%s' '{PAGE}' > /srv/www/index.php; printf '%s' '{PHP}' > /run/php.conf; \
                 $(ls /usr/sbin/php-fpm* | tail -n 1) -D -y /run/php.conf"
            ),
        );
    }
    for node in NODES {
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_active(&NODES);
    served_by(&cluster, "web1");
    for node in NODES {
        until_well(&cluster, node, 4);
    }
    cluster
}

/// Waits until this node serves pages on the outside address. It alone must have both addresses, cron and rsync_push.
fn served_by(cluster: &Cluster, node: &str) {
    cluster.until_owner(GROUP, node);
    web::until_page(cluster, OUTSIDE, node);
    for other in NODES {
        let addresses = cluster.sh(other, "ip -o -4 address show");
        for address in [INSIDE, OUTSIDE] {
            let there = addresses.contains(&format!(" {address}/"));
            assert_eq!(there, other == node, "{address} on {other}: {addresses}");
        }
        let runs = |what: &str| cluster.run(other, what).success();
        assert_eq!(
            runs("test -e /run/cron.on"),
            other == node,
            "cron on {other}"
        );
        let pushes = runs("pgrep -f '[r]sync_push.*loop'");
        assert_eq!(pushes, other == node, "rsync_push on {other}");
    }
}

/// Asserts who has had both addresses since the last call, in order.
fn were_on(cluster: &mut Cluster, nodes: &[&str]) {
    assert_eq!(cluster.owners_of([INSIDE, OUTSIDE]), [nodes, nodes]);
}

fn until_file(cluster: &Cluster, node: &str, text: &str) {
    let there = || cluster.run(node, "cat /srv/www/page").stdout.trim() == text;
    assert!(wait(there), "{node} has not got the page that says {text}");
}

#[test]
fn both_addresses_move_and_return_with_the_files_and_not_before_the_rows() {
    let mut cluster = forum("forum");
    cluster.sh("web1", "echo one > /srv/www/page");
    were_on(&mut cluster, &["web1"]);

    // nginx cannot be started again: the group moves, and the files of the last push are there.
    web::break_configuration(&cluster, "web1");
    web::kill(&cluster, "web1");
    served_by(&cluster, "web2");
    until_file(&cluster, "web2", "one");
    let why = cluster.sh("web1", "hactl why");
    assert!(why.contains("check page fails"), "{why}");

    // Meanwhile files and rows change, and the replica on the first node is delayed by an hour.
    cluster.sh(
        "web2",
        "echo two > /srv/www/page; touch -d 'now + 1 minute' /srv/www/page",
    );
    let delay = |seconds: u32| {
        let change = format!("stop slave; change master to master_delay={seconds}; start slave");
        mariadb::sql(&cluster, "web1", &change);
    };
    delay(3600);
    mariadb::sql(&cluster, "web2", "insert into d.t values (1, 2)");
    cluster.until_status("web1", "its copy is behind", |s| {
        let mut checks = s.checks.iter();
        let behind = |c: &CheckStatus| c.lag.is_some_and(|lag| lag >= Duration::from_secs(1));
        checks.any(|c| c.name == "failback_when" && c.state == CheckState::Failed && behind(c))
    });
    web::mend_configuration(&cluster, "web1");
    cluster.sh("web1", "nginx -c /run/nginx.conf");
    until_well(&cluster, "web1", 4);
    let waits = |says: &str| {
        cluster.until_status("web2", &format!("it waits: {says}"), |s| {
            let notes = group_of(s, GROUP).notes.join("\n");
            notes.contains("goes back to web1 when failback_when") && notes.contains(says)
        });
    };
    waits("s behind");
    let why = cluster.sh("web2", "hactl why");
    assert!(why.contains("s behind"), "{why}");

    // A broken replica never catches up.
    mariadb::sql(&cluster, "web1", "stop slave sql_thread");
    waits("are not applied");
    cluster.until_status("web2", "the standby is not ready", |s| {
        let mut standbys = group_of(s, GROUP).standbys.iter();
        standbys.any(|s| !s.ready && s.in_words().contains("are not applied"))
    });
    served_by(&cluster, "web2");

    delay(0);
    cluster.until_owner(GROUP, "web1");
    // Before anybody was served by it again.
    let page = cluster.sh("web1", "cat /srv/www/page");
    assert_eq!(page.trim(), "two");
    assert_eq!(
        mariadb::sql(&cluster, "web1", "select count(*) from d.t"),
        "1"
    );
    served_by(&cluster, "web1");
    were_on(&mut cluster, &["web1", "web2", "web1"]);
}

/// As the published script did. It was also called once before we listened, when the addresses came up.
#[test]
fn each_gateway_is_told_of_its_address_again() {
    let cluster = forum("forum-arp");
    for (gateway, its_own, address) in [
        ("gateway", "192.168.146.1", INSIDE),
        ("client", "72.249.146.193", OUTSIDE),
    ] {
        let listen =
            format!("tcpdump -lnec 1 -i eth0 arp src host {address} and dst host {its_own}");
        let seen = cluster.sh(gateway, &listen);
        assert!(
            seen.contains(&format!("who-has {its_own} tell {address}")),
            "{seen}"
        );
    }
}

#[test]
fn a_dead_database_or_machine_moves_both_addresses_and_a_cut_network_none() {
    let mut cluster = forum("forum-faults");
    were_on(&mut cluster, &["web1"]);

    // Both reach their gateways, and each other on one of two networks: nothing is in doubt.
    cluster
        .lab
        .cut("web1", "web2", Some("eth0"), LinkDirection::Both)
        .unwrap();
    for node in NODES {
        cluster.until_status(node, "a link is down", |s| {
            let peers = s.nodes.iter().filter(|n| n.liveness == Liveness::Active);
            peers.flat_map(|n| &n.links).any(|l| !l.hears)
        });
    }
    served_by(&cluster, "web1");
    were_on(&mut cluster, &["web1"]);
    cluster.lab.heal_all().unwrap();

    let visitor = web::Visitor::impatient(&cluster, OUTSIDE, "gaps");
    mariadb::signal(&cluster, "web1", Signal::SIGKILL);
    served_by(&cluster, "web2");
    visitor.tell_gap("MariaDB killed");
    let why = cluster.sh("web1", "hactl why");
    assert!(why.contains("check database fails"), "{why}");
    mariadb::start(&cluster, "web1");
    served_by_after_copying(&cluster);
    visitor.tell_gap("MariaDB killed, on return");

    cluster.lab.crash("web1").unwrap();
    cluster.until_owner(GROUP, "web2");
    web::until_page(&cluster, OUTSIDE, "web2");
    visitor.tell_gap("power loss");
    assert!(cluster.run("web2", "test -e /run/cron.on").success());
    were_on(&mut cluster, &["web1", "web2", "web1", "web2"]);
}

fn served_by_after_copying(cluster: &Cluster) {
    until_well(cluster, "web1", 4);
    cluster.until_owner(GROUP, "web1");
    served_by(cluster, "web1");
}

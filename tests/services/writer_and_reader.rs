//! `ha.d/examples/writer-and-reader`: two machines that both serve PHP. MariaDB is written on one and read on the other. Its users
//! published it for keepalived and Atlas.

use std::fs;
use std::path::Path;

use had::lab::LinkDirection;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::cluster::{Cluster, HACTL, wait};
use crate::common::{example, folder, sh, until_well};
use crate::database::template;
use crate::mariadb::{self, Writer, longest_gap, sql};
use crate::web;

const NODES: [&str; 2] = ["server1", "server2"];
const PLACES: [&str; 2] = ["192.168.1.100", "192.168.1.101"];
const INSIDE: &str = "192.168.1.150";
const OUTSIDE: &str = "10.96.153.239";
const GROUP: &str = "mariadb_role";
/// How many checks `hactl status` shows on each node.
const CHECKS: usize = 3;

/// As published, with a page that names its node.
const SITE: &str = "upstream php-server { server PEER:9000; server 127.0.0.1:9000; keepalive 100; }
server { listen 80; location / { return 200 $hostname; }
location ~ \\.php$ { fastcgi_pass php-server; fastcgi_connect_timeout 1s; fastcgi_param SCRIPT_FILENAME /run/www$fastcgi_script_name;
fastcgi_param REQUEST_METHOD $request_method; } }";
const PHP: &str = "[global]\nerror_log = /var/log/php.log\n[www]\nuser = www-data\nlisten = 9000\n\
     listen.allowed_clients = 127.0.0.1,192.168.1.100,192.168.1.101\npm = static\npm.max_children = 2\n";
const SESSION: &str =
    "<?php session_start(); $_SESSION[\"n\"] = ($_SESSION[\"n\"] ?? 0) + 1; echo $_SESSION[\"n\"];";

struct Site {
    cluster: Cluster,
    // Dropped last: the data of the servers, which survive a power loss.
    disks: TempDir,
}

/// Both nodes start for the first time, with an account and a table only on the first. Then the first is the writer, and the
/// second its replica.
fn site(name: &str) -> Site {
    let mut blueprint = example(name, "writer-and-reader");
    for agent in [GROUP, "haproxy_backend"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("resource.d")
            .join(agent);
        blueprint = blueprint.script(agent, &fs::read_to_string(path).unwrap());
    }
    let cluster = blueprint
        .node(
            "server1",
            &["eth0 10.96.153.110/24", "eth1 192.168.1.100/24"],
            &[],
        )
        .node(
            "server2",
            &["eth0 10.96.153.114/24", "eth1 192.168.1.101/24"],
            &[],
        )
        .gateway("eth0 10.96.153.1/24")
        .client("eth0 10.96.153.9/24")
        .client("eth1 192.168.1.9/24")
        .watch(&[INSIDE, OUTSIDE])
        .idle()
        .up();
    let site = Site {
        cluster,
        disks: folder(),
    };
    for node in NODES {
        let disk = site.disk(node);
        sh(&format!(
            "cp -a {}/. {disk} && chown -R mysql: {disk}",
            template().display()
        ));
        site.boot(node);
    }
    sql(
        &site.cluster,
        "server1",
        "grant replication slave, slave monitor on *.* to rpl@'192.168.1.%' identified by 'change-this-before-use'; \
         create database d; create table d.t (n int primary key, node int) engine=innodb; \
         grant select, insert on d.* to shop@'%' identified by 'shop'",
    );
    for node in NODES {
        site.cluster.lab.start_had(node).unwrap();
    }
    site.cluster.until_active(&NODES);
    // The first node that sees that nobody has more data becomes the writer.
    for node in NODES {
        until_well(&site.cluster, node, CHECKS);
    }
    let begun = || NODES.iter().any(|node| site.writes(node));
    assert!(wait(begun), "neither is the writer");
    if site.writes("server2") {
        site.served_by("server2");
        site.cluster.sh("server1", "hactl takeover");
    }
    site.served_by("server1");
    for node in NODES {
        until_well(&site.cluster, node, CHECKS);
    }
    site
}

fn number(node: &str) -> &'static str {
    if node == "server1" { "1" } else { "2" }
}

fn other(node: &str) -> &'static str {
    if node == "server1" {
        "server2"
    } else {
        "server1"
    }
}

impl Site {
    fn disk(&self, node: &str) -> String {
        let disk = self.disks.path().join(node);
        fs::create_dir_all(&disk).unwrap();
        disk.display().to_string()
    }

    /// Starts everything that a node starts at boot, except the daemon.
    fn boot(&self, node: &str) {
        let (cluster, id) = (&self.cluster, number(node));
        let disk = self.disk(node);
        cluster.sh(node, &format!("mount --bind {disk} /var/lib/mysql"));
        let lines = format!("server_id={id}\n!include /etc/ha.d/mariadb.cnf\n");
        mariadb::configure(cluster, node, &lines);
        mariadb::start(cluster, node);
        let peer = PLACES[usize::from(node == "server1")];
        web::install(cluster, node, &SITE.replace("PEER", peer));
        // Scripts find it as where a package has put it.
        cluster.sh(node, &format!("ln -s {HACTL} /usr/local/sbin/hactl"));
        cluster.sh(
            node,
            &format!(
                "mkdir -p /run/www /run/haproxy && printf '%s' '{SESSION}' > /run/www/session.php && \
                 echo '<?php echo gethostname();' > /run/www/where.php && printf '%s' '{PHP}' > /run/php.conf && \
                 memcached -d -u www-data -l 0.0.0.0 && haproxy -D -f /etc/ha.d/haproxy.cfg && \
                 PHP_INI_SCAN_DIR=:/etc/ha.d $(ls /usr/sbin/php-fpm* | tail -n 1) -D -y /run/php.conf"
            ),
        );
    }

    /// Switches a node off.
    fn crash(&self, node: &str) {
        self.cluster.lab.crash(node).unwrap();
    }

    /// Switches it on again.
    fn power(&self, node: &str) {
        self.cluster.lab.restart(node).unwrap();
        self.boot(node);
    }

    /// Waits until this node has the addresses, its server alone accepts writes, and pages are served.
    fn served_by(&self, node: &str) {
        self.cluster.until_owner(GROUP, node);
        let ask = "timeout 5 mariadb -N --connect-timeout=1 -h 192.168.1.150 -u shop -pshop -e \
                   'select @@server_id, @@read_only'";
        let wanted = format!("{}\t0", number(node));
        let answers = || self.cluster.run("client", ask).stdout.trim() == wanted;
        assert!(wait(answers), "{INSIDE} is not served by {node}");
        web::until_page(&self.cluster, OUTSIDE, node);
    }

    /// Waits until this node's server, which is read-only, answers a reader.
    fn read_from(&self, node: &str) {
        let wanted = format!("{}\t{}", number(node), u8::from(!self.writes(node)));
        let seen = || self.read();
        assert!(
            wait(|| seen() == wanted),
            "{:?} is read, not {wanted}",
            seen()
        );
    }

    fn read(&self) -> String {
        let ask = "timeout 10 mariadb -N --connect-timeout=5 -h 192.168.1.150 -P 3307 -u shop -pshop -e \
                   'select @@server_id, @@read_only'";
        self.cluster.run("client", ask).stdout.trim().to_owned()
    }

    fn writes(&self, node: &str) -> bool {
        sql(&self.cluster, node, "select @@read_only") == "0"
    }

    /// The servers that the owner's `HAProxy` has for readers.
    fn readers(&self, owner: &str) -> String {
        let status = "/etc/ha.d/resource.d/haproxy_backend readers status";
        let told = self.cluster.run(owner, status).stdout;
        let readers = told.lines().filter_map(|l| l.strip_suffix(" is read from"));
        readers.collect::<Vec<_>>().join(" ")
    }

    fn until_reader(&self, owner: &str, reader: &str) {
        let seen = || self.readers(owner);
        let is = |seen: String| seen.starts_with(reader) && seen.is_empty() == reader.is_empty();
        assert!(wait(|| is(seen())), "{:?} is read from", seen());
    }

    /// How often the client's session was used.
    fn session(&self) -> u32 {
        let ask =
            format!("curl -gsf -m 10 -b /run/cookies -c /run/cookies http://{OUTSIDE}/session.php");
        let answer = self.cluster.run("client", &ask).stdout;
        answer.parse().unwrap_or(0)
    }

    /// Makes a new session until both nodes have it: a node that was just alone may not try the other again at once.
    fn begin_session(&self) -> u32 {
        self.cluster.sh("client", "rm -f /run/cookies");
        let keeps = |node: &str| {
            let cookie = "awk '$6 == \"PHPSESSID\" { print $7 }' /run/cookies";
            let id = self.cluster.sh("client", cookie);
            let ask = format!(
                "bash -c 'exec 3<>/dev/tcp/127.0.0.1/11211; printf \"get {}\\r\\nquit\\r\\n\" >&3; cat <&3'",
                id.trim()
            );
            self.cluster.sh(node, &ask).contains("VALUE ")
        };
        let mut visits = 0;
        let kept = || {
            visits = self.session();
            NODES.iter().all(|n| keeps(n))
        };
        assert!(wait(kept), "not both keep the session");
        visits
    }

    /// Waits until both nodes serve PHP pages.
    fn php_on_both(&self) {
        for node in NODES {
            let ask = format!("curl -gsf -m 5 http://{OUTSIDE}/where.php");
            let answers = || self.cluster.run("client", &ask).stdout == node;
            assert!(wait(answers), "{node} answers no page of PHP");
        }
    }

    fn check_says(&self, node: &str, says: &str) {
        self.cluster
            .until_status(node, &format!("check copy says: {says}"), |s| {
                let mut checks = s.checks.iter();
                checks.any(|c| c.name == "copy" && c.text.contains(says))
            });
    }

    fn owners(&mut self) -> Vec<String> {
        let [owners] = self.cluster.owners_of([INSIDE]);
        owners
    }
}

/// Asserts that a text contains these in this order.
fn in_order(text: &str, these: &[&str]) {
    let mut rest = text;
    for this in these {
        let found = rest.split_once(this);
        rest = found
            .unwrap_or_else(|| panic!("{this:?} is not there, or too soon: {text}"))
            .1;
    }
}

/// Number of power losses: `HAD_WRITER_ROUNDS`, by default 2. More rounds may take longer than nextest allows:
/// `HAD_WRITER_ROUNDS=20 cargo test --test services whoever`.
fn rounds() -> u32 {
    let text = std::env::var("HAD_WRITER_ROUNDS").ok();
    text.map_or(2, |text| text.parse().unwrap())
}

#[test]
fn whoever_loses_power_returns_as_a_copy_takes_nothing_and_is_read_from_once_it_has_caught_up() {
    let mut site = site("writer-power");
    site.until_reader("server1", "server2");
    site.read_from("server2");
    site.php_on_both();
    let writer = Writer::begin(&site.cluster, INSIDE);
    Writer::written(&site.cluster, "server1", "1");
    let mut gaps = Vec::new();
    let mut owner = "server1";
    for _ in 0..rounds() {
        let (dead, next) = (owner, other(owner));
        for node in NODES {
            until_well(&site.cluster, node, CHECKS);
        }
        site.until_reader(dead, next);
        let visits = site.begin_session();
        site.owners();
        longest_gap(&site.cluster);
        let before = site.cluster.lab.log(next).unwrap().len();

        site.crash(dead);
        site.served_by(next);
        Writer::written(&site.cluster, next, number(next));
        gaps.push(longest_gap(&site.cluster));
        assert_eq!(site.session(), visits + 1, "the session is lost");
        let log = site.cluster.lab.log(next).unwrap();
        in_order(
            &log[before..],
            &[
                "is dead; what that had not sent yet is only there",
                "everything that was received is applied",
                "this server can be written to",
                "no copy is read from until",
            ],
        );
        assert_eq!(site.readers(next), "");
        site.read_from(next);

        // It cannot apply anything yet, so it has not caught up.
        site.power(dead);
        assert!(!site.writes(dead));
        let hold = "mariadb -e 'lock tables d.t read; select sleep(1000)'";
        let hold = site.cluster.lab.spawn(dead, &["sh", "-c", hold]).unwrap();
        let held = "select count(*) from information_schema.processlist where state = 'User sleep'";
        assert!(wait(|| sql(&site.cluster, dead, held) == "1"));
        site.cluster.lab.start_had(dead).unwrap();
        site.cluster.until_active(&NODES);
        let copies =
            "select count(*) from information_schema.processlist where command = 'Slave_IO'";
        assert!(wait(|| sql(&site.cluster, dead, copies) == "1"));
        site.check_says(dead, "has not caught up with");
        assert_eq!(site.readers(next), "");
        site.cluster
            .lab
            .signal(dead, -hold.pid, Signal::SIGKILL)
            .unwrap();
        until_well(&site.cluster, dead, CHECKS);
        site.until_reader(next, dead);
        site.read_from(dead);
        assert!(!site.writes(dead));
        assert_eq!(site.owners(), [dead, next], "whoever returns takes nothing");
        owner = next;
    }
    mariadb::print_gaps("power loss of the writer", gaps);
    let rows = writer.compare(&site.cluster, NODES);
    println!("{rows} rows were acknowledged, none is lost");
}

#[test]
fn a_takeover_under_load_loses_no_acknowledged_row() {
    let mut site = site("writer-takeover");
    let writer = Writer::begin(&site.cluster, INSIDE);
    Writer::written(&site.cluster, "server1", "1");
    // A transaction that is open when the server becomes read-only is never acknowledged.
    let open =
        "mariadb -e 'begin; insert into d.t values (1000000, 1); select sleep(1000); commit'";
    site.cluster
        .lab
        .spawn("server1", &["sh", "-c", open])
        .unwrap();
    let held = "select count(*) from information_schema.processlist where state = 'User sleep'";
    assert!(wait(|| sql(&site.cluster, "server1", held) == "1"));
    // A replica may be applying a transaction at any moment. That does not count.
    let open = "select count(*) from information_schema.innodb_trx \
                join information_schema.processlist on id = trx_mysql_thread_id \
                where trx_rows_modified > 0 and user <> 'system user'";
    assert_ne!(sql(&site.cluster, "server1", open), "0");
    // The replica has not even received this row when it should become the writer.
    let hold = "flock /run/mariadb_role.lock sh -c \
                'mariadb -e \"stop slave io_thread\"; touch /run/held; sleep 5'";
    site.cluster
        .lab
        .spawn("server2", &["sh", "-c", hold])
        .unwrap();
    assert!(wait(|| site
        .cluster
        .run("server2", "test -e /run/held")
        .success()));
    sql(
        &site.cluster,
        "server1",
        "insert into d.t values (2000000, 1)",
    );
    let mut gaps = Vec::new();
    site.owners();
    for node in ["server2", "server1", "server2", "server1"] {
        longest_gap(&site.cluster);
        site.cluster.sh(node, "hactl takeover");
        assert!(!site.writes(other(node)));
        let open = sql(&site.cluster, other(node), open);
        assert_eq!(open, "0", "a transaction is open still");
        site.served_by(node);
        Writer::written(&site.cluster, node, number(node));
        gaps.push(longest_gap(&site.cluster));
        until_well(&site.cluster, other(node), CHECKS);
        site.until_reader(node, other(node));
    }
    mariadb::print_gaps("takeover", gaps);
    assert_eq!(
        site.owners(),
        ["server1", "server2", "server1", "server2", "server1"]
    );
    let rows = writer.compare(&site.cluster, NODES);
    println!("{rows} rows were acknowledged, none is lost");
    for node in NODES {
        let open = sql(
            &site.cluster,
            node,
            "select count(*) from d.t where n = 1000000",
        );
        assert_eq!(open, "0", "{node}");
        let late = sql(
            &site.cluster,
            node,
            "select count(*) from d.t where n = 2000000",
        );
        assert_eq!(late, "1", "{node}");
    }
}

#[test]
fn a_server_that_hangs_is_ended_and_the_other_is_written_to() {
    let mut site = site("writer-hung");
    let writer = Writer::begin(&site.cluster, INSIDE);
    Writer::written(&site.cluster, "server1", "1");
    site.owners();
    longest_gap(&site.cluster);
    mariadb::signal(&site.cluster, "server1", Signal::SIGSTOP);
    site.served_by("server2");
    Writer::written(&site.cluster, "server2", "2");
    println!(
        "hung: no row was acknowledged for {:?}",
        longest_gap(&site.cluster)
    );
    // It does no harm when it continues.
    assert!(!site.cluster.run("server1", "pidof mariadbd").success());
    let log = site.cluster.lab.log("server1").unwrap();
    assert!(log.contains("does not answer; it is killed"), "{log}");
    mariadb::start(&site.cluster, "server1");
    site.until_reader("server2", "server1");
    assert_eq!(site.owners(), ["server1", "server2"]);
    writer.compare(&site.cluster, NODES);
}

#[test]
fn a_writer_that_is_cut_off_acknowledges_nothing_that_the_next_one_lacks() {
    let site = site("writer-cut-off");
    // It needs no network to reach its server.
    let writer = Writer::on(&site.cluster, "server1", "127.0.0.1", 1_000_000);
    let rows = "select count(*) from d.t where n > 1000000";
    assert!(wait(|| sql(&site.cluster, "server2", rows) != "0"));
    let lab = &site.cluster.lab;
    lab.isolate("server1", None, LinkDirection::Both).unwrap();
    assert!(
        wait(|| site.writes("server2")),
        "server2 does not take over"
    );
    assert!(wait(|| !site.writes("server1")), "server1 stays writable");
    lab.heal_all().unwrap();
    let rows = writer.end(&site.cluster, &["server2"]);
    println!("{rows} rows were acknowledged, none is lost");
}

#[test]
fn a_copy_that_cannot_apply_what_it_got_is_not_made_the_writer() {
    let mut site = site("writer-broken");
    site.owners();
    sql(
        &site.cluster,
        "server2",
        "set sql_log_bin=0; insert into d.t values (7, 2)",
    );
    sql(&site.cluster, "server1", "insert into d.t values (7, 1)");
    site.check_says("server2", "changes from 192.168.1.100 are not applied");
    site.until_reader("server1", "");
    let start = "/etc/ha.d/resource.d/mariadb_role 192.168.1.100,192.168.1.101 start";
    let refused = || {
        let said = site.cluster.exits(1, "server2", start);
        assert!(said.contains("cannot be applied: "), "{said}");
        assert!(said.contains("Duplicate entry '7'"), "{said}");
        assert!(said.contains("will not be made the writer"), "{said}");
        assert!(!site.writes("server2"));
    };
    refused();

    // Not even when it is the only one.
    site.crash("server1");
    site.check_says("server2", "may have more than this server");
    refused();
    assert_eq!(site.owners(), ["server1"]);

    // Somebody has repaired it and lets it continue.
    sql(
        &site.cluster,
        "server2",
        "set sql_log_bin=0; delete from d.t where n = 7; start slave sql_thread",
    );
    site.cluster
        .sh("server2", "touch /run/mariadb_role.in-step");
    site.served_by("server2");
    assert_eq!(
        sql(&site.cluster, "server2", "select node from d.t where n = 7"),
        "1"
    );
}

#[test]
fn what_has_rows_that_the_writer_has_not_is_kept_aside_and_they_are_saved() {
    let mut site = site("writer-errant");
    site.crash("server1");
    site.served_by("server2");
    sql(&site.cluster, "server2", "insert into d.t values (1, 2)");

    // A superuser writes to it before it is a replica.
    site.power("server1");
    sql(&site.cluster, "server1", "insert into d.t values (4711, 1)");
    site.cluster.lab.start_had("server1").unwrap();
    site.cluster.until_active(&NODES);
    site.check_says(
        "server1",
        "kept aside: it has transactions that 192.168.1.101 lacks",
    );
    let files = site
        .cluster
        .sh("server1", "ls /var/lib/had/mariadb_role-extra-*.sql");
    let [file] = files.lines().collect::<Vec<_>>()[..] else {
        panic!("not one file: {files}");
    };
    let saved = site.cluster.sh("server1", &format!("cat {file}"));
    assert!(saved.contains("@1=4711"), "{saved}");
    assert!(!saved.contains("@1=1 "), "only what is extra: {saved}");
    assert_eq!(
        site.cluster
            .sh("server1", &format!("stat -c %a {file}"))
            .trim(),
        "600"
    );
    // It is neither read nor made the writer, not even when it is the only one.
    assert_eq!(site.readers("server2"), "");
    site.owners();
    site.cluster.sh("server2", "pkill -KILL mariadbd");
    site.check_says("server2", "does not answer");
    mariadb::start(&site.cluster, "server2");
    site.served_by("server2");
    assert!(!site.owners().contains(&"server1".to_owned()));

    // The file has what it promises: applied to the writer, it restores the row.
    site.cluster.sh(
        "server2",
        &format!("cat > /run/extra.sql <<'END'\n{saved}\nEND\n"),
    );
    site.cluster.sh("server2", "mariadb < /run/extra.sql");
    assert_eq!(
        sql(
            &site.cluster,
            "server2",
            "select node from d.t where n = 4711"
        ),
        "1"
    );
}

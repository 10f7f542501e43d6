//! `ha.d/examples/two-masters`: two MariaDB servers that replicate each other, and one address. Its users published it for
//! keepalived.

use had::model::status::CheckState;
use nix::sys::signal::Signal;

use crate::cluster::{Blueprint, Cluster, group_of, wait};
use crate::common::{example, until_well};
use crate::mariadb::{self, Writer};

const NODES: [&str; 2] = ["master", "backup"];
const PLACES: [&str; 2] = ["192.168.0.202", "192.168.0.203"];
const ADDRESS: &str = "192.168.0.204";

struct Masters {
    cluster: Cluster,
}

/// Both servers run and replicate each other, and the first has the address.
fn masters(name: &str) -> Masters {
    masters_of(example(name, "two-masters"))
}

fn masters_of(blueprint: Blueprint) -> Masters {
    let cluster = blueprint
        .node("master", &["eth0 192.168.0.202/24"], &[])
        .node("backup", &["eth0 192.168.0.203/24"], &[])
        .gateway("eth0 192.168.0.1/24")
        .client("eth0 192.168.0.9/24")
        .watch(&[ADDRESS])
        .idle()
        .up();
    let masters = Masters { cluster };
    mariadb::copy_each_other(&masters.cluster, NODES, PLACES);
    for node in NODES {
        masters.cluster.lab.start_had(node).unwrap();
    }
    masters.cluster.until_active(&NODES);
    for node in NODES {
        until_well(&masters.cluster, node, 3);
    }
    masters.cluster.until_owner(ADDRESS, "master");
    masters
}

impl Masters {
    fn start_server(&self, node: &str) {
        mariadb::start(&self.cluster, node);
    }

    fn signal(&self, node: &str, signal: Signal) {
        mariadb::signal(&self.cluster, node, signal);
    }

    fn sql(&self, node: &str, query: &str) -> String {
        mariadb::sql(&self.cluster, node, query)
    }

    fn check_is(&self, node: &str, name: &str, wanted: CheckState, says: &str) {
        self.cluster
            .until_status(node, &format!("{name} is {wanted:?}: {says}"), |s| {
                let mut checks = s.checks.iter();
                checks.any(|c| c.name == name && c.state == wanted && c.text.contains(says))
            });
    }

    /// Waits until the node has the address and its server answers a client there.
    fn served_by(&self, node: &str) {
        self.cluster.until_owner(ADDRESS, node);
        let id = NODES.iter().position(|n| *n == node).unwrap() + 1;
        let ask = "timeout 5 mariadb -N --connect-timeout=1 -h 192.168.0.204 -u shop -pshop -e 'select @@server_id'";
        let answers = || self.cluster.run("client", ask).stdout.trim() == id.to_string();
        assert!(wait(answers), "{ADDRESS} is not served by {node}");
    }

    fn owners(&mut self) -> Vec<String> {
        let [owners] = self.cluster.owners_of([ADDRESS]);
        owners
    }

    /// How often a text is in a node's history.
    fn told(&self, node: &str, of: &str) -> usize {
        let history = self.cluster.sh(node, "hactl history");
        history.lines().filter(|l| l.contains(of)).count()
    }
}

/// A fault of a server, its repair, and which check reports it with which text.
struct Deed {
    name: &'static str,
    act: fn(&Masters, &str),
    undo: fn(&Masters, &str),
    check: &'static str,
    says: &'static str,
}

const DEEDS: [Deed; 4] = [
    Deed {
        name: "stopped",
        act: |m, node| m.signal(node, Signal::SIGTERM),
        undo: Masters::start_server,
        check: "database",
        says: "Can't connect to local server",
    },
    Deed {
        name: "killed",
        act: |m, node| m.signal(node, Signal::SIGKILL),
        undo: Masters::start_server,
        check: "database",
        says: "Can't connect to local server",
    },
    Deed {
        name: "hung",
        act: |m, node| m.signal(node, Signal::SIGSTOP),
        undo: |m, node| m.signal(node, Signal::SIGCONT),
        check: "database",
        says: "",
    },
    Deed {
        name: "full",
        act: |m, node| {
            m.cluster
                .sh(node, "fallocate -l 110M /var/lib/mysql/filler");
        },
        undo: |m, node| {
            m.cluster.sh(node, "rm /var/lib/mysql/filler");
        },
        check: "room",
        says: "MB free at /var/lib/mysql",
    },
];

#[test]
fn a_server_that_is_stopped_killed_hung_or_full_gives_its_address_to_the_other() {
    let mut masters = masters("masters");
    let writer = Writer::begin(&masters.cluster, ADDRESS);
    Writer::written(&masters.cluster, "master", "1");
    let daemons = NODES.map(|n| masters.cluster.sh(n, "pidof had"));
    masters.served_by("master");
    masters.owners();
    let (mut owner, mut other) = ("master", "backup");
    for deed in DEEDS {
        let Deed { name, check, .. } = deed;
        let causes = [
            (owner, format!("check {check} fails: ")),
            (
                other,
                format!("{owner} offers it, because {owner} fails check {check} ("),
            ),
        ];
        let told = |m: &Masters| causes.each_ref().map(|(node, of)| m.told(node, of));
        let before = told(&masters);
        mariadb::longest_gap(&masters.cluster);
        (deed.act)(&masters, owner);
        masters.served_by(other);
        Writer::written(
            &masters.cluster,
            other,
            if other == "master" { "1" } else { "2" },
        );
        let gap = mariadb::longest_gap(&masters.cluster);
        println!("{name}: no row was acknowledged for {gap:?}");
        masters.check_is(owner, check, CheckState::Failed, deed.says);
        let once = before.map(|n| n + 1);
        assert_eq!(told(&masters), once, "{name}: {causes:?}");
        (deed.undo)(&masters, owner);
        // It is back, works, has caught up, and takes nothing.
        until_well(&masters.cluster, owner, 3);
        masters.served_by(other);
        assert_eq!(masters.owners(), [owner, other], "{name}");
        assert_eq!(told(&masters), once, "{name}: {causes:?}");
        (owner, other) = (other, owner);
    }
    assert_eq!(NODES.map(|n| masters.cluster.sh(n, "pidof had")), daemons);
    let rows = writer.compare(&masters.cluster, NODES);
    println!("{rows} rows were acknowledged, none is lost");
}

#[test]
fn a_server_that_is_out_of_connections_or_whose_copy_is_broken_is_not_left_in_silence() {
    let mut masters = masters("masters-torn");
    masters.served_by("master");
    masters.owners();

    // The server keeps one more connection for the administrator. We take that too.
    let take = "for i in $(seq 20); do mariadb -e 'select sleep(1000)' & done; wait";
    let job = masters.cluster.lab.spawn("master", &["sh", "-c", take]);
    masters.check_is(
        "master",
        "database",
        CheckState::Good,
        "all its connections are in use",
    );
    masters.check_is(
        "master",
        "replication",
        CheckState::Good,
        "all its connections are in use",
    );
    masters
        .cluster
        .lab
        .signal("master", -job.unwrap().pid, Signal::SIGKILL)
        .unwrap();
    masters.check_is("master", "database", CheckState::Good, "it answers");
    assert_eq!(masters.owners(), ["master"]);

    // Both write the same key before either has replicated the other.
    for node in NODES {
        masters.sql(node, "stop slave sql_thread");
    }
    for node in NODES {
        masters.sql(node, "insert into d.t values (7, @@server_id)");
    }
    // First only the owner's replication is broken: the address stays.
    for node in NODES {
        masters.sql(node, "start slave sql_thread");
        masters.check_is(
            node,
            "replication",
            CheckState::Failed,
            "Duplicate entry '7'",
        );
        let told = masters.cluster.sh(node, "hactl status; true");
        assert!(told.contains("Duplicate entry '7'"), "{told}");
        assert_eq!(masters.told(node, "check replication fails"), 1);
    }
    masters.served_by("master");
    // It stays even when its server dies: a person has to decide about the rows that the other lacks.
    masters.signal("master", Signal::SIGKILL);
    masters.check_is("master", "database", CheckState::Failed, "");
    masters
        .cluster
        .until_status("master", "it says why it keeps the address", |s| {
            let notes = group_of(s, ADDRESS).notes.join("\n");
            notes.contains("this node fails check database")
                && notes.contains("backup fails check replication")
        });
    assert_eq!(masters.owners(), ["master"]);

    // A person has decided.
    masters.sql(
        "backup",
        "set sql_log_bin=0; delete from d.t where n = 7; start slave sql_thread",
    );
    masters.served_by("backup");
    assert_eq!(masters.owners(), ["master", "backup"]);
}

#[test]
fn an_address_goes_back_only_when_the_copy_has_caught_up() {
    let ha_cf = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/ha.d/examples/two-masters/ha.cf"
    );
    let text = std::fs::read_to_string(ha_cf).unwrap();
    let text = text.replace("\nauto_failback off\n", "\nauto_failback on\n");
    let lines = "failback_when mysql replica lag 1s every 500ms timeout 10s\n";
    let blueprint = example("masters-lag", "two-masters");
    let mut masters = masters_of(blueprint.file("ha.cf", &format!("{text}{lines}"), 0o644));
    masters.served_by("master");
    masters.cluster.sh("master", "hactl standby");
    masters.served_by("backup");
    masters.owners();

    // Its replica is delayed by an hour.
    masters.sql(
        "master",
        "stop slave; change master to master_delay=3600; start slave",
    );
    masters.sql("backup", "insert into d.t values (1, 2)");
    masters.check_is("master", "failback_when", CheckState::Failed, "s behind");
    masters.cluster.sh("master", "hactl standby off");
    let waits = |says: &str| {
        masters
            .cluster
            .until_status("backup", &format!("it waits: {says}"), |s| {
                let notes = group_of(s, ADDRESS).notes.join("\n");
                notes.contains("goes back to master when failback_when succeeds there")
                    && notes.contains(says)
            });
    };
    waits("s behind");
    let why = masters.cluster.sh("backup", "hactl why");
    assert!(why.contains("s behind"), "{why}");

    // A broken replica is no better.
    masters.sql("master", "stop slave sql_thread");
    waits("changes from 192.168.0.203 are not applied");
    masters.served_by("backup");

    masters.sql(
        "master",
        "stop slave; change master to master_delay=0; start slave",
    );
    masters.served_by("master");
    assert_eq!(masters.sql("master", "select count(*) from d.t"), "1");
    assert_eq!(masters.owners(), ["backup", "master"]);
}

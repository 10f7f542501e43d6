//! A common stack: disk, database and address on two nodes that share the disk.

use std::fs;

use tempfile::TempDir;

use crate::cluster::{Blueprint, Cluster, TIMES, group_of};
use crate::common::{Disk, folder};
use crate::database::{configuration, install};
use had::model::heartbeat::GroupState;

const ADDRESS: &str = "10.0.0.100";

struct Stack {
    cluster: Cluster,
    folder: TempDir,
    // Dropped last: the nodes must be gone before their disk.
    disk: Disk,
}

/// A database on its own disk, and two nodes to run it. `more` is added to ha.cf.
fn stack(name: &str, more: &str) -> Stack {
    let folder = folder();
    let disk = Disk::new(&folder, "db", 200, "mkfs.ext4 -q -F");
    let shown = folder.path().display().to_string();
    let point = folder.path().join("db");
    fs::create_dir(&point).unwrap();
    crate::common::alone({
        let (device, point) = (disk.device.clone(), point.clone());
        async move {
            let (device, point) = (device.display(), point.display());
            crate::common::sh(&format!("mount {device} {point}"));
            install(&std::path::Path::new(&point.to_string()).join("data"));
            crate::common::sh(&format!("umount {point}"));
        }
    });
    // Each node has a /run and a /var/log of its own.
    configuration(folder.path(), "");
    let config = fs::read_to_string(folder.path().join("my.cnf")).unwrap();
    let config = config
        .replace("skip-networking\n", "bind-address=0.0.0.0\n")
        .replace(&format!("{shown}/run/error.log"), "/var/log/shop.log")
        .replace(&format!("{shown}/run/pid"), "/run/shop/pid");
    fs::write(folder.path().join("my.cnf"), config).unwrap();
    let line = format!(
        "alice Filesystem::{}::{shown}/db::ext4 mysqld::{shown}/my.cnf::{shown}/db/data::/run/shop/sock {ADDRESS}/24/eth0\n",
        disk.device.display()
    );
    let ha_cf =
        format!("{TIMES}{more}bcast eth0\nauto_failback off\nnode alice bob\nping 10.0.0.254\n");
    let cluster = Blueprint::new(name, &ha_cf, &line)
        .node("alice", &["eth0 10.0.0.1/24"], &[])
        .node("bob", &["eth0 10.0.0.2/24"], &[])
        .gateway("eth0 10.0.0.254/24")
        .client("eth0 10.0.0.9/24")
        .watch(&[ADDRESS])
        .up();
    cluster.until_owner("Filesystem", "alice");
    cluster.until_active(&["alice", "bob"]);
    Stack {
        cluster,
        folder,
        disk,
    }
}

impl Stack {
    fn point(&self) -> String {
        format!("{}/db", self.folder.path().display())
    }

    /// Sends a query to the virtual address, as a client does.
    fn query(&self, query: &str) -> String {
        let text = self.cluster.sh(
            "client",
            &format!("mariadb -N -h {ADDRESS} -u shop -pshop -e '{query}'"),
        );
        text.trim().to_owned()
    }

    fn fill(&self) {
        let sql = "create user shop@\"%\" identified by \"shop\"; grant all on *.* to shop@\"%\"; create database d; create table d.t (n int primary key) engine=innodb; insert into d.t values (1)";
        self.cluster.sh(
            "alice",
            &format!("mariadb --socket=/run/shop/sock -e '{sql}'"),
        );
    }

    fn mounted(&self, node: &str) -> bool {
        self.cluster
            .sh(node, "cat /proc/self/mountinfo")
            .contains(&self.point())
    }
}

#[test]
fn the_rows_follow_a_handover_with_users_on_the_disk_and_a_crash() {
    let stack = stack(
        "stack",
        "timeout Filesystem stop 15s\ntimeout mysqld stop 5s\n",
    );
    stack.fill();
    let cluster = &stack.cluster;
    assert_eq!(stack.query("select n from d.t"), "1");
    assert!(!stack.mounted("bob"));

    // An open file, a bind mount and a stopped process are in the way. One other process is not.
    let point = stack.point();
    cluster.sh(
        "alice",
        &format!("mkdir /run/bound && mount --bind {point} /run/bound"),
    );
    let user = |command: &str| {
        let text = cluster.sh(
            "alice",
            &format!("({command}; exec sleep 1000) >/dev/null 2>&1 & echo $!"),
        );
        text.trim().to_owned()
    };
    let file = user(&format!("exec 3>{point}/file"));
    let bind = user("cd /run/bound");
    let stopped = user(&format!("cd {point}"));
    let innocent = user("exec 3>/run/file");
    cluster.sh("alice", &format!("sleep 0.1; kill -STOP {stopped}"));
    cluster.sh("alice", "hactl standby");
    cluster.until_owner("Filesystem", "bob");
    assert_eq!(stack.query("select n from d.t"), "1");
    let log = cluster.lab.log("alice").unwrap();
    for pid in [&file, &bind, &stopped] {
        assert!(
            log.contains(&format!("(pid {pid}, user root")),
            "{pid}: {log}"
        );
        assert!(!alive(cluster, pid));
    }
    assert!(alive(cluster, &innocent));
    assert!(!log.contains(&format!("pid {innocent},")), "{log}");
    assert!(!stack.mounted("alice") && stack.mounted("bob"));
    cluster.sh("alice", "hactl standby off");

    stack.query("insert into d.t values (2)");
    cluster.lab.crash("bob").unwrap();
    cluster.until_owner("Filesystem", "alice");
    assert_eq!(stack.query("select count(*) from d.t"), "2");
}

fn alive(cluster: &Cluster, pid: &str) -> bool {
    cluster.run("alice", &format!("kill -0 {pid}")).success()
}

#[test]
fn a_disk_that_cannot_be_let_go_is_stuck_and_started_nowhere_else() {
    let stack = stack("stuck-disk", "timeout Filesystem stop 2s\n");
    let cluster = &stack.cluster;
    let point = stack.point();
    let device = cluster.sh(
        "alice",
        &format!("truncate -s 1M {point}/image; losetup --find --show {point}/image"),
    );
    let device = device.trim();
    cluster.sh("alice", "hactl standby --no-wait");
    cluster.until_status("alice", "stuck", |s| {
        group_of(s, "Filesystem")
            .states
            .iter()
            .any(|(n, g)| n.as_str() == "alice" && *g == GroupState::Stuck)
    });
    let log = cluster.lab.log("alice").unwrap();
    let held = log.contains(&format!("held by loop device {device}"));
    cluster.until_status("bob", "bob sees it", |s| {
        group_of(s, "Filesystem")
            .states
            .iter()
            .any(|(n, g)| n.as_str() == "alice" && *g == GroupState::Stuck)
    });
    let elsewhere = stack.mounted("bob");
    cluster.sh("alice", &format!("losetup -d {device}"));
    assert!(held, "{log}");
    assert!(!elsewhere);
    // The administrator repairs it and says so.
    cluster.sh(
        "alice",
        &format!(
            "umount {point}; hactl clear {}",
            stack.disk.device.display()
        ),
    );
    cluster.until_owner("Filesystem", "bob");
}

//! A database on two nodes with the files that its users published. Only the disk and the database are stand-ins.

use std::collections::BTreeMap;
use std::fs;

use crate::common::{Blueprint, Cluster, STAND_IN};

const ADDRESS: &str = "10.1.88.199";

fn published(name: &str) -> String {
    fs::read_to_string(format!(
        "{}/tests/config/users/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

/// Its times are long, but nothing waits for them when both nodes start together.
fn mysql(name: &str) -> Cluster {
    // A comment was broken into two lines when it was published.
    let of_test6 = published("ha.cf").replace("节点\n恢复", "节点恢复");
    let of_test7 = of_test6.replace("ucast eth0 10.1.88.179", "ucast eth0 10.1.88.175");
    assert_ne!(of_test6, of_test7);
    // Without the path it would be the built-in agent, which a stand-in cannot replace.
    let of_both = published("haresources").replace(" mysqld\n", " /etc/ha.d/resource.d/mysqld\n");
    assert!(of_both.contains("resource.d/mysqld"));
    Blueprint::new(name, &of_test6, &of_both)
        .ha_cf_of("test7", &of_test7)
        .file("authkeys", &published("authkeys"), 0o600)
        .script("mysqld_umount", STAND_IN)
        .script("mysqld", STAND_IN)
        .node("test6", &["eth0 10.1.88.175/24"], &[])
        .node("test7", &["eth0 10.1.88.179/24"], &[])
        .gateway("eth0 10.1.88.254/24")
        .client("eth0 10.1.88.9/24")
        .watch(&[ADDRESS])
        .up()
}

const STARTED: [&str; 4] = [
    "mysqld_umount status",
    "mysqld_umount start",
    "mysqld status",
    "mysqld start",
];
const STOPPED: [&str; 2] = ["mysqld stop", "mysqld_umount stop"];

/// The calls of a start or a stop. Monitors may come before and after.
fn assert_calls(cluster: &Cluster, node: &str, wanted: &[&str]) {
    let calls = cluster.calls(node);
    let found = calls.windows(wanted.len()).any(|w| w == wanted);
    assert!(found, "{node}: {calls:?} without {wanted:?}");
    let changing = |list: &[&str]| list.iter().filter(|c| !c.ends_with("status")).count();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    assert_eq!(changing(&calls), changing(wanted), "{node}: {calls:?}");
}

#[test]
fn the_published_files_start_stop_and_take_over_in_order() {
    let cluster = mysql("mysql");
    cluster.until_owner("IPaddr", "test6");
    cluster.until_active(&["test6", "test7"]);
    assert_calls(&cluster, "test6", &STARTED);
    assert!(!cluster.calls("test7").iter().any(|c| c.ends_with("start")));
    labelled(&cluster, "test6");

    cluster.lab.stop_had("test6").unwrap();
    cluster.until_owner("IPaddr", "test7");
    assert_calls(&cluster, "test6", &STOPPED);
    assert_calls(&cluster, "test7", &STARTED);
    labelled(&cluster, "test7");

    cluster.lab.start_had("test6").unwrap();
    cluster.until_active(&["test6", "test7"]);
    cluster.until_owner("IPaddr", "test7");
    cluster.sh("test6", "hactl takeover 10.1.88.199");
    cluster.until_owner("IPaddr", "test6");
    assert_calls(&cluster, "test7", &STOPPED);
    assert_calls(&cluster, "test6", &STARTED);
}

/// Asserts that the address has the label of its line.
fn labelled(cluster: &Cluster, node: &str) {
    let addresses = cluster.lab.addresses(node).unwrap();
    let found = addresses.iter().find(|a| a.address.to_string() == ADDRESS);
    let found = found.unwrap();
    assert_eq!((found.prefix, found.interface.as_str()), (24, "eth0"));
    assert_eq!(found.label.as_deref(), Some("eth0:1"));
}

#[test]
fn its_scripts_get_the_environment_that_heartbeat_gave() {
    let cluster = mysql("mysql-env");
    cluster.until_owner("IPaddr", "test6");
    let env = cluster.sh("test6", "cat /var/log/mysqld.env");
    let env: BTreeMap<&str, &str> = env
        .lines()
        .filter_map(|l| l.split_once('='))
        .filter(|(name, _)| name.starts_with("HA_") || name.starts_with("OCF_"))
        .collect();
    assert_eq!(env, BTreeMap::from(ENVIRONMENT));
}

/// Variables of heartbeat, of its shellfuncs, and of each directive.
const ENVIRONMENT: [(&str, &str); 35] = [
    ("HA_BIN", "/usr/lib/heartbeat"),
    ("HA_CURHOST", "test6"),
    ("HA_DATEFMT", "%Y/%m/%d_%T\t"),
    ("HA_DEBUGLOG", "/var/log/ha-debug"),
    ("HA_DIR", "/etc/ha.d"),
    ("HA_DOCDIR", "/usr/share/doc/heartbeat"),
    ("HA_FIFO", "/var/lib/heartbeat/fifo"),
    ("HA_FUNCS", "/etc/ha.d/shellfuncs"),
    ("HA_LOGD", "no"),
    ("HA_LOGFACILITY", "local0"),
    ("HA_LOGFILE", "/var/log/ha-log"),
    ("HA_NICEFAILBACK", "yes"),
    ("HA_RCDIR", "/etc/ha.d/rc.d"),
    ("HA_RESOURCEDIR", "/etc/ha.d/resource.d"),
    ("HA_auto_failback", "off"),
    ("HA_autojoin", "none"),
    ("HA_baud", "19200"),
    ("HA_cluster", "linux-ha"),
    ("HA_coredumps", "true"),
    ("HA_deadping", "10000ms"),
    ("HA_deadtime", "10"),
    ("HA_debugfile", "/var/log/ha-debug"),
    ("HA_hbgenmethod", "file"),
    ("HA_hopfudge", "1"),
    ("HA_initdead", "120"),
    ("HA_keepalive", "2"),
    ("HA_log_badpack", "true"),
    ("HA_logfacility", "local0"),
    ("HA_logfile", "/var/log/ha-log"),
    ("HA_realtime", "true"),
    ("HA_udpport", "694"),
    ("HA_uuidfrom", "file"),
    ("HA_warntime", "5"),
    ("OCF_AGENTS", "/usr/lib/ocf/resource.d/heartbeat"),
    ("OCF_ROOT", "/usr/lib/ocf"),
];

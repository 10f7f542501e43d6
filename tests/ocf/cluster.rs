//! OCF agents as members of a group, with two daemons.

use crate::common::{Blueprint, Cluster, TIMES};

/// An LSB script like Debian's: `status` prints a text and exits with 3.
const LSB: &str = "#!/bin/sh
### BEGIN INIT INFO
# Provides: had-test
### END INIT INFO
case $1 in
start) touch /run/had-test.on;;
stop) rm -f /run/had-test.on;;
status) if [ -e /run/had-test.on ]; then echo 'had-test is running.'; else echo 'had-test is not running.'; exit 3; fi;;
esac
";

fn pair(name: &str, resources: &str) -> Cluster {
    let ha_cf = format!("{TIMES}node alice bob\nauto_failback off\n");
    Blueprint::new(name, &ha_cf, &format!("alice {resources}\n"))
        .file(
            "conf/OCF/Dummy/web",
            "OCF_RESKEY_state=/run/web\nOCF_RESKEY_fake='two words'\n",
            0o644,
        )
        .node("alice", &["eth0 10.0.0.1/24"], &["bcast eth0"])
        .node("bob", &["eth0 10.0.0.2/24"], &["bcast eth0"])
        .gateway("eth0 10.0.0.254/24")
        .watch(&["10.0.0.100"])
        .idle()
        .up()
}

fn start(cluster: &Cluster) {
    for node in ["alice", "bob"] {
        // Only for the lab: this machine has no such service.
        cluster.sh(
            node,
            "cp -a /etc/init.d /run/init.d && mount --bind /run/init.d /etc/init.d",
        );
        cluster.sh(
            node,
            &format!("cat > /etc/init.d/had-test <<'E'\n{LSB}E\nchmod 755 /etc/init.d/had-test"),
        );
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_active(&["alice", "bob"]);
}

#[test]
fn a_group_of_every_kind_of_agent_moves_in_order() {
    let words = "10.0.0.100/24/eth0 ocf:heartbeat:Dummy::state=/run/first OCF::Dummy::web \
        portblock::tcp::9999::block had-test ocf::heartbeat:anything::binfile=/bin/sleep::cmdline_options=1000";
    let cluster = pair("ocf-pair", words);
    start(&cluster);
    cluster.until_owner("10.0.0.100", "alice");
    let here = "test -e /run/first && test -e /run/web && test -e /run/had-test.on && iptables-save | grep -q 9999 \
        && pgrep -x sleep";
    cluster.sh("alice", here);
    cluster.sh(
        "bob",
        "test ! -e /run/first && test ! -e /run/had-test.on && ! pgrep -x sleep",
    );

    cluster.sh("alice", "hactl standby");
    cluster.until_owner("10.0.0.100", "bob");
    cluster.sh("bob", here);
    let gone = "test ! -e /run/first && test ! -e /run/web && test ! -e /run/had-test.on && ! pgrep -x sleep";
    cluster.sh("alice", gone);

    // `hactl agent test` does not touch a resource that the daemon manages, wherever it runs.
    let refused = cluster.exits(1, "alice", "hactl agent test OCF::Dummy::web");
    assert!(refused.contains("which the daemon manages"), "{refused}");

    // A killed daemon finds everything still running.
    cluster.lab.kill_had("bob").unwrap();
    cluster.lab.start_had("bob").unwrap();
    cluster.until_owner("10.0.0.100", "bob");
    cluster.sh("bob", here);
}

#[test]
fn a_node_that_lacks_the_program_gives_the_group_to_the_other() {
    let cluster = pair("ocf-lacks", "10.0.0.100/24/eth0 Xinetd::echo");
    let service = |name: &str, disable: &str| {
        format!(
            "service {name}\n{{\n disable = {disable}\n type = INTERNAL\n id = {name}-stream\n socket_type = stream\n \
             protocol = tcp\n user = root\n wait = no\n}}\n"
        )
    };
    let (echo, discard) = (service("echo", "yes"), service("discard", "no"));
    for node in ["alice", "bob"] {
        let line = format!(
            "mount -t tmpfs none /etc/xinetd.d && printf '%s' '{echo}' > /etc/xinetd.d/echo && printf '%s' '{discard}' \
             > /etc/xinetd.d/discard && printf 'defaults\n{{\n}}\nincludedir /etc/xinetd.d\n' > /run/xinetd.conf"
        );
        cluster.sh(node, &line);
    }
    // The daemon of the service runs on one node only.
    cluster.sh("bob", "xinetd -f /run/xinetd.conf -pidfile /run/xinetd.pid");
    for node in ["alice", "bob"] {
        cluster.lab.start_had(node).unwrap();
    }
    cluster.until_owner("10.0.0.100", "bob");
    cluster.sh("bob", "grep -q 'disable = no' /etc/xinetd.d/echo");
    let status = cluster.sh("alice", "hactl status; true");
    assert!(status.contains("exit code 5 (not installed"), "{status}");
    assert!(!status.contains("stuck"), "{status}");
}

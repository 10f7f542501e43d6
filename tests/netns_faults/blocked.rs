//! Things outside the daemon that never answer: a service manager, a name service, the kernel's network configuration, a
//! pipe in the place of a file. Nothing of that may cost a heartbeat, an address, or an answer to `hactl`. And when the
//! daemon's main loop hangs all the same, the others take over.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use had::model::heartbeat::GroupState;
use had::model::status::{Liveness, Status};

use crate::common::*;

/// A cluster whose daemons have these variables in their environment, made with the folder that all nodes see.
fn with_environment(
    name: &str,
    variables: impl FnOnce(&Path) -> String,
    ha_cf_lines: &str,
) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let more = format!("{TIMES}{PING}{ha_cf_lines}");
    let text = ha_cf(&["alice", "bob"], &["eth0"], &more);
    write_config(
        &config,
        dir.path(),
        &text,
        USUAL.haresources,
        "secret-of-this-lab",
    );
    let variables = variables(dir.path());
    let nodes = vec![node("alice", 1, &config), node("bob", 2, &config)];
    let mut plan = plan(name, nodes);
    plan.had = had_with(dir.path(), &variables);
    let cluster = Cluster::of(&plan, dir, &[vip()]);
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    cluster
}

/// The same, where calls of the C library hang on a node once [`hang`] says so.
fn with_hanging_calls(name: &str, ha_cf_lines: &str) -> Cluster {
    let variables = |folder: &Path| {
        let library = build_library(folder, include_str!("hang.c"));
        format!("HANGS=/run LD_PRELOAD={}", library.display())
    };
    with_environment(name, variables, ha_cf_lines)
}

/// From now on calls of that kind hang on a node.
fn hang(cluster: &Cluster, node: &str, kind: &str) {
    cluster.sh(node, &format!("touch /run/{kind}"));
}

/// For three deadtimes alice answers, and bob hears that she runs the group.
fn goes_on(cluster: &Cluster) {
    let end = now() + DEADTIME * 3;
    while now() < end {
        let status = cluster.status("alice");
        assert_eq!(state(&status, "alice"), Some(GroupState::Online));
        let status = cluster.status("bob");
        assert_ne!(peer(&status, "alice").liveness, Liveness::Dead);
        assert_eq!(owners(&status), ["alice"]);
        pass(Duration::from_millis(100));
    }
    let log = cluster.lab.log("bob").unwrap();
    assert!(!log.contains("node alice is dead"), "{log}");
}

/// The address was with alice all the time since it came.
fn was_never_away(cluster: &mut Cluster) {
    let report = cluster.never_two_owners();
    let had: Vec<_> = report.owners.iter().map(|o| o.2.as_slice()).collect();
    assert_eq!(had, [&[][..], &["alice".to_owned()]], "{report:#?}");
}

fn fill(path: &Path) {
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"STATUS=full", path).is_ok() {}
}

#[test]
fn a_service_manager_that_does_not_read_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    let variables = format!("NOTIFY_SOCKET={} WATCHDOG_USEC=600000", path.display());
    let mut cluster = with_environment("nf-notify", |_| variables, "");
    while manager.recv(&mut buffer).is_ok() {}
    fill(&path);
    cluster.until_log("alice", "systemd does not read its notification socket");
    goes_on(&cluster);
    let mut seen = String::new();
    while let Ok(length) = manager.recv(&mut buffer) {
        seen += &String::from_utf8_lossy(&buffer[..length]);
    }
    assert!(!seen.contains("READY"), "it was sent before: {seen}");
    cluster.until_log("alice", "systemd reads its notification socket again");
    let log = cluster.lab.log("alice").unwrap();
    assert_eq!(log.matches("systemd does not read").count(), 1, "{log}");
    was_never_away(&mut cluster);
}

/// The lock of the kernel's network configuration is held, or modprobe hangs, when an interface comes back.
#[test]
fn sockets_that_cannot_be_opened_for_a_while_cost_nothing() {
    let mut cluster = with_hanging_calls("nf-sockets", "mcast eth1 239.0.0.1 694 1 0\n");
    hang(&cluster, "alice", "interfaces");
    // Another link than that of the address.
    cluster.sh("alice", "ip link set eth1 down");
    cluster.until_status("alice", "misses eth1", |s| !link(s, "bob", "eth1").hears);
    cluster.sh("alice", "ip link set eth1 up");
    goes_on(&cluster);
    cluster.sh("alice", "rm /run/interfaces");
    cluster.until_status("alice", "hears on eth1 again", |s| {
        link(s, "bob", "eth1").hears
    });
    was_never_away(&mut cluster);
}

/// An OCF agent that does not answer `meta-data` while `/run/asleep` is there.
const AGENT: &str = r#"#!/bin/sh
case $1 in
    meta-data)
        [ ! -e /run/asleep ] || sleep 600
        echo '<resource-agent name="job"><version>1</version><parameters/><actions/></resource-agent>' ;;
    start) : > /run/job ;;
    stop) rm -f /run/job ;;
    monitor) [ -e /run/job ] || exit 7 ;;
    *) exit 3 ;;
esac
"#;

#[test]
fn an_agent_that_does_not_answer_a_reload_costs_nothing() {
    let setup = USUAL
        .haresources("alice 10.0.0.100/24/eth0 ocf:test:job\n")
        .idle();
    let mut cluster = Cluster::up("nf-agent", &setup);
    fs::write(cluster.shared().join("job"), AGENT).unwrap();
    let agent = cluster.shared().join("job").display().to_string();
    for node in ["alice", "bob"] {
        cluster.sh(
            node,
            &format!(
                "mount -t tmpfs -o mode=755 tmpfs /usr/lib/ocf && mkdir -p /usr/lib/ocf/resource.d/test && \
                 install -m 755 {agent} /usr/lib/ocf/resource.d/test/job"
            ),
        );
    }
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    cluster.sh("alice", "touch /run/asleep");
    let reload = "hactl reload --dry-run > /run/plan 2>&1; echo ended >> /run/plan";
    cluster.lab.spawn("alice", &["sh", "-c", reload]).unwrap();
    goes_on(&cluster);
    let plan = || cluster.sh("alice", "cat /run/plan");
    let plan = until("the reload ends", plan, |text| text.ends_with("ended"));
    assert!(plan.contains("nothing changes"), "{plan}");
    was_never_away(&mut cluster);
}

#[test]
fn a_name_service_that_hangs_costs_neither_lease_nor_answer_and_ends_a_reload() {
    // A child that ends each second, so that its user is looked up all the time.
    let mut cluster = with_hanging_calls("nf-names", "respawn nobody /bin/sleep 1\n");
    hang(&cluster, "alice", "users");
    let first = cluster
        .lab
        .spawn(
            "alice",
            &["sh", "-c", "hactl reload --dry-run > /run/first 2>&1"],
        )
        .unwrap();
    assert!(first.pid > 0);
    cluster.until_log("alice", "runs: reload --dry-run");
    let under_way = || cluster.lab.exec("alice", &["hactl", "reload"]).unwrap();
    let refused = until("the second reload is refused", under_way, |o| {
        o.stderr.contains("another reload has been under way")
    });
    assert!(!refused.success());
    goes_on(&cluster);
    let said = || cluster.sh("alice", "cat /run/first");
    until("the first reload ends", said, |text| {
        text.contains("could not be checked within 25") && text.contains("nothing was changed")
    });
    cluster.sh("alice", "rm /run/users");
    let again = || cluster.lab.exec("alice", &["hactl", "reload"]).unwrap();
    until("a reload succeeds", again, had::lab::ExecOutput::success);
    goes_on(&cluster);
    was_never_away(&mut cluster);
}

/// The program of a check, and the script of a monitored resource, are below a file system whose server is gone.
#[test]
fn programs_that_cannot_be_started_fail_their_checks_and_cost_nothing_else() {
    let lines = "check job exec /bin/true every 200ms timeout 1s fall 1 owner stays\n\
        monitor svc every 200ms fall 1000 timeout 1s\n";
    let mut cluster = with_hanging_calls("nf-programs", lines);
    let page = || cluster.page("alice");
    until("the check passes", page, |page| {
        !page.contains("fails check")
    });
    hang(&cluster, "alice", "programs");
    until("the check fails", page, |page| {
        page.contains("no answer within 1")
    });
    goes_on(&cluster);
    cluster.sh("alice", "rm /run/programs");
    until("the check passes again", page, |page| {
        !page.contains("no answer within 1")
    });
    // What hung is no obstacle to what is ordered now.
    cluster.run("alice", &["hactl", "standby", GROUP]);
    cluster.until_owner("bob");
    cluster.never_two_owners();
}

#[test]
fn a_pipe_in_the_place_of_a_pid_file_only_fails_the_check() {
    let setup = Setup {
        ha_cf: "ping 10.0.0.254\ncheck job process /run/job.pid every 200ms fall 2 owner stays\n",
        start: false,
        ..USUAL
    };
    let mut cluster = Cluster::up("nf-pipe", &setup);
    for node in ["alice", "bob"] {
        cluster.sh(node, "echo 1 > /run/job.pid");
    }
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    cluster.sh("alice", "rm /run/job.pid; mkfifo /run/job.pid");
    let page = || cluster.page("alice");
    until("status names the pipe", page, |page| {
        page.contains("it is not a regular file")
    });
    goes_on(&cluster);
    was_never_away(&mut cluster);
}

/// The main loop itself hangs: here on its own lease file, which is a pipe that nobody reads.
#[test]
fn a_main_loop_that_hangs_ends_in_a_takeover_and_not_in_two_owners() {
    let mut cluster = Cluster::up("nf-still", &USUAL);
    cluster.sh("alice", "mkfifo /run/had/leases.new");
    let begin = now();
    cluster.until_log(
        "alice",
        "no resource is started or stopped here, and addresses are not renewed",
    );
    cluster.until_log(
        "alice",
        "This node claims nothing and is silent from now on",
    );
    cluster.until_gone("alice");
    let ended = now().since(begin);
    cluster.until_owner("bob");
    let taken = now().since(begin);
    println!("MEASURED nf-still: the daemon ended after {ended:?}, taken over after {taken:?}");
    let log = cluster.lab.log("alice").unwrap();
    assert!(log.contains("the daemon ends now"), "{log}");
    cluster.sh("alice", "rm /run/had/leases.new");
    cluster.start("alice");
    cluster.until_owner_seen("alice", "bob");
    let stopped = |c: &Call| c.node == "alice" && c.what == "web stop end";
    until(
        "alice stops what she ran",
        || cluster.calls(),
        |calls| calls.iter().any(stopped),
    );
    cluster.until_owner_seen("bob", "bob");
    cluster.never_two_owners();
}

/// It moves again after it fell silent, and before anybody could take over.
#[test]
fn a_silence_that_ends_in_time_changes_nothing() {
    let setup = Setup {
        times: "keepalive 200ms\nwarntime 4s\ndeadtime 6s\ninitdead 12s\n",
        ..USUAL
    };
    let mut cluster = Cluster::up("nf-silence", &setup);
    cluster.sh("alice", "mkfifo /run/had/leases.new");
    cluster.until_log(
        "alice",
        "This node claims nothing and is silent from now on",
    );
    let silent_for = |s: &Status| peer(s, "alice").silent_for.unwrap_or_default();
    cluster.until_status("bob", "hears nothing of alice", |s| {
        silent_for(s) > Duration::from_secs(1)
    });
    cluster.sh("alice", "cat /run/had/leases.new > /dev/null");
    cluster.until_log("alice", "the main loop of this daemon works again");
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    for node in ["alice", "bob"] {
        let log = cluster.lab.log(node).unwrap();
        for bad in [
            "is dead",
            "stopping here",
            "the daemon ends now",
            "loop of this node was up to",
        ] {
            assert!(!log.contains(bad), "{bad}: {log}");
        }
    }
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    cluster.never_two_owners();
}

#[test]
fn a_main_loop_that_hangs_for_a_moment_is_reported_and_changes_nothing() {
    let mut cluster = Cluster::up("nf-pause", &USUAL);
    cluster.sh("alice", "mkfifo /run/had/leases.new");
    cluster.until_log(
        "alice",
        "no resource is started or stopped here, and addresses are not renewed",
    );
    cluster.sh("alice", "cat /run/had/leases.new > /dev/null");
    cluster.until_log("alice", "the main loop of this daemon works again");
    let status = cluster.until_owner("alice");
    assert_eq!(peer(&status, "bob").liveness, Liveness::Active);
    cluster.until_owner_seen("bob", "alice");
    let log = cluster.lab.log("bob").unwrap();
    assert!(!log.contains("node alice is dead"), "{log}");
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    cluster.never_two_owners();
}

//! The daemon as a process: its log, what it restarts, what it tells the service manager.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::common::{Blueprint, Cluster, HAD, TIMES, wait};

/// A single node with more lines in ha.cf.
fn alone(name: &str, lines: &str, child: &str) -> Blueprint {
    let ha_cf = format!("{TIMES}bcast eth0\nauto_failback off\nnode a\n{lines}");
    Blueprint::new(name, &ha_cf, "a 10.0.0.101\n")
        .file("child", child, 0o755)
        .node("a", &["eth0 10.0.0.1/24"], &[])
        .watch(&["10.0.0.101"])
}

/// Exits with 1 twice, and then with 100, which asks not to be restarted.
const CHILD: &str = "#!/bin/sh
echo \"$(id -un)\" >> /var/log/child
[ \"$(wc -l < /var/log/child)\" -lt 3 ] || exit 100
exit 1
";

#[test]
fn children_are_run_again_until_they_want_no_more_and_files_have_the_log() {
    let lines = "logfile /var/log/ha-log\ndebugfile /var/log/ha-debug\ndebug 1\n\
        respawn root /etc/ha.d/child\n";
    let cluster = alone("respawn", lines, CHILD).up();
    cluster.until_owner("10.0.0.101", "a");
    let logged = |text: &str| cluster.sh("a", "cat /var/log/ha-log").contains(text);
    assert!(
        wait(|| logged("exited with code 100, so it is not started again")),
        "the child's last end is not in the log"
    );
    assert_eq!(cluster.sh("a", "cat /var/log/child"), "root\nroot\nroot\n");
    for text in [
        "had 0.1.0 starts on a:",
        "10.0.0.101: online",
        "exited with code 1; restarting it",
    ] {
        assert!(logged(text), "{text} is not in the log");
    }
    assert!(
        cluster
            .sh("a", "cat /var/log/ha-debug")
            .contains("10.0.0.101: online")
    );
}

/// Everything that the service manager is told up to this message.
fn told(socket: &UnixDatagram, awaited: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length) = socket.recv(&mut buffer) {
        told.extend(
            String::from_utf8_lossy(&buffer[..length])
                .lines()
                .map(str::to_owned),
        );
        if told.iter().any(|t| t == awaited) {
            return told;
        }
    }
    panic!("not told in time: {awaited}; only {told:?}");
}

#[test]
fn the_service_manager_hears_ready_signs_of_life_and_the_end() {
    let cluster: Cluster = alone("notify", "", "").idle().up();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let command = format!(
        "NOTIFY_SOCKET={} WATCHDOG_USEC=1000000 exec {HAD}",
        path.display()
    );
    let job = cluster.lab.spawn("a", &["sh", "-c", &command]).unwrap();
    told(&socket, "READY=1");
    told(&socket, "WATCHDOG=1");
    told(&socket, "WATCHDOG=1");
    cluster.until_owner("10.0.0.101", "a");
    cluster.sh("a", &format!("kill -TERM {}", job.pid));
    told(&socket, "STOPPING=1");
    let gone =
        || cluster.run("a", &format!("kill -0 {}", job.pid)).exit != had::lab::ProgramExit::Code(0);
    assert!(wait(gone), "the daemon does not end");
    assert_eq!(cluster.sh("a", "ip -o addr show to 10.0.0.101"), "");
}

/// A daemon whose main thread hangs cannot stop groups, so the service manager must end it. Here it hangs on a lease file that
/// is a pipe without a reader.
#[test]
fn a_daemon_whose_slow_half_hangs_gives_no_sign_of_life() {
    let cluster: Cluster = alone("hangs", "", "").idle().up();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let patience = |seconds| {
        let time = Duration::from_secs(seconds);
        socket.set_read_timeout(Some(time)).unwrap();
    };
    patience(60);
    let command = format!(
        "NOTIFY_SOCKET={} WATCHDOG_USEC=600000 exec {HAD}",
        path.display()
    );
    let job = cluster.lab.spawn("a", &["sh", "-c", &command]).unwrap();
    cluster.until_owner("10.0.0.101", "a");
    told(&socket, "WATCHDOG=1");
    cluster.sh("a", "mkfifo /run/had/leases.new");
    let hangs = || {
        let command = "timeout 2 hactl status; [ $? -ne 124 ]";
        !cluster.run("a", command).success()
    };
    assert!(wait(hangs), "the slow half goes on");
    // Messages from before it hung.
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 512]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    patience(1);
    let mut buffer = [0; 512];
    let said = socket.recv(&mut buffer);
    assert!(said.is_err(), "{}", String::from_utf8_lossy(&buffer));
    patience(60);
    cluster.sh("a", "cat /run/had/leases.new > /dev/null");
    told(&socket, "WATCHDOG=1");
    cluster.sh("a", &format!("kill -TERM {}", job.pid));
    told(&socket, "STOPPING=1");
    let gone =
        || cluster.run("a", &format!("kill -0 {}", job.pid)).exit != had::lab::ProgramExit::Code(0);
    assert!(wait(gone), "the daemon does not end");
}

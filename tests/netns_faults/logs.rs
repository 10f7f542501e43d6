//! Logs that block: full pipes and files that hang. Lines are lost, but never an address.

use std::time::Duration;

use had::lab::ExecOutput;
use had::lab::SpawnedProgram;

use crate::common::*;

/// A single node whose addresses have a short lifetime in the kernel.
const ALONE: &str = "quorum off\nkeepalive 50ms\nwarntime 150ms\ndeadtime 300ms\ninitdead 12s\n";

/// A single node. The test starts its daemon.
fn alone(name: &str, lines: &str) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ha.d");
    let text = format!("node alice\nucast eth0 10.0.0.2\nauto_failback off\n{ALONE}{lines}");
    write_config(
        &config,
        dir.path(),
        &text,
        ADDRESS.haresources,
        "secret-of-this-lab",
    );
    let plan = plan(name, vec![node("alice", 1, &config)]);
    Cluster::of(&plan, dir, &[vip()])
}

/// Starts the daemon in a shell, which can redirect its output.
fn start(cluster: &Cluster, prepare: &str, redirect: &str) -> SpawnedProgram {
    let had = env!("CARGO_BIN_EXE_had");
    let command = format!("{prepare} exec {had} {redirect}");
    let job = cluster
        .lab
        .spawn("alice", &["bash", "-c", &command])
        .unwrap();
    cluster.until_owner("alice");
    job
}

/// Ends a daemon that the test started.
fn end(cluster: &Cluster, job: SpawnedProgram) {
    cluster.sh("alice", &format!("kill -TERM {}", job.pid));
    let gone = || {
        cluster
            .lab
            .exec("alice", &["kill", "-0", &job.pid.to_string()])
    };
    until(
        "the daemon ends",
        || gone().unwrap(),
        |o: &ExecOutput| !o.success(),
    );
}

/// It keeps the address for several lifetimes, answers, and ends, however much it logs.
fn lives_on(mut cluster: Cluster, job: SpawnedProgram) {
    let begin = now();
    for _ in 0..40 {
        cluster.run("alice", &["hactl", "maintenance", "on", GROUP]);
        cluster.run("alice", &["hactl", "maintenance", "off", GROUP]);
    }
    while now().since(begin) < Duration::from_secs(6) {
        cluster.until_owner("alice");
        pass(Duration::from_millis(100));
    }
    let asked = now();
    end(&cluster, job);
    let report = cluster.never_two_owners();
    let had: Vec<_> = report.owners.iter().map(|o| o.2.as_slice()).collect();
    assert_eq!(had, [&[][..], &["alice".to_owned()], &[]], "{report:#?}");
    assert!(report.owners[2].0 >= asked, "{report:#?}");
}

#[test]
fn standard_error_that_nobody_reads_costs_no_address() {
    let cluster = alone("nf-pipe", "");
    // Opened for reading and writing, so that the open does not wait for a reader. It is full from the beginning.
    let prepare = "mkfifo /run/err; exec 3<>/run/err; head -c 65536 /dev/zero >&3;";
    let job = start(&cluster, prepare, "2>&3");
    lives_on(cluster, job);
}

#[test]
fn a_logfile_that_nobody_reads_costs_no_address() {
    let cluster = alone(
        "nf-fifo",
        "logfile /run/ha-log\ndebugfile /run/ha-debug\ndebug 1\n",
    );
    let prepare = "mkfifo /run/ha-log /run/ha-debug;";
    let job = start(&cluster, prepare, "2>/run/err");
    let told = cluster.sh("alice", "cat /run/err");
    assert!(
        told.contains("cannot open /run/ha-log for the log: it hangs"),
        "{told}"
    );
    lives_on(cluster, job);
}

#[test]
fn lines_that_were_lost_are_counted_and_told_where_that_works() {
    let cluster = alone("nf-lost-lines", "logfile /run/ha-log\n");
    let job = start(&cluster, "mkfifo /run/ha-log;", "2>/run/err");
    // Each request is a line, and the queue has room for a thousand.
    let ask = format!(
        "for ((i = 0; i < 300; i++)); do hactl maintenance on {GROUP}; hactl maintenance off {GROUP}; done"
    );
    cluster.run("alice", &["bash", "-c", &ask]);
    let lost = |s: &had::model::status::Status| {
        s.counters
            .contains_key("log lines lost, not written to /run/ha-log")
    };
    cluster.until_status("alice", "counts what is lost", lost);
    let told = cluster.sh("alice", "cat /run/err");
    assert_eq!(
        told.matches("/run/ha-log does not accept log lines")
            .count(),
        1,
        "{told}"
    );
    // Each line opens the file again. A reader that closed after one could miss the next.
    cluster.sh("alice", "touch /run/copy");
    cluster
        .lab
        .spawn(
            "alice",
            &["sh", "-c", "exec 3<>/run/ha-log; exec cat <&3 >>/run/copy"],
        )
        .unwrap();
    let copy = || cluster.sh("alice", "cat /run/copy");
    until("the reader hears of it", copy, |c| {
        c.contains("log lines before this one were lost")
    });
    end(&cluster, job);
}

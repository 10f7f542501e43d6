//! Daemons that are killed, restarted, frozen or stopped, or find their state damaged.

use std::time::{Duration, Instant};

use had::model::status::Liveness;

use crate::common::*;

const OFF: &str = "quorum off\n";

fn adopted(name: &str, ha_cf: &str, end: impl Fn(&Cluster)) {
    let mut cluster = Cluster::up(name, &USUAL.ha_cf(ha_cf));
    let before = cluster.status("alice");
    let probe = cluster.probe();
    end(&cluster);
    cluster.start("alice");
    let after = cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    assert!(after.generation > before.generation);
    assert_eq!(group(&after).term, group(&before).term);
    pass(2 * DEADTIME);
    cluster.until_owner_seen("bob", "alice");
    let probed = probe.finish().unwrap();
    tell_gap(&format!("restart of the daemon ({name})"), &probed);
    assert!(
        probed.longest_gap < Duration::from_millis(100),
        "{probed:?}"
    );
    cluster.only_the_first_start();
    let log = cluster.lab.log("alice").unwrap();
    assert!(log.contains("kept running"), "{log}");
    let report = cluster.never_two_owners();
    assert_eq!(report.owners.len(), 2, "it was never away: {report:#?}");
}

#[test]
fn a_killed_daemon_that_is_back_in_time_finds_all_as_it_was() {
    adopted("nf-kill", PING, |c| c.lab.kill_had("alice").unwrap());
}

#[test]
fn a_killed_daemon_that_is_back_in_time_finds_all_as_it_was_without_an_arbiter() {
    adopted("nf-kill-off", OFF, |c| c.lab.kill_had("alice").unwrap());
}

fn hactl_restart(cluster: &Cluster) {
    cluster.run("alice", &["hactl", "restart", "--no-wait"]);
    cluster.until_gone("alice");
    // The peers wait, because it announced that it will be back.
    let status = cluster.status("bob");
    let notes = &peer(&status, "alice").notes;
    assert!(
        notes.iter().any(|n| n.contains("expected back within")),
        "{notes:?}"
    );
}

#[test]
fn a_restart_by_hactl_touches_nothing() {
    adopted("nf-restart", PING, hactl_restart);
}

#[test]
fn a_restart_by_hactl_touches_nothing_without_an_arbiter() {
    adopted("nf-restart-off", OFF, hactl_restart);
}

/// The daemon is dead, but its machine answers for the address, so nobody takes it over. With `lease off` the kernel keeps it
/// until somebody deletes it.
#[test]
fn a_killed_daemon_leaves_its_address_until_somebody_deletes_it() {
    let mut cluster = Cluster::up("nf-dead", &ADDRESS.ha_cf("quorum off\nlease off\n"));
    let probe = cluster.probe();
    cluster.lab.kill_had("alice").unwrap();
    let status = cluster.until_status("bob", "says why it does not start it", |s| {
        notes(s).contains("split brain suspected")
    });
    assert!(
        notes(&status).contains("10.0.0.100 is answered by")
            && notes(&status).contains("an interface of alice"),
        "{}",
        notes(&status)
    );
    let said = &peer(&status, "alice").notes;
    assert!(
        said.iter()
            .any(|n| n.contains("but had does not run on it: start it there")),
        "{said:?}"
    );
    pass(2 * DEADTIME);
    assert_eq!(owners(&cluster.status("bob")), [] as [&str; 0]);
    let probed = probe.finish().unwrap();
    tell_gap("daemon killed, its address stays", &probed);
    let removed = now();
    delete_by_hand(&cluster, "alice");
    cluster.until_owner("bob");
    cluster.start("alice");
    cluster.until_owner_seen("alice", "bob");
    let report = cluster.never_two_owners();
    let taken = when(&report, "bob", true, removed).unwrap();
    println!(
        "MEASURED taken over {:?} after the address was deleted by hand",
        taken.since(removed)
    );
    assert_eq!(report.owners.last().unwrap().2, ["bob"]);
}

fn delete_by_hand(cluster: &Cluster, node: &str) {
    cluster.run(
        node,
        &["ip", "address", "del", "10.0.0.100/24", "dev", "eth0"],
    );
}

/// Its right ended while the daemon was dead, so it may not simply continue. In the end one node runs the group.
#[test]
fn a_daemon_that_comes_back_too_late_ends_with_one_owner() {
    let mut cluster = Cluster::up("nf-late", &ADDRESS);
    cluster.lab.kill_had("alice").unwrap();
    cluster.until_liveness("bob", "alice", Liveness::Dead);
    cluster.start("alice");
    cluster.agreed_owner();
    cluster.never_two_owners();
}

#[test]
fn a_freeze_shorter_than_deadtime_moves_nothing() {
    let mut cluster = Cluster::up("nf-freeze", &USUAL);
    cluster.lab.freeze("alice").unwrap();
    pass(DEADTIME / 3);
    cluster.lab.thaw("alice").unwrap();
    cluster.until_liveness("bob", "alice", Liveness::Active);
    pass(DEADTIME);
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    cluster.only_the_first_start();
    cluster.never_two_owners();
}

/// A frozen node's kernel answers for the address. After the thaw the daemon must first listen.
fn a_long_freeze(name: &str, ha_cf: &str) {
    let mut cluster = Cluster::up(name, &ADDRESS.ha_cf(ha_cf));
    cluster.lab.freeze("alice").unwrap();
    cluster.until_liveness("bob", "alice", Liveness::Dead);
    pass(DEADTIME);
    cluster.lab.thaw("alice").unwrap();
    cluster.until_log("alice", "this node was stopped for");
    let owner = cluster.agreed_owner();
    println!("after a long freeze ({name}) the owner is {owner}");
    pass(DEADTIME);
    assert_eq!(cluster.agreed_owner(), owner, "it moves on");
    cluster.never_two_owners();
}

#[test]
fn a_freeze_longer_than_deadtime_ends_with_one_owner() {
    a_long_freeze("nf-ice", PING);
}

#[test]
fn a_freeze_longer_than_deadtime_ends_with_one_owner_without_an_arbiter() {
    a_long_freeze("nf-ice-off", OFF);
}

/// A frozen node that is cut off does not answer, so it is taken over. After the thaw it must find that out first.
#[test]
fn a_node_frozen_and_cut_off_gives_way_after_the_thaw() {
    let mut cluster = Cluster::up("nf-ice-cut", &ADDRESS);
    cluster.lab.freeze("alice").unwrap();
    let frozen = now();
    cluster.isolate("alice");
    cluster.until_owner("bob");
    cluster.lab.thaw("alice").unwrap();
    let thawed = now();
    cluster.until_log("alice", "10.0.0.100/24/eth0: offline");
    cluster.lab.heal_all().unwrap();
    cluster.until_owner_seen("alice", "bob");
    // Alice's kernel removes the address at most 1.25 s after the end of her right. Two owners are allowed until then, because
    // no probe reaches her.
    let report = cluster.sampler_report();
    let gone = when(&report, "alice", false, frozen).unwrap();
    println!(
        "MEASURED address gone {:?} after the freeze, two owners: {:?}",
        gone.since(frozen),
        report.double
    );
    assert!(gone <= thawed, "{report:#?}");
    let late = |d: &had::lab::DuplicateAddress| d.lasted > Duration::from_millis(1500);
    assert!(!report.double.iter().any(late), "{report:#?}");
    assert_eq!(report.owners.last().unwrap().2, ["bob"]);
}

#[test]
fn the_peer_waits_for_a_slow_stop() {
    let mut cluster = Cluster::up("nf-slow", &USUAL);
    cluster.script_does("alice", "stop", "sleep 4");
    cluster.lab.stop_had("alice").unwrap();
    let status = cluster.until_owner("bob");
    assert_eq!(peer(&status, "alice").liveness, Liveness::Left);
    let calls = cluster.calls();
    let place = |node: &str, what: &str| {
        let found = calls.iter().position(|c| c.node == node && c.what == what);
        found.unwrap_or_else(|| panic!("{node} {what}: {calls:?}"))
    };
    let (stopped, started) = (
        place("alice", "web stop end"),
        place("bob", "web start begin"),
    );
    assert!(stopped < started, "{calls:?}");
    let times = (calls[stopped].at, calls[started].at);
    assert!(times.0 <= times.1, "{calls:?}");
    println!(
        "MEASURED start after the end of a slow stop: {:.2} s",
        times.1 - times.0
    );
    cluster.never_two_owners();
}

#[test]
fn told_to_end_while_a_start_hangs_it_gives_up_and_says_goodbye() {
    let cluster = Cluster::up(
        "nf-term",
        &USUAL
            .ha_cf("ping 10.0.0.254\ntimeout svc start 300s stop 5s monitor 5s\n")
            .idle(),
    );
    cluster.script_does("alice", "start", "sleep 98765");
    cluster.start_both();
    until("the start hangs", || cluster.calls(), |c| !c.is_empty());
    let begin = Instant::now();
    cluster.lab.stop_had("alice").unwrap();
    println!(
        "MEASURED end of a daemon whose start hangs: {:?}",
        begin.elapsed()
    );
    // The start itself would have hung for 300 s.
    assert_eq!(cluster.processes("alice", "sleep 98765"), [] as [String; 0]);
    cluster.until_log("bob", "node alice has left");
    cluster.until_owner("bob");
    cluster.were_called(&[
        ("alice", "web start begin"),
        ("alice", "web stop begin"),
        ("alice", "web stop end"),
        ("bob", "web start begin"),
        ("bob", "web start end"),
    ]);
}

/// Kills alice's daemon, damages her disk, and starts it again: it must run, adopt the group, and report the damage.
fn after_damage(name: &str, damage: &str, says: &[&str]) {
    let mut cluster = Cluster::up(name, &USUAL);
    let before = cluster.status("alice").generation;
    until(
        "the journal is on the disk",
        || cluster.run("alice", &["hactl", "history"]),
        |text| text.contains("online"),
    );
    cluster.lab.kill_had("alice").unwrap();
    cluster.sh("alice", damage);
    cluster.start("alice");
    // A lost generation comes from the clock in seconds. If that is too small, bob reports it.
    cluster.until_status("alice", "takes a new generation", |s| s.generation > before);
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    for text in says {
        cluster.until_log("alice", text);
    }
    // It can write again.
    let history = cluster.run("alice", &["hactl", "history"]);
    assert!(history.contains("kept running"), "{history}");
    cluster.only_the_first_start();
    cluster.never_two_owners();
}

#[test]
fn a_truncated_store_is_set_aside_and_the_daemon_runs() {
    after_damage(
        "nf-short",
        "cd /var/lib/had; test -s kept; for f in kept $(find journal -type f); do truncate -s $(($(stat -c %s $f) / 2)) $f; done",
        &["/var/lib/had/kept is damaged"],
    );
}

#[test]
fn a_store_full_of_noise_is_set_aside_and_the_daemon_runs() {
    after_damage(
        "nf-noise",
        "cd /var/lib/had; test -s kept; for f in kept $(find journal -type f); do head -c 20000 /dev/urandom > $f; done",
        &[
            "/var/lib/had/kept is damaged",
            "the journal in /var/lib/had/journal",
        ],
    );
}

#[test]
fn a_lost_store_is_begun_anew() {
    after_damage(
        "nf-lost",
        "rm -r /var/lib/had/kept /var/lib/had/journal",
        &[],
    );
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named_and_the_daemon_runs() {
    after_damage(
        "nf-readonly",
        "mount -t tmpfs -o ro none /var/lib/had",
        &[
            "cannot write /var/lib/had/kept",
            "check the permissions and the free space of the folder",
            "the history is in memory only",
        ],
    );
}

#[test]
fn a_second_daemon_on_a_node_is_refused_in_plain_words() {
    let cluster = Cluster::up("nf-second", &USUAL);
    let pid = cluster.lab.had_pid("alice").unwrap().unwrap();
    let had = env!("CARGO_BIN_EXE_had");
    let refused = |args: &[&str]| {
        let mut argv = vec![had];
        argv.extend(args);
        let output = cluster.lab.exec("alice", &argv).unwrap();
        assert!(!output.success(), "{output:?}");
        output.stderr
    };
    let said = refused(&[]);
    assert_eq!(
        said,
        format!("had is already running (pid {pid})\nhad did not start\n")
    );
    let said = refused(&["--run", "/run/other"]);
    assert!(
        said.contains("the state folder /var/lib/had is in use by another had"),
        "{said}"
    );
    // The first one was not disturbed.
    assert_eq!(owners(&cluster.status("alice")), ["alice"]);
    cluster.only_the_first_start();
}

#[test]
fn a_bad_configuration_is_refused_with_the_words_of_hactl_check() {
    let cluster = Cluster::up(
        "nf-typo",
        &USUAL
            .ha_cf("ping 10.0.0.254\ndeadtim 3\n")
            .haresources("alice 10.0.0.100/24/eth0 nosuchscript::web\n")
            .idle(),
    );
    let check = cluster.lab.exec("alice", &["hactl", "check"]).unwrap();
    assert!(!check.success());
    let text = check.stdout + &check.stderr;
    assert!(text.contains("did you mean `deadtime`"), "{text}");
    let daemon = cluster
        .lab
        .exec("alice", &[env!("CARGO_BIN_EXE_had")])
        .unwrap();
    assert!(!daemon.success());
    let said = daemon.stderr.trim_end();
    let said = said
        .strip_suffix("had did not start")
        .unwrap_or_else(|| panic!("{said}"));
    let text = text.replace("had would not start", "had does not start");
    assert_eq!(said.trim_end(), text.trim_end());
}

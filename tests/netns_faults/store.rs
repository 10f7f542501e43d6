//! Unusable state folders: the daemon runs all the same and says once what was lost and what follows. (What it finds after a
//! crash is in `restart.rs`.)

use had::model::status::{Liveness, Status};

use crate::common::*;

/// Damages alice's disk and starts both. Alice's log must contain these texts once, and the cluster must work.
fn starts_with(name: &str, damage: &str, says: &[&str]) {
    let mut cluster = Cluster::up(name, &USUAL.idle());
    cluster.sh("alice", damage);
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    for text in says {
        cluster.until_log("alice", text);
    }
    let log = cluster.lab.log("alice").unwrap();
    for text in says {
        assert_eq!(log.matches(text).count(), 1, "{text:?} once: {log}");
    }
    // State and journal are kept in memory and can be queried.
    let history = cluster.run("alice", &["hactl", "history"]);
    assert!(history.contains("online"), "{history}");
    // Without a disk the generation still grows, so a restarted daemon is heard.
    let before = cluster.status("alice").generation;
    cluster.lab.kill_had("alice").unwrap();
    cluster.start("alice");
    cluster.until_status("alice", "takes a new generation", |s| s.generation > before);
    cluster.until_liveness("bob", "alice", Liveness::Active);
    cluster.never_two_owners();
}

/// Damages something of alice and starts her daemon with this state folder. Returns its output once the group runs.
fn starts_with_folder(name: &str, damage: &str, state: &str) -> String {
    let mut cluster = Cluster::up(name, &USUAL.idle());
    cluster.sh("alice", damage);
    let had = env!("CARGO_BIN_EXE_had");
    let command = format!("exec {had} --state {state} > /run/had.log 2>&1");
    let started = cluster.lab.spawn("alice", &["sh", "-c", &command]);
    started.unwrap();
    cluster.until_status("alice", "listens", |_| true);
    cluster.start("bob");
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    cluster.never_two_owners();
    cluster.sh("alice", "cat /run/had.log")
}

#[test]
fn a_file_in_place_of_the_state_folder_is_named_and_the_daemon_runs() {
    let log = starts_with_folder("nf-st-file", "echo x > /run/state", "/run/state");
    for text in [
        "cannot use the state folder /run/state",
        "cannot write /run/state/kept",
        "the history is in memory only",
    ] {
        assert_eq!(log.matches(text).count(), 1, "{text:?} once: {log}");
    }
}

#[test]
fn a_missing_state_folder_is_made() {
    let log = starts_with_folder("nf-st-none", "true", "/run/a/new/state");
    assert!(!log.contains("/run/a/new/state"), "{log}");
}

#[test]
fn a_full_disk_is_named_and_the_daemon_runs() {
    starts_with(
        "nf-st-full",
        "mkdir -p /var/lib/had; mount -t tmpfs -o size=16k none /var/lib/had; head -c 1000000 /dev/zero > /var/lib/had/filler || true",
        &[
            "standby and maintenance are forgotten when",
            "the history is in memory only",
        ],
    );
}

/// The disk fills up while the daemon runs. What is asked for now is unknown to the next daemon.
#[test]
fn a_disk_that_fills_up_is_shown_by_status_and_by_commands() {
    let mut cluster = Cluster::up("nf-st-fills", &USUAL.idle());
    cluster.sh(
        "alice",
        "mkdir -p /var/lib/had; mount -t tmpfs -o size=256k none /var/lib/had",
    );
    cluster.start_both();
    cluster.until_owner("alice");
    cluster.until_owner_seen("bob", "alice");
    cluster.sh(
        "alice",
        "head -c 1000000 /dev/zero > /var/lib/had/filler || true",
    );
    cluster.run("alice", &["hactl", "standby"]);
    let not_saved = |s: &Status| peer(s, "alice").notes.iter().any(|n| n.id == "not-saved");
    cluster.until_status("alice", "says that nothing is saved", not_saved);
    let told = cluster.run("alice", &["hactl", "standby", "off"]);
    assert!(told.contains("the disk does not take it"), "{told}");
    cluster.sh("alice", "rm /var/lib/had/filler");
    cluster.until_status("alice", "saves again", |s| !not_saved(s));
    cluster.never_two_owners();
}

#[test]
fn folders_in_place_of_the_files_are_named_and_the_daemon_runs() {
    starts_with(
        "nf-st-dirs",
        "mkdir -p /var/lib/had/kept/x; echo x > /var/lib/had/journal",
        &[
            "cannot read /var/lib/had/kept",
            "the history is in memory only",
        ],
    );
}

/// Root can use a folder whatever its mode and owner.
#[test]
fn a_state_folder_of_another_owner_and_mode_is_used() {
    starts_with(
        "nf-st-mode",
        "mkdir -p /var/lib/had; chown 65534:65534 /var/lib/had; chmod 000 /var/lib/had",
        &[],
    );
}

#[test]
fn a_journal_that_another_process_has_locked_is_left_alone_and_the_daemon_runs() {
    starts_with(
        "nf-st-lock",
        "mkdir -p /var/lib/had/journal; echo x > /var/lib/had/journal/db; flock /var/lib/had/journal/db sleep 1000 > /dev/null 2>&1 & \
         while flock -n /var/lib/had/journal/db true; do sleep 0.05; done",
        &["another process has it open"],
    );
}

#[test]
fn damaged_leases_are_named() {
    let mut cluster = Cluster::up("nf-st-lease", &USUAL);
    cluster.lab.kill_had("alice").unwrap();
    cluster.sh("alice", "echo noise > /run/had/leases");
    cluster.start("alice");
    cluster.until_log("alice", "/run/had/leases is damaged");
    cluster.until_status("alice", "knows who runs it", |s| owners(s).len() == 1);
    cluster.never_two_owners();
}

/// Whoever is no root can open neither the folder nor the pid file, so they cannot lock the daemon out.
#[test]
fn other_users_cannot_keep_the_daemon_from_starting() {
    let cluster = Cluster::up("nf-st-flock", &USUAL.idle());
    let hold = |path: &str| {
        format!(
            "setpriv --reuid 65534 --clear-groups flock {path} sleep 1000 > /dev/null 2>&1 & while flock -n {path} true; do sleep 0.05; done"
        )
    };
    cluster.sh(
        "alice",
        "mkdir -p -m 755 /run/had; echo 1 > /run/had/had.pid; chmod 755 /var/lib/had",
    );
    for path in ["/run/had/had.pid", "/var/lib/had"] {
        cluster.sh("alice", &hold(path));
    }
    cluster.start_both();
    cluster.until_owner("alice");
    for path in ["/run/had/had.pid", "/var/lib/had", "/var/lib/had/lock"] {
        let open = format!("! setpriv --reuid 65534 --clear-groups flock -n {path} true");
        cluster.sh("alice", &open);
    }
}

/// A lock in the state folder keeps a second daemon out. The refusal names the folder, whoever has the lock.
#[test]
fn a_state_folder_that_is_locked_is_refused_in_plain_words() {
    let cluster = Cluster::up("nf-st-held", &USUAL.idle());
    cluster.sh(
        "alice",
        "cd /var/lib/had; chmod 700 .; umask 077; touch lock; flock lock sleep 1000 > /dev/null 2>&1 & while flock -n /var/lib/had/lock true; do sleep 0.05; done",
    );
    let output = cluster
        .lab
        .exec("alice", &[env!("CARGO_BIN_EXE_had")])
        .unwrap();
    assert!(!output.success());
    assert!(
        output
            .stderr
            .contains("the state folder /var/lib/had is in use by another"),
        "{}",
        output.stderr
    );
}

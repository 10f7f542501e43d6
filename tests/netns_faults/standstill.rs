//! Daemons that stay dead or are stopped while their kernel answers for their addresses. The kernel removes the addresses when
//! their lifetime ends, and only then the survivor takes them. With deadtimes from 300 ms to 10 s.

use std::time::Duration;

use had::model::Time;

use crate::common::*;
use crate::freezer::Freezer;

const OFF: &str = "quorum off\n";

/// What happens to the owner's daemon.
enum Fate {
    Killed,
    /// SIGSTOP.
    Stopped,
    /// Into the freezer of control groups.
    Frozen,
}

fn times(deadtime: u64) -> String {
    let (keepalive, warntime) = (deadtime / 10, deadtime / 2);
    format!("keepalive {keepalive}ms\nwarntime {warntime}ms\ndeadtime {deadtime}ms\ninitdead 12s\n")
}

/// The survivor takes the address, but not before the other kernel has removed it.
fn taken_over(name: &str, fate: &Fate, deadtime: u64, ha_cf: &str) {
    let mut cluster = Cluster::up(name, &ADDRESS.times(&times(deadtime)).ha_cf(ha_cf));
    // With a short deadtime a busy machine may have moved it already.
    let owner = cluster.agreed_owner();
    let survivor = if owner == "alice" { "bob" } else { "alice" };
    let pid = cluster.lab.had_pid(&owner).unwrap().unwrap();
    let freezer = Freezer::of(&cluster, &owner);
    let signal = |signal| cluster.sh(&owner, &format!("kill -{signal} {pid}"));
    let gone = now();
    match fate {
        Fate::Killed => cluster.lab.kill_had(&owner).unwrap(),
        Fate::Stopped => drop(signal("STOP")),
        Fate::Frozen => freezer.freeze(),
    }
    cluster.until_owner(survivor);
    // The daemon may stay like this.
    pass(Duration::from_millis(deadtime));
    cluster.until_owner(survivor);
    let back = now();
    match fate {
        Fate::Killed => {}
        Fate::Stopped => drop(signal("CONT")),
        Fate::Frozen => freezer.thaw(),
    }
    if matches!(fate, Fate::Killed) {
        freezer.forget();
        cluster.start(&owner);
    } else {
        drop(freezer);
        knows_what_it_lost(&cluster, &owner);
    }
    cluster.agreed_owner();
    pass(Duration::from_millis(deadtime));
    let end = cluster.agreed_owner();
    let calm = calm(&cluster, survivor, deadtime);
    let report = cluster.never_two_owners();
    let lost = when(&report, &owner, false, gone).unwrap();
    let taken = when(&report, survivor, true, lost).unwrap();
    println!(
        "MEASURED {name}: address gone after {:?}, taken over after {:?}",
        lost.since(gone),
        taken.since(gone)
    );
    assert!(lost <= taken, "{report:#?}");
    // It may have moved since only if the survivor itself was too late.
    assert!(
        !calm || (end == survivor && when(&report, &owner, true, lost.max(Time(1))).is_none()),
        "{owner} had it again, it was back at {back:?}: {report:#?}"
    );
}

/// Whether the survivor was never so late that others could take it for dead.
fn calm(cluster: &Cluster, survivor: &str, deadtime: u64) -> bool {
    let late = cluster.status(survivor).lateness.unwrap().life.max;
    late < Duration::from_millis(deadtime / 4)
}

/// It reports it in its log and its status, and takes part again.
fn knows_what_it_lost(cluster: &Cluster, node: &str) {
    cluster.until_log(node, "this node was stopped for");
    cluster.until_log(node, "10.0.0.100/24/eth0: offline");
    let status = cluster.until_status(node, "takes part again", |s| s.waiting.is_none());
    let said = peer(&status, node).notes.join("\n");
    assert!(said.contains("was stopped for"), "{said}");
    let log = cluster.lab.log(node).unwrap();
    let (_, after) = log.rsplit_once("this node was stopped for").unwrap();
    let listened = after.find("this node takes part").unwrap_or(after.len());
    let started = after.find("claiming (term").unwrap_or(after.len());
    assert!(listened <= started, "{log}");
}

#[test]
fn killed_at_300_ms() {
    taken_over("nf-k300", &Fate::Killed, 300, PING);
}

#[test]
fn killed_at_1_s() {
    taken_over("nf-k1", &Fate::Killed, 1000, PING);
}

#[test]
fn killed_at_3_s() {
    taken_over("nf-k3", &Fate::Killed, 3000, PING);
}

#[test]
fn killed_at_10_s() {
    taken_over("nf-k10", &Fate::Killed, 10_000, PING);
}

#[test]
fn killed_at_300_ms_without_an_arbiter() {
    taken_over("nf-k300-off", &Fate::Killed, 300, OFF);
}

#[test]
fn killed_at_3_s_without_an_arbiter() {
    taken_over("nf-k3-off", &Fate::Killed, 3000, OFF);
}

#[test]
fn stopped_at_300_ms() {
    taken_over("nf-s300", &Fate::Stopped, 300, PING);
}

#[test]
fn stopped_at_1_s() {
    taken_over("nf-s1", &Fate::Stopped, 1000, PING);
}

#[test]
fn stopped_at_3_s() {
    taken_over("nf-s3", &Fate::Stopped, 3000, PING);
}

#[test]
fn stopped_at_10_s() {
    taken_over("nf-s10", &Fate::Stopped, 10_000, PING);
}

#[test]
fn stopped_at_1_s_without_an_arbiter() {
    taken_over("nf-s1-off", &Fate::Stopped, 1000, OFF);
}

#[test]
fn frozen_at_300_ms() {
    taken_over("nf-f300", &Fate::Frozen, 300, PING);
}

#[test]
fn frozen_at_1_s_without_an_arbiter() {
    taken_over("nf-f1-off", &Fate::Frozen, 1000, OFF);
}

#[test]
fn frozen_at_3_s() {
    taken_over("nf-f3", &Fate::Frozen, 3000, PING);
}

#[test]
fn frozen_at_10_s_without_an_arbiter() {
    taken_over("nf-f10-off", &Fate::Frozen, 10_000, OFF);
}

//! Nodes that cannot hear each other, with an arbiter and without.

use std::time::Duration;

use had::lab::LinkDirection;
use had::model::Time;
use had::model::status::Liveness;

use crate::common::*;

/// No arbiter.
const NO_ARBITER: Setup<'_> = ADDRESS.ha_cf("quorum off\n");

/// Heals the network and waits until both nodes agree that this one runs the group.
fn heal_to(cluster: &Cluster, owner: &str) {
    cluster.lab.heal_all().unwrap();
    cluster.until_owner_seen("alice", owner);
    cluster.until_owner_seen("bob", owner);
}

/// The owner is isolated, and bob still reaches the gateway. The owner gives up the addresses before bob takes them.
#[test]
fn the_side_with_the_gateway_runs_the_group_and_the_other_gave_up_first() {
    let mut cluster = Cluster::up("nf-gateway", &ADDRESS);
    let probe = cluster.probe();
    let cut = now();
    cluster.isolate("alice");
    cluster.until_owner("bob");
    cluster.until_log("alice", "10.0.0.100/24/eth0: offline");
    heal_to(&cluster, "bob");
    let probed = probe.finish().unwrap();
    tell_gap(
        "owner isolated, takeover by the side with the gateway",
        &probed,
    );
    let report = cluster.never_two_owners();
    let gone = when(&report, "alice", false, cut).unwrap();
    let taken = when(&report, "bob", true, cut).unwrap();
    println!(
        "MEASURED isolated owner gave up after {:?}, the other had it after {:?}",
        gone.since(cut),
        taken.since(cut)
    );
    assert!(gone < taken, "{report:#?}");
    // It never came back: bob keeps what alice lost.
    assert_eq!(report.owners.last().unwrap().2, ["bob"]);
}

/// Shared storage takes time to stop, and nobody can report its end to the other side, which waits for the longest stop.
#[test]
fn the_side_with_the_gateway_waits_for_storage_whose_stop_it_cannot_see() {
    let mut cluster = Cluster::up(
        "nf-removal",
        &USUAL
            .ha_cf("ping 10.0.0.254\ntimeout LVM stop 4s\n")
            .haresources("alice 10.0.0.100/24/eth0 LVM::web\n"),
    );
    cluster.script_does("alice", "stop", "sleep 2");
    cluster.isolate("alice");
    cluster.until_owner("bob");
    let calls = cluster.calls();
    let at = |node: &str, what: &str| {
        let found = calls.iter().find(|c| c.node == node && c.what == what);
        found
            .unwrap_or_else(|| panic!("{node} {what}: {calls:?}"))
            .at
    };
    let (stopped, started) = (at("alice", "web stop end"), at("bob", "web start begin"));
    println!(
        "MEASURED start {:.2} s after the end of an isolated stop",
        started - stopped
    );
    assert!(stopped <= started, "{calls:?}");
    heal_to(&cluster, "bob");
    cluster.never_two_owners();
}

#[test]
fn an_isolated_standby_node_starts_nothing() {
    let mut cluster = Cluster::up("nf-standby", &USUAL);
    let probe = cluster.probe();
    cluster.isolate("bob");
    cluster.until_liveness("bob", "alice", Liveness::Dead);
    cluster.until_liveness("alice", "bob", Liveness::Dead);
    let status = cluster.until_status("bob", "lost quorum", |s| !s.quorum.held);
    assert!(notes(&status).contains("not running"), "{}", notes(&status));
    pass(2 * DEADTIME);
    heal_to(&cluster, "alice");
    tell_gap("the other node isolated", &probe.finish().unwrap());
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    assert_eq!(
        cluster.never_two_owners().owners.last().unwrap().2,
        ["alice"]
    );
}

/// Heartbeats use eth1, which is cut. Gateway and addresses are on eth0, where both nodes answer.
fn the_probe_holds_the_second_back(name: &str, ha_cf: &str) {
    let mut cluster = Cluster::up(
        name,
        &Setup {
            links: &["eth1"],
            ..ADDRESS.ha_cf(ha_cf)
        },
    );
    let probe = cluster.probe();
    cluster
        .lab
        .cut("alice", "bob", Some("eth1"), LinkDirection::Both)
        .unwrap();
    let status = cluster.until_status("bob", "suspects a split brain", |s| {
        notes(s).contains("split brain suspected")
    });
    assert!(notes(&status).contains("10.0.0.100"), "{}", notes(&status));
    assert_eq!(peer(&status, "alice").liveness, Liveness::Dead);
    cluster.until_liveness("alice", "bob", Liveness::Dead);
    pass(2 * DEADTIME);
    assert_eq!(owners(&cluster.status("bob")), [] as [&str; 0]);
    assert_eq!(owners(&cluster.status("alice")), ["alice"]);
    heal_to(&cluster, "alice");
    let status = cluster.until_status("bob", "suspects no more", |s| {
        !notes(s).contains("split brain suspected")
    });
    assert_eq!(notes(&status), "");
    tell_gap("heartbeats cut, addresses not", &probe.finish().unwrap());
    let log = cluster.lab.log("alice").unwrap();
    assert!(!log.contains("stopping here"), "{log}");
    let report = cluster.never_two_owners();
    assert_eq!(report.owners.last().unwrap().2, ["alice"]);
    let changes = report.owners.iter().filter(|o| o.2 == ["alice"]).count();
    assert_eq!(changes, 1, "{report:#?}");
}

#[test]
fn an_address_that_answers_holds_the_second_back() {
    the_probe_holds_the_second_back("nf-arp", PING);
}

#[test]
fn an_address_that_answers_holds_the_second_back_without_an_arbiter() {
    the_probe_holds_the_second_back("nf-arp-off", "quorum off\n");
}

/// Two owners are allowed here: without a connection and an arbiter each node takes the other for dead, as README and
/// `hactl check` say. That begins after deadtime and ends when they hear each other again.
#[test]
fn without_an_arbiter_both_run_it_and_after_the_heal_one_stops() {
    let mut cluster = Cluster::up("nf-off", &NO_ARBITER);
    let cut = now();
    cluster
        .lab
        .cut("alice", "bob", None, LinkDirection::Both)
        .unwrap();
    cluster.until_owner("bob");
    cluster.until_owner("alice");
    // The client now sends to bob, who announced last. Healing must correct that.
    let bob = cluster.lab.mac("bob", "eth0").unwrap();
    until(
        "the client believes bob",
        || {
            cluster.run("client", &["ping", "-c", "1", "-W", "1", "10.0.0.100"]);
            cluster.lab.neighbour("client", vip()).unwrap()
        },
        |mac| *mac == bob,
    );
    let probe = cluster.probe();
    let healed = now();
    heal_to(&cluster, "alice");
    let alice = cluster.lab.mac("alice", "eth0").unwrap();
    until(
        "the client believes the keeper",
        || cluster.lab.neighbour("client", vip()).unwrap(),
        |mac| *mac == alice,
    );
    pass(Duration::from_secs(1));
    let probed = probe.finish().unwrap();
    tell_gap(
        "heal of a split, client believed the one that stops",
        &probed,
    );
    assert!(probed.longest_gap < Duration::from_secs(5), "{probed:?}");
    let report = cluster.sampler_report();
    assert_eq!(report.double.len(), 1, "{report:#?}");
    let double = &report.double[0];
    let end = double.from + double.lasted;
    println!(
        "MEASURED two owners ended {:?} after the heal",
        end.since(healed)
    );
    assert!(double.from > cut + DEADTIME / 2, "{report:#?}");
    assert!(
        end > healed && end < healed + DEADTIME + Duration::from_secs(5),
        "{report:#?}"
    );
    // At most one side stopped, once: alice was never without it.
    assert_eq!(report.owners.last().unwrap().2, ["alice"]);
    assert_eq!(when(&report, "alice", false, cut), None, "{report:#?}");
    let log = cluster.lab.log("bob").unwrap();
    assert!(
        log.contains("it ran on both nodes; alice had it first and keeps it"),
        "{log}"
    );
}

/// Nothing from alice reaches bob, so he takes her for dead. She learns that from his heartbeats, and gives way before.
fn an_unheard_owner_gives_way(name: &str, setup: &Setup<'_>) {
    let mut cluster = Cluster::up(name, setup);
    let cut = now();
    cluster
        .lab
        .cut("alice", "bob", None, LinkDirection::Out)
        .unwrap();
    cluster.until_owner("bob");
    heal_to(&cluster, "bob");
    let report = cluster.never_two_owners();
    gave_up_first(&report, cut);
}

fn gave_up_first(report: &had::lab::SamplerReport, cut: Time) {
    let gone = when(report, "alice", false, cut).unwrap();
    let taken = when(report, "bob", true, cut).unwrap();
    println!(
        "MEASURED unheard owner gave up {:?} before the other began",
        taken.since(gone)
    );
    assert!(gone < taken, "{report:#?}");
}

#[test]
fn an_owner_that_is_heard_by_nobody_gives_way_in_time() {
    let more = format!("{PING}relay off\n");
    an_unheard_owner_gives_way("nf-mute", &ADDRESS.ha_cf(&more));
}

#[test]
fn an_owner_that_is_heard_by_nobody_gives_way_in_time_without_an_arbiter() {
    an_unheard_owner_gives_way("nf-mute-off", &NO_ARBITER);
}

/// Nothing from bob reaches alice: she keeps the group. Bob hears her and sees that she does not hear him.
fn a_deaf_owner_keeps_it(name: &str, ha_cf: &str) {
    let mut cluster = Cluster::up(name, &USUAL.ha_cf(ha_cf));
    let probe = cluster.probe();
    cluster
        .lab
        .cut("bob", "alice", None, LinkDirection::Out)
        .unwrap();
    cluster.until_liveness("alice", "bob", Liveness::Dead);
    let status = cluster.until_status("bob", "says that alice is deaf", |s| {
        peer(s, "alice")
            .notes
            .iter()
            .any(|n| n.contains("does not receive our heartbeats"))
    });
    assert_eq!(peer(&status, "alice").liveness, Liveness::Active);
    pass(2 * DEADTIME);
    heal_to(&cluster, "alice");
    tell_gap("an owner that hears nobody", &probe.finish().unwrap());
    assert_eq!(cluster.calls().len(), 2, "{:?}", cluster.calls());
    cluster.never_two_owners();
}

#[test]
fn an_owner_that_hears_nobody_keeps_it() {
    a_deaf_owner_keeps_it("nf-deaf", &format!("{PING}relay off\n"));
}

#[test]
fn an_owner_that_hears_nobody_keeps_it_without_an_arbiter() {
    a_deaf_owner_keeps_it("nf-deaf-off", "quorum off\n");
}

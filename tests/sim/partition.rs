//! Nodes that do not hear each other.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::model::cluster::QuorumPolicy;
use had::model::heartbeat::GroupState;
use had::sim::{CutDirection, World};

#[test]
fn the_side_that_sees_the_gateway_runs_it_and_the_other_stopped_first() {
    let mut world = pair_with_gateway(1);
    world.cut_all_links("alice", "bob");
    world.set_ping_visible("alice", 0, false);
    settle_on(&mut world, "db", "bob");
    no_double(&world);
    assert!(
        decisions(&world, "alice")
            .iter()
            .any(|d| d.contains("confirmed in time that this node may run it"))
    );
    world.run_for(secs(5));
    world.heal();
    world.set_ping_visible("alice", 0, true);
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["bob"]);
    no_double(&world);
}

#[test]
fn losing_only_the_gateway_changes_nothing() {
    let mut world = pair_with_gateway(1);
    world.set_ping_visible("alice", 0, false);
    world.set_ping_visible("bob", 0, false);
    world.run_for(secs(30));
    assert_eq!(world.runs_on("db"), ["alice"]);
    assert_eq!(world.at("alice").stops, 0);
}

#[test]
fn when_both_see_the_gateway_the_probe_on_the_wire_holds_the_second_back() {
    let mut world = World::new(&["alice", "bob"])
        .links(1)
        .ping("gateway")
        .with(|c| c.relay = false)
        .group("db", "alice", 0);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world.block_heartbeats("alice", "bob");
    world.run_for(secs(30));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    let notes = world.status("bob").unwrap().groups[0].notes.join("\n");
    assert!(notes.contains("split brain suspected"), "{notes}");
    world.heal();
    world.run_for(secs(5));
    assert_eq!(world.runs_on("db"), ["alice"]);
    assert_eq!(world.at("alice").stops, 0, "nothing was stopped");
    no_double(&world);
}

#[test]
fn a_one_way_cut_never_leaves_two_owners() {
    for (from, to) in [("alice", "bob"), ("bob", "alice")] {
        let mut world = pair_with_gateway(0);
        world.cut(from, to, 0, CutDirection::OneWay);
        world.run_for(secs(20));
        assert_eq!(
            world.runs_on("db").len(),
            1,
            "{from} -> {to}\n{}",
            story(&world)
        );
        no_double(&world);
        world.heal();
        world.run_for(secs(10));
        assert_eq!(world.runs_on("db").len(), 1);
        no_double(&world);
    }
}

#[test]
fn without_quorum_both_run_it_while_parted_and_one_keeps_it_after_the_heal() {
    let mut world = pair(0);
    world.cut_all_links("alice", "bob");
    world.run_for(secs(10));
    assert_eq!(
        world.runs_on("db"),
        ["alice", "bob"],
        "no arbiter, no probe path: this is what it means"
    );
    let healed = world.now;
    world.heal();
    assert!(world.run_until_condition(secs(5), |w| w.runs_on("db").len() == 1));
    assert!(world.now.since(healed) < ms(300), "{}", story(&world));
    assert_eq!(
        world.runs_on("db"),
        ["alice"],
        "the one that never stopped keeps it"
    );
    world.run_for(secs(1));
    assert_eq!(world.at("alice").stops, 0);
    assert!(
        world.at("alice").announced > 0,
        "the neighbours are told again"
    );
}

#[test]
fn a_minority_of_three_stops_and_the_majority_goes_on() {
    let mut world = World::new(&["a", "b", "c"])
        .group("db", "a", 1)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(2));
    world.cut_all_links("a", "b");
    world.cut_all_links("a", "c");
    settle_on(&mut world, "db", "b");
    no_double(&world);
    world.heal();
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["b"]);
    no_double(&world);
}

#[test]
fn a_chain_where_the_ends_do_not_hear_each_other_settles() {
    let mut world = World::new(&["a", "b", "c"])
        .group("db", "c", 1)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.cut_all_links("a", "c");
    world.start_all();
    world.run_for(secs(30));
    assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
    no_double(&world);
}

#[test]
fn freeze_keeps_what_runs_without_quorum() {
    let mut world = World::new(&["alice", "bob"])
        .ping("gateway")
        .group("db", "alice", 0)
        .with(|c| c.quorum = QuorumPolicy::Freeze);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.crash("bob");
    world.set_ping_visible("alice", 0, false);
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["alice"]);
}

#[test]
fn force_overrules_an_address_that_still_answers() {
    let mut world = pair_with_gateway(0);
    world.block_heartbeats("alice", "bob");
    world.block_relay_one_way("alice", "bob");
    world.block_relay_one_way("bob", "alice");
    world.run_for(secs(10));
    assert_eq!(world.state("bob", "db"), Some(GroupState::Claiming));
    world.command(
        "bob",
        Command::Takeover {
            groups: vec![GroupName::new("db")],
            force: true,
        },
    );
    world.run_for(secs(1));
    assert_eq!(
        world.state("bob", "db"),
        Some(GroupState::Online),
        "{}",
        story(&world)
    );
}

#[test]
fn a_cut_that_heals_just_before_deadtime_stops_nothing() {
    for mut world in [pair(1), pair_with_gateway(1)] {
        world.cut_all_links("alice", "bob");
        world.run_for(ms(1750));
        world.heal();
        world.run_for(secs(5));
        let stops = world.at("alice").stops;
        assert_eq!(stops, 0, "{}", story(&world));
        assert_eq!(world.at("bob").starts, 0);
    }
}

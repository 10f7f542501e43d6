//! Rule 27: two nodes that cannot reach each other hear each other through a ping node that both reach.

use crate::*;

#[test]
fn a_cut_between_two_nodes_that_reach_the_gateway_moves_nothing() {
    for owner in ["alice", "bob"] {
        let mut world = pair_with_gateway(1);
        if owner == "bob" {
            standby_db(&mut world, "alice");
            settle_on(&mut world, "db", "bob");
        }
        let stops = world.at(owner).stops;
        world.cut_all_links("alice", "bob");
        world.run_for(secs(60));
        assert_eq!(world.runs_on("db"), [owner], "{}", story(&world));
        assert_eq!(world.at(owner).stops, stops, "nothing was stopped");
        no_double(&world);
        world.heal();
        world.run_for(secs(5));
        assert_eq!(world.at(owner).stops, stops, "nothing was stopped");
    }
}

#[test]
fn a_node_that_boots_behind_a_cut_hears_of_the_owner() {
    let mut world = pair_with_gateway(0);
    world.crash("bob");
    world.run_for(secs(10));
    world.cut_all_links("alice", "bob");
    world.start("bob");
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn the_owner_can_change_behind_a_cut() {
    let mut world = pair_with_gateway(0);
    world.cut_all_links("alice", "bob");
    world.run_for(secs(10));
    standby_db(&mut world, "alice");
    settle_on(&mut world, "db", "bob");
    let db = vec![had::model::GroupName::new("db")];
    world.command("alice", had::engine::Command::Unstandby(db));
    world.crash("bob");
    settle_on(&mut world, "db", "alice");
    no_double(&world);
}

#[test]
fn a_one_way_cut_is_bridged_by_the_relay() {
    for (from, to) in [("alice", "bob"), ("bob", "alice")] {
        let mut world = pair_with_gateway(0);
        world.cut(from, to, 0, had::sim::CutDirection::OneWay);
        world.run_for(secs(30));
        assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
        assert_eq!(world.at("alice").stops, 0, "{}", story(&world));
        no_double(&world);
    }
}

/// While the nodes do not hear each other, the ping node goes over from one to the other. Until the lease of the first is
/// over, its vote must not count for the second.
#[test]
fn the_vote_of_a_gateway_that_changes_sides_counts_only_after_the_lease_of_the_other() {
    let mut world = pair_with_gateway(0);
    world.cut_all_links("alice", "bob");
    world.set_ping_visible("bob", 0, false);
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["alice"]);
    world.set_ping_visible("alice", 0, false);
    world.set_ping_visible("bob", 0, true);
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}

#[test]
fn a_cut_with_the_relay_at_rest_costs_no_heartbeats() {
    let mut world = pair_with_gateway(0);
    let misses = |world: &had::sim::World| {
        let status = world.status("bob").unwrap();
        let alice = status
            .nodes
            .iter()
            .find(|n| n.name.as_str() == "alice")
            .unwrap()
            .clone();
        alice.notes.iter().any(|n| n.contains("misses"))
    };
    for _ in 0..5 {
        world.cut_all_links("alice", "bob");
        world.run_for(secs(10));
        world.heal();
        world.run_for(secs(1));
        assert!(!misses(&world), "what is not relayed is no loss");
    }
}

//! Defects of the engine that the lab and its users found, each as a scenario.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::model::cluster::QuorumPolicy;
use had::sim::World;

fn db() -> Vec<GroupName> {
    vec![GroupName::new("db")]
}

fn maintenance(world: &mut World, by: &str, on: bool) {
    let groups = db();
    world.command(by, Command::Maintenance { groups, on });
    world.run_for(secs(2));
}

/// The group runs with all of its steps.
fn complete(world: &World) -> bool {
    let [owner] = world.runs_on("db")[..] else {
        return false;
    };
    let steps = world.at(owner).running.get(&GroupName::new("db"));
    steps.is_some_and(|s| s.len() == 2 && s.iter().all(|r| *r))
}

/// Nothing is touched during maintenance, but what died meanwhile is noticed when it ends, on whichever node it began.
#[test]
fn what_is_lost_in_a_maintenance_is_found_when_it_ends() {
    for by in ["alice", "bob"] {
        let mut world = pair(1);
        maintenance(&mut world, by, true);
        world.lose_step_noticed("alice", "db", 1, "its address is gone");
        world.run_for(secs(10));
        assert!(!complete(&world), "it was touched\n{}", story(&world));
        maintenance(&mut world, by, false);
        let whole = world.run_until_condition(secs(10), |w| complete(w));
        assert!(whole, "begun by {by}\n{}", story(&world));
        no_double(&world);
    }
}

fn notes(world: &World, node: &str) -> String {
    world.status(node).unwrap().groups[0].notes.join("\n")
}

/// Both nodes ran it and one has stopped. Both may have written data, so both report it until somebody clears it.
#[test]
fn a_double_run_is_told_by_status_until_it_is_cleared() {
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 0)
        .with(|c| c.quorum = QuorumPolicy::Off);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.cut_all_links("alice", "bob");
    assert!(world.run_until_condition(secs(60), |w| w.runs_on("db").len() == 2));
    world.heal();
    assert!(world.run_until_condition(secs(10), |w| w.runs_on("db").len() == 1));
    world.run_for(secs(3));
    assert!(notes(&world, "alice").contains("it ran here and on bob at the same time"));
    assert!(notes(&world, "bob").contains("it ran here and on alice at the same time"));
    for node in ["alice", "bob"] {
        let id = world.command(node, Command::Clear(GroupName::new("db")));
        world.run_for(secs(1));
        let said = world.answer(node, id).unwrap().unwrap();
        assert!(said.contains("the note that it ran on two nodes"), "{said}");
        assert_eq!(notes(&world, node), "");
    }
}

//! Agents that fail or hang.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::model::heartbeat::GroupState;
use had::sim::{Behaviour, World};

#[test]
fn a_failing_start_is_undone_and_the_other_node_takes_it() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 2);
    world.on_start("alice", "db", 1, Behaviour::Fails("exit code 1".into()));
    world.start_all();
    settle_on(&mut world, "db", "bob");
    assert_eq!(world.state("alice", "db"), Some(GroupState::Failed));
    let status = world.status("alice").unwrap();
    assert!(
        status.groups[0]
            .notes
            .iter()
            .any(|n| n.contains("exit code 1")),
        "{status:?}"
    );
    no_double(&world);
}

#[test]
fn a_hanging_start_ends_at_its_deadline_and_the_other_node_takes_it() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 1);
    world.on_start("alice", "db", 1, Behaviour::Hangs);
    world.start_all();
    world.run_for(secs(59));
    assert_eq!(world.runs_on("db"), ["alice"]);
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}

#[test]
fn a_failing_stop_is_stuck_and_nobody_starts_it_even_when_the_node_dies() {
    let mut world = pair(1);
    world.on_stop("alice", "db", 1, Behaviour::Fails("will not die".into()));
    let id = world.command(
        "bob",
        Command::Takeover {
            groups: vec![GroupName::new("db")],
            force: false,
        },
    );
    world.run_for(secs(5));
    let failed = world.answer("bob", id).unwrap().unwrap_err();
    assert!(failed.contains("stuck on alice"), "{failed}");
    assert_eq!(world.state("alice", "db"), Some(GroupState::Stuck));
    world.run_for(secs(60));
    assert_eq!(world.at("bob").starts, 0);
    world.crash("alice");
    world.run_for(secs(60));
    assert_eq!(world.at("bob").starts, 0, "{}", story(&world));
    let status = world.status("bob").unwrap();
    assert!(
        status.groups[0].notes.join(" ").contains("hactl clear db"),
        "{:?}",
        status.groups[0].notes
    );
    world.command("bob", Command::Clear(GroupName::new("db")));
    settle_on(&mut world, "db", "bob");
}

#[test]
fn every_step_is_stopped_even_when_one_fails() {
    let mut world = pair(2);
    world.on_stop("alice", "db", 2, Behaviour::Fails("no".into()));
    standby_db(&mut world, "alice");
    world.run_for(secs(3));
    let running = world.machine("alice").running[&GroupName::new("db")].clone();
    assert_eq!(running, [false, false, true]);
}

#[test]
fn a_cleared_stuck_group_is_looked_at_and_goes_on() {
    let mut world = pair(1);
    world.on_stop("alice", "db", 1, Behaviour::Fails("no".into()));
    standby_db(&mut world, "alice");
    world.run_for(secs(3));
    assert_eq!(world.state("alice", "db"), Some(GroupState::Stuck));
    world.machine("alice").running.clear();
    world.machine("alice").stop_behaviour.clear();
    world.command("alice", Command::Clear(GroupName::new("db")));
    settle_on(&mut world, "db", "bob");
}

#[test]
fn when_nobody_can_start_it_pauses_grow_and_it_comes_back_when_mended() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 1);
    for node in ["alice", "bob"] {
        world.on_start(node, "db", 1, Behaviour::Fails("no disk".into()));
    }
    world.start_all();
    world.run_for(secs(300));
    let starts = world.at("alice").starts;
    assert!(
        (3..8).contains(&starts),
        "tried again with growing pauses: {starts}\n{}",
        story(&world)
    );
    for node in ["alice", "bob"] {
        world.machine(node).start_behaviour.clear();
    }
    until(&mut world, secs(900), |w| w.runs_on("db").len() == 1);
    no_double(&world);
}

#[test]
fn a_resource_that_is_lost_moves_the_group() {
    let mut world = pair(1);
    world.lose_step_noticed("alice", "db", 1, "nginx is not running");
    settle_on(&mut world, "db", "bob");
    assert_eq!(world.state("alice", "db"), Some(GroupState::Failed));
    no_double(&world);
}

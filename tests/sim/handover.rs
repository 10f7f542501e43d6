//! standby and takeover: the result, the answer, and no two owners.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::sim::{Behaviour, World};

fn groups(names: &[&str]) -> Vec<GroupName> {
    names.iter().map(|n| GroupName::new(n)).collect()
}

/// Gives a command and returns its answer.
fn answer(world: &mut World, node: &str, command: Command) -> Result<String, String> {
    let id = world.command(node, command);
    until(world, secs(300), |w| w.answer(node, id).is_some());
    world.answer(node, id).unwrap()
}

fn standby(world: &mut World, node: &str, lasting: bool) -> Result<String, String> {
    let groups = groups(&["db"]);
    answer(world, node, Command::Standby { groups, lasting })
}

fn takeover(world: &mut World, node: &str, force: bool) -> Result<String, String> {
    let groups = groups(&["db"]);
    answer(world, node, Command::Takeover { groups, force })
}

#[test]
fn standby_moves_the_group_and_says_where_it_is() {
    let mut world = pair(1);
    let told = world.now;
    assert_eq!(
        standby(&mut world, "alice", true),
        Ok("db runs on bob".into())
    );
    assert!(world.now.since(told) < ms(30), "{}", story(&world));
    assert_eq!(world.runs_on("db"), ["bob"]);
    no_double(&world);
}

#[test]
fn takeover_and_back_both_ways() {
    let mut world = pair(1);
    for node in ["bob", "alice", "bob", "alice"] {
        assert_eq!(
            takeover(&mut world, node, false),
            Ok(format!("db runs on {node}"))
        );
        world.run_for(secs(3));
        assert_eq!(world.runs_on("db"), [node]);
    }
    no_double(&world);
}

#[test]
fn a_takeover_is_not_undone_by_auto_failback() {
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 0)
        .with(|c| c.auto_failback = true);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    assert!(takeover(&mut world, "bob", false).is_ok());
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), ["bob"]);
    assert!(takeover(&mut world, "alice", false).is_ok());
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), ["alice"]);
}

#[test]
fn lasting_standby_abstains_even_when_the_other_dies_and_ends_on_command() {
    let mut world = pair(0);
    standby(&mut world, "alice", true).unwrap();
    world.crash("bob");
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty());
    let status = world.status("alice").unwrap();
    let notes = status.groups[0].notes.join("\n");
    assert!(notes.contains("hactl standby off"), "{notes}");
    world.command("alice", Command::Unstandby(groups(&["db"])));
    settle_on(&mut world, "db", "alice");
}

#[test]
fn yielding_once_still_takes_over_when_the_other_dies() {
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 0)
        .with(|c| c.auto_failback = true);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    standby(&mut world, "alice", false).unwrap();
    world.run_for(secs(20));
    assert_eq!(
        world.runs_on("db"),
        ["bob"],
        "auto_failback does not undo it"
    );
    world.crash("bob");
    settle_on(&mut world, "db", "alice");
}

#[test]
fn standby_without_anybody_to_take_it_is_refused_and_changes_nothing() {
    let mut world = pair(0);
    world.crash("bob");
    world.run_for(secs(5));
    let refused = standby(&mut world, "alice", true).unwrap_err();
    assert_eq!(
        refused,
        "db stays here: no other node can run it: bob is dead"
    );
    world.run_for(secs(5));
    assert_eq!(world.runs_on("db"), ["alice"]);
}

#[test]
fn standby_to_a_node_that_fails_to_start_it_rolls_back() {
    let mut world = pair(1);
    world.on_start(
        "bob",
        "db",
        1,
        Behaviour::Fails("no such data directory".into()),
    );
    let failed = standby(&mut world, "alice", true).unwrap_err();
    assert!(failed.contains("bob failed to run it"), "{failed}");
    settle_on(&mut world, "db", "alice");
    no_double(&world);
}

#[test]
fn takeover_that_cannot_start_says_why_and_the_owner_has_it_again() {
    let mut world = pair(1);
    world.on_start(
        "bob",
        "db",
        1,
        Behaviour::Fails("no such data directory".into()),
    );
    let failed = takeover(&mut world, "bob", false).unwrap_err();
    assert!(failed.contains("no such data directory"), "{failed}");
    settle_on(&mut world, "db", "alice");
}

#[test]
fn the_owner_waits_for_the_claim_before_it_stops() {
    let mut world = pair(0);
    // The target's daemon is frozen, but not for long enough to be late: nothing may stop before it answers.
    world.freeze("bob");
    standby_db(&mut world, "alice");
    world.run_for(ms(400));
    assert_eq!(world.runs_on("db"), ["alice"]);
    world.thaw("bob");
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}

#[test]
fn maintenance_freezes_everything_until_it_ends() {
    let mut world = pair(1);
    world.command(
        "alice",
        Command::Maintenance {
            groups: groups(&["db"]),
            on: true,
        },
    );
    world.run_for(secs(1));
    let refused = standby(&mut world, "alice", true).unwrap_err();
    assert!(refused.contains("maintenance"), "{refused}");
    world.crash("alice");
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty(), "bob leaves it alone");
    world.command(
        "bob",
        Command::Maintenance {
            groups: groups(&["db"]),
            on: false,
        },
    );
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty(), "it may still run on alice");
    world.command("bob", Command::Clear(GroupName::new("db")));
    settle_on(&mut world, "db", "bob");
}

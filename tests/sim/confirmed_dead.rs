//! Rule 34: a person says that a node is dead.

use crate::*;
use had::engine::Command;
use had::model::cluster::QuorumPolicy;
use had::model::heartbeat::GroupState;
use had::model::{GroupName, NodeName};
use had::sim::{CutDirection, World};

fn cluster(names: &[&str]) -> World {
    let mut world = World::new(names)
        .group("db", "alice", 1)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

fn confirm(world: &mut World, node: &str, dead: &str) -> Result<String, String> {
    let id = world.command(node, Command::ConfirmDead(NodeName::new(dead)));
    until(world, secs(1), |w| w.answer(node, id).is_some());
    world.answer(node, id).unwrap()
}

#[test]
fn the_last_of_three_goes_on_when_all_others_are_confirmed_dead() {
    let mut world = cluster(&["alice", "bob", "carol"]);
    world.crash("alice");
    world.run_for(secs(10));
    world.crash("bob");
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty());
    confirm(&mut world, "carol", "alice").unwrap();
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty(), "bob may be cut off only");
    confirm(&mut world, "carol", "bob").unwrap();
    settle_on(&mut world, "db", "carol");
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), ["carol"], "{}", story(&world));
    // The others return one after the other, and nothing moves.
    for node in ["bob", "alice"] {
        world.start(node);
        world.run_for(secs(30));
        assert_eq!(world.runs_on("db"), ["carol"], "{}", story(&world));
    }
    let told = decisions(&world, "carol").join("\n");
    assert!(told.contains("node bob lives, although"), "{told}");
    // From now on votes are counted as ever.
    world.crash("alice");
    world.crash("bob");
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
}

/// Of four nodes the first has two votes, so the two in the middle need one more.
#[test]
fn every_silent_node_must_be_confirmed_dead() {
    let mut world = cluster(&["alice", "bob", "carol", "dave"]);
    world.crash("alice");
    world.run_for(secs(10));
    world.crash("dave");
    world.run_for(secs(10));
    for node in ["bob", "carol"] {
        confirm(&mut world, node, "alice").unwrap();
    }
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty(), "dave may be cut off only");
    for node in ["bob", "carol"] {
        confirm(&mut world, node, "dave").unwrap();
    }
    settle_on_one_of(&mut world, "db", &["bob", "carol"]);
    no_double(&world);
}

#[test]
fn a_node_that_is_heard_or_unknown_cannot_be_confirmed() {
    let mut world = cluster(&["alice", "bob", "carol"]);
    for (dead, why) in [
        ("bob", "bob is heard"),
        ("alice", "alice is this node"),
        ("dave", "there is no node dave"),
    ] {
        let text = confirm(&mut world, "alice", dead).unwrap_err();
        assert!(text.contains(why), "{text}");
    }
}

/// Two nodes that are left need each other: the word is about the dead ones.
#[test]
fn two_of_five_lose_the_right_when_they_are_cut_apart() {
    let mut world = cluster(&["alice", "bob", "carol", "dave", "erin"]);
    for node in ["carol", "dave", "erin"] {
        world.crash(node);
    }
    world.run_for(secs(10));
    for by in ["alice", "bob"] {
        for dead in ["carol", "dave", "erin"] {
            confirm(&mut world, by, dead).unwrap();
        }
    }
    settle_on_one_of(&mut world, "db", &["alice", "bob"]);
    world.run_for(secs(30));
    assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
    world.cut("alice", "bob", 0, CutDirection::Both);
    world.run_for(secs(30));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    no_double(&world);
}

/// While this node stood still, the others came back unheard.
#[test]
fn the_word_does_not_outlive_a_gap_in_our_own_time() {
    let mut world = cluster(&["alice", "bob", "carol"]);
    world.crash("alice");
    world.crash("bob");
    world.run_for(secs(10));
    for dead in ["alice", "bob"] {
        confirm(&mut world, "carol", dead).unwrap();
    }
    settle_on(&mut world, "db", "carol");
    world.freeze("carol");
    for other in ["alice", "bob"] {
        world.cut("carol", other, 0, CutDirection::Both);
        world.start(other);
    }
    world.run_for(secs(60));
    world.thaw_deaf("carol");
    world.run_for(secs(60));
    settle_on_one_of(&mut world, "db", &["alice", "bob"]);
    assert_ne!(world.state("carol", "db"), Some(GroupState::Online));
}

/// The wait for a stop on the dead machine, and a stop that had failed there, end with the word.
#[test]
fn nothing_waits_for_a_node_that_is_confirmed_dead() {
    let mut world = cluster(&["alice", "bob", "carol"]);
    world.cluster.groups[0].steps[1].removal = secs(600);
    for node in ["alice", "bob", "carol"] {
        let mut cluster = world.cluster.clone();
        cluster.me = NodeName::new(node);
        world.reload(node, cluster);
    }
    world.run_for(secs(2));
    world.crash("alice");
    world.run_for(secs(30));
    assert!(world.runs_on("db").is_empty());
    for by in ["bob", "carol"] {
        confirm(&mut world, by, "alice").unwrap();
    }
    settle_on_one_of(&mut world, "db", &["bob", "carol"]);
    no_double(&world);
    let name = GroupName::new("db");
    assert!(
        world
            .status("bob")
            .unwrap()
            .groups
            .iter()
            .any(|g| g.name == name)
    );
}

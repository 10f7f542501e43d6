//! A published recognition is binding: scenarios that fail if a rule about it is broken.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::model::cluster::QuorumPolicy;
use had::sim::{CutDirection, Weather, World};

fn db() -> Vec<GroupName> {
    vec![GroupName::new("db")]
}

/// Three nodes with one script; b and c never hear each other, a and b are in standby.
fn a_between_b_and_c() -> World {
    let mut world = World::new(&["a", "b", "c"])
        .group("db", "c", 0)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    no_address(&mut world);
    world.cut_all_links("b", "c");
    for node in ["a", "b"] {
        world.machine(node).kept.standby = db();
    }
    world.start_all();
    world
}

#[test]
fn a_recognised_claimant_is_kept_when_one_with_a_better_right_comes() {
    let mut world = a_between_b_and_c();
    world.crash("c");
    world.machine("c").kept.standby = db();
    world.start("c");
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    world.weather_everywhere(Weather {
        delay: ms(50),
        ..Weather::CALM
    });
    world.run_for(secs(3));
    world.command("c", Command::Unstandby(db()));
    world.run_for(ms(40));
    // b does not hear that a has recognised c, and claims as well.
    world.cut("a", "b", 0, CutDirection::OneWay);
    world.run_for(ms(35));
    world.command("b", Command::Unstandby(db()));
    world.run_for(ms(30));
    world.heal();
    world.cut_all_links("b", "c");
    world.run_for(secs(10));
    assert!(
        decisions(&world, "b")
            .iter()
            .any(|d| d.contains("claiming (term"))
    );
    assert_eq!(world.runs_on("db"), ["c"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn a_node_that_has_not_heard_everybody_recognises_no_claim() {
    let mut world = a_between_b_and_c();
    settle_on(&mut world, "db", "c");
    world.command("b", Command::Unstandby(db()));
    world.run_for(secs(2));
    world.crash("a");
    // b is heard first; that c has the group, a hears only later.
    let slow = Weather {
        delay: ms(400),
        ..Weather::CALM
    };
    world.weather_between("c", "a", 0, slow);
    world.run_for(ms(500));
    world.start("a");
    world.run_for(secs(10));
    no_double(&world);
    assert_eq!(world.runs_on("db").len(), 1, "{}", story(&world));
}

#[test]
fn nobody_claims_what_a_restarted_owner_looks_at() {
    let mut world = pair(1);
    world.kill("alice");
    world.run_for(ms(500));
    world.start("alice");
    world.run_for(secs(2));
    assert_eq!(world.runs_on("db"), ["alice"]);
    let claims = decisions(&world, "bob")
        .iter()
        .any(|d| d.contains("claiming (term"));
    assert!(!claims, "{}", story(&world));
}

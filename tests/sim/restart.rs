//! The daemon is killed, restarted, frozen: what runs is kept where that is right and dropped where it is not.

use crate::*;
use had::engine::Command;
use had::model::heartbeat::GroupState;
use had::sim::World;

#[test]
fn a_killed_daemon_that_is_back_within_deadtime_adopts_what_runs() {
    for gateway in [false, true] {
        let mut world = if gateway {
            pair_with_gateway(2)
        } else {
            pair(2)
        };
        world.kill("alice");
        world.run_for(ms(500));
        world.start("alice");
        settle_on(&mut world, "db", "alice");
        world.run_for(secs(10));
        assert_eq!(world.at("alice").stops, 0, "{}", story(&world));
        assert_eq!(world.at("alice").starts, 3);
        assert_eq!(world.at("bob").starts, 0);
        no_double(&world);
    }
}

#[test]
fn an_announced_restart_may_take_longer_than_deadtime() {
    let mut world = pair(1);
    world.command(
        "alice",
        Command::Restart {
            back_within: secs(20),
        },
    );
    world.run_for(secs(1));
    assert!(world.at("alice").engine.is_none());
    world.run_for(secs(10));
    assert_eq!(world.at("bob").starts, 0);
    world.start("alice");
    settle_on(&mut world, "db", "alice");
    assert_eq!(world.at("alice").stops, 0);
    world.command(
        "alice",
        Command::Restart {
            back_within: secs(5),
        },
    );
    world.run_for(secs(4));
    assert_eq!(world.at("bob").starts, 0);
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
}

#[test]
fn a_killed_daemon_that_stays_away_is_not_taken_over_while_its_address_answers() {
    let mut world = pair(1);
    world.kill("alice");
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["alice"]);
    assert_eq!(world.state("bob", "db"), Some(GroupState::Claiming));
    no_double(&world);
    world.machine("alice").running.clear();
    settle_on(&mut world, "db", "bob");
}

#[test]
fn a_part_found_running_is_stopped_before_anything_else() {
    let mut world = World::of(&["alice", "bob"]).group("db", "alice", 2);
    world
        .machine("alice")
        .running
        .insert(had::model::GroupName::new("db"), vec![false, true, false]);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    assert_eq!(world.at("alice").stops, 1);
    assert!(
        decisions(&world, "alice")
            .iter()
            .any(|d| d.contains("only a part of it was found running (runs: script0)"))
    );
    no_double(&world);
}

#[test]
fn found_running_while_a_peer_has_it_is_stopped() {
    let mut world = pair(0);
    world.kill("alice");
    world.machine("alice").running.clear();
    settle_on(&mut world, "db", "bob");
    world
        .machine("alice")
        .running
        .insert(had::model::GroupName::new("db"), vec![true]);
    world.start("alice");
    world.run_for(secs(2));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
}

#[test]
fn a_daemon_frozen_for_less_than_deadtime_keeps_its_groups() {
    for gateway in [false, true] {
        let mut world = if gateway {
            pair_with_gateway(1)
        } else {
            pair(1)
        };
        world.freeze("alice");
        world.run_for(ms(1200));
        world.thaw("alice");
        world.run_for(secs(5));
        assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
        assert_eq!(world.at("alice").stops, 0, "{}", story(&world));
    }
}

#[test]
fn a_daemon_frozen_for_longer_lets_go_before_it_speaks() {
    let mut world = pair(1);
    world.freeze("alice");
    world.run_for(secs(5));
    // Its kernel still answers for the address, so nobody else has begun.
    assert_eq!(world.runs_on("db"), ["alice"]);
    world.thaw("alice");
    world.run_for(ms(100));
    assert!(
        decisions(&world, "alice")
            .iter()
            .any(|d| d.contains("our own time stood still"))
    );
    assert!(world.run_till(secs(10), |w| w.runs_on("db").len() == 1));
    no_double(&world);
}

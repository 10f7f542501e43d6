//! The daemon is killed, restarted or frozen: what runs is kept if that is right, and stopped if not.

use crate::*;
use had::engine::Command;
use had::model::cluster::QuorumPolicy;
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
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 2);
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
            .any(|d| d.contains("only a part of it already ran here (runs: script0)"))
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

fn three() -> World {
    let mut world = World::new(&["alice", "bob", "carol"])
        .group("db", "alice", 1)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

/// After this many milliseconds the node that was suspended has heard from the other, and stopped.
const HEARS: u64 = 250;

#[test]
fn a_machine_whose_clock_stood_still_gives_way_as_soon_as_it_hears_of_the_other() {
    let clusters: [fn() -> World; 3] = [|| pair(1), || pair_with_gateway(1), three];
    for (which, cluster) in clusters.iter().enumerate() {
        for deaf in [false, true] {
            for pause in (2000..2700).step_by(10) {
                let mut world = cluster();
                world.suspend("alice");
                world.run_for(ms(pause));
                let taken = world
                    .state("bob", "db")
                    .is_some_and(had::model::heartbeat::GroupState::holds);
                if deaf {
                    world.thaw_deaf("alice");
                } else {
                    world.thaw("alice");
                }
                world.run_for(ms(HEARS));
                let told = || format!("{which} {deaf} {pause}\n{}", story(&world));
                assert!(world.runs_on("db").len() < 2, "{}", told());
                world.run_for(secs(5));
                let told = || format!("{which} {deaf} {pause}\n{}", story(&world));
                let owner = if taken { "bob" } else { "alice" };
                assert_eq!(world.runs_on("db"), [owner], "{}", told());
                assert_eq!(world.at(owner).stops, 0, "{}", told());
            }
        }
    }
}

#[test]
fn a_daemon_frozen_for_longer_lets_go_before_it_speaks() {
    let mut world = pair(1);
    world.freeze("alice");
    world.run_for(secs(5));
    // Its kernel still answers for the address, so nobody else has started it.
    assert_eq!(world.runs_on("db"), ["alice"]);
    world.thaw("alice");
    world.run_for(ms(100));
    assert!(
        decisions(&world, "alice")
            .iter()
            .any(|d| d.contains("this node was stopped for"))
    );
    let stop = "db: stopping here: this node was stopped meanwhile";
    let told = decisions(&world, "alice");
    assert!(told.iter().any(|d| d.starts_with(stop)), "{told:?}");
    assert!(
        !told.iter().any(|d| d.contains("since this daemon started")),
        "{told:?}"
    );
    assert!(world.run_until_condition(secs(10), |w| w.runs_on("db").len() == 1));
    no_double(&world);
}

//! When the right to a group ends, what waits for that, and what a node without it does.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::model::cluster::QuorumPolicy;
use had::model::heartbeat::GroupState;
use had::sim::{Behaviour, CutDirection, Weather, World};

fn db() -> Vec<GroupName> {
    vec![GroupName::new("db")]
}

/// Nodes with one script and no address to probe; it runs on the first.
fn script(names: &[&str], quorum: QuorumPolicy) -> World {
    let mut world = World::new(names)
        .group("db", names.first().unwrap(), 0)
        .with(|c| c.quorum = quorum);
    no_address(&mut world);
    world
}

fn up(world: &mut World, owner: &str) {
    world.start_all();
    settle_on(world, "db", owner);
    world.run_for(secs(2));
}

fn isolate(world: &mut World, node: &str) {
    let others: Vec<_> = world.names().filter(|n| n.as_str() != node).collect();
    for other in others {
        world.cut_all_links(node, other.as_str());
    }
}

#[test]
fn the_margin_covers_a_slow_clock_and_a_late_daemon() {
    let mut world = script(&["a", "b", "c"], QuorumPolicy::Stop);
    world.machine("a").lateness = ms(250);
    for (node, ppm) in [("a", -500), ("b", 500), ("c", 500)] {
        let now = world.now;
        world.set_clock(node, now, ppm);
    }
    up(&mut world, "a");
    for round in 0..20 {
        world.run_for(ms(37 * round));
        let owner = world.runs_on("db")[0].to_owned();
        isolate(&mut world, &owner);
        world.run_for(secs(8));
        assert_eq!(
            world.state(&owner, "db"),
            Some(GroupState::Offline),
            "it does not even claim"
        );
        world.heal();
        world.run_for(secs(2));
        let back = Command::Takeover {
            groups: db(),
            force: false,
        };
        world.command("a", back);
        settle_on(&mut world, "db", "a");
    }
    no_double(&world);
}

#[test]
fn a_takeover_waits_for_the_removal_of_what_is_no_address() {
    let mut world = script(&["a", "b", "c"], QuorumPolicy::Stop);
    world.cluster.groups[0].steps[0].removal = secs(3);
    world.on_stop("a", "db", 0, Behaviour::Works(secs(3)));
    up(&mut world, "a");
    isolate(&mut world, "a");
    settle_on(&mut world, "db", "b");
    no_double(&world);
}

#[test]
fn an_announced_restart_is_waited_for_where_no_probe_holds_anybody_back() {
    let mut world = script(&["alice", "bob"], QuorumPolicy::Off);
    up(&mut world, "alice");
    let back_within = secs(20);
    world.command("alice", Command::Restart { back_within });
    world.run_for(secs(10));
    assert_eq!(world.at("bob").starts, 0);
    world.start("alice");
    settle_on(&mut world, "db", "alice");
    assert_eq!(world.at("alice").starts, 1);
}

#[test]
fn what_a_lease_outlived_is_stopped_when_nobody_confirms_it() {
    let mut world = script(&["a", "b", "c"], QuorumPolicy::Stop);
    up(&mut world, "a");
    world.kill("a");
    isolate(&mut world, "a");
    world.run_for(secs(5));
    // Nobody stops a script whose daemon is dead, but the next daemon does, although it hears nobody.
    assert_eq!(world.runs_on("db"), ["a", "b"]);
    world.start("a");
    world.run_for(secs(1));
    assert_eq!(world.runs_on("db"), ["b"], "{}", story(&world));
}

#[test]
fn nothing_is_adopted_before_everybody_was_heard() {
    let mut world = script(&["alice", "bob"], QuorumPolicy::Off);
    up(&mut world, "alice");
    world.kill("alice");
    world.run_for(secs(5));
    assert_eq!(world.state("bob", "db"), Some(GroupState::Online));
    world.weather_everywhere(Weather {
        delay: ms(300),
        ..Weather::CALM
    });
    world.run_for(secs(1));
    world.start("alice");
    world.run_for(secs(5));
    assert_eq!(world.runs_on("db"), ["bob"]);
    let adopted = decisions(&world, "alice")
        .iter()
        .any(|d| d.contains("kept running"));
    assert!(!adopted, "{}", story(&world));
}

#[test]
fn a_peer_that_hears_nothing_of_us_does_not_hold_up_a_majority() {
    let mut world = script(&["a", "b", "c"], QuorumPolicy::Stop);
    world.cut("a", "c", 0, CutDirection::OneWay);
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn a_failure_expires_by_itself() {
    let mut world = script(&["alice", "bob"], QuorumPolicy::Off);
    world.on_start("alice", "db", 0, Behaviour::Fails("no".into()));
    world.start_all();
    settle_on(&mut world, "db", "bob");
    world.run_for(secs(590));
    assert_eq!(world.state("alice", "db"), Some(GroupState::Failed));
    world.run_for(secs(20));
    assert_eq!(world.state("alice", "db"), Some(GroupState::Offline));
}

#[test]
fn an_offer_ends_with_the_wish_behind_it() {
    let mut world = script(&["alice", "bob"], QuorumPolicy::Off);
    up(&mut world, "alice");
    world.freeze("bob");
    let lasting = Command::Standby {
        groups: db(),
        lasting: true,
    };
    world.command("alice", lasting);
    world.run_for(ms(100));
    world.command("alice", Command::Unstandby(db()));
    world.run_for(ms(100));
    world.thaw("bob");
    world.run_for(secs(2));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    assert_eq!(world.at("alice").stops, 0);
    let ended = decisions(&world, "alice")
        .iter()
        .any(|d| d.ends_with("withdrew its offer to bob: there is no longer a reason to move it"));
    assert!(ended, "{}", story(&world));
}

#[test]
fn the_kernel_keeps_an_address_while_its_daemon_is_restarted_and_waits_to_adopt_it() {
    let mut world = World::new(&["a", "b", "c"])
        .group("db", "a", 0)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.kernel_leases = true;
    up(&mut world, "a");
    // c is not there, so a waits initdead before it goes on.
    world.crash("c");
    world.kill("a");
    world.run_for(ms(500));
    world.start("a");
    world.run_for(secs(3));
    assert_eq!(world.state("a", "db"), Some(GroupState::Unknown));
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    settle_on(&mut world, "db", "a");
    assert_eq!(world.at("a").stops, 0, "{}", story(&world));
}

#[test]
fn those_that_left_do_not_take_quorum_from_half_of_the_nodes() {
    let mut world = script(&["a", "b", "c", "d"], QuorumPolicy::Stop);
    up(&mut world, "a");
    for node in ["c", "d"] {
        world.command(node, Command::Leave);
        world.run_for(secs(5));
    }
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    assert_eq!(world.at("a").stops, 0);
}

/// alice is told to give the group away, and stops its script after this time at the earliest.
fn stops_for(time: Duration, gateway: bool) -> World {
    let mut world = if gateway {
        pair_with_gateway(1)
    } else {
        pair(1)
    };
    world.kernel_leases = true;
    world.run_for(secs(1));
    world.on_stop("alice", "db", 1, Behaviour::Works(time));
    let (groups, lasting) = (db(), true);
    world.command("alice", Command::Standby { groups, lasting });
    world
}

/// Which steps run on alice.
fn steps_of_alice(world: &World) -> Vec<bool> {
    world.at("alice").running[&GroupName::new("db")].clone()
}

#[test]
fn an_address_is_kept_until_its_turn_in_a_stop_that_takes_longer_than_a_lease() {
    for gateway in [false, true] {
        let mut world = stops_for(secs(20), gateway);
        world.run_for(secs(15));
        assert_eq!(steps_of_alice(&world), [true, true], "{}", story(&world));
        // Cut off during the stop, it runs no longer than its right lasts.
        world.cut_all_links("alice", "bob");
        world.set_ping_visible("alice", 0, false);
        world.run_for(ms(2200));
        let wanted = [!gateway, true];
        assert_eq!(steps_of_alice(&world), wanted, "{}", story(&world));
    }
}

#[test]
fn what_another_took_over_during_a_stop_gets_its_address_back_from_nobody() {
    for gateway in [false, true] {
        let mut world = stops_for(secs(40), gateway);
        world.run_for(secs(5));
        world.freeze("alice");
        world.run_for(secs(5));
        world.thaw("alice");
        world.run_for(secs(5));
        assert_eq!(world.state("bob", "db"), Some(GroupState::Online));
        assert_eq!(steps_of_alice(&world), [false, true], "{}", story(&world));
    }
}

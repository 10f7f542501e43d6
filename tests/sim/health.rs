//! Services that die, nodes that fail checks, ping nodes out of reach: what is restarted, moves or stays.

use crate::*;
use had::engine::Command;
use had::model::GroupName;
use had::model::cluster::Cluster;
use had::model::health::{CheckPolicy, Policy};
use had::model::heartbeat::GroupState;
use had::sim::{Behaviour, World};

const POLICY: Policy = Policy {
    fall: 2,
    rise: 1,
    restart: 2,
    within: Duration::from_secs(600),
};

/// alice and bob with a group of an address and two services, each monitored every second.
fn watched(policy: Policy) -> World {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 2);
    for step in &mut world.cluster.groups[0].steps {
        step.policy = Some(policy);
    }
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(3));
    world
}

fn times_decided(world: &World, node: &str, text: &str) -> usize {
    let all = decisions(world, node);
    all.iter().filter(|d| d.contains(text)).count()
}

fn db() -> Vec<GroupName> {
    vec![GroupName::new("db")]
}

#[test]
fn a_dead_service_is_restarted_in_place_with_all_to_its_right_and_nothing_moves() {
    let mut world = watched(POLICY);
    let (starts, stops) = (world.at("alice").starts, world.at("alice").stops);
    world.die("alice", "db", 1);
    let lost = world.now;
    let back = |w: &mut World| w.at("alice").running[&GroupName::new("db")] == [true; 3];
    until(&mut world, secs(5), back);
    assert!(
        world.now.since(lost) >= ms(1000),
        "fall 2 was not waited for"
    );
    settle_on(&mut world, "db", "alice");
    let alice = world.at("alice");
    assert_eq!(alice.starts - starts, 2, "itself and the one to its right");
    assert_eq!(
        alice.stops - stops,
        2,
        "its death, and the stop of the one to its right"
    );
    world.run_for(secs(60));
    assert_eq!(world.at("bob").starts, 0);
    assert_eq!(
        times_decided(&world, "alice", "restarting script0 in place (1 of 2"),
        1
    );
    let status = world.status("alice").unwrap();
    let watch = status.groups[0].resources[1].watch.clone().unwrap();
    assert_eq!((watch.restarts, watch.budget, watch.error), (1, 2, None));
    assert!(watch.forgotten_in.unwrap() < secs(600));
    no_double(&world);
}

#[test]
fn when_the_budget_is_spent_the_group_moves_and_comes_back_when_the_failure_expires() {
    let policy = Policy {
        within: secs(60),
        ..POLICY
    };
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 1)
        .with(|c| c.auto_failback = true);
    world.cluster.groups[0].steps[1].policy = Some(policy);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.ail("alice", "db", 1, Some("answers 500"));
    settle_on(&mut world, "db", "bob");
    assert_eq!(times_decided(&world, "alice", "in place"), 2);
    assert_eq!(world.state("alice", "db"), Some(GroupState::Failed));
    let notes = world.status("alice").unwrap().groups[0].notes.join("\n");
    assert!(
        notes.contains("answers 500") && notes.contains("forgotten in"),
        "{notes}"
    );
    world.ail("alice", "db", 1, None);
    world.run_for(secs(30));
    assert_eq!(world.runs_on("db"), ["bob"], "still failed there");
    let home = world.run_until_condition(secs(40), |w| w.runs_on("db") == ["alice"]);
    assert!(home, "{}", story(&world));
    no_double(&world);
}

#[test]
fn a_failed_node_never_keeps_a_group_with_failback_off_either() {
    let mut world = watched(Policy {
        restart: 0,
        ..POLICY
    });
    world.ail("alice", "db", 2, Some("hung"));
    settle_on(&mut world, "db", "bob");
    world.ail("bob", "db", 2, Some("hung"));
    world.ail("alice", "db", 2, None);
    world.command("alice", Command::Clear(GroupName::new("db")));
    settle_on(&mut world, "db", "alice");
    no_double(&world);
}

#[test]
fn failed_looks_that_do_not_follow_each_other_do_nothing() {
    let mut world = watched(POLICY);
    let starts = world.at("alice").starts;
    for _ in 0..20 {
        world.ail("alice", "db", 1, Some("slow"));
        world.run_for(ms(1000));
        world.ail("alice", "db", 1, None);
        world.run_for(ms(1000));
    }
    assert_eq!(world.at("alice").starts, starts);
    assert_eq!(world.runs_on("db"), ["alice"]);
}

#[test]
fn a_restart_in_place_that_cannot_start_again_moves_the_group() {
    let mut world = watched(POLICY);
    world.on_start(
        "alice",
        "db",
        1,
        Behaviour::Fails("unknown directive".into()),
    );
    world.die("alice", "db", 1);
    settle_on(&mut world, "db", "bob");
    assert_eq!(times_decided(&world, "alice", "in place"), 1);
    let notes = world.status("alice").unwrap().groups[0].notes.join("\n");
    assert!(notes.contains("unknown directive"), "{notes}");
    no_double(&world);
}

#[test]
fn a_restart_in_place_whose_stop_fails_is_stuck() {
    let mut world = watched(POLICY);
    world.on_stop("alice", "db", 2, Behaviour::Fails("will not die".into()));
    world.die("alice", "db", 1);
    let stuck = |w: &mut World| w.state("alice", "db") == Some(GroupState::Stuck);
    until(&mut world, secs(10), stuck);
    world.run_for(secs(60));
    assert_eq!(world.at("bob").starts, 0);
}

#[test]
fn standby_and_takeover_wait_for_a_restart_in_place_and_are_not_forgotten() {
    for lasting in [true, false] {
        let mut world = watched(POLICY);
        world.on_start("alice", "db", 1, Behaviour::Works(secs(3)));
        world.die("alice", "db", 1);
        let starting = |w: &mut World| w.state("alice", "db") == Some(GroupState::Starting);
        assert!(world.run_until_condition(secs(5), starting));
        let groups = db();
        let id = world.command("alice", Command::Standby { groups, lasting });
        settle_on(&mut world, "db", "bob");
        world.run_for(secs(1));
        assert!(
            world.answer("alice", id).unwrap().is_ok(),
            "{}",
            story(&world)
        );
        no_double(&world);
    }
}

#[test]
fn a_right_that_ends_during_a_restart_in_place_stops_it() {
    let mut world = World::new(&["alice", "bob"])
        .ping("gateway")
        .group("db", "alice", 2);
    for step in &mut world.cluster.groups[0].steps {
        step.policy = Some(POLICY);
    }
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.on_start("alice", "db", 1, Behaviour::Works(secs(20)));
    world.die("alice", "db", 1);
    let starting = |w: &mut World| w.state("alice", "db") == Some(GroupState::Starting);
    assert!(world.run_until_condition(secs(5), starting));
    world.cut_all_links("alice", "bob");
    world.set_ping_visible("alice", 0, false);
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}

#[test]
fn nothing_is_looked_at_in_maintenance() {
    let mut world = watched(POLICY);
    world.command(
        "bob",
        Command::Maintenance {
            groups: db(),
            on: true,
        },
    );
    world.run_for(secs(2));
    world.die("alice", "db", 1);
    world.run_for(secs(30));
    assert_eq!(
        times_decided(&world, "alice", "script0"),
        0,
        "{}",
        story(&world)
    );
    world.command(
        "bob",
        Command::Maintenance {
            groups: db(),
            on: false,
        },
    );
    let back = |w: &mut World| w.at("alice").running[&GroupName::new("db")] == [true; 3];
    until(&mut world, secs(10), back);
}

#[test]
fn without_a_monitor_nobody_looks() {
    let mut world = pair(1);
    world.die("alice", "db", 1);
    world.run_for(secs(60));
    assert_eq!(world.at("alice").starts, 2);
    assert_eq!(world.runs_on("db"), ["alice"]);
}

// --- Checks of a node ---

fn checked(fall: u32, rise: u32) -> World {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 1);
    world.cluster.health.checks.push(CheckPolicy {
        name: "web".into(),
        fall,
        rise,
        stays: false,
        group: None,
    });
    world
}

/// A check of one group, such as the state of its disk.
#[test]
fn a_check_of_one_group_bears_on_no_other() {
    let mut world = checked(1, 1).group("web", "alice", 1);
    let check = &mut world.cluster.health.checks[0];
    (check.stays, check.group) = (true, Some(GroupName::new("db")));
    world.start_all();
    settle_on(&mut world, "db", "alice");
    settle_on(&mut world, "web", "alice");
    world.fail_check("bob", "web", Some("outdated"));
    world.run_for(secs(5));
    world.crash("alice");
    settle_on(&mut world, "web", "bob");
    world.run_for(secs(60));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    world.fail_check("bob", "web", None);
    settle_on(&mut world, "db", "bob");
}

#[test]
fn a_check_that_lets_the_owner_stay_only_keeps_a_node_from_taking() {
    let mut world = checked(1, 1);
    world.cluster.health.checks[0].stays = true;
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.fail_check("alice", "web", Some("torn"));
    world.run_for(secs(30));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    // The other node fails it too, and so takes nothing over.
    world.fail_check("bob", "web", Some("torn"));
    world.run_for(secs(5));
    world.crash("alice");
    world.run_for(secs(60));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    world.fail_check("bob", "web", None);
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}

#[test]
fn a_failed_check_moves_what_the_node_has_whatever_auto_failback_says() {
    for auto_failback in [false, true] {
        let mut world = checked(2, 1).with(|c| c.auto_failback = auto_failback);
        world.start_all();
        settle_on(&mut world, "db", "alice");
        world.fail_check("alice", "web", Some("connection refused"));
        settle_on(&mut world, "db", "bob");
        let told = decisions(&world, "alice").join("\n");
        assert!(
            told.contains("check web fails: connection refused"),
            "{told}"
        );
        assert!(
            told.contains("offering it to bob: this node fails check web (connection refused)"),
            "{told}"
        );
        world.fail_check("alice", "web", None);
        world.run_for(secs(5));
        let owner = if auto_failback { "alice" } else { "bob" };
        assert_eq!(world.runs_on("db"), [owner], "{}", story(&world));
        no_double(&world);
    }
}

#[test]
fn one_failure_of_two_moves_nothing() {
    let mut world = checked(2, 1);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    for _ in 0..10 {
        world.fail_check("alice", "web", Some("slow"));
        world.run_for(secs(1));
        world.fail_check("alice", "web", None);
        world.run_for(secs(1));
    }
    assert_eq!(world.at("bob").starts, 0, "{}", story(&world));
}

#[test]
fn a_sick_node_keeps_what_nobody_else_can_run_and_says_so() {
    let mut world = checked(1, 1);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world.fail_check("bob", "web", Some("no route"));
    world.run_for(secs(2));
    world.fail_check("alice", "web", Some("no answer"));
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    let notes = world.status("alice").unwrap().groups[0].notes.join("\n");
    assert!(
        notes.contains("fails check web (no answer)")
            && notes.contains("bob fails check web (no route)"),
        "{notes}"
    );
    assert_eq!(
        times_decided(&world, "alice", "stays here"),
        1,
        "{}",
        story(&world)
    );
    // It moves as soon as the other node passes.
    world.fail_check("bob", "web", None);
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}

#[test]
fn a_node_is_no_candidate_before_its_check_has_passed() {
    let mut world = checked(2, 1);
    world.hang_check("alice", "web");
    world.fail_check("bob", "web", Some("no"));
    world.start_all();
    world.run_for(secs(20));
    assert!(world.runs_on("db").is_empty());
    let notes = world.status("bob").unwrap().groups[0].notes.join("\n");
    assert!(
        notes.contains("alice has no result of check web yet")
            && notes.contains("bob fails check web (no)"),
        "{notes}"
    );
    let takeover = |force| Command::Takeover {
        groups: db(),
        force,
    };
    let id = world.command("bob", takeover(false));
    world.run_for(ms(100));
    let refused = world.answer("bob", id).unwrap().unwrap_err();
    assert!(
        refused.contains("fails check web (no)") && refused.contains("--force"),
        "{refused}"
    );
    world.command("bob", takeover(true));
    settle_on(&mut world, "db", "bob");
    no_double(&world);
}

#[test]
fn a_cold_start_waits_for_the_first_result_at_the_preferred_node() {
    let mut world = checked(1, 1);
    world.fail_check("alice", "web", Some("still booting"));
    world.cluster.health.checks[0].fall = 3;
    world.start_all();
    world.run_for(ms(1500));
    assert!(world.runs_on("db").is_empty(), "{}", story(&world));
    world.fail_check("alice", "web", None);
    settle_on(&mut world, "db", "alice");
    assert_eq!(world.at("bob").starts, 0);
}

#[test]
fn a_restarted_daemon_keeps_what_runs_while_its_checks_have_no_result() {
    let mut world = checked(1, 1);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.hang_check("alice", "web");
    world.kill("alice");
    world.start("alice");
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["alice"], "{}", story(&world));
    assert_eq!(world.at("bob").starts, 0);
}

#[test]
fn a_group_goes_back_only_when_failback_when_says_yes_there() {
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 1)
        .with(|c| {
            c.auto_failback = true;
            c.failback_delay = secs(3);
            c.health.failback_when = true;
        });
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
    world.fail_check("alice", "failback_when", Some("30 s behind"));
    world.start("alice");
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    let waits = "does not go back to alice yet: failback_when on alice says: ";
    assert_eq!(
        times_decided(&world, "bob", waits),
        1,
        "once, although asked all the time"
    );
    world.fail_check("alice", "failback_when", Some("12 s behind"));
    world.run_for(secs(2));
    let notes = world.status("bob").unwrap().groups[0].notes.join("\n");
    assert!(notes.contains("it says: 12 s behind"), "{notes}");
    world.fail_check("alice", "failback_when", None);
    let ready = world.now;
    settle_on(&mut world, "db", "alice");
    assert!(
        world.now.since(ready) >= secs(3),
        "failback_delay counts from then"
    );
    no_double(&world);
}

// --- follow_connectivity ---

fn followed() -> World {
    followed_with(|_| {})
}

fn followed_with(change: impl Fn(&mut Cluster)) -> World {
    let mut world = World::new(&["alice", "bob"])
        .ping("gateway")
        .ping("uplink")
        .group("db", "alice", 1)
        .with(|c| {
            c.follow_connectivity = true;
            change(c);
        });
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(5));
    world
}

#[test]
fn a_group_moves_to_the_node_that_reaches_more_ping_nodes() {
    let mut world = followed();
    world.set_ping_visible("alice", 1, false);
    settle_on(&mut world, "db", "bob");
    assert_eq!(
        times_decided(
            &world,
            "alice",
            "offering it to bob: bob reaches more ping nodes"
        ),
        1
    );
    world.set_ping_visible("alice", 1, true);
    world.run_for(secs(20));
    assert_eq!(world.runs_on("db"), ["bob"], "equal moves nothing");
    no_double(&world);
}

#[test]
fn a_preferred_node_that_reaches_fewer_ping_nodes_gets_nothing_back() {
    let mut world = followed_with(|c| {
        c.auto_failback = true;
        c.failback_delay = ms(0);
    });
    world.set_ping_visible("alice", 0, false);
    settle_on(&mut world, "db", "bob");
    world.run_for(secs(20));
    assert_eq!(times_decided(&world, "bob", "offering it to alice"), 0);
    world.set_ping_visible("alice", 0, true);
    settle_on(&mut world, "db", "alice");
    no_double(&world);
}

#[test]
fn a_ping_node_that_nobody_reaches_moves_nothing_however_unevenly_it_dies() {
    for (first, pause) in [("alice", 0), ("alice", 300), ("bob", 300), ("alice", 150)] {
        let mut world = followed();
        let second = if first == "alice" { "bob" } else { "alice" };
        world.set_ping_visible(first, 1, false);
        world.run_for(ms(pause));
        world.set_ping_visible(second, 1, false);
        world.run_for(secs(20));
        assert_eq!(
            world.runs_on("db"),
            ["alice"],
            "{first} {pause}\n{}",
            story(&world)
        );
        assert_eq!(world.at("bob").starts, 0, "{first} {pause}");
    }
}

#[test]
fn a_ping_node_that_is_missed_for_a_moment_moves_nothing() {
    let mut world = followed();
    // Longer than deadping, so that it is noticed, but over within the settling time of two keepalives.
    let missed = |w: &mut World| !w.status("alice").unwrap().pings[1].up;
    world.set_ping_visible("alice", 1, false);
    assert!(world.run_until_condition(secs(5), missed));
    world.set_ping_visible("alice", 1, true);
    world.run_for(secs(20));
    assert_eq!(world.at("bob").starts, 0, "{}", story(&world));
}

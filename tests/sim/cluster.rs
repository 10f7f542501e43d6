//! Which node gets a group, and where it moves when a node dies or leaves.

use crate::*;
use had::engine::Command;
use had::model::status::Liveness;
use had::sim::World;

#[test]
fn both_start_and_the_preferred_node_gets_the_group_at_once() {
    let mut world = World::new(&["alice", "bob"]).group("db", "bob", 1);
    world.start_all();
    let begun = world.now;
    settle_on(&mut world, "db", "bob");
    assert!(
        world.now.since(begun) < ms(500),
        "no wait but two keepalives when everybody is heard"
    );
    no_double(&world);
}

#[test]
fn the_preferred_node_gets_the_group_however_the_starts_fall() {
    for preferred in ["alice", "bob"] {
        for between in 0..50 {
            let mut world = World::new(&["alice", "bob"]).group("db", preferred, 0);
            // Long enough that a node has looked at its resources before its heartbeat arrives.
            world.weather.delay = ms(20);
            world.start("alice");
            world.run_for(ms(between * 7));
            world.start("bob");
            settle_on(&mut world, "db", preferred);
        }
    }
}

#[test]
fn a_lone_node_waits_initdead_and_then_takes_all() {
    let mut world = World::new(&["alice", "bob"]).group("db", "bob", 0);
    world.start("alice");
    world.run_for(ms(3900));
    assert!(world.runs_on("db").is_empty(), "not before initdead");
    settle_on(&mut world, "db", "alice");
    assert!(
        decisions(&world, "alice")
            .iter()
            .any(|d| d.contains("nothing heard since this daemon started"))
    );
    let joined = "this node takes part in the cluster: every other node is heard, has left or counts as dead";
    assert!(decisions(&world, "alice").iter().any(|d| d == joined));
}

#[test]
fn a_dead_owner_is_replaced_at_deadtime_and_not_before() {
    let mut world = pair(1);
    let crashed = world.now;
    world.crash("alice");
    until(&mut world, secs(5), |w| w.runs_on("db") == ["bob"]);
    let took = world.now.since(crashed);
    assert!(
        took >= ms(1800) && took <= DEADTIME + ms(20),
        "{took:?}\n{}",
        story(&world)
    );
}

#[test]
fn a_survivor_says_how_long_it_waits_for_the_stops_of_a_dead_node() {
    let mut world = World::new(&["a", "b", "c"]).group("db", "a", 1).with(|c| {
        c.quorum = had::model::cluster::QuorumPolicy::Stop;
        c.groups[0].steps[1].removal = secs(60);
    });
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.crash("a");
    world.run_for(secs(10));
    assert!(world.runs_on("db").is_empty());
    let wanted = "a may still be stopping it, for 60 s at most";
    let said = |d: &Vec<String>| d.iter().filter(|d| d.contains(wanted)).count();
    assert_eq!(said(&decisions(&world, "b")), 1, "{}", story(&world));
    let notes = &world.status("b").unwrap().groups[0].notes;
    let noted = notes.iter().filter(|n| n.contains(wanted)).count();
    assert_eq!(noted, 1, "{notes:?}");
    world.run_for(secs(60));
    assert_eq!(world.runs_on("db"), ["b"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn a_clean_stop_hands_over_without_waiting_for_deadtime() {
    let mut world = pair(1);
    let told = world.now;
    world.command("alice", Command::Leave);
    settle_on(&mut world, "db", "bob");
    assert!(world.now.since(told) < ms(50), "{}", story(&world));
    world.run_for(secs(5));
    let status = world.status("bob").unwrap();
    assert_eq!(status.nodes[0].liveness, Liveness::Left);
    assert!(world.at("alice").engine.is_none(), "the daemon ends");
    no_double(&world);
}

#[test]
fn a_returning_node_takes_nothing_without_auto_failback() {
    let mut world = pair(1);
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
    for _ in 0..20 {
        world.start("alice");
        world.run_for(secs(6));
        assert_eq!(world.runs_on("db"), ["bob"]);
        world.crash("alice");
        world.run_for(secs(3));
    }
    assert_eq!(world.at("bob").starts, 2, "one start of each step");
    no_double(&world);
}

#[test]
fn with_auto_failback_the_owner_gives_it_back() {
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 1)
        .with(|c| c.auto_failback = true);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
    world.start("alice");
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["alice"]);
    no_double(&world);
}

#[test]
fn failback_waits_its_delay() {
    let mut world = World::new(&["alice", "bob"])
        .group("db", "alice", 0)
        .with(|c| {
            c.auto_failback = true;
            c.failback_delay = secs(30);
        });
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.crash("alice");
    settle_on(&mut world, "db", "bob");
    world.start("alice");
    world.run_for(secs(29));
    assert_eq!(world.runs_on("db"), ["bob"]);
    world.run_for(secs(2));
    assert_eq!(world.runs_on("db"), ["alice"]);
}

#[test]
fn two_groups_with_crossed_preferences_are_active_on_both_nodes() {
    let mut world = World::new(&["test1", "test2"])
        .group("10.1.88.200", "test1", 0)
        .group("10.1.88.201", "test2", 0)
        .with(|c| c.auto_failback = true);
    world.start_all();
    settle_on(&mut world, "10.1.88.200", "test1");
    settle_on(&mut world, "10.1.88.201", "test2");
    world.crash("test1");
    settle_on(&mut world, "10.1.88.200", "test2");
    assert_eq!(world.runs_on("10.1.88.201"), ["test2"]);
    world.start("test1");
    settle_on(&mut world, "10.1.88.200", "test1");
    assert_eq!(world.runs_on("10.1.88.201"), ["test2"]);
    no_double(&world);
}

#[test]
fn three_nodes_place_move_and_return_groups() {
    let mut world = World::new(&["a", "b", "c"])
        .group("g1", "a", 1)
        .group("g2", "b", 0)
        .group("g3", "c", 0)
        .with(|c| {
            c.auto_failback = true;
            c.quorum = had::model::cluster::QuorumPolicy::Stop;
        });
    world.start_all();
    for (group, node) in [("g1", "a"), ("g2", "b"), ("g3", "c")] {
        settle_on(&mut world, group, node);
    }
    world.crash("a");
    settle_on(&mut world, "g1", "b");
    world.command("b", Command::Leave);
    world.run_for(secs(5));
    // After one of three has left, the last node alone has 1 of 2 votes and must not go on.
    assert!(world.runs_on("g1").is_empty(), "{}", story(&world));
    world.start("a");
    world.run_for(secs(10));
    world.start("b");
    for (group, node) in [("g1", "a"), ("g2", "b"), ("g3", "c")] {
        settle_on(&mut world, group, node);
    }
    no_double(&world);
}

#[test]
fn five_nodes_spread_what_a_dead_node_had() {
    let mut world = World::new(&["a", "b", "c", "d", "e"]).with(|c| {
        c.quorum = had::model::cluster::QuorumPolicy::Stop;
    });
    for group in ["g1", "g2", "g3", "g4"] {
        world = world.group(group, "a", 0);
    }
    world.start_all();
    for group in ["g1", "g2", "g3", "g4"] {
        settle_on(&mut world, group, "a");
    }
    world.crash("a");
    world.run_for(secs(6));
    let mut owners: Vec<String> = ["g1", "g2", "g3", "g4"]
        .map(|g| world.runs_on(g).join("+"))
        .to_vec();
    owners.sort();
    assert_eq!(owners, ["b", "c", "d", "e"], "{}", story(&world));
    no_double(&world);
}

#[test]
fn the_times_of_the_first_users_file_behave() {
    // keepalive 2, deadtime 10, warntime 5, initdead 120, one gateway, auto_failback off.
    let mut world = World::new(&["test6", "test7"])
        .ping("10.1.88.254")
        .group("10.1.88.199", "test6", 2)
        .with(|c| {
            c.timing.keepalive = secs(2);
            c.timing.warntime = secs(5);
            c.timing.deadtime = secs(10);
            c.timing.deadping = secs(10);
            c.timing.initdead = secs(120);
            c.timing.margin = had::model::cluster::Timing::usual_margin(secs(2), secs(10));
        });
    world.start("test6");
    world.run_for(secs(119));
    assert!(world.runs_on("10.1.88.199").is_empty());
    world.run_for(secs(2));
    assert_eq!(world.runs_on("10.1.88.199"), ["test6"], "{}", story(&world));
    world.start("test7");
    world.run_for(secs(30));
    assert_eq!(world.runs_on("10.1.88.199"), ["test6"]);
    world.crash("test6");
    world.run_for(secs(7));
    assert!(world.runs_on("10.1.88.199").is_empty());
    world.run_for(secs(4));
    assert_eq!(world.runs_on("10.1.88.199"), ["test7"], "{}", story(&world));
    world.start("test6");
    world.run_for(secs(200));
    assert_eq!(world.runs_on("10.1.88.199"), ["test7"]);
    no_double(&world);
}

/// The nodes hear each other while one is still starting; the group must not go to whoever is quicker.
#[test]
fn at_a_cold_start_the_preferred_node_is_given_the_time_to_get_ready() {
    for first in ["alice", "bob"] {
        for offset in (0..=200).step_by(10) {
            let mut world = World::new(&["alice", "bob"])
                .ping("gateway")
                .group("db", "alice", 0)
                .group("web", "bob", 0);
            world.weather.delay = ms(20);
            world.start(first);
            world.run_for(ms(offset));
            world.start(if first == "alice" { "bob" } else { "alice" });
            world.run_for(secs(3));
            assert_eq!(
                world.runs_on("db"),
                ["alice"],
                "{first}, {offset} ms\n{}",
                story(&world)
            );
            assert_eq!(
                world.runs_on("web"),
                ["bob"],
                "{first}, {offset} ms\n{}",
                story(&world)
            );
        }
    }
}

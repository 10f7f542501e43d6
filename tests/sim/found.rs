//! Defects that random runs found, each reduced to a short scenario.

use crate::*;
use had::engine::{Action, Command, Event};
use had::model::cluster::QuorumPolicy;
use had::model::decision::What;
use had::model::heartbeat::GroupState;
use had::model::{GroupName, NodeName};
use had::sim::{Behaviour, World};

fn db() -> Vec<GroupName> {
    vec![GroupName::new("db")]
}

/// Three nodes that count votes, with one group on the first.
fn three(others: usize) -> World {
    let mut world = World::new(&["a", "b", "c"])
        .group("db", "a", others)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "a");
    world.run_for(secs(2));
    world
}

fn in_order(world: &World) {
    assert!(
        world.broken().is_empty(),
        "{:?}\n{}",
        world.broken(),
        story(world)
    );
    no_double(world);
}

#[test]
fn an_offer_stays_with_its_node_although_its_claim_makes_it_busier() {
    let mut world = three(0);
    world.weather_everywhere(had::sim::Weather {
        jitter: ms(5),
        ..had::sim::Weather::CALM
    });
    world.command("a", Command::Leave);
    world.run_for(ms(100));
    assert_eq!(world.runs_on("db").len(), 1);
    let offers = decisions(&world, "a")
        .iter()
        .filter(|d| d.contains("offering it to"))
        .count();
    assert_eq!(offers, 1, "{}", story(&world));
    in_order(&world);
}

#[test]
fn a_claim_that_must_be_withdrawn_at_once_is_not_made() {
    let mut world = three(0);
    // The node that is offered the group hears that another one, which it cannot hear, has claimed it.
    world.cut_all_links("b", "c");
    world.run_for(secs(3));
    standby_db(&mut world, "a");
    world.run_for(secs(3));
    let claims = ["b", "c"].map(|n| {
        decisions(&world, n)
            .iter()
            .filter(|d| d.contains("claiming (term"))
            .count()
    });
    assert!(
        claims.iter().all(|n| *n < 4),
        "{claims:?}\n{}",
        story(&world)
    );
    in_order(&world);
}

#[test]
fn nobody_recognises_a_claim_while_a_restarted_owner_looks_at_what_it_runs() {
    let mut world = three(1);
    // b cannot hear a, and knows only from c that a has the group.
    world.cut_all_links("a", "b");
    world.run_for(secs(5));
    world.kill("a");
    world.run_for(ms(500));
    world.start("a");
    world.run_for(secs(20));
    in_order(&world);
    assert_eq!(world.runs_on("db"), ["a"], "{}", story(&world));
    assert_eq!(
        world.at("a").stops,
        0,
        "what ran was kept\n{}",
        story(&world)
    );
}

#[test]
fn a_failed_start_with_a_slow_stop_is_a_failure_all_the_same() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 1);
    world.on_start("alice", "db", 1, Behaviour::Fails("no disk".into()));
    world.on_stop("alice", "db", 1, Behaviour::Works(secs(40)));
    world.start_all();
    world.run_for(secs(50));
    assert_eq!(
        world.state("alice", "db"),
        Some(GroupState::Failed),
        "{}",
        story(&world)
    );
    settle_on(&mut world, "db", "bob");
}

#[test]
fn after_a_gap_a_peer_that_was_dead_is_listened_for_too() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 0);
    world.cluster.groups[0].steps[0].addresses = false;
    world.on_start("alice", "db", 0, Behaviour::Fails("no".into()));
    world.start_all();
    settle_on(&mut world, "db", "bob");
    world.crash("bob");
    world.run_for(secs(5));
    world.freeze("alice");
    world.start("bob");
    settle_on(&mut world, "db", "bob");
    world.machine("alice").start_behaviour.clear();
    world.run_for(secs(60));
    // alice wakes up, remembers a dead bob and could run the group alone.
    world.thaw_deaf("alice");
    world.run_for(secs(5));
    in_order(&world);
    assert_eq!(world.runs_on("db"), ["bob"]);
}

#[test]
fn after_a_gap_a_start_under_way_is_given_up_when_its_right_is_over() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 1);
    world.cluster.groups[0].steps.reverse();
    world.on_start("alice", "db", 0, Behaviour::Works(secs(1)));
    world.start_all();
    world.run_for(ms(500));
    world.freeze("alice");
    world.run_for(secs(5));
    assert_eq!(world.state("bob", "db"), Some(GroupState::Online));
    world.thaw("alice");
    world.run_for(secs(5));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    assert_eq!(world.at("bob").stops, 0, "{}", story(&world));
}

#[test]
fn nodes_that_left_and_come_back_elsewhere_are_not_outvoted_by_the_last_one() {
    let mut world = three(0);
    world.kernel_leases = true;
    for node in ["b", "c"] {
        world.command(node, Command::Leave);
        world.run_for(secs(1));
    }
    world.cut_all_links("a", "b");
    world.cut_all_links("a", "c");
    world.start("b");
    world.start("c");
    world.run_for(secs(20));
    in_order(&world);
}

#[test]
fn a_node_that_left_and_is_back_unheard_is_known_by_hearsay() {
    let mut world = World::new(&["a", "b", "c"])
        .group("db", "c", 0)
        .with(|c| c.quorum = QuorumPolicy::Stop);
    world.start_all();
    settle_on(&mut world, "db", "c");
    world.command("a", Command::Leave);
    world.run_for(secs(1));
    world.cut_all_links("a", "c");
    world.start("a");
    world.run_for(secs(6));
    standby_db(&mut world, "c");
    settle_on(&mut world, "db", "b");
    world.command(
        "a",
        Command::Takeover {
            groups: db(),
            force: false,
        },
    );
    settle_on(&mut world, "db", "a");
    world.command("c", Command::Unstandby(db()));
    world.run_for(secs(5));
    assert_eq!(
        world.state("c", "db"),
        Some(GroupState::Offline),
        "{}",
        story(&world)
    );
    in_order(&world);
}

#[test]
fn an_announced_restart_that_outlives_the_lease_moves_and_stops_nothing() {
    let mut world = three(1);
    world.weather_everywhere(had::sim::Weather {
        delay: ms(5),
        ..had::sim::Weather::CALM
    });
    world.run_for(secs(1));
    world.command(
        "a",
        Command::Restart {
            back_within: secs(20),
        },
    );
    world.run_for(secs(3));
    assert!(world.at("a").engine.is_none());
    world.start("a");
    settle_on(&mut world, "db", "a");
    world.run_for(secs(5));
    assert_eq!(world.at("a").stops, 0, "{}", story(&world));
    in_order(&world);
}

#[test]
fn a_node_added_by_a_reload_is_waited_for() {
    let mut world = pair(0);
    let mut cluster = world.cluster.clone();
    cluster.nodes.push(had::model::NodeName::new("carol"));
    cluster.me = had::model::NodeName::new("alice");
    world.reload("alice", cluster);
    assert_eq!(
        world.status("alice").unwrap().phase,
        had::model::heartbeat::Phase::Init
    );
}

#[test]
fn a_reload_during_the_first_look_starts_only_the_new_definition() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 0);
    world.start_all();
    world.cluster.groups[0].steps[0].members = vec!["10.0.0.2".into()];
    for node in ["alice", "bob"] {
        let mut cluster = world.cluster.clone();
        cluster.me = had::model::NodeName::new(node);
        world.reload(node, cluster);
    }
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    let starts = decisions(&world, "alice")
        .iter()
        .filter(|d| d.contains("starting here"))
        .count();
    assert_eq!(starts, 1, "{}", story(&world));
}

#[test]
fn a_reload_before_adoption_stops_what_runs_by_its_old_definition() {
    let mut world = pair(1);
    world.crash("bob");
    world.kill("alice");
    world.start("alice");
    // The group was found running and is kept while alice waits for bob; then the file changes.
    world.run_for(secs(1));
    assert_eq!(world.state("alice", "db"), Some(GroupState::Unknown));
    world.cluster.groups[0].steps[1].members = vec!["other".into()];
    let mut cluster = world.cluster.clone();
    cluster.me = had::model::NodeName::new("alice");
    world.reload("alice", cluster);
    world.run_for(secs(10));
    assert_eq!(world.at("alice").stops, 2, "{}", story(&world));
    settle_on(&mut world, "db", "alice");
}

#[test]
fn an_address_lost_while_the_rest_is_still_started_is_no_success() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 1);
    world.on_start("alice", "db", 1, Behaviour::Works(secs(5)));
    world.start_all();
    world.run_for(secs(2));
    assert_eq!(world.state("alice", "db"), Some(GroupState::Starting));
    world.lose_step_noticed("alice", "db", 0, "somebody removes it again and again");
    settle_on(&mut world, "db", "bob");
    assert_eq!(world.state("alice", "db"), Some(GroupState::Failed));
    no_double(&world);
}

/// Found by a replay: an input at the very time of a deadline made the engine forget the deadline until the next heartbeat.
#[test]
fn a_deadline_is_not_forgotten_when_something_is_told_at_that_very_moment() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 0);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.crash("alice");
    let late = |w: &mut World| {
        decisions(w, "bob")
            .iter()
            .any(|d| d.contains("alice is late"))
    };
    assert!(world.run_until_condition(secs(5), late));
    let late = world.at("bob").engine.clone().unwrap();
    // When the other node would be declared dead, with no input but deadlines.
    let mut engine = late.clone();
    let is_dead = |actions: &[Action]| {
        let dead = What::PeerDead(NodeName::new("alice"));
        let says = |a: &Action| matches!(a, Action::Record(d) if d.what == dead);
        actions.iter().any(says)
    };
    let dead = loop {
        let due = engine.next_deadline();
        if is_dead(&engine.handle(due, Event::DeadlineReached)) {
            break due;
        }
    };
    let mut engine = late;
    while engine.next_deadline() < dead {
        let due = engine.next_deadline();
        drop(engine.handle(due, Event::DeadlineReached));
    }
    assert!(!is_dead(&engine.handle(dead, Event::Saved { version: 99 })));
    let due = engine.next_deadline();
    assert!(due <= dead + ms(1), "{:?} late", due.since(dead));
}

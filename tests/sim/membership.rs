//! Which nodes are alive, and what silence on one link means.

use crate::*;
use had::model::status::Liveness;
use had::sim::{CutDirection, World};

#[test]
fn a_silent_link_alone_moves_nothing() {
    let mut world = World::new(&["alice", "bob"])
        .links(2)
        .group("db", "alice", 0);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(1));
    world.cut("alice", "bob", 0, CutDirection::Both);
    world.run_for(DEADTIME * 10);
    assert_eq!(world.runs_on("db"), ["alice"]);
    assert_eq!(world.at("alice").stops, 0);
    let status = world.status("bob").unwrap();
    assert_eq!(status.nodes[0].liveness, Liveness::Active);
    let links: Vec<bool> = status.nodes[0].links.iter().map(|l| l.hears).collect();
    assert_eq!(links, [false, true]);
    assert!(
        status.nodes[0].notes[0].contains("not heard on eth0"),
        "{:?}",
        status.nodes[0].notes
    );
}

#[test]
fn a_short_silence_is_late_and_moves_nothing() {
    let mut world = pair(0);
    world.cut_all_links("alice", "bob");
    world.run_for(ms(1000));
    assert_eq!(
        world.status("bob").unwrap().nodes[0].liveness,
        Liveness::Late
    );
    world.heal();
    world.run_for(ms(500));
    assert_eq!(
        world.status("bob").unwrap().nodes[0].liveness,
        Liveness::Active
    );
    assert_eq!(world.at("bob").starts, 0);
    assert_eq!(world.runs_on("db"), ["alice"]);
}

#[test]
fn a_node_that_loses_its_store_is_heard_again() {
    let mut world = pair(0);
    world.run_for(secs(2));
    world.crash("bob");
    world.machine("bob").kept = had::engine::PersistentState::default();
    world.machine("bob").kept.generation = had::model::Generation(0);
    // The peer remembers generation 1 with many heartbeats; the new life begins with generation 1 again.
    world.start("bob");
    world.run_for(secs(5));
    let status = world.status("alice").unwrap();
    assert_eq!(
        status.nodes[1].liveness,
        Liveness::Active,
        "{}",
        story(&world)
    );
    assert_eq!(world.runs_on("db"), ["alice"]);
    assert!(
        decisions(&world, "bob")
            .iter()
            .any(|d| d.contains("this node's state file was lost"))
    );
}

#[test]
fn a_replayed_heartbeat_changes_nothing_but_a_counter() {
    use had::model::{Generation, Sequence};
    let mut world = pair(0);
    world.cut("alice", "bob", 0, CutDirection::OneWay);
    world.run_for(ms(100));
    let before = world.status("bob").unwrap();
    let present = before.nodes[0].generation.unwrap();
    let former = Generation(present.0 - 1);
    // One of this life, and one of the life before with a number that this one has not reached.
    for (generation, sequence) in [(present, Sequence(1)), (former, Sequence(1_000_000))] {
        let old = had::model::heartbeat::Heartbeat {
            phase: had::model::heartbeat::Phase::Left,
            deadtime: DEADTIME,
            quorate: false,
            digest: 1,
            ..had::model::heartbeat::Heartbeat::new(
                had::model::NodeName::new("alice"),
                generation,
                sequence,
            )
        };
        let event = had::engine::Event::Heard {
            from: None,
            link: had::model::LinkName::new("eth0"),
            heartbeat: Box::new(old),
        };
        let mut engine = world.at("bob").engine.as_ref().unwrap().clone();
        let orders = engine.handle(world.now, event);
        assert!(orders.is_empty(), "{orders:?}");
        let after = engine.status(world.now);
        assert_eq!(after.nodes[0].liveness, Liveness::Active);
        assert_eq!(after.counters.len(), 1, "{:?}", after.counters);
    }
}

#[test]
fn different_configurations_are_told_and_nothing_changes_hands() {
    let mut world = World::new(&["alice", "bob"]).group("db", "alice", 0);
    world.start("alice");
    let mut other = world.cluster.clone();
    other.me = had::model::NodeName::new("bob");
    other.digest = 2;
    world.start_with("bob", other);
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(1));
    let status = world.status("alice").unwrap();
    assert!(
        status.nodes[1]
            .notes
            .iter()
            .any(|n| n.contains("configuration differs"))
    );
    let id = world.command(
        "bob",
        had::engine::Command::Takeover {
            groups: vec![had::model::GroupName::new("db")],
            force: false,
        },
    );
    world.run_for(ms(10));
    let refused = world.answer("bob", id).unwrap().unwrap_err();
    assert!(refused.contains("configuration differs"), "{refused}");
    assert_eq!(world.runs_on("db"), ["alice"]);
}

/// Who stays tells a node that starts later: nobody waits for initdead to hear a node that was stopped in order.
#[test]
fn a_goodbye_is_passed_on_to_a_node_that_starts_later() {
    for left in [true, false] {
        let mut world = World::new(&["alice", "bob", "carol"])
            .group("db", "alice", 0)
            .with(|c| {
                c.quorum = had::model::cluster::QuorumPolicy::Stop;
                c.timing.initdead = secs(60);
            });
        world.start_all();
        settle_on(&mut world, "db", "alice");
        if left {
            world.command("carol", Command::Leave);
        } else {
            world.crash("carol");
        }
        world.run_for(secs(20));
        world.crash("bob");
        world.run_for(secs(10));
        world.start("bob");
        let started = world.now;
        let takes_part = |w: &mut World| w.status("bob").unwrap().waiting.is_none();
        until(&mut world, secs(70), takes_part);
        let took = world.now.since(started);
        // Rights that rest on the former life of bob last that long.
        let wanted = if left { DEADTIME } else { secs(60) };
        let is_so = took >= wanted && took < wanted + ms(500);
        assert!(is_so, "{left} {took:?}\n{}", story(&world));
    }
}

//! With constant faults a cluster comes to rest. Every rule that moves a group, against every other.

use crate::*;
use had::engine::Command;
use had::model::decision::{Because, What};
use had::model::health::CheckPolicy;
use had::model::{GroupName, NodeName};
use had::sim::{Behaviour, World};

/// One constant condition of a pair with two gateways.
type Condition = (&'static str, fn(&mut World));

const CONDITIONS: [Condition; 10] = [
    ("alice misses a gateway", |w| {
        w.set_ping_visible("alice", 0, false);
    }),
    ("bob misses a gateway", |w| {
        w.set_ping_visible("bob", 0, false);
    }),
    ("bob misses both gateways", |w| {
        w.set_ping_visible("bob", 0, false);
        w.set_ping_visible("bob", 1, false);
    }),
    ("alice fails a check", |w| {
        w.fail_check("alice", "disk", Some("full"));
    }),
    ("bob fails a check", |w| {
        w.fail_check("bob", "disk", Some("full"));
    }),
    ("bob fails a check that lets the owner stay", |w| {
        w.fail_check("bob", "lag", Some("behind"));
    }),
    ("alice gave it away", |w| {
        let groups = vec![GroupName::new("db")];
        let lasting = false;
        w.command("alice", Command::Standby { groups, lasting });
    }),
    ("bob was told to take it", |w| {
        let groups = vec![GroupName::new("db")];
        let force = false;
        w.command("bob", Command::Takeover { groups, force });
    }),
    ("its start fails on bob", |w| {
        w.on_start("bob", "db", 1, Behaviour::Fails("no".into()));
    }),
    ("alice is not ready to take it back", |w| {
        w.fail_check("alice", "failback_when", Some("behind"));
    }),
];

fn check(name: &str, stays: bool) -> CheckPolicy {
    CheckPolicy {
        name: name.into(),
        fall: 1,
        rise: 1,
        stays,
        group: None,
    }
}

fn cluster(failback: bool, follow: bool) -> World {
    let mut world = World::new(&["alice", "bob"])
        .ping("gateway1")
        .ping("gateway2")
        .group("db", "alice", 1)
        .with(|c| {
            c.auto_failback = failback;
            c.follow_connectivity = follow;
            c.health.checks = vec![check("disk", false), check("lag", true)];
            c.health.failback_when = true;
        });
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world
}

/// The nodes on which it came up, one after the other, since this time.
fn owners(world: &World, since: had::model::Time) -> Vec<NodeName> {
    let mut told = Vec::new();
    for node in ["alice", "bob"] {
        let online = |d: &had::model::decision::Decision| d.what == What::Online;
        let up = world.at(node).decisions.iter();
        let up = up.filter(|(at, d)| *at > since && online(d));
        told.extend(up.map(|(at, _)| (*at, NodeName::new(node))));
    }
    told.sort();
    let mut owners: Vec<NodeName> = told.into_iter().map(|(_, node)| node).collect();
    owners.dedup();
    owners
}

fn comes_to_rest(failback: bool, follow: bool) {
    for (i, (one, first)) in CONDITIONS.iter().enumerate() {
        for (other, second) in &CONDITIONS[i..] {
            let mut world = cluster(failback, follow);
            let began = world.now;
            first(&mut world);
            world.run_for(secs(2));
            second(&mut world);
            world.run_for(secs(8));
            let settled = world.now;
            world.run_for(secs(5));
            let told = || format!("{one}, {other}\n{}", story(&world));
            assert!(owners(&world, settled).is_empty(), "moves on: {}", told());
            let moves = owners(&world, began).len();
            assert!(moves <= 3, "{moves} moves: {}", told());
            let decisions = ["alice", "bob"].map(|n| world.at(n).decisions.clone());
            let mut damped = decisions.iter().flatten();
            let damped = damped.any(|(_, d)| d.because == Because::MovedOften);
            assert!(!damped, "only damping ended it: {}", told());
        }
    }
}

#[test]
fn every_pair_of_reasons_comes_to_rest() {
    comes_to_rest(false, false);
}

#[test]
fn every_pair_of_reasons_comes_to_rest_with_failback() {
    comes_to_rest(true, false);
}

#[test]
fn every_pair_of_reasons_comes_to_rest_with_ipfail() {
    comes_to_rest(false, true);
}

#[test]
fn every_pair_of_reasons_comes_to_rest_with_failback_and_ipfail() {
    comes_to_rest(true, true);
}

/// A check that comes and goes moves a group three times a minute, and no more.
#[test]
fn a_group_that_has_moved_three_times_stays_where_it_is_and_says_so() {
    let mut world = cluster(false, false);
    let began = world.now;
    for (ill, well) in [("alice", "bob"), ("bob", "alice"), ("alice", "bob")] {
        world.fail_check(ill, "disk", Some("full"));
        world.fail_check(well, "disk", None);
        settle_on(&mut world, "db", well);
    }
    world.fail_check("bob", "disk", Some("full"));
    world.fail_check("alice", "disk", None);
    world.run_for(secs(10));
    assert_eq!(world.runs_on("db"), ["bob"], "{}", story(&world));
    let said = world.status("bob").unwrap().groups[0].notes.join("\n");
    assert!(said.contains("moved three times within a minute"), "{said}");
    settle_on_later(&mut world, began);
}

/// When the minute is over, it moves.
fn settle_on_later(world: &mut World, began: had::model::Time) {
    until(world, secs(70), |w| w.runs_on("db") == ["alice"]);
    assert!(world.now.since(began) >= secs(60), "{}", story(world));
    no_double(world);
}

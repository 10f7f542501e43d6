//! Scenarios of two to five nodes in virtual time, on the engine that the daemon runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::cast_precision_loss, clippy::format_collect)] // times and stories, for people to read

mod agreement;
mod availability;
mod cluster;
mod confirmed_dead;
mod failures;
mod fencing;
mod found;
mod freshness;
mod handover;
mod health;
mod identity;
mod lab_found;
mod machine;
mod machine_changes;
mod membership;
mod operator;
mod other_version;
mod partition;
mod parts;
mod promise;
mod promises;
mod recording;
mod relay;
mod replays;
mod rest;
mod restart;
mod rights;
mod rules;
mod scripts;
mod swarm;
mod voters;
mod votes;
mod witness;

use std::time::Duration;

use had::engine::Command;
use had::model::GroupName;
use had::model::decision::Decision;
use had::sim::World;

pub const DEADTIME: Duration = Duration::from_secs(2);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Runs until the group is online on this node and nowhere else.
pub fn settle_on(world: &mut World, group: &str, owner: &str) {
    use had::model::heartbeat::GroupState;
    let there = world.run_until_condition(secs(30), |w| {
        w.runs_on(group) == [owner] && w.state(owner, group) == Some(GroupState::Online)
    });
    assert!(
        there,
        "{group} did not come up on {owner}\n{}",
        story(world)
    );
}

/// Runs until a condition holds.
pub fn until(world: &mut World, at_most: Duration, is: impl FnMut(&mut World) -> bool) {
    let is_so = world.run_until_condition(at_most, is);
    assert!(is_so, "not within {at_most:?}\n{}", story(world));
}

/// All decisions of all nodes in order, for the message of a failed test.
pub fn story(world: &World) -> String {
    let names: Vec<String> = world
        .cluster
        .nodes
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut all: Vec<(u64, String)> = Vec::new();
    for name in &names {
        let told = world.at(name).decisions.clone();
        all.extend(
            told.into_iter()
                .map(|(at, d)| (at.0, format!("{name}: {d}"))),
        );
    }
    all.sort();
    let line = |(at, line): &(u64, String)| {
        let since = std::time::Duration::from_nanos(at.saturating_sub(1_000_000_000_000));
        format!("{since:>10.3?} {line}")
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All decisions of a node as text.
pub fn decisions(world: &World, name: &str) -> Vec<String> {
    world
        .at(name)
        .decisions
        .iter()
        .map(|(_, d): &(_, Decision)| d.to_string())
        .collect()
}

/// Runs until a group is online at one of these nodes.
pub fn settle_on_one_of(world: &mut World, group: &str, nodes: &[&str]) {
    let on_one = |w: &mut World| matches!(w.runs_on(group)[..], [one] if nodes.contains(&one));
    let settled = world.run_until_condition(secs(120), on_one);
    assert!(settled, "{group} is on none of {nodes:?}\n{}", story(world));
}

pub fn no_double(world: &World) {
    let doubles = world.doubles();
    assert!(
        doubles.is_empty(),
        "two owners: {doubles:?}\n{}",
        story(world)
    );
}

/// Puts a node in standby for the group db.
pub fn standby_db(world: &mut World, node: &str) {
    let groups = vec![GroupName::new("db")];
    let lasting = true;
    world.command(node, Command::Standby { groups, lasting });
}

/// Two nodes that have started, with the group db on alice.
pub fn pair(others: usize) -> World {
    started(World::new(&["alice", "bob"]).group("db", "alice", others))
}

/// The same with a gateway as ping node.
pub fn pair_with_gateway(others: usize) -> World {
    let world = World::new(&["alice", "bob"]).ping("gateway");
    started(world.group("db", "alice", others))
}

fn started(mut world: World) -> World {
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

/// Turns all addresses into other resources, which no address probe finds.
pub fn no_address(world: &mut World) {
    for group in &mut world.cluster.groups {
        for step in &mut group.steps {
            step.addresses = false;
        }
    }
}

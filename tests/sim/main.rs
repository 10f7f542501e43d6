//! Scenarios of two to five nodes in virtual time, on the engine that the daemon runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::cast_precision_loss, clippy::format_collect)] // times and stories, for people to read

mod cluster;
mod failures;
mod found;
mod handover;
mod health;
mod lab_found;
mod membership;
mod partition;
mod parts;
mod promise;
mod promises;
mod recording;
mod replays;
mod restart;
mod rights;
mod rules;
mod scripts;
mod swarm;

use std::time::Duration;

use had::model::decision::Decision;
use had::sim::World;

pub const DEADTIME: Duration = Duration::from_secs(2);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Runs until the group runs at exactly this place and is online there.
pub fn settle_on(world: &mut World, group: &str, owner: &str) {
    use had::model::heartbeat::GroupState;
    let there = world.run_till(secs(30), |w| {
        w.runs_on(group) == [owner] && w.state(owner, group) == Some(GroupState::Online)
    });
    assert!(
        there,
        "{group} did not come up on {owner}\n{}",
        story(world)
    );
}

/// All that every node decided, in order: shown when a scenario goes wrong.
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

/// Everything a node decided about a group, as text.
pub fn decisions(world: &World, name: &str) -> Vec<String> {
    world
        .at(name)
        .decisions
        .iter()
        .map(|(_, d): &(_, Decision)| d.to_string())
        .collect()
}

pub fn no_double(world: &World) {
    let doubles = world.doubles();
    assert!(
        doubles.is_empty(),
        "two owners: {doubles:?}\n{}",
        story(world)
    );
}

/// Two nodes that have come up with one group on alice.
pub fn pair(others: usize) -> World {
    let mut world = World::of(&["alice", "bob"]).group("db", "alice", others);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

/// The same with a gateway as arbiter.
pub fn pair_with_gateway(others: usize) -> World {
    let mut world = World::of(&["alice", "bob"])
        .ping("gateway")
        .group("db", "alice", others);
    world.start_all();
    settle_on(&mut world, "db", "alice");
    world.run_for(secs(2));
    world
}

/// Makes scripts of all addresses: nothing that a probe on the wire could find.
pub fn no_address(world: &mut World) {
    for group in &mut world.cluster.groups {
        for step in &mut group.steps {
            step.addresses = false;
        }
    }
}

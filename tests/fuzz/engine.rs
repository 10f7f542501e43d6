//! What one says that knows the secret and means harm, or whose memory is broken: the engine believes what it cannot
//! disprove, but it neither dies of it nor spins nor grows.

use std::time::Duration;

use had::engine::{Engine, Event};
use had::model::heartbeat::{GroupReport, Heartbeat, Intent};
use had::model::{Generation, GroupName, NodeName, Sequence, Term, Time};
use had::sim::{Invariant, Random, World};
use had::wire::decode;

use crate::datagram::{CLUSTER, WORDS, framed, full, keys, unsigned};
use crate::harness::{Target, number_of};
use crate::mutate::mutated;

/// Heartbeats of one case.
const HEARD: usize = 12;
/// Happenings of a case; a quiet cluster has some hundred in that time.
const STEPS: u64 = 20_000;
/// What an engine of two nodes and two groups may weigh, in characters; usual are 10,000.
const HEAVY: usize = 60_000;

/// Two nodes that run and hear each other.
fn world(random: &mut Random) -> World {
    let mut world = World::new(&["alice", "bob"])
        .links(2)
        .group("g1", "alice", 1)
        .group("g2", "bob", 0);
    if random.chance(500) {
        world = world.ping("gateway");
    }
    world.random = Random::new(random.number());
    world.start_all();
    world.run_for(Duration::from_millis(random.below(8000)));
    world
}

/// Makes a heartbeat likely to be heard: of a present member, in its present life, and newer than the last.
fn plausible(random: &mut Random, heartbeat: &mut Heartbeat, newest: u64) {
    if random.chance(900) {
        heartbeat.src = NodeName::new(random.pick(&["alice", "bob"]).unwrap());
    }
    if random.chance(800) {
        heartbeat.generation = Generation(random.below(3));
    }
    if random.chance(900) {
        heartbeat.sequence = Sequence(1000 + newest);
    }
}

/// How much an engine knows.
fn weight(engine: &Engine) -> usize {
    format!("{engine:?}").len()
}

/// Of the promises only this one is kept against a member that lies.
fn bounded(world: &World) {
    let broken = world
        .broken()
        .iter()
        .find(|b| b.invariant == Invariant::Bounds);
    assert_eq!(broken, None);
}

fn sound(world: &World, name: &str) {
    if let Some(engine) = &world.at(name).engine {
        let weight = weight(engine);
        assert!(weight < HEAVY, "{name} weighs {weight}: {engine:#?}");
        // Whoever looks at it must get something to look at.
        drop(world.status(name));
    }
}

#[test]
fn no_believed_heartbeat_does_harm() {
    let target = Target {
        name: "engine",
        runs: 100,
        examples: unsigned(),
        words: WORDS,
    };
    target.fuzz(|bytes| {
        let mut random = Random::new(number_of(bytes));
        let mut world = world(&mut random);
        let begin = world.steps;
        for newest in 0..HEARD as u64 {
            let more = if newest == 0 {
                bytes.to_vec()
            } else {
                mutated(&mut random, &[bytes.to_vec()], WORDS)
            };
            let Ok(mut heartbeat) = decode(&framed(&more), &keys(), CLUSTER) else {
                continue;
            };
            plausible(&mut random, &mut heartbeat, newest);
            let to = if heartbeat.src.as_str() == "alice" {
                "bob"
            } else {
                "alice"
            };
            world.forge(to, usize::from(random.chance(500)), heartbeat);
            world.run_for(Duration::from_millis(random.below(500)));
        }
        world.run_for(Duration::from_secs(5));
        assert!(
            world.steps < begin + STEPS,
            "busy: {} steps",
            world.steps - begin
        );
        bounded(&world);
        sound(&world, "alice");
        sound(&world, "bob");
    });
}

/// A peer that names other groups in every heartbeat.
#[test]
fn a_peer_that_invents_groups_and_nodes_fills_no_memory() {
    let mut world = World::new(&["alice", "bob"]).group("g1", "alice", 0);
    world.start_all();
    world.run_for(Duration::from_secs(8));
    let mut engine = world.at("alice").engine.clone().unwrap();
    let before = weight(&engine);
    let mut invented = full("bob", "alice");
    for n in 0..3_000_u64 {
        invented.sequence = Sequence(1_000_000 + n);
        let name = |k| GroupName::new(&format!("invented{n}-{k}"));
        invented.groups = (0..3)
            .map(|k| GroupReport {
                group: name(k),
                ..full("bob", "alice").groups[0].clone()
            })
            .collect();
        invented.intent = Intent {
            standby: vec![name(9)],
            ..Intent::default()
        };
        invented.heard[0].node = NodeName::new(&format!("invented{n}"));
        let now = Time(world.now.0 + n * 1_000_000);
        let link = had::model::LinkName::new("eth0");
        let heartbeat = Box::new(invented.clone());
        // What it orders is nobody's concern here.
        drop(engine.handle(
            now,
            Event::Heard {
                link,
                from: None,
                heartbeat,
            },
        ));
    }
    let after = weight(&engine);
    assert!(after < before + 20_000, "from {before} to {after}");
}

/// The greatest numbers there are, where they would do most harm: an engine at its end still runs, and says so.
#[test]
fn the_greatest_numbers_end_nothing() {
    let mut world = World::new(&["alice", "bob"]).group("g1", "alice", 0);
    world.start_all();
    world.run_for(Duration::from_secs(8));
    let mut last = full("bob", "alice");
    last.sequence = Sequence(u64::MAX);
    last.generation = Generation(u64::MAX);
    last.deadtime = Duration::MAX;
    last.heard[0].generation = Generation(u64::MAX);
    last.heard[0].sequence = Sequence(u64::MAX);
    last.intent.back_within = Some(Duration::MAX);
    last.groups[0].term = Term(u64::MAX);
    for _ in 0..3 {
        world.forge("alice", 0, last.clone());
        world.run_for(Duration::from_secs(3));
    }
    assert!(world.status("alice").is_some());
    sound(&world, "alice");
    bounded(&world);
}

//! Random runs: faults for a while, watched at every step; then all faults end, and every group must run exactly once.
//!
//! `HAD_SWARM_RUNS` says how many runs of each class, `HAD_SWARM_SEED` replays one and tells its story.

use std::time::Duration;

use crate::chaos::{Chaos, Faults};
use crate::*;
use had::model::cluster::{QuorumPolicy, Step};
use had::model::heartbeat::GroupState;
use had::sim::{Random, World};

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// With every fault ended and all forgiven, all groups must run within this.
const SETTLED: Duration = Duration::from_secs(30);

/// A kind of cluster, and the faults under which it promises that nothing ever runs twice.
pub struct Class {
    pub name: &'static str,
    pub nodes: u64,
    pub more_nodes: u64,
    pub pings: usize,
    pub quorum: QuorumPolicy,
    pub steps: fn(&mut Random) -> Vec<Step>,
    pub kernel_leases: bool,
    pub faults: Faults,
}

/// What outlives a run: its length in steps and in simulated time.
#[derive(Default)]
struct Tally {
    steps: u64,
    simulated: Duration,
}

fn world_of(class: &Class, seed: u64) -> World {
    let mut random = Random::new(seed);
    let many = class.nodes + random.below(class.more_nodes + 1);
    let names = NODES.get(..usize::try_from(many).unwrap()).unwrap();
    let mut world = World::of(names);
    for ping in 0..class.pings {
        world = world.ping(&format!("gateway{ping}"));
    }
    world.cluster.quorum = class.quorum;
    for group in ["g1", "g2"]
        .iter()
        .take(1 + usize::from(random.chance(400)))
    {
        let preferred = *random.pick(names).unwrap();
        world = world.group(group, preferred, 0);
        let steps = (class.steps)(&mut random);
        world.cluster.groups.last_mut().unwrap().steps = steps;
    }
    world.cluster.auto_failback = random.chance(300);
    world.cluster.follow_connectivity = random.chance(300);
    world.kernel_leases = class.kernel_leases;
    for name in names {
        world.machine(name).lateness = ms(*random.pick(&[0, 0, 5, 100]).unwrap());
        let ppm = i32::try_from(random.below(1001)).unwrap() - 500;
        let local = had::model::Time(1_000_000_000 + random.below(1_000_000_000_000));
        world.set_clock(name, local, ppm);
    }
    world.random = random;
    world
}

/// What went wrong in a run, if anything.
fn run(class: &Class, seed: u64, tally: &mut Tally) -> Option<String> {
    let mut world = world_of(class, seed);
    let mut chaos = Chaos::new(&world, class.faults.clone());
    let began = world.now;
    let wrong = course(&mut world, &mut chaos);
    tally.steps += world.steps;
    tally.simulated += world.now.since(began);
    let told = std::env::var("HAD_SWARM_SEED").is_ok();
    wrong.map(|wrong| {
        let story = if told {
            tale(&world, &chaos)
        } else {
            String::new()
        };
        format!("{}, HAD_SWARM_SEED={seed}: {wrong}\n{story}", class.name)
    })
}

fn course(world: &mut World, chaos: &mut Chaos) -> Option<String> {
    if world.random.chance(800) {
        world.start_all();
    }
    let end = world.now + world.random.between(secs(8), secs(25));
    while world.now < end {
        let pause = chaos.pause(world);
        if world.run_till(pause, bad) {
            return why(world);
        }
        chaos.strike(world);
        if let Some(last) = chaos.faults.quiet {
            // One fault at a time: it lasts, it ends, and all is calm again.
            let lasts = world.random.between(ms(0), last * 2);
            if world.run_till(lasts, bad) {
                return why(world);
            }
            chaos.end(world);
        }
    }
    let forgiven = world.random.chance(980);
    chaos.end(world);
    // What is under way comes to its end before an administrator judges it.
    let slow = chaos.faults.slow_stops.unwrap_or_default() * 4;
    if world.run_till(slow, bad) {
        return why(world);
    }
    if forgiven {
        chaos.make_amends(world);
    } else {
        // Failures expire by themselves, and every command finds its end.
        if world.run_till(secs(1300), bad) {
            return why(world);
        }
        if let Some((node, _, id)) = unanswered(world, chaos) {
            return Some(format!("command {id} at {node} was never answered"));
        }
        chaos.make_amends(world);
    }
    let mut since = None;
    let settled = world.run_till(SETTLED + slow, |w| {
        let now = w.now;
        since = if whole(w) { since.or(Some(now)) } else { None };
        bad(w) || since.is_some_and(|at| now >= at + secs(3))
    });
    why(world).or_else(|| (!settled).then(|| format!("not settled: {}", places(world))))
}

fn unanswered(world: &World, chaos: &Chaos) -> Option<(String, u64, u64)> {
    let open = |(node, _, id): &&(String, u64, u64)| {
        world.at(node).engine.is_some() && world.answer(node, *id).is_none()
    };
    chaos.asked.iter().find(open).cloned()
}

fn bad(world: &mut World) -> bool {
    world.was_double() || !world.broken().is_empty()
}

fn why(world: &World) -> Option<String> {
    if let Some(broken) = world.broken().first() {
        return Some(format!(
            "{broken} (at {:.3})",
            world.now.0 as f64 / 1e9 - 1000.0
        ));
    }
    let double = world.doubles().first().cloned()?;
    let at = double.from.0 as f64 / 1e9 - 1000.0;
    Some(format!(
        "{} runs on {:?} at {at:.3}",
        double.group, double.on
    ))
}

/// Every group runs completely, in one place, and its node says so.
fn whole(world: &World) -> bool {
    world.cluster.groups.iter().all(|g| {
        let [owner] = world.runs_on(g.name.as_str())[..] else {
            return false;
        };
        let steps = world.at(owner).running.get(&g.name);
        steps.is_some_and(|s| s.len() == g.steps.len() && s.iter().all(|r| *r))
            && world.state(owner, g.name.as_str()) == Some(GroupState::Online)
    })
}

fn places(world: &World) -> String {
    let mut all = String::new();
    for g in &world.cluster.groups {
        all += &format!("{} runs on {:?};", g.name, world.runs_on(g.name.as_str()));
        for node in world.names() {
            let state = world.state(node.as_str(), g.name.as_str());
            all += &format!(" {node}: {state:?}");
        }
    }
    all
}

fn tale(world: &World, chaos: &Chaos) -> String {
    let mut lines: Vec<(u64, String)> = chaos
        .diary
        .iter()
        .map(|(at, what)| (at.0, format!("      **** {what}")))
        .collect();
    for name in world.names() {
        let told = world.at(name.as_str()).decisions.iter();
        lines.extend(told.map(|(at, d)| (at.0, format!("{name}: {d}"))));
    }
    lines.sort_by_key(|(at, _)| *at);
    let each = |(at, line): &(u64, String)| format!("{:>10.4} {line}\n", *at as f64 / 1e9 - 1000.0);
    let statuses = world
        .names()
        .map(|n| format!("{n}: {:?}\n", world.status(n.as_str()).map(|s| s.groups)));
    lines.iter().map(each).chain(statuses).collect()
}

/// Runs a class, and shows every run that went wrong by its seed.
pub fn swarm(class: &Class, runs: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let mut tally = Tally::default();
    let begun = std::time::Instant::now();
    let first = number("HAD_SWARM_FIRST").unwrap_or(0);
    let many = number("HAD_SWARM_RUNS").unwrap_or(runs);
    let one = number("HAD_SWARM_SEED");
    let seeds: Vec<u64> = one.map_or_else(|| (first..first + many).collect(), |seed| vec![seed]);
    let wrong: Vec<String> = seeds
        .iter()
        .filter_map(|seed| run(class, *seed, &mut tally))
        .collect();
    println!(
        "{}: {} runs, {} steps, {:.1} simulated hours in {:.1?}; {} bad",
        class.name,
        seeds.len(),
        tally.steps,
        tally.simulated.as_secs_f64() / 3600.0,
        begun.elapsed(),
        wrong.len()
    );
    let some: Vec<&str> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} runs went wrong:\n{}",
        wrong.len(),
        some.join("\n")
    );
}

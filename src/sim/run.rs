//! Runs a script: applies its faults at their times and checks the invariants at every step.

use std::time::Duration;

use super::invariant::{Invariant, LivenessWatch, Outlook, not_promised};
use super::report::{RunReport, TimelineEntry, TimelineEvent};
use super::script::FaultScript;
use super::world::World;
use crate::model::Time;

/// After the last fault, how often it is checked whether everything has settled.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// For so long the cluster is watched once it has settled: nothing may move any more.
const REST_WATCHED: Duration = Duration::from_secs(3);

/// Runs a script to its end, or to the first broken promise.
pub fn run(script: &FaultScript) -> RunReport {
    let mut world = script.setup.world();
    let not_promised = not_promised(script);
    world.owners.promised = not_promised.is_none();
    let mut unsettled = Vec::new();
    if apply_faults(script, &mut world) {
        unsettled = wait_until_settled(script, &mut world);
    }
    RunReport {
        violations: std::mem::take(&mut world.broken),
        doubles: world.doubles(),
        not_promised,
        groups: {
            let groups = world.cluster.groups.iter();
            groups
                .map(|g| (g.name.clone(), world.downtime(&g.name)))
                .collect()
        },
        ordered: world.ordered,
        steps: world.steps,
        simulated: world.now.since(World::BEGIN),
        unsettled,
        timeline: timeline(&mut world),
    }
}

/// Applies the faults one after another; returns false if a promise was broken.
fn apply_faults(script: &FaultScript, world: &mut World) -> bool {
    for (at, fault) in &script.steps {
        if script.setup.length.is_some_and(|length| *at > length) {
            break;
        }
        if !pass_until(world, World::BEGIN + *at) {
            return false;
        }
        world.apply(fault);
    }
    world.broken.is_empty()
}

fn pass_until(world: &mut World, end: Time) -> bool {
    let rest = end.since(world.now);
    !world.run_until_condition(rest, |w| !w.broken.is_empty())
}

/// Waits until everything has settled; returns what does not run at the end, and why.
fn wait_until_settled(script: &FaultScript, world: &mut World) -> Vec<String> {
    let end = script.setup.length.map(|length| World::BEGIN + length);
    let mut liveness: LivenessWatch = std::mem::take(&mut world.liveness);
    let mut outlook = Outlook::Waiting;
    loop {
        if end.is_some_and(|end| world.now >= end) || !pass_until(world, world.now + CHECK_INTERVAL)
        {
            break;
        }
        if outlook == Outlook::Waiting {
            outlook = liveness.observe(world);
        }
        let ends = match &outlook {
            Outlook::Waiting => false,
            Outlook::Settled | Outlook::CannotRun(_) => end.is_none(),
            Outlook::Broken(words) => {
                world.report_violation(Invariant::Liveness, words.clone());
                true
            }
        };
        if world.report_restless() {
            break;
        }
        if ends {
            if world.broken.is_empty() && pass_until(world, world.now + REST_WATCHED) {
                world.report_restless();
            }
            break;
        }
        if let Some(words) = world.unanswered() {
            world.report_violation(Invariant::Liveness, words);
            break;
        }
    }
    match outlook {
        Outlook::CannotRun(why) => why,
        Outlook::Waiting => vec![
            "the run ended before everything had settled; simulate longer with --for".to_owned(),
        ],
        Outlook::Settled | Outlook::Broken(_) => Vec::new(),
    }
}

fn timeline(world: &mut World) -> Vec<TimelineEntry> {
    let entry = |at: Time, event| TimelineEntry {
        at: at.since(World::BEGIN),
        event,
    };
    let faults = std::mem::take(&mut world.applied_faults);
    let mut all: Vec<TimelineEntry> = faults
        .into_iter()
        .map(|(at, fault)| entry(at, TimelineEvent::Fault(fault)))
        .collect();
    for (name, machine) in &mut world.machines {
        let decisions = std::mem::take(&mut machine.decisions);
        let event = |d| TimelineEvent::Decision(name.clone(), d);
        all.extend(decisions.into_iter().map(|(at, d)| entry(at, event(d))));
    }
    all.sort_by_key(|e| e.at);
    all
}

//! Variants of a script that are a little smaller or simpler.

use std::time::Duration;

use crate::model::cluster::Cluster;
use crate::sim::fault::Fault;
use crate::sim::machine::Behaviour;
use crate::sim::network::Weather;
use crate::sim::script::FaultScript;
use crate::sim::setup::MachineCondition;

/// Variants without one of the nodes and the faults that name it.
pub(super) fn fewer_nodes(script: &FaultScript) -> Vec<FaultScript> {
    if script.setup.cluster.nodes.len() < 2 {
        return Vec::new();
    }
    let without = |node: &crate::model::NodeName| {
        let mut less = script.clone();
        let cluster = &mut less.setup.cluster;
        cluster.nodes.retain(|n| n != node);
        cluster.witnesses.retain(|n| n != node);
        cluster.fencing.nodes.retain(|n| n != node);
        let first = cluster
            .nodes
            .first()
            .cloned()
            .unwrap_or_else(|| node.clone());
        for group in cluster.groups.iter_mut().filter(|g| g.preferred == *node) {
            group.preferred = first.clone();
        }
        cluster.me = first;
        less.setup.machines.remove(node);
        less.steps
            .retain(|(_, fault)| !fault.nodes().contains(&node));
        less
    };
    script.setup.cluster.nodes.iter().map(without).collect()
}

/// Variants without one of the groups, or without one of its steps.
pub(super) fn fewer_groups(script: &FaultScript) -> Vec<FaultScript> {
    let mut all = Vec::new();
    for (at, group) in script.setup.cluster.groups.iter().enumerate() {
        let mut less = script.clone();
        less.setup.cluster.groups.remove(at);
        less.steps
            .retain(|(_, fault)| !fault.groups().contains(&&group.name));
        if !less.setup.cluster.groups.is_empty() {
            all.push(less);
        }
        for step in 0..group.steps.len() {
            let mut less = script.clone();
            let steps = less.setup.cluster.groups.get_mut(at).map(|g| &mut g.steps);
            if let Some(steps) = steps.filter(|s| s.len() > 1) {
                steps.remove(step);
                let named = |f: &Fault| f.groups().contains(&&group.name) && is_about_steps(f);
                less.steps.retain(|(_, fault)| !named(fault));
                all.push(less);
            }
        }
    }
    all
}

fn is_about_steps(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Starts(..)
            | Fault::Stops(..)
            | Fault::Looks(..)
            | Fault::Lose(_)
            | Fault::Die(_)
            | Fault::Ail(_)
    )
}

/// Variants with exact clocks, punctual daemons, fewer ping nodes and links, or default settings.
pub(super) fn simpler_cluster(script: &FaultScript) -> Vec<FaultScript> {
    let mut all = Vec::new();
    for name in script.setup.machines.keys() {
        let mut plain = script.clone();
        plain.setup.machines.remove(name);
        all.push(plain);
        let mut punctual = script.clone();
        if let Some(condition) = punctual.setup.machines.get_mut(name) {
            *condition = MachineCondition {
                late: Duration::ZERO,
                ..*condition
            };
        }
        all.push(punctual);
    }
    let changes: [fn(&mut Cluster); 5] = [
        |c| c.auto_failback = false,
        |c| c.follow_connectivity = false,
        |c| c.failback_delay = Duration::ZERO,
        |c| {
            c.pings.pop();
        },
        |c| c.links.truncate(1),
    ];
    for change in changes {
        let mut plain = script.clone();
        change(&mut plain.setup.cluster);
        all.push(plain);
    }
    all
}

/// Variants with one fault replaced by a simpler one.
pub(super) fn simpler_faults(script: &FaultScript) -> Vec<FaultScript> {
    let mut all = Vec::new();
    for (at, (_, fault)) in script.steps.iter().enumerate() {
        for plain in simpler(fault) {
            let mut less = script.clone();
            if let Some((_, there)) = less.steps.get_mut(at) {
                *there = plain;
            }
            all.push(less);
        }
    }
    all
}

fn simpler(fault: &Fault) -> Vec<Fault> {
    match fault {
        Fault::Weather(weather, path) => {
            let calm = Weather::CALM;
            let tries = [
                Weather {
                    jitter: calm.jitter,
                    twice: calm.twice,
                    ..*weather
                },
                Weather {
                    loss: 0,
                    twice: 0,
                    ..*weather
                },
                Weather {
                    twice: 0,
                    ..*weather
                },
            ];
            let other = tries.into_iter().filter(|w| w != weather);
            other.map(|w| Fault::Weather(w, path.clone())).collect()
        }
        Fault::Thaw { node, deaf: true } => {
            let node = node.clone();
            vec![Fault::Thaw { node, deaf: false }]
        }
        Fault::Starts(spot, Behaviour::Works(time)) if *time > Duration::from_secs(1) => {
            let time = Duration::from_secs(time.as_secs());
            vec![Fault::Starts(spot.clone(), Behaviour::Works(time))]
        }
        Fault::Isolate(node) => vec![Fault::Crash(node.clone())],
        _ => Vec::new(),
    }
}

/// Variants with one fault at a rounder time and all later ones moved as much, or with all at rounder times.
pub(super) fn rounder_times(script: &FaultScript) -> Vec<FaultScript> {
    let mut all = Vec::new();
    for grain in [1000, 100, 10] {
        let mut round = script.clone();
        for (at, _) in &mut round.steps {
            *at = rounded(*at, grain);
        }
        all.push(round);
    }
    for (index, (at, _)) in script.steps.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|i| script.steps.get(i));
        let before = before.map_or(Duration::ZERO, |(at, _)| *at);
        for new in [before, rounded(*at, 1000), rounded(*at, 100)] {
            if new >= before && new < *at {
                let mut round = script.clone();
                let earlier = at.saturating_sub(new);
                for (when, _) in round.steps.iter_mut().skip(index) {
                    *when = when.saturating_sub(earlier);
                }
                all.push(round);
            }
        }
    }
    all
}

fn rounded(time: Duration, grain: u64) -> Duration {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(ms - ms % grain)
}

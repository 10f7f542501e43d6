//! 9. After the last fault a cluster comes to rest: no group goes to and fro.
//!
//! Promised after every fault, also while the faults last: what a rule moves for a constant reason is not moved back by
//! another rule. A group may move a few times until everything is known.

use super::Invariant;
use crate::model::GroupName;
use crate::model::decision::{Because, Decision, What};
use crate::model::{NodeName, Time};
use crate::sim::world::World;

/// After the last fault a group may move so often.
const MAX_MOVES: usize = 3;

impl World {
    /// Reports a group that goes to and fro since the last fault. Whether there is one.
    pub(in crate::sim) fn report_restless(&mut self) -> bool {
        let groups = self.cluster.groups.iter().map(|g| g.name.clone());
        let groups: Vec<GroupName> = groups.collect();
        let found = groups.iter().find_map(|g| self.restless(g));
        if let Some(words) = &found {
            self.report_violation(Invariant::Rest, words.clone());
        }
        found.is_some()
    }

    /// How a group goes to and fro. Where it rests only because it has moved too often, it would go on.
    fn restless(&self, group: &GroupName) -> Option<String> {
        let since = self
            .applied_faults
            .last()
            .map_or(World::BEGIN, |(at, _)| *at);
        let mut told: Vec<(Time, &NodeName, &Decision)> = Vec::new();
        for (name, machine) in &self.machines {
            let lately = machine.decisions.iter().rev();
            let lately = lately.take_while(|(at, _)| *at > since);
            let of_group = lately.filter(|(_, d)| d.group.as_ref() == Some(group));
            told.extend(of_group.map(|(at, d)| (*at, name, d)));
        }
        told.sort_by_key(|(at, ..)| *at);
        let online = told.iter().filter(|(.., d)| d.what == What::Online);
        let mut owners: Vec<&NodeName> = online.map(|(_, name, _)| *name).collect();
        owners.dedup();
        let moves = owners.len().saturating_sub(1);
        let damped = told.iter().any(|(.., d)| d.because == Because::MovedOften);
        let restless = moves > MAX_MOVES || (moves == MAX_MOVES && damped);
        let names = || owners.iter().map(|n| n.as_str()).collect::<Vec<_>>();
        restless.then(|| {
            format!(
                "{group} goes to and fro after the last fault: {}",
                names().join(", ")
            )
        })
    }
}

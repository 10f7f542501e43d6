//! Monitors of what runs on a machine and checks of the machine itself, and how a script makes them fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::world::{ScheduledEvent, World};
use crate::engine::Event;
use crate::model::cluster::Step;
use crate::model::health::{CheckPolicy, FAILBACK_WHEN, Health};
use crate::model::{GroupName, NodeName};

/// The interval of monitors and of checks for which none is set.
const USUAL_INTERVAL: Duration = Duration::from_secs(1);
/// The first result of a check comes this long after the start of the daemon.
const FIRST_CHECK_AFTER: Duration = Duration::from_millis(20);

/// Monitors and checks of one machine, and those that fail.
#[derive(Clone, Debug, Default)]
pub(super) struct HealthFaults {
    /// Groups that are monitored, each with the number of its monitoring round.
    watched: BTreeMap<GroupName, u64>,
    /// Steps whose monitor fails although they run, with its message.
    ill: BTreeMap<(GroupName, usize), String>,
    /// Steps that died and have no monitor.
    unseen: BTreeSet<(GroupName, usize)>,
    /// Checks that fail, with their message.
    failing: BTreeMap<String, String>,
    /// Checks that never end.
    hanging: BTreeSet<String>,
}

impl HealthFaults {
    pub fn end_life(&mut self) {
        self.watched.clear();
    }

    /// A step was started.
    pub fn step_started(&mut self, group: &GroupName, step: usize) {
        self.unseen.remove(&(group.clone(), step));
    }

    pub fn end_illness(&mut self) {
        self.ill.clear();
    }

    pub fn reset_checks(&mut self) {
        self.failing.clear();
        self.hanging.clear();
    }

    /// Whether the monitor of a step of this group fails.
    pub fn looks_ill(&self, group: &GroupName) -> bool {
        self.ill.keys().any(|(g, _)| g == group)
    }

    /// A step of this group that died and has no monitor.
    pub fn unnoticed_death(&self, group: &GroupName) -> Option<usize> {
        let mut all = self.unseen.iter().filter(|(g, _)| g == group);
        all.next().map(|(_, step)| *step)
    }

    /// Whether a check that concerns the group does not pass.
    pub fn check_fails(&self, health: &Health, group: &GroupName) -> bool {
        let bad =
            |c: &&CheckPolicy| self.failing.contains_key(&c.name) || self.hanging.contains(&c.name);
        let bears = |c: &CheckPolicy| c.group.as_ref().is_none_or(|g| g == group);
        health.checks.iter().filter(bad).any(bears)
    }
}

impl World {
    /// A step dies; nobody is told.
    pub fn die(&mut self, name: &str, group: &str, step: usize) {
        let (node, group) = (NodeName::new(name), GroupName::new(group));
        let steps = self.steps_at(&node, &group);
        let watched = steps.get(step).is_some_and(|s| s.policy.is_some());
        let machine = self.machine(name);
        machine.set_step(&group, step, false);
        if !watched {
            machine.health.unseen.insert((group, step));
        }
    }

    /// The monitor of a running step fails with this text; with `None` it passes again.
    pub fn ail(&mut self, name: &str, group: &str, step: usize, text: Option<&str>) {
        let key = (GroupName::new(group), step);
        let ill = &mut self.machine(name).health.ill;
        match text {
            Some(text) => ill.insert(key, text.to_owned()),
            None => ill.remove(&key),
        };
    }

    /// A check of a machine fails with this text; with `None` it passes again.
    pub fn fail_check(&mut self, name: &str, check: &str, text: Option<&str>) {
        let failing = &mut self.machine(name).health.failing;
        match text {
            Some(text) => failing.insert(check.to_owned(), text.to_owned()),
            None => failing.remove(check),
        };
    }

    /// A check of a machine hangs from now on.
    pub fn hang_check(&mut self, name: &str, check: &str) {
        let hanging = &mut self.machine(name).health.hanging;
        hanging.insert(check.to_owned());
    }

    pub(super) fn set_monitoring(&mut self, by: &NodeName, group: &GroupName, on: bool) {
        self.count += 1;
        let round = self.count;
        let machine = self.machine(by.as_str());
        if on {
            machine.health.watched.insert(group.clone(), round);
            let steps = self.steps_at(by, group);
            let intervals: BTreeSet<Duration> = steps.iter().map(|s| self.interval_of(s)).collect();
            for interval in intervals {
                self.schedule_monitor(by, group.clone(), round, interval);
            }
        } else {
            machine.health.watched.remove(group);
        }
    }

    fn interval_of(&self, step: &Step) -> Duration {
        let words = step.members.join(" ");
        self.intervals
            .get(&words)
            .copied()
            .unwrap_or(USUAL_INTERVAL)
    }

    fn interval_of_check(&self, name: &str) -> Duration {
        let words = format!("check {name}");
        self.intervals
            .get(&words)
            .copied()
            .unwrap_or(USUAL_INTERVAL)
    }

    fn schedule_monitor(
        &mut self,
        at: &NodeName,
        group: GroupName,
        round: u64,
        interval: Duration,
    ) {
        let Some((life, _)) = self.life_and_clock(at) else {
            return;
        };
        let at = at.clone();
        let look = ScheduledEvent::MonitorResult {
            at,
            life,
            group,
            round,
            interval,
        };
        self.schedule(interval, look);
    }

    /// Looks at the steps of a group that have this interval.
    pub(super) fn monitor_steps(
        &mut self,
        at: &NodeName,
        group: &GroupName,
        round: u64,
        interval: Duration,
    ) {
        let steps = self.steps_at(at, group);
        let intervals: Vec<Duration> = steps.iter().map(|s| self.interval_of(s)).collect();
        let Some(machine) = self.machines.get(at) else {
            return;
        };
        if machine.health.watched.get(group) != Some(&round) {
            return;
        }
        let runs = machine.running.get(group).cloned().unwrap_or_default();
        let look = |(step, runs): (usize, &bool)| {
            let ill = machine.health.ill.get(&(group.clone(), step));
            match (runs, ill) {
                (false, _) => Err("not running".to_owned()),
                (true, Some(text)) => Err(text.clone()),
                (true, None) => Ok(()),
            }
        };
        let looks: Vec<_> = runs.iter().enumerate().map(look).collect();
        self.schedule_monitor(at, group.clone(), round, interval);
        for (step, result) in looks.into_iter().enumerate() {
            if intervals.get(step).is_some_and(|own| *own != interval) {
                continue;
            }
            let event = Event::Monitored {
                group: group.clone(),
                step,
                result,
            };
            self.deliver(at, event);
        }
    }

    pub(super) fn schedule_checks(&mut self, at: &NodeName) {
        let Some((life, _)) = self.life_and_clock(at) else {
            return;
        };
        let names = self.check_names(at);
        let mut intervals: BTreeSet<Duration> = names
            .iter()
            .map(|name| self.interval_of_check(name))
            .collect();
        // A reload may add checks.
        intervals.insert(USUAL_INTERVAL);
        for interval in intervals {
            let at = at.clone();
            self.schedule(
                FIRST_CHECK_AFTER,
                ScheduledEvent::Check { at, life, interval },
            );
        }
    }

    /// The checks of a machine, `failback_when` included.
    fn check_names(&self, at: &NodeName) -> Vec<String> {
        let engine = self.machines.get(at).and_then(|m| m.engine.as_ref());
        let Some(health) = engine.map(|engine| &engine.cluster().health) else {
            return Vec::new();
        };
        let names = health.checks.iter().map(|c| c.name.clone());
        names
            .chain(health.failback_when.then(|| FAILBACK_WHEN.to_owned()))
            .collect()
    }

    /// Runs the checks of a machine that have this interval.
    pub(super) fn run_checks(&mut self, at: &NodeName, interval: Duration) {
        let mut names = self.check_names(at);
        if names.is_empty() {
            return;
        }
        names.retain(|name| self.interval_of_check(name) == interval);
        let Some(machine) = self.machines.get(at) else {
            return;
        };
        let life = machine.life;
        names.retain(|name| !machine.health.hanging.contains(name));
        let failing = machine.health.failing.clone();
        let again = ScheduledEvent::Check {
            at: at.clone(),
            life,
            interval,
        };
        self.schedule(interval, again);
        for check in names {
            let result = match failing.get(&check) {
                Some(text) => Err(text.clone()),
                None => Ok("fine".to_owned()),
            };
            self.deliver(at, Event::Checked { check, result });
        }
    }
}

//! 8. After the faults end, within a time limit every group that can run runs exactly once.
//!
//! Promised after every fault, for groups that can run: all running nodes hear each other and none is frozen; no dead
//! daemon left a part of the group running; the group is nowhere in maintenance or stuck, and all nodes have the same
//! configuration; and one node has working agents and enough votes, is not in standby and has not failed to start the
//! group; no node that is gone must still show a new list of voters (rule 31); and no daemon ended without a clean goodbye
//! beside a node of a pair that has not heard a fresh heartbeat of it: that one only asks its power switch (rule 36). The limit leaves time for a start of the
//! whole cluster, two moves and the slowest stop. Also every command ends within the deadlines of the steps that it moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::Engine;
use crate::model::cluster::{Cluster, GroupSpec, QuorumPolicy, Step};
use crate::model::fencing::FencingState;
use crate::model::heartbeat::GroupState;
use crate::model::{GroupName, NodeName, Time};
use crate::sim::fault::Fault;
use crate::sim::machine::{Behaviour, Machine, ProbeBehaviour};
use crate::sim::network::Weather;
use crate::sim::world::{GivenCommand, World};

/// How long a machine is asked until it counts as silent.
const MACHINE_ASKED: Duration = Duration::from_secs(10);
/// A group counts as settled after it has run this long.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// What is remembered after the last fault.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct LivenessWatch {
    since: Time,
    whole_since: BTreeMap<GroupName, Time>,
    /// When each group that does not run yet became able to run.
    able_since: BTreeMap<GroupName, Time>,
    settled: BTreeSet<GroupName>,
    /// The slowest stop or start of all faults.
    slowest: Duration,
}

/// How long it may take until a monitor or a check with an interval of its own has the result that counts, twice.
fn longest_until_noticed(world: &World) -> Duration {
    let steps = world.cluster.groups.iter().flat_map(|g| &g.steps);
    let of_steps = steps.filter_map(|s| s.policy).map(|p| p.fall.max(p.rise));
    let checks = world.cluster.health.checks.iter();
    let most = of_steps.chain(checks.map(|c| c.fall.max(c.rise))).max();
    let longest = world.intervals.values().max().copied().unwrap_or_default();
    longest * (most.unwrap_or(1) + 1) * 2
}

/// Whether the cluster has settled after the last fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Outlook {
    /// The time limit is not reached.
    Waiting,
    /// Every group runs exactly once.
    Settled,
    /// The limit is reached; these groups do not run, for these reasons.
    CannotRun(Vec<String>),
    /// The limit is reached, and a group that can run does not.
    Broken(String),
}

impl LivenessWatch {
    /// A fault was applied: the wait begins again.
    pub fn fault(&mut self, now: Time, fault: &Fault, cluster: &Cluster) {
        let slowest = self.slowest.max(longest_effect(fault, cluster));
        *self = LivenessWatch {
            since: now,
            slowest,
            ..LivenessWatch::default()
        };
    }

    /// The time limit.
    fn time_limit(&self, world: &World) -> Duration {
        let t = &world.cluster.timing;
        let removal = |g: &GroupSpec| g.steps.iter().map(|s| s.removal).sum();
        let removal: Duration = world
            .cluster
            .groups
            .iter()
            .map(removal)
            .max()
            .unwrap_or_default();
        let delay = world.cluster.failback_delay;
        let asked = if world
            .cluster
            .groups
            .iter()
            .any(|g| stands_on_storage(world, &g.name))
        {
            MACHINE_ASKED
        } else {
            Duration::ZERO
        };
        let noticed = longest_until_noticed(world);
        t.initdead * 4 + t.deadtime * 7 + self.slowest * 4 + removal + delay + asked + noticed
    }

    /// Checks the cluster now.
    pub fn observe(&mut self, world: &World) -> Outlook {
        let now = world.now;
        for group in &world.cluster.groups {
            let name = &group.name;
            if !runs_completely(world, name) {
                self.whole_since.remove(name);
                self.note_whether_able(world, name);
                continue;
            }
            let since = *self.whole_since.entry(name.clone()).or_insert(now);
            if now.since(since) >= SETTLED_AFTER {
                self.settled.insert(name.clone());
            }
        }
        if self.settled.len() == world.cluster.groups.len() {
            return Outlook::Settled;
        }
        if now < self.since + self.time_limit(world) {
            return Outlook::Waiting;
        }
        self.outcome_at_bound(world)
    }

    fn outcome_at_bound(&self, world: &World) -> Outlook {
        let mut barred = Vec::new();
        for group in &world.cluster.groups {
            if self.settled.contains(&group.name) {
                continue;
            }
            match can_run(world, &group.name) {
                Ok(()) if self.is_overdue(world, &group.name) => {
                    return Outlook::Broken(describe_states(world, &group.name));
                }
                Ok(()) => return Outlook::Waiting,
                Err(why) => barred.push(format!("{} cannot run: {why}", group.name)),
            }
        }
        Outlook::CannotRun(barred)
    }

    /// A group that failed everywhere can run again when the failures have expired; its wait begins then.
    fn note_whether_able(&mut self, world: &World, group: &GroupName) {
        if can_run(world, group).is_err() {
            self.able_since.remove(group);
        } else if !self.able_since.contains_key(group) {
            self.able_since.insert(group.clone(), world.now);
        }
    }

    fn is_overdue(&self, world: &World, group: &GroupName) -> bool {
        let since = self.able_since.get(group);
        since.is_some_and(|since| world.now >= *since + self.time_limit(world))
    }
}

/// The longest time that an agent call may take because of a fault.
fn longest_effect(fault: &Fault, cluster: &Cluster) -> Duration {
    let steps = cluster.groups.iter().flat_map(|g| &g.steps);
    let hung = |of: fn(&Step) -> Duration| steps.map(of).max().unwrap_or_default();
    match fault {
        Fault::Starts(_, Behaviour::Hangs) => hung(|s| s.start),
        Fault::Stops(_, Behaviour::Hangs) => hung(|s| s.stop),
        Fault::Looks(_, ProbeBehaviour::Hangs) => hung(|s| s.monitor),
        Fault::Starts(_, Behaviour::Works(time)) | Fault::Stops(_, Behaviour::Works(time)) => *time,
        _ => Duration::ZERO,
    }
}

/// Whether a group runs completely on one node, which reports it as online.
fn runs_completely(world: &World, group: &GroupName) -> bool {
    let [owner] = world.runs_on(group.as_str())[..] else {
        return false;
    };
    let spec = world.cluster.groups.iter().find(|g| g.name == *group);
    let steps = world.at(owner).running.get(group);
    let all =
        |s: &Vec<bool>| s.iter().all(|r| *r) && spec.is_some_and(|g| g.steps.len() == s.len());
    steps.is_some_and(all) && world.state(owner, group.as_str()) == Some(GroupState::Online)
}

/// Whether a group can run anywhere; the error says why not.
fn can_run(world: &World, group: &GroupName) -> Result<(), String> {
    if !world.cuts.is_empty() || !world.blocked.is_empty() {
        return Err("nodes are cut off from each other".to_owned());
    }
    let calm = world.local_weather.values().all(|w| *w == Weather::CALM);
    if !calm || world.weather != Weather::CALM {
        return Err("the network loses or delays heartbeats".to_owned());
    }
    // This counts also for a dead node.
    let maintains = |(_, m): &(_, &Machine)| m.kept.maintenance.contains(group);
    if let Some((name, _)) = world.machines.iter().find(maintains) {
        return Err(format!("it is in maintenance on {name}"));
    }
    let mut digests = BTreeSet::new();
    for (name, machine) in world.machines.iter().filter(|(_, m)| m.powered) {
        blocked_everywhere(world, name, machine, group)?;
        if machine.engine.is_none() && !machine.exited && stands_on_storage(world, group) {
            return Err(format!("{name} has no daemon, and its machine answers"));
        }
        if machine.engine.is_none() && only_asks_power_switch(world, name) {
            return Err(format!(
                "{name} has no daemon, its machine is on, and its power switch is only asked"
            ));
        }
        let nodes = machine.engine.as_ref().map(Engine::cluster);
        let nodes = nodes.filter(|c| !c.this_node_is_witness());
        digests.extend(nodes.map(|c| c.digest));
    }
    if digests.len() > 1 {
        return Err("the nodes have different configurations".to_owned());
    }
    let mut barred = Vec::new();
    for (name, machine) in &world.machines {
        match blocked_here(world, name, machine, group) {
            None => return Ok(()),
            Some(why) => barred.push(format!("{name} {why}")),
        }
    }
    Err(barred.join(", "))
}

fn stands_on_storage(world: &World, group: &GroupName) -> bool {
    let spec = world.cluster.groups.iter().find(|g| g.name == *group);
    spec.is_some_and(|g| g.steps.iter().any(|s| s.shared_storage))
}

/// Whether something on this machine prevents the group from running anywhere.
fn blocked_everywhere(
    world: &World,
    name: &NodeName,
    machine: &Machine,
    group: &GroupName,
) -> Result<(), String> {
    if machine.frozen {
        return Err(format!("{name} is frozen or suspended"));
    }
    if machine.probe_was_wrong {
        return Err(format!("a probe on {name} had a wrong result"));
    }
    if machine.engine.is_none() && machine.runs(group) {
        return Err(format!("{name} has no daemon and runs a part of it"));
    }
    let state = world.state(name.as_str(), group.as_str());
    if state == Some(GroupState::Stuck) {
        return Err(format!("it is stuck on {name}"));
    }
    let died = machine.health.unnoticed_death(group);
    if let Some(step) = died.filter(|_| state == Some(GroupState::Online)) {
        return Err(format!(
            "step {} died on {name} and has no monitor",
            step.saturating_add(1)
        ));
    }
    Ok(())
}

/// Whether something on this machine prevents the group from running there.
fn blocked_here(
    world: &World,
    name: &NodeName,
    machine: &Machine,
    group: &GroupName,
) -> Option<&'static str> {
    if !machine.alive() {
        return Some("does not run");
    }
    if world.cluster.is_witness(name) {
        return Some("is a witness");
    }
    let touched = machine
        .start_behaviour
        .keys()
        .chain(machine.stop_behaviour.keys());
    if touched
        .chain(machine.look_behaviour.keys())
        .any(|(g, _)| g == group)
        || machine.health.looks_ill(group)
    {
        return Some("has failing agents");
    }
    if machine
        .health
        .check_fails(&world.config_of(name).health, group)
    {
        return Some("has a failing check");
    }
    if machine.kept.standby.contains(group) {
        return Some("is in standby");
    }
    match world.state(name.as_str(), group.as_str()) {
        None => return Some("does not have it in its configuration"),
        Some(GroupState::Failed) => return Some("failed to run it"),
        Some(_) => {}
    }
    let counted = matches!(
        world.cluster.quorum,
        QuorumPolicy::Stop | QuorumPolicy::Freeze
    );
    if counted && awaits_voter(world) {
        return Some("waits for a node of a former list of voters");
    }
    (counted && !enough_votes(world, name)).then_some("has too few votes")
}

/// Rule 31: while the list of voters changes, a node that has not shown the new list is waited for, until somebody says that it
/// is gone for good. One that left or is dead shows nothing.
fn awaits_voter(world: &World) -> bool {
    let gone = world.machines.values().any(|m| !m.alive());
    gone && world.names().any(|name| {
        let status = world.status(name.as_str());
        let mut problems = status
            .iter()
            .flat_map(crate::model::status::Status::problems);
        problems.any(|p| p.id == "voters-changing")
    })
}

/// Rule 36: a node that has not heard a fresh heartbeat of the other one of a pair never fences it, and asks its power switch.
fn only_asks_power_switch(world: &World, name: &NodeName) -> bool {
    let counted = matches!(
        world.cluster.quorum,
        QuorumPolicy::Stop | QuorumPolicy::Freeze
    );
    (!counted || world.cluster.nodes.len() == 2)
        && world.names().any(|other| {
            let status = world.status(other.as_str());
            let cases = status.into_iter().flat_map(|s| s.fencing);
            cases
                .filter(|f| f.node == *name)
                .any(|f| f.state == FencingState::Held)
        })
}

fn enough_votes(world: &World, name: &NodeName) -> bool {
    let shares = world.cluster.vote_shares();
    let seen = (0..world.cluster.pings.len())
        .filter(|p| !world.blind.contains(&(name.clone(), *p)))
        .count();
    let nodes = world.cluster.nodes.iter().enumerate();
    let alive = nodes.filter(|(_, node)| world.machines.get(node).is_some_and(Machine::alive));
    let votes: u32 = alive.map(|(rank, _)| shares.of_node(rank)).sum();
    votes + shares.of_arbiter(seen) >= shares.needed()
}

fn describe_states(world: &World, group: &GroupName) -> String {
    let states = world.names().map(|node| {
        let state = world.state(node.as_str(), group.as_str());
        format!("{node} {}", state.map_or("none", GroupState::as_str))
    });
    let states: Vec<String> = states.collect();
    let runs = match world.runs_on(group.as_str()) {
        none if none.is_empty() => "no node".to_owned(),
        some => some.join(" and "),
    };
    format!(
        "{group} runs on {runs} long after the last fault; states: {}",
        states.join(", ")
    )
}

impl World {
    /// A command that should have been answered by now.
    pub(in crate::sim) fn unanswered(&self) -> Option<String> {
        let longest =
            |g: &GroupSpec| -> Duration { g.steps.iter().map(|s| s.start + s.stop).sum() };
        let longest = self
            .cluster
            .groups
            .iter()
            .map(longest)
            .max()
            .unwrap_or_default();
        let patience = longest + self.cluster.timing.deadtime + Duration::from_secs(20);
        let open = |asked: &&GivenCommand| {
            self.machines.get(&asked.node).is_some_and(|m| {
                let since = asked.at.max(m.thawed);
                let late = self.now.since(since) > patience;
                m.alive() && m.life == asked.life && late && !m.replies.contains_key(&asked.id)
            })
        };
        let asked = self.asked.iter().find(open)?;
        Some(format!("a command on {} was never answered", asked.node))
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::{FaultScript, Invariant, run};

    fn script(steps: &str) -> FaultScript {
        let text = format!(
            "nodes a b\ngroup db on a\nstep address : db\nfor 80s\nat 0s start a\nat 0s start b\n{steps}"
        );
        FaultScript::read(&text).unwrap()
    }

    #[test]
    fn a_group_that_could_run_and_does_not_is_seen() {
        // Nothing but an engine that sleeps for ever can break it; so the world does not give one its events.
        let mut world = script("").setup.world();
        world.start_all();
        let mut liveness = super::LivenessWatch {
            since: world.now,
            ..super::LivenessWatch::default()
        };
        assert_eq!(liveness.observe(&world), super::Outlook::Waiting);
        world.now = world.now + liveness.time_limit(&world);
        assert!(matches!(
            liveness.observe(&world),
            super::Outlook::Broken(_)
        ));
    }

    #[test]
    fn a_group_that_cannot_run_is_no_violation_and_is_explained() {
        for (steps, why) in [
            ("at 5s crash a\nat 5s crash b\n", "does not run"),
            ("at 5s maintenance a on db\nat 6s crash a\n", "maintenance"),
            (
                "at 5s stops of db step 1 on a fail\nat 6s yield a db\n",
                "stuck",
            ),
        ] {
            let report = run(&script(steps));
            assert_eq!(report.violations, [], "{steps}");
            assert!(
                report.unsettled.iter().any(|u| u.contains(why)),
                "{steps} {report:?}"
            );
        }
        let well = run(&script("at 5s crash a\n"));
        assert!(well.unsettled.is_empty(), "{:?}", well.unsettled);
        assert!(
            !well
                .violations
                .iter()
                .any(|v| v.invariant == Invariant::Liveness)
        );
    }
}

//! The simulated world: machines, links between them, ping nodes, and the order in which things happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::downtime::ServiceWatch;
use super::fault::Fault;
use super::fencing::{PowerSwitch, SwitchOrder};
use super::invariant::{LivenessWatch, OwnershipWatch, Violation};
use super::machine::{Clock, Machine};
use super::network::{Weather, link_name};
use super::random::Random;
use super::setup::{MachineCondition, default_step};
use crate::engine::{ActionDigest, Call, Engine, Event, OrderId, Outcome};
use crate::model::cluster::{Cluster, GroupSpec, PingNode, QuorumPolicy, Step, Timing};
use crate::model::fencing::FenceCall;
use crate::model::heartbeat::GroupState;
use crate::model::status::Status;
use crate::model::{GroupName, LinkName, NodeName, Time};

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum ScheduledEvent {
    /// A datagram arrives, whichever daemon runs then.
    Arrive { to: NodeName, event: Event },
    /// An event for the current life of the daemon.
    Deliver {
        at: NodeName,
        life: u64,
        event: Event,
    },
    /// A late daemon reads what has arrived.
    Read { at: NodeName, life: u64 },
    Finish {
        at: NodeName,
        life: u64,
        done: (GroupName, OrderId, Call, Outcome),
    },
    Probe {
        at: NodeName,
        life: u64,
        group: GroupName,
    },
    ProbeEnds {
        at: NodeName,
        life: u64,
        group: GroupName,
        sent: Time,
    },
    AskMachine {
        at: NodeName,
        life: u64,
        node: NodeName,
    },
    LeaseEnds {
        at: NodeName,
        group: GroupName,
        until: Time,
    },
    MonitorResult {
        at: NodeName,
        life: u64,
        group: GroupName,
        round: u64,
        interval: Duration,
    },
    Check {
        at: NodeName,
        life: u64,
        interval: Duration,
    },
    /// A power switch does what it was told.
    SwitchActs { node: NodeName, call: FenceCall },
    /// It answers whoever told it.
    SwitchAnswers {
        at: NodeName,
        life: u64,
        done: SwitchOrder,
    },
}

impl ScheduledEvent {
    /// The machine inside which it happens; none for what arrives from outside.
    pub(super) fn inside(&self) -> Option<&NodeName> {
        match self {
            ScheduledEvent::Arrive { .. } | ScheduledEvent::SwitchActs { .. } => None,
            ScheduledEvent::Deliver { at, .. }
            | ScheduledEvent::Read { at, .. }
            | ScheduledEvent::Finish { at, .. }
            | ScheduledEvent::Probe { at, .. }
            | ScheduledEvent::ProbeEnds { at, .. }
            | ScheduledEvent::AskMachine { at, .. }
            | ScheduledEvent::LeaseEnds { at, .. }
            | ScheduledEvent::MonitorResult { at, .. }
            | ScheduledEvent::SwitchAnswers { at, .. }
            | ScheduledEvent::Check { at, .. } => Some(at),
        }
    }
}

/// A command that was given.
#[derive(Clone, Debug)]
pub(super) struct GivenCommand {
    /// The node at which it was given, and the life of its daemon.
    pub node: NodeName,
    pub life: u64,
    pub id: u64,
    pub at: Time,
}

/// A cluster in virtual time.
#[derive(Debug)]
pub struct World {
    /// The configuration of all machines, except for their own name.
    pub cluster: Cluster,
    /// The present.
    pub now: Time,
    /// How heartbeats travel where no other weather is set.
    pub weather: Weather,
    /// Whether kernels drop addresses whose lease was not renewed.
    pub kernel_leases: bool,
    /// How often resources and checks are looked at, as in [`super::setup::ClusterSetup`].
    pub(super) intervals: BTreeMap<String, Duration>,
    /// The source of all random events.
    pub random: Random,
    /// The number of events so far.
    pub steps: u64,
    pub(super) machines: BTreeMap<NodeName, Machine>,
    pub(super) future: BTreeMap<(Time, u64), ScheduledEvent>,
    pub(super) count: u64,
    pub(super) local_weather: BTreeMap<(NodeName, NodeName, LinkName), Weather>,
    pub(super) cuts: BTreeSet<(NodeName, NodeName, LinkName)>,
    pub(super) blocked: BTreeSet<(NodeName, NodeName)>,
    pub(super) relay_blocked: BTreeSet<(NodeName, NodeName)>,
    pub(super) blind: BTreeSet<(NodeName, usize)>,
    /// How the power switches behave that do not work as usual.
    pub(super) switches: BTreeMap<NodeName, PowerSwitch>,
    pub(super) owners: OwnershipWatch,
    pub(super) services: BTreeMap<GroupName, ServiceWatch>,
    pub(super) liveness: LivenessWatch,
    pub(super) asked: Vec<GivenCommand>,
    /// The faults that were applied.
    pub(super) applied_faults: Vec<(Time, Fault)>,
    pub(super) broken: Vec<Violation>,
    /// A fingerprint of all actions of all engines.
    pub(super) ordered: ActionDigest,
}

impl World {
    /// When every run begins.
    pub const BEGIN: Time = Time(1_000_000_000_000);

    /// A world of machines with these names, switched off: one link, keepalive 200 ms, deadtime 2 s, no groups, no ping
    /// node, votes not counted.
    pub fn new(names: &[&str]) -> World {
        let nodes: Vec<NodeName> = names.iter().map(|n| NodeName::new(n)).collect();
        let now = World::BEGIN;
        let machine = |name: NodeName| {
            let mut machine = Machine::new();
            machine.clock = Clock::new(now, now, 0);
            (name, machine)
        };
        World {
            cluster: default_cluster(&nodes),
            now,
            weather: Weather::CALM,
            kernel_leases: false,
            intervals: BTreeMap::new(),
            random: Random::new(0),
            steps: 0,
            machines: nodes.into_iter().map(machine).collect(),
            future: BTreeMap::new(),
            count: 0,
            local_weather: BTreeMap::new(),
            cuts: BTreeSet::new(),
            blocked: BTreeSet::new(),
            relay_blocked: BTreeSet::new(),
            blind: BTreeSet::new(),
            switches: BTreeMap::new(),
            owners: OwnershipWatch::default(),
            services: BTreeMap::new(),
            liveness: LivenessWatch::default(),
            asked: Vec::new(),
            applied_faults: Vec::new(),
            broken: Vec::new(),
            ordered: ActionDigest::default(),
        }
    }

    /// Sets the number of links.
    #[must_use]
    pub fn links(mut self, links: usize) -> World {
        self.cluster.links = (0..links).map(link_name).collect();
        self
    }

    /// Adds a ping node that answers everybody. Votes are counted from now on, and two nodes relay through it.
    #[must_use]
    pub fn ping(mut self, name: &str) -> World {
        self.cluster.pings.push(PingNode {
            name: name.to_owned(),
            addresses: Vec::new(),
        });
        self.cluster.quorum = QuorumPolicy::Stop;
        self.cluster.relay = self.cluster.nodes.len() == 2;
        self
    }

    /// Makes this machine a witness: it votes and runs no groups. Votes are counted from now on.
    #[must_use]
    pub fn witness(mut self, name: &str) -> World {
        self.cluster.witnesses.push(NodeName::new(name));
        self.cluster.quorum = QuorumPolicy::Stop;
        self.cluster.relay = false;
        self
    }

    /// Adds a group of an address and `others` other resources.
    #[must_use]
    pub fn group(mut self, name: &str, preferred: &str, others: usize) -> World {
        let mut steps = vec![step(vec![name.to_owned()], true)];
        steps.extend((0..others).map(|i| step(vec![format!("script{i}")], false)));
        self.cluster.groups.push(GroupSpec {
            name: GroupName::new(name),
            preferred: NodeName::new(preferred),
            steps,
        });
        self
    }

    /// Sets the clock and the lateness of a machine.
    pub(super) fn set_condition(&mut self, name: &NodeName, condition: MachineCondition) {
        let now = self.now;
        if let Some(machine) = self.machines.get_mut(name) {
            let local = Time::ZERO + condition.clock;
            machine.clock = Clock::new(now, local, condition.ppm);
            machine.lateness = condition.late;
        }
    }

    /// Notes a fault that was applied.
    pub(super) fn note_fault(&mut self, fault: &Fault) {
        self.applied_faults.push((self.now, fault.clone()));
        self.liveness.fault(self.now, fault, &self.cluster);
    }

    /// Changes the shared configuration; machines that already run keep theirs.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Cluster)) -> World {
        change(&mut self.cluster);
        self
    }

    /// The names of all machines.
    pub fn names(&self) -> impl Iterator<Item = NodeName> {
        let names: Vec<NodeName> = self.machines.keys().cloned().collect();
        names.into_iter()
    }

    /// The answer to a command, if there is one yet.
    pub fn answer(&self, name: &str, id: u64) -> Option<Result<String, String>> {
        self.at(name).replies.get(&id).cloned()
    }

    /// A node's view of everything.
    pub fn status(&self, name: &str) -> Option<Status> {
        let machine = self.at(name);
        let now = machine.clock.local(self.now);
        machine.engine.as_ref().map(|e| e.status(now))
    }

    /// Where a group really runs.
    pub fn runs_on(&self, group: &str) -> Vec<&str> {
        let group = GroupName::new(group);
        let runs = self.machines.iter().filter(|(_, m)| m.runs(&group));
        runs.map(|(name, _)| name.as_str()).collect()
    }

    /// The state that a node gives to a group.
    pub fn state(&self, name: &str, group: &str) -> Option<GroupState> {
        let status = self.status(name)?;
        let group = status.groups.iter().find(|g| g.name.as_str() == group)?;
        group.states.first().map(|(_, state)| *state)
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until a condition holds, at most `at_most`; returns whether it holds.
    pub fn run_until_condition(
        &mut self,
        at_most: Duration,
        is: impl FnMut(&mut World) -> bool,
    ) -> bool {
        let end = self.now + at_most;
        self.run_until(end, is)
    }

    fn run_until(&mut self, end: Time, mut is: impl FnMut(&mut World) -> bool) -> bool {
        loop {
            if is(self) {
                return true;
            }
            let next = self.future.keys().next().map_or(Time::NEVER, |(at, _)| *at);
            let awake = self.machines.iter().filter(|(_, m)| m.alive());
            let wake = awake.min_by_key(|(_, m)| m.wake);
            let wake = wake.map(|(n, m)| (m.wake, n.clone()));
            let wake_at = wake.as_ref().map_or(Time::NEVER, |(at, _)| *at);
            if next.min(wake_at) > end {
                self.now = end;
                return false;
            }
            self.steps += 1;
            // What has arrived is handled before a deadline.
            if next <= wake_at {
                self.now = self.now.max(next);
                if let Some((_, future)) = self.future.pop_first() {
                    self.dispatch(future);
                }
            } else if let Some((at, name)) = wake {
                self.now = self.now.max(at);
                self.wake(&name);
            }
            self.watch_owners();
        }
    }

    pub(super) fn schedule(&mut self, after: Duration, future: ScheduledEvent) {
        self.count += 1;
        self.future.insert((self.now + after, self.count), future);
    }

    fn dispatch(&mut self, future: ScheduledEvent) {
        let machine = future.inside().and_then(|at| self.machines.get_mut(at));
        if let Some(machine) = machine.filter(|m| m.suspended) {
            machine.held_back.push(future);
            return;
        }
        match future {
            ScheduledEvent::Arrive { to, event } => self.deliver(&to, event),
            ScheduledEvent::Deliver { at, life, event } if self.is_current_life(&at, life) => {
                self.deliver(&at, event);
            }
            ScheduledEvent::Read { at, life } if self.is_current_life(&at, life) => {
                self.read_all(&at, None);
            }
            ScheduledEvent::Finish { at, life, done } => self.finish_call(&at, life, done),
            ScheduledEvent::Probe { at, life, group } if self.is_current_life(&at, life) => {
                self.probe_addresses(&at, group);
            }
            ScheduledEvent::ProbeEnds {
                at,
                life,
                group,
                sent,
            } if self.is_current_life(&at, life) => self.probe_ends(&at, group, sent),
            ScheduledEvent::AskMachine { at, life, node } if self.is_current_life(&at, life) => {
                self.ask_machine(&at, node);
            }
            ScheduledEvent::LeaseEnds { at, group, until } => self.lease_ends(&at, &group, until),
            ScheduledEvent::MonitorResult {
                at,
                life,
                group,
                round,
                interval,
            } if self.is_current_life(&at, life) => {
                self.monitor_steps(&at, &group, round, interval);
            }
            ScheduledEvent::Check { at, life, interval } if self.is_current_life(&at, life) => {
                self.run_checks(&at, interval);
            }
            ScheduledEvent::SwitchActs { node, call } => self.switch_acts(&node, call),
            ScheduledEvent::SwitchAnswers { at, life, done } if self.is_current_life(&at, life) => {
                self.switch_answers(&at, done);
            }
            ScheduledEvent::Deliver { .. }
            | ScheduledEvent::Read { .. }
            | ScheduledEvent::SwitchAnswers { .. }
            | ScheduledEvent::Probe { .. }
            | ScheduledEvent::ProbeEnds { .. }
            | ScheduledEvent::AskMachine { .. }
            | ScheduledEvent::MonitorResult { .. }
            | ScheduledEvent::Check { .. } => {}
        }
    }

    fn is_current_life(&self, at: &NodeName, life: u64) -> bool {
        self.machines.get(at).is_some_and(|m| m.life == life)
    }

    /// The current life of a machine's daemon, and what its clock shows.
    pub(super) fn life_and_clock(&self, at: &NodeName) -> Option<(u64, Time)> {
        let machine = self.machines.get(at)?;
        Some((machine.life, machine.clock.local(self.now)))
    }

    fn wake(&mut self, name: &NodeName) {
        let before = self.read_all(name, Some(Event::DeadlineReached));
        self.watch_wake(name, before);
    }

    pub(super) fn reschedule(&mut self, name: &NodeName) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let due = machine
            .engine
            .as_ref()
            .map_or(Time::NEVER, Engine::next_deadline);
        let late = self.random.between(Duration::ZERO, machine.lateness);
        machine.wake = machine.clock.world(due) + late;
    }
}

fn step(members: Vec<String>, addresses: bool) -> Step {
    Step {
        members,
        ..default_step(addresses)
    }
}

/// A cluster with the usual times and one link.
pub(super) fn default_cluster(nodes: &[NodeName]) -> Cluster {
    let ms = Duration::from_millis;
    let timing = Timing {
        warntime: ms(600),
        ..Timing::usual(ms(200), ms(2000))
    };
    Cluster {
        links: vec![link_name(0)],
        ..Cluster::new(nodes, timing)
    }
}

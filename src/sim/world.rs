//! The simulated world: machines, links between them, ping nodes, and the order in which things happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::downtime::ServiceWatch;
use super::fault::Fault;
use super::invariant::{LivenessWatch, OwnershipWatch, Violation};
use super::machine::{Clock, Machine};
use super::network::{Weather, link_name};
use super::random::Random;
use super::setup::{MachineCondition, usual_step};
use crate::engine::{ActionDigest, Call, Engine, Event, OrderId, Outcome};
use crate::model::cluster::{Cluster, GroupSpec, PingNode, QuorumPolicy, Step, Timing};
use crate::model::health::Health;
use crate::model::heartbeat::GroupState;
use crate::model::status::Status;
use crate::model::{GroupName, LinkName, NodeName, Time};

/// A socket keeps no more than so many datagrams for a daemon that stands still; later ones are lost.
const INBOX: usize = 200;

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum ScheduledEvent {
    /// A datagram comes in, whoever lives there then.
    Arrive {
        to: NodeName,
        event: Event,
    },
    /// Something that only the present life of the daemon waits for.
    Tell {
        at: NodeName,
        life: u64,
        event: Event,
    },
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
    },
    Check {
        at: NodeName,
        life: u64,
    },
}

impl ScheduledEvent {
    /// The machine inside which it happens.
    fn inside(&self) -> Option<&NodeName> {
        match self {
            ScheduledEvent::Arrive { .. } => None,
            ScheduledEvent::Tell { at, .. }
            | ScheduledEvent::Finish { at, .. }
            | ScheduledEvent::Probe { at, .. }
            | ScheduledEvent::ProbeEnds { at, .. }
            | ScheduledEvent::LeaseEnds { at, .. }
            | ScheduledEvent::MonitorResult { at, .. }
            | ScheduledEvent::Check { at, .. } => Some(at),
        }
    }
}

/// A command that was given.
#[derive(Clone, Debug)]
pub(super) struct GivenCommand {
    /// At which node, in which life of its daemon.
    pub node: NodeName,
    pub life: u64,
    pub id: u64,
    pub at: Time,
}

/// A cluster in virtual time.
#[derive(Debug)]
pub struct World {
    /// The configuration that all share; each machine has its own name in it.
    pub cluster: Cluster,
    /// The present.
    pub now: Time,
    /// What every path does to heartbeats.
    pub weather: Weather,
    /// Whether kernels drop addresses whose right was not renewed.
    pub kernel_leases: bool,
    /// Where all chance comes from.
    pub random: Random,
    /// How many things have happened.
    pub steps: u64,
    pub(super) machines: BTreeMap<NodeName, Machine>,
    pub(super) future: BTreeMap<(Time, u64), ScheduledEvent>,
    pub(super) count: u64,
    pub(super) local_weather: BTreeMap<(NodeName, NodeName, LinkName), Weather>,
    pub(super) cuts: BTreeSet<(NodeName, NodeName, LinkName)>,
    pub(super) blocked: BTreeSet<(NodeName, NodeName)>,
    pub(super) blind: BTreeSet<(NodeName, usize)>,
    pub(super) owners: OwnershipWatch,
    pub(super) services: BTreeMap<GroupName, ServiceWatch>,
    pub(super) liveness: LivenessWatch,
    pub(super) asked: Vec<GivenCommand>,
    /// The faults that were done.
    pub(super) diary: Vec<(Time, Fault)>,
    pub(super) broken: Vec<Violation>,
    /// What all engines ordered.
    pub(super) ordered: ActionDigest,
}

impl World {
    /// When every run begins.
    pub const BEGIN: Time = Time(1_000_000_000_000);

    /// Machines of these names, switched off, with one link, keepalive 200 ms, deadtime 2 s, no groups, no ping node,
    /// votes not counted.
    pub fn of(names: &[&str]) -> World {
        let nodes: Vec<NodeName> = names.iter().map(|n| NodeName::new(n)).collect();
        let now = World::BEGIN;
        let machine = |name: NodeName| {
            let mut machine = Machine::new();
            machine.clock = Clock::new(now, now, 0);
            (name, machine)
        };
        World {
            cluster: cluster_of(&nodes),
            now,
            weather: Weather::CALM,
            kernel_leases: false,
            random: Random::new(0),
            steps: 0,
            machines: nodes.into_iter().map(machine).collect(),
            future: BTreeMap::new(),
            count: 0,
            local_weather: BTreeMap::new(),
            cuts: BTreeSet::new(),
            blocked: BTreeSet::new(),
            blind: BTreeSet::new(),
            owners: OwnershipWatch::default(),
            services: BTreeMap::new(),
            liveness: LivenessWatch::default(),
            asked: Vec::new(),
            diary: Vec::new(),
            broken: Vec::new(),
            ordered: ActionDigest::default(),
        }
    }

    /// As many links.
    #[must_use]
    pub fn links(mut self, links: usize) -> World {
        self.cluster.links = (0..links).map(link_name).collect();
        self
    }

    /// A ping node that everybody sees; votes are counted from now on.
    #[must_use]
    pub fn ping(mut self, name: &str) -> World {
        self.cluster.pings.push(PingNode {
            name: name.to_owned(),
            addresses: Vec::new(),
        });
        self.cluster.quorum = QuorumPolicy::Stop;
        self
    }

    /// A group of an address, with as many other resources behind it.
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

    /// Gives a machine its clock and its lateness.
    pub(super) fn condition(&mut self, name: &NodeName, condition: MachineCondition) {
        let now = self.now;
        if let Some(machine) = self.machines.get_mut(name) {
            let local = Time::ZERO + condition.clock;
            machine.clock = Clock::new(now, local, condition.ppm);
            machine.lateness = condition.late;
        }
    }

    /// Notes a fault that was done.
    pub(super) fn note_fault(&mut self, fault: &Fault) {
        self.diary.push((self.now, fault.clone()));
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

    /// The answer to a command, when there is one.
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

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until something is so, at most so long; whether it came to be so.
    pub fn run_till(&mut self, at_most: Duration, is: impl FnMut(&mut World) -> bool) -> bool {
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
            // What has arrived is heard before a deadline is judged.
            if next <= wake_at {
                self.now = self.now.max(next);
                if let Some((_, future)) = self.future.pop_first() {
                    self.happen(future);
                }
            } else if let Some((at, name)) = wake {
                self.now = self.now.max(at);
                self.wake(&name);
            }
            self.watch_owners();
        }
    }

    pub(super) fn later(&mut self, after: Duration, future: ScheduledEvent) {
        self.count += 1;
        self.future.insert((self.now + after, self.count), future);
    }

    fn happen(&mut self, future: ScheduledEvent) {
        let machine = future.inside().and_then(|at| self.machines.get_mut(at));
        if let Some(machine) = machine.filter(|m| m.suspended) {
            machine.held_back.push(future);
            return;
        }
        match future {
            ScheduledEvent::Arrive { to, event } => self.give(&to, event),
            ScheduledEvent::Tell { at, life, event } if self.lives(&at, life) => {
                self.give(&at, event);
            }
            ScheduledEvent::Finish { at, life, done } => self.finish(&at, life, done),
            ScheduledEvent::Probe { at, life, group } if self.lives(&at, life) => {
                self.probe(&at, group);
            }
            ScheduledEvent::ProbeEnds {
                at,
                life,
                group,
                sent,
            } if self.lives(&at, life) => self.probe_ends(&at, group, sent),
            ScheduledEvent::LeaseEnds { at, group, until } => self.lease_ends(&at, &group, until),
            ScheduledEvent::MonitorResult {
                at,
                life,
                group,
                round,
            } if self.lives(&at, life) => self.look_at(&at, &group, round),
            ScheduledEvent::Check { at, life } if self.lives(&at, life) => self.check_all(&at),
            ScheduledEvent::Tell { .. }
            | ScheduledEvent::Probe { .. }
            | ScheduledEvent::ProbeEnds { .. }
            | ScheduledEvent::MonitorResult { .. }
            | ScheduledEvent::Check { .. } => {}
        }
    }

    fn lives(&self, at: &NodeName, life: u64) -> bool {
        self.machines.get(at).is_some_and(|m| m.life == life)
    }

    /// The present life of a machine's daemon, and what its clock shows.
    pub(super) fn life_and_clock(&self, at: &NodeName) -> Option<(u64, Time)> {
        let machine = self.machines.get(at)?;
        Some((machine.life, machine.clock.local(self.now)))
    }

    fn wake(&mut self, name: &NodeName) {
        let before = self.acts(name, Event::DeadlineReached);
        self.watch_wake(name, before);
    }

    /// Gives a fact to a daemon; to one that stands still, when it goes on.
    pub(super) fn give(&mut self, to: &NodeName, event: Event) {
        let Some(machine) = self.machines.get_mut(to) else {
            return;
        };
        if machine.frozen && machine.engine.is_some() && machine.powered {
            if machine.inbox.len() < INBOX || !matches!(event, Event::Heard { .. }) {
                machine.inbox.push(event);
            }
            return;
        }
        self.acts(to, event);
    }

    /// Whether anything followed from it.
    fn acts(&mut self, to: &NodeName, event: Event) -> bool {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(to).filter(|m| m.alive()) else {
            return false;
        };
        let local = machine.clock.local(now);
        let Some(engine) = machine.engine.as_mut() else {
            return false;
        };
        machine
            .watched
            .take_in(local, &event, &engine.cluster().timing);
        if let Some(recording) = &mut machine.recording {
            recording.told.push((local, event.clone()));
        }
        let actions = engine.handle(local, event);
        let acts = !actions.is_empty();
        if acts {
            self.ordered.add(&actions);
        }
        self.perform(to, actions);
        self.reschedule(to);
        acts
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
        ..usual_step(addresses)
    }
}

/// The usual times, and nothing else.
pub(super) fn cluster_of(nodes: &[NodeName]) -> Cluster {
    let ms = Duration::from_millis;
    let (keepalive, deadtime) = (ms(200), ms(2000));
    let nobody = || NodeName::new("nobody");
    Cluster {
        me: nodes.first().cloned().unwrap_or_else(nobody),
        nodes: nodes.to_vec(),
        links: vec![link_name(0)],
        pings: Vec::new(),
        timing: Timing {
            keepalive,
            warntime: ms(600),
            deadtime,
            initdead: ms(4000),
            deadping: deadtime,
            margin: Timing::usual_margin(keepalive, deadtime),
        },
        quorum: QuorumPolicy::Off,
        auto_failback: false,
        failback_delay: Duration::ZERO,
        follow_connectivity: false,
        health: Health::default(),
        groups: Vec::new(),
        digest: 1,
    }
}

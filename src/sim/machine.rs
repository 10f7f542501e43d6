//! One machine of the simulated cluster: its engine, what really runs on it, its clock, and how its agents behave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::health::HealthFaults;
use super::invariant::MachineWatch;
use super::world::ScheduledEvent;
use crate::engine::{Engine, Event, Outcome, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::decision::Decision;
use crate::model::{GroupName, NodeName, Time};

/// How an agent behaves on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Does what it should, in this time.
    Works(Duration),
    /// Fails at once with this text and changes nothing.
    Fails(String),
    /// Fails at once, and leaves a start running all the same.
    FailsHalfDone,
    /// Never ends by itself; ended at its deadline.
    Hangs,
}

/// How a probe of a step misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeBehaviour {
    /// Reports this, whatever is true.
    Says(bool),
    /// Fails without a result.
    Fails,
    /// Hangs until its deadline.
    Hangs,
}

/// A machine's own clock, which may run fast or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    world: Time,
    local: Time,
    /// How much faster than the world's, in millionths.
    ppm: i32,
    /// It is stopped.
    stopped: bool,
}

impl Clock {
    /// A clock that shows `local` at the time `world` and is fast by `ppm` millionths.
    pub fn new(world: Time, local: Time, ppm: i32) -> Self {
        Clock {
            world,
            local,
            ppm,
            stopped: false,
        }
    }

    /// The same clock at another speed from now on.
    pub(super) fn drift(self, world: Time, ppm: i32) -> Self {
        let stopped = self.stopped;
        Clock {
            stopped,
            ..Clock::new(world, self.local(world), ppm)
        }
    }

    /// The same clock, stopped from now on.
    pub(super) fn stop(self, world: Time) -> Self {
        Clock {
            stopped: true,
            ..self.drift(world, self.ppm)
        }
    }

    /// The same clock, running from now on.
    pub(super) fn go_on(self, world: Time) -> Self {
        Clock {
            stopped: false,
            ..self.drift(world, self.ppm)
        }
    }

    fn rate(self) -> u128 {
        u128::try_from(1_000_000 + i64::from(self.ppm)).unwrap_or(1)
    }

    /// What it shows.
    pub fn local(self, world: Time) -> Time {
        if self.stopped {
            return self.local;
        }
        let passed = world.since(self.world).as_nanos() * self.rate() / 1_000_000;
        self.local + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The same clock after a reboot: it keeps its speed.
    pub(super) fn begin_anew(self, world: Time, local: Time) -> Self {
        Clock::new(world, local, self.ppm)
    }

    /// The first time of the world at which it shows `local`.
    pub fn world(self, local: Time) -> Time {
        if local == Time::NEVER || self.stopped {
            return Time::NEVER;
        }
        let passed = (local.since(self.local).as_nanos() * 1_000_000).div_ceil(self.rate().max(1));
        self.world + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// What an engine was started with, and all its inputs.
#[derive(Clone, Debug)]
pub struct MachineRecording {
    /// When its daemon began, on its own clock.
    pub began: Time,
    /// Its configuration.
    pub cluster: Cluster,
    /// The saved state from the life before.
    pub kept: PersistentState,
    /// Its inputs, with the time on its clock, and whether it decided only after the next one.
    pub inputs: Vec<(Time, Event, bool)>,
}

/// A machine, with or without a running daemon.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The daemon's engine while it runs.
    pub engine: Option<Engine>,
    /// What outlives the daemon.
    pub kept: PersistentState,
    /// Whether the machine has power.
    pub powered: bool,
    /// Whether its daemon is frozen.
    pub frozen: bool,
    /// Whether the whole machine and its clock are suspended; then the daemon is frozen too.
    pub suspended: bool,
    /// How late its daemon may wake, at most.
    pub lateness: Duration,
    /// For each group: which steps really run.
    pub running: BTreeMap<GroupName, Vec<bool>>,
    /// How many steps were really started.
    pub starts: u32,
    /// How many steps were really stopped.
    pub stops: u32,
    /// Behaviour of starts, by group and step; the default works in a millisecond.
    pub start_behaviour: BTreeMap<(GroupName, usize), Behaviour>,
    /// Behaviour of stops.
    pub stop_behaviour: BTreeMap<(GroupName, usize), Behaviour>,
    /// Probes of a step that misbehave.
    pub look_behaviour: BTreeMap<(GroupName, usize), ProbeBehaviour>,
    /// A configuration of its own, where it has one.
    pub config: Option<Cluster>,
    /// All decisions, with their time.
    pub decisions: Vec<(Time, Decision)>,
    /// Answers to commands.
    pub replies: BTreeMap<u64, Result<String, String>>,
    /// Whether the inputs of the engine are recorded.
    pub records_inputs: bool,
    /// The recording of the current or last life.
    pub recording: Option<MachineRecording>,
    /// How often addresses were announced.
    pub announced: u32,
    /// The node whose name it has too, for a machine that was cloned.
    pub(super) clone_of: Option<NodeName>,
    pub(super) health: HealthFaults,
    pub(super) clock: Clock,
    /// The number of the life of the daemon: what was under way in one life does not end in the next.
    pub(super) life: u64,
    /// Groups whose addresses are probed, with the time from round to round.
    pub(super) watching: BTreeMap<GroupName, Duration>,
    /// Machines that it asks whether they answer, and where.
    pub(super) asked_machines: BTreeMap<NodeName, Vec<IpAddr>>,
    /// Its kernel answers ARP and sends no echo replies.
    pub sends_no_echo: bool,
    /// Steps that the kernel removed while this daemon lived: a renewed lease restores them.
    pub(super) taken: BTreeSet<(GroupName, usize)>,
    pub(super) wake: Time,
    pub(super) inbox: Vec<Event>,
    /// What a late daemon has not read yet. It reads all of it at once.
    pub(super) unread: Vec<Event>,
    /// What happens as soon as it is no longer suspended.
    pub(super) held_back: Vec<ScheduledEvent>,
    pub(super) exited: bool,
    pub(super) boots: u64,
    /// What runs here has changed since the last check.
    pub(super) changed: bool,
    /// When the daemon was last thawed.
    pub(super) thawed: Time,
    /// When the last round of unanswered address probes of each group was sent, in the world's time.
    pub(super) silent: BTreeMap<GroupName, Time>,
    /// A probe had a wrong result.
    pub(super) probe_was_wrong: bool,
    pub(super) watched: MachineWatch,
}

impl Machine {
    pub(super) fn new() -> Self {
        Machine {
            engine: None,
            kept: PersistentState::default(),
            powered: true,
            frozen: false,
            suspended: false,
            lateness: Duration::ZERO,
            running: BTreeMap::new(),
            starts: 0,
            stops: 0,
            start_behaviour: BTreeMap::new(),
            stop_behaviour: BTreeMap::new(),
            look_behaviour: BTreeMap::new(),
            config: None,
            decisions: Vec::new(),
            replies: BTreeMap::new(),
            records_inputs: false,
            recording: None,
            announced: 0,
            clone_of: None,
            health: HealthFaults::default(),
            clock: Clock::new(Time::ZERO, Time::ZERO, 0),
            life: 0,
            watching: BTreeMap::new(),
            asked_machines: BTreeMap::new(),
            sends_no_echo: false,
            taken: BTreeSet::new(),
            wake: Time::NEVER,
            inbox: Vec::new(),
            unread: Vec::new(),
            held_back: Vec::new(),
            exited: false,
            boots: 0,
            changed: true,
            thawed: Time::ZERO,
            silent: BTreeMap::new(),
            probe_was_wrong: false,
            watched: MachineWatch::default(),
        }
    }

    /// Whether its daemon runs and is not frozen.
    pub fn alive(&self) -> bool {
        self.powered && !self.frozen && self.engine.is_some()
    }

    /// Whether any part of a group runs here. On a suspended machine nothing runs.
    pub fn runs(&self, group: &GroupName) -> bool {
        self.powered
            && !self.suspended
            && self
                .running
                .get(group)
                .is_some_and(|steps| steps.iter().any(|r| *r))
    }

    /// Ends the life of the daemon, and with it everything that was under way.
    pub(super) fn end_life(&mut self) {
        self.engine = None;
        self.frozen = false;
        self.life += 1;
        self.watching.clear();
        self.asked_machines.clear();
        self.taken.clear();
        self.health.end_life();
        self.inbox.clear();
        self.unread.clear();
    }

    /// How long an agent call takes, and its outcome.
    pub(super) fn behave(behaviour: Option<&Behaviour>, deadline: Duration) -> (Duration, Outcome) {
        match behaviour {
            None => (Duration::from_millis(1), Outcome::Succeeded),
            Some(Behaviour::Works(time)) => (*time, Outcome::Succeeded),
            Some(Behaviour::Fails(text)) => {
                (Duration::from_millis(1), Outcome::Failed(text.clone()))
            }
            Some(Behaviour::FailsHalfDone) => {
                let text = "it started and reported a failure".to_owned();
                (Duration::from_millis(1), Outcome::Failed(text))
            }
            Some(Behaviour::Hangs) => (deadline, Outcome::TimedOut("it hung".to_owned())),
        }
    }

    /// Sets whether a step really runs.
    pub(super) fn set_step(&mut self, group: &GroupName, step: usize, runs: bool) {
        if runs {
            self.health.step_started(group, step);
        }
        let steps = self.running.entry(group.clone()).or_default();
        if steps.len() <= step {
            steps.resize(step + 1, false);
        }
        if let Some(s) = steps.get_mut(step) {
            if runs && !*s {
                self.starts += 1;
            }
            if !runs && *s {
                self.stops += 1;
            }
            *s = runs;
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_wakes_no_earlier_than_it_shows() {
        for ppm in [-500, -1, 0, 1, 500] {
            let clock = Clock::new(Time(1_000), Time(77), ppm);
            for local in [77, 78, 1_000_077, 123_456_789_012] {
                let world = clock.world(Time(local));
                assert!(clock.local(world) >= Time(local), "{ppm} {local}");
                assert!(clock.local(world) <= Time(local + 2), "{ppm} {local}");
            }
        }
    }
}

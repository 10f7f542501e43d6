//! One machine of the simulated cluster: its engine, what really runs on it, its clock, and how its agents behave.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::health::HealthFaults;
use super::invariant::MachineWatch;
use super::world::ScheduledEvent;
use crate::engine::{Engine, Event, Outcome, PersistentState};
use crate::model::cluster::Cluster;
use crate::model::decision::Decision;
use crate::model::{GroupName, Time};

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

/// How a look at a step that does not do what it should goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeBehaviour {
    /// Says this, whatever is true.
    Says(bool),
    /// Cannot tell.
    Fails,
    /// Is ended at its deadline and has not told.
    Hangs,
}

/// A machine's own clock: it began somewhere, and runs a little fast or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    world: Time,
    local: Time,
    /// So many millionths faster than the world's.
    ppm: i32,
    /// It stands still.
    stands: bool,
}

impl Clock {
    /// A clock that shows `local` at the world's `world`, and is so many millionths too fast from then on.
    pub fn new(world: Time, local: Time, ppm: i32) -> Self {
        Clock {
            world,
            local,
            ppm,
            stands: false,
        }
    }

    /// The same, at another speed from now on.
    pub(super) fn drift(self, world: Time, ppm: i32) -> Self {
        let stands = self.stands;
        Clock {
            stands,
            ..Clock::new(world, self.local(world), ppm)
        }
    }

    /// The same, but it stands still from now on.
    pub(super) fn stop(self, world: Time) -> Self {
        Clock {
            stands: true,
            ..self.drift(world, self.ppm)
        }
    }

    /// The same, but it goes from now on.
    pub(super) fn go_on(self, world: Time) -> Self {
        Clock {
            stands: false,
            ..self.drift(world, self.ppm)
        }
    }

    fn rate(self) -> u128 {
        u128::try_from(1_000_000 + i64::from(self.ppm)).unwrap_or(1)
    }

    /// What it shows.
    pub fn local(self, world: Time) -> Time {
        if self.stands {
            return self.local;
        }
        let passed = world.since(self.world).as_nanos() * self.rate() / 1_000_000;
        self.local + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The same crystal after a reboot.
    pub(super) fn begin_anew(self, world: Time, local: Time) -> Self {
        Clock::new(world, local, self.ppm)
    }

    /// The first moment of the world at which it shows this.
    pub fn world(self, local: Time) -> Time {
        if local == Time::NEVER || self.stands {
            return Time::NEVER;
        }
        let passed = (local.since(self.local).as_nanos() * 1_000_000).div_ceil(self.rate().max(1));
        self.world + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// What an engine was made of, and all that it was told.
#[derive(Clone, Debug)]
pub struct MachineRecording {
    /// When its daemon began, on its own clock.
    pub began: Time,
    /// Its configuration.
    pub cluster: Cluster,
    /// What outlived the life before.
    pub kept: PersistentState,
    /// What it was told, and when.
    pub told: Vec<(Time, Event)>,
}

/// A machine, with or without a running daemon.
#[derive(Debug)]
pub struct Machine {
    /// The daemon's engine while it runs.
    pub engine: Option<Engine>,
    /// What outlives the daemon.
    pub kept: PersistentState,
    /// Whether the machine has power.
    pub powered: bool,
    /// Whether its daemon stands still.
    pub frozen: bool,
    /// Whether the whole machine stands still, and its clock with it; so its daemon too.
    pub suspended: bool,
    /// How late its daemon may wake, at most.
    pub lateness: Duration,
    /// For each group: which steps really run.
    pub running: BTreeMap<GroupName, Vec<bool>>,
    /// How often each step was really started and stopped.
    pub starts: u32,
    /// How often a step was really stopped.
    pub stops: u32,
    /// Behaviour of starts, by group and step; the default works in a millisecond.
    pub start_behaviour: BTreeMap<(GroupName, usize), Behaviour>,
    /// Behaviour of stops.
    pub stop_behaviour: BTreeMap<(GroupName, usize), Behaviour>,
    /// Looks at a step that do not tell the truth.
    pub look_behaviour: BTreeMap<(GroupName, usize), ProbeBehaviour>,
    /// A configuration of its own, where it has one.
    pub config: Option<Cluster>,
    /// Everything it decided, with the time.
    pub decisions: Vec<(Time, Decision)>,
    /// Answers to commands.
    pub replies: BTreeMap<u64, Result<String, String>>,
    /// Whether what its engine is told is kept.
    pub records_inputs: bool,
    /// That of the present or last life.
    pub recording: Option<MachineRecording>,
    /// How often each group's addresses were announced anew on order.
    pub announced: u32,
    pub(super) health: HealthFaults,
    pub(super) clock: Clock,
    /// Numbers the lives of its daemon: what was under way in one does not end in the next.
    pub(super) life: u64,
    pub(super) watching: BTreeSet<GroupName>,
    /// Steps that its kernel took while this daemon lived: a renewal puts them back.
    pub(super) taken: BTreeSet<(GroupName, usize)>,
    pub(super) wake: Time,
    pub(super) inbox: Vec<Event>,
    /// What happens to it as soon as it is no longer suspended.
    pub(super) held_back: Vec<ScheduledEvent>,
    pub(super) exited: bool,
    pub(super) boots: u64,
    /// What runs here has changed since the last look at it.
    pub(super) changed: bool,
    /// When its daemon last went on after standing still.
    pub(super) thawed: Time,
    /// For each group, when its last round of probes that stayed silent was sent, in the world's time.
    pub(super) silent: BTreeMap<GroupName, Time>,
    /// A look has told an untruth.
    pub(super) was_lied_to: bool,
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
            health: HealthFaults::default(),
            clock: Clock::new(Time::ZERO, Time::ZERO, 0),
            life: 0,
            watching: BTreeSet::new(),
            taken: BTreeSet::new(),
            wake: Time::NEVER,
            inbox: Vec::new(),
            held_back: Vec::new(),
            exited: false,
            boots: 0,
            changed: true,
            thawed: Time::ZERO,
            silent: BTreeMap::new(),
            was_lied_to: false,
            watched: MachineWatch::default(),
        }
    }

    /// Whether its daemon runs and moves.
    pub fn alive(&self) -> bool {
        self.powered && !self.frozen && self.engine.is_some()
    }

    /// Whether any part of a group runs here. What stands still with its machine does nothing.
    pub fn runs(&self, group: &GroupName) -> bool {
        self.powered
            && !self.suspended
            && self
                .running
                .get(group)
                .is_some_and(|steps| steps.iter().any(|r| *r))
    }

    /// The life of its daemon ends, and with it all that it had under way.
    pub(super) fn end_life(&mut self) {
        self.engine = None;
        self.frozen = false;
        self.life += 1;
        self.watching.clear();
        self.taken.clear();
        self.health.end_life();
        self.inbox.clear();
    }

    /// How a call on a step would go: how long it takes and what comes out.
    pub(super) fn behave(behaviour: Option<&Behaviour>, deadline: Duration) -> (Duration, Outcome) {
        match behaviour {
            None => (Duration::from_millis(1), Outcome::Succeeded),
            Some(Behaviour::Works(time)) => (*time, Outcome::Succeeded),
            Some(Behaviour::Fails(text)) => {
                (Duration::from_millis(1), Outcome::Failed(text.clone()))
            }
            Some(Behaviour::FailsHalfDone) => {
                let text = "it came up and reports a failure".to_owned();
                (Duration::from_millis(1), Outcome::Failed(text))
            }
            Some(Behaviour::Hangs) => (deadline, Outcome::TimedOut("it hung".to_owned())),
        }
    }

    /// Makes a step run or not, for real.
    pub(super) fn set_step(&mut self, group: &GroupName, step: usize, runs: bool) {
        if runs {
            self.health.starts(group, step);
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

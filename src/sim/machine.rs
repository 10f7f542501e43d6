//! One machine of the simulated cluster: its engine, what really runs on it, and how its agents behave.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::{Engine, Kept, Outcome};
use crate::model::decision::Decision;
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, LinkName, Time};

/// How an agent behaves on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Does what it should, in this time.
    Works(Duration),
    /// Fails at once with this text and changes nothing.
    Fails(String),
    /// Never ends by itself; ended at its deadline.
    Hangs,
}

/// A machine, with or without a running daemon.
#[derive(Debug)]
pub struct Machine {
    /// The daemon's engine while it runs.
    pub engine: Option<Engine>,
    /// What outlives the daemon.
    pub kept: Kept,
    /// Whether the machine has power.
    pub powered: bool,
    /// Whether all its processes stand still.
    pub frozen: bool,
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
    /// Everything it decided, with the time.
    pub decisions: Vec<(Time, Decision)>,
    /// Answers to commands.
    pub replies: BTreeMap<u64, Result<String, String>>,
    /// How often each group's addresses were announced anew on order.
    pub announced: u32,
    pub(super) watching: BTreeSet<GroupName>,
    pub(super) wake: Time,
    pub(super) inbox: Vec<(LinkName, Heartbeat)>,
    pub(super) exited: bool,
}

impl Machine {
    pub(super) fn new() -> Self {
        Machine {
            engine: None,
            kept: Kept::default(),
            powered: true,
            frozen: false,
            running: BTreeMap::new(),
            starts: 0,
            stops: 0,
            start_behaviour: BTreeMap::new(),
            stop_behaviour: BTreeMap::new(),
            decisions: Vec::new(),
            replies: BTreeMap::new(),
            announced: 0,
            watching: BTreeSet::new(),
            wake: Time::NEVER,
            inbox: Vec::new(),
            exited: false,
        }
    }

    /// Whether its daemon runs and moves.
    pub fn alive(&self) -> bool {
        self.powered && !self.frozen && self.engine.is_some()
    }

    /// Whether any part of a group runs here.
    pub fn runs(&self, group: &GroupName) -> bool {
        self.powered
            && self
                .running
                .get(group)
                .is_some_and(|steps| steps.iter().any(|r| *r))
    }

    /// How a call on a step would go: how long it takes and what comes out.
    pub(super) fn behave(behaviour: Option<&Behaviour>, deadline: Duration) -> (Duration, Outcome) {
        match behaviour {
            None => (Duration::from_millis(1), Outcome::Succeeded),
            Some(Behaviour::Works(time)) => (*time, Outcome::Succeeded),
            Some(Behaviour::Fails(text)) => {
                (Duration::from_millis(1), Outcome::Failed(text.clone()))
            }
            Some(Behaviour::Hangs) => (deadline, Outcome::TimedOut("it hung".to_owned())),
        }
    }

    /// Makes a step run or not, for real.
    pub(super) fn set_step(&mut self, group: &GroupName, step: usize, runs: bool) {
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
        }
    }
}

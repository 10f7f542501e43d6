//! What must never be seen (DESIGN section 12), watched from outside of every engine at every step: a file for each
//! of the eight, which says under which faults it is promised.

mod bounds;
mod deadtime;
mod failed_stop;
mod heard_from_peers;
mod liveness;
mod numbers;
mod one_owner;
mod past;
mod stopped_first;

use std::fmt;
use std::time::Duration;

use super::world::World;
use crate::engine::{Engine, Event, PersistentState};
use crate::model::cluster::Timing;
use crate::model::decision::{Because, Decision, What};
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, NodeName, Time};

pub(super) use liveness::{LivenessWatch, Outlook};
pub use one_owner::DoubleOwnership;
pub(super) use one_owner::{OwnershipWatch, unpromised};

/// The eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No group runs on two nodes.
    OneOwner,
    /// Nothing is started before it has stopped where it ran.
    StoppedFirst,
    /// A stop that failed is not taken for stopped.
    FailedStop,
    /// No takeover before deadtime or initdead without a goodbye.
    Deadtime,
    /// A late scheduler is no dead peer, and a paused node does not speak from the past.
    Past,
    /// Generations and terms never fall.
    Numbers,
    /// No busy loop, no flood, no growth without end.
    Bounds,
    /// When faults end, every group that can run runs exactly once.
    Liveness,
}

impl Invariant {
    /// All of them, in the order of DESIGN.
    pub const ALL: [Invariant; 8] = [
        Invariant::OneOwner,
        Invariant::StoppedFirst,
        Invariant::FailedStop,
        Invariant::Deadtime,
        Invariant::Past,
        Invariant::Numbers,
        Invariant::Bounds,
        Invariant::Liveness,
    ];

    /// What is promised, in a sentence.
    pub fn promise(self) -> &'static str {
        match self {
            Invariant::OneOwner => "no group runs on two nodes",
            Invariant::StoppedFirst => "nothing is started before it has stopped where it ran",
            Invariant::FailedStop => "a stop that failed is not taken for stopped",
            Invariant::Deadtime => "no takeover before deadtime or initdead without a goodbye",
            Invariant::Past => "no living peer is called dead, and nobody speaks from the past",
            Invariant::Numbers => "generations and terms never fall",
            Invariant::Bounds => "no busy loop, no flood, no growth without end",
            Invariant::Liveness => "when faults end, every group that can run runs exactly once",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.promise())
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When, counted from the beginning.
    pub at: Duration,
    /// How.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        write!(
            f,
            "at {at:.3} s: {} (promised: {})",
            self.words, self.invariant
        )
    }
}

/// What is remembered of one machine to judge it.
#[derive(Clone, Debug, Default)]
pub(super) struct MachineWatch {
    pub hearsay: heard_from_peers::HeardFromPeers,
    numbers: numbers::NumberWatch,
    bounds: bounds::ActivityWatch,
    past: past::PauseWatch,
}

impl MachineWatch {
    /// A new life of the daemon begins.
    pub fn begin(&mut self, now: Time) {
        self.hearsay.begin(now);
        self.numbers.begin();
        self.bounds.begin(now);
        self.past.begin();
    }

    /// Its store is lost: what it said before does not bind it.
    pub fn forgive(&mut self) {
        self.numbers.forgive();
    }

    /// The daemon is given a fact.
    pub fn take_in(&mut self, now: Time, event: &Event, timing: &Timing) {
        self.past.pass(now, timing);
        if let Event::Heard { heartbeat, .. } = event {
            self.hearsay.hear(now, heartbeat);
            self.past.hear(&heartbeat.src);
        }
    }
}

impl World {
    /// Every promise that was broken, whatever the faults were.
    pub fn broken(&self) -> &[Violation] {
        &self.broken
    }

    pub(super) fn accuse(&mut self, invariant: Invariant, words: String) {
        let at = self.now.since(World::BEGIN);
        self.broken.push(Violation {
            invariant,
            at,
            words,
        });
    }

    fn accuse_if(&mut self, invariant: Invariant, node: &NodeName, wrong: Option<String>) {
        if let Some(wrong) = wrong {
            self.accuse(invariant, format!("{node} {wrong}"));
        }
    }

    /// A node sends.
    pub(super) fn watch_send(&mut self, by: &NodeName, heartbeat: &Heartbeat) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(by) else {
            return;
        };
        let local = machine.clock.local(now);
        let watched = &mut machine.watched;
        let numbers = watched.numbers.say(heartbeat);
        let peers = self.cluster.nodes.iter().filter(|n| *n != by);
        let past = watched.past.say(local, heartbeat, peers);
        let keepalive = self.cluster.timing.keepalive;
        let flood = watched
            .bounds
            .send(now, keepalive, self.cluster.groups.len());
        let stop = failed_stop::say(machine, heartbeat);
        self.accuse_if(Invariant::Numbers, by, numbers);
        self.accuse_if(Invariant::Past, by, past);
        self.accuse_if(Invariant::Bounds, by, flood);
        self.accuse_if(Invariant::FailedStop, by, stop);
    }

    /// A node begins to start a group. One that restarts in place has it already.
    fn watch_start(&mut self, by: &NodeName, group: &GroupName) {
        let now = self.now;
        let Some(machine) = self.machines.get(by) else {
            return;
        };
        let Some(timing) = machine.engine.as_ref().map(|e| e.cluster().timing) else {
            return;
        };
        let local = machine.clock.local(now);
        let others: Vec<NodeName> = self.names().filter(|n| n != by).collect();
        let hearsay = &machine.watched.hearsay;
        let early = deadtime::start(hearsay, local, group, &others, &timing);
        let stops = stopped_first::start(hearsay, local, group, &others, &timing);
        self.accuse_if(Invariant::Deadtime, by, early);
        self.accuse_if(Invariant::StoppedFirst, by, stops);
    }

    /// A node records what it decided.
    pub(super) fn watch_record(&mut self, by: &NodeName, decision: &Decision) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(by) else {
            return;
        };
        let flood = machine.watched.bounds.record(now);
        let dead = match (&decision.what, &decision.because) {
            (What::PeerDead(peer), Because::SilentFor(_)) => {
                let timing = machine.engine.as_ref().map(|e| e.cluster().timing);
                let local = machine.clock.local(now);
                timing.and_then(|t| past::buries(&machine.watched.hearsay, local, peer, &t))
            }
            _ => None,
        };
        self.accuse_if(Invariant::Bounds, by, flood);
        self.accuse_if(Invariant::Past, by, dead);
        if let (What::Start, Some(group)) = (&decision.what, &decision.group) {
            self.watch_start(by, group);
        }
    }

    /// A node keeps something.
    pub(super) fn watch_save(&mut self, by: &NodeName, kept: &PersistentState) {
        if let Some(machine) = self.machines.get_mut(by) {
            let wrong = machine.watched.numbers.save(kept);
            self.accuse_if(Invariant::Numbers, by, wrong);
        }
    }

    /// A daemon has woken.
    pub(super) fn watch_wake(&mut self, name: &NodeName, did_something: bool) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let spins = machine.watched.bounds.wake(now, did_something);
        let burden = machine.engine.as_ref().map(Engine::burden);
        let grows = burden.and_then(|b| bounds::grows(b, machine.inbox.len()));
        self.accuse_if(Invariant::Bounds, name, spins.or(grows));
    }
}

//! What must never happen, checked from outside of the engines at every step. Each of the nine invariants has a file,
//! which says under which faults it is promised.

mod bounds;
mod deadtime;
mod failed_stop;
mod heard_from_peers;
mod liveness;
mod numbers;
mod one_owner;
mod past;
mod rest;
mod stopped_first;

use std::fmt;
use std::time::Duration;

use super::world::World;
use crate::engine::{Engine, Event, PersistentState};
use crate::model::decision::{Because, Decision, What};
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, NodeName, Time};

pub(super) use liveness::{LivenessWatch, Outlook};
pub use one_owner::DoubleOwnership;
pub(super) use one_owner::{OwnershipWatch, not_promised};

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No group runs on two nodes.
    OneOwner,
    /// No group is started before it has stopped on its old node.
    StoppedFirst,
    /// A group whose stop failed does not count as stopped.
    FailedStop,
    /// No takeover before deadtime or initdead, unless the peer announced that it leaves.
    Deadtime,
    /// A node that wakes late does not declare peers dead, and a paused node does not act on what it knew before.
    Past,
    /// Generations and terms never decrease.
    Numbers,
    /// No busy loop, no flood, no unlimited growth.
    Bounds,
    /// After the faults end, every group that can run runs exactly once.
    Liveness,
    /// After the last fault a cluster comes to rest.
    Rest,
}

impl Invariant {
    /// All invariants.
    pub const ALL: [Invariant; 9] = [
        Invariant::OneOwner,
        Invariant::StoppedFirst,
        Invariant::FailedStop,
        Invariant::Deadtime,
        Invariant::Past,
        Invariant::Numbers,
        Invariant::Bounds,
        Invariant::Liveness,
        Invariant::Rest,
    ];

    /// The promise in a sentence.
    pub fn promise(self) -> &'static str {
        match self {
            Invariant::OneOwner => "no group runs on two nodes",
            Invariant::StoppedFirst => "no group is started before it has stopped on its old node",
            Invariant::FailedStop => "a group whose stop failed does not count as stopped",
            Invariant::Deadtime => {
                "no takeover before deadtime or initdead, unless the peer announced that it leaves"
            }
            Invariant::Past => {
                "no living peer is declared dead, and no node acts on what it knew before a pause"
            }
            Invariant::Numbers => "generations and terms never decrease",
            Invariant::Bounds => "no busy loop, no flood, no unlimited growth",
            Invariant::Liveness => {
                "after the faults end, every group that can run runs exactly once"
            }
            Invariant::Rest => "after the last fault no group goes to and fro",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.promise())
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// When, from the beginning of the run.
    pub at: Duration,
    /// What happened.
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

/// What the invariants remember about one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct MachineWatch {
    pub heard: heard_from_peers::HeardFromPeers,
    numbers: numbers::NumberWatch,
    bounds: bounds::ActivityWatch,
    past: past::PauseWatch,
}

impl MachineWatch {
    /// A new life of the daemon begins.
    pub fn start_life(&mut self, now: Time) {
        self.heard.start_life(now);
        self.numbers.start_life();
        self.bounds.start_life(now);
        self.past.start_life();
    }

    /// The saved state was deleted: earlier numbers no longer count.
    pub fn store_lost(&mut self) {
        self.numbers.store_lost();
    }

    /// The daemon receives an event.
    pub fn note_event(&mut self, now: Time, event: &Event, engine: &Engine) {
        let timing = &engine.cluster().timing;
        self.past.advance(now, timing, &engine.cluster().nodes);
        if let Event::Heard { heartbeat, .. } = event {
            let mut heard = heartbeat.heard.iter();
            let us = (engine.name(), engine.generation());
            let names_us = heard.any(|h| (&h.node, h.generation) == us);
            self.heard
                .note_heartbeat(now, heartbeat, names_us, timing.deadtime);
            self.past.note_heartbeat(&heartbeat.src);
        }
    }
}

impl World {
    /// All broken promises.
    pub fn broken(&self) -> &[Violation] {
        &self.broken
    }

    pub(super) fn report_violation(&mut self, invariant: Invariant, words: String) {
        let at = self.now.since(World::BEGIN);
        self.broken.push(Violation {
            invariant,
            at,
            words,
        });
    }

    fn report_if_wrong(&mut self, invariant: Invariant, node: &NodeName, wrong: Option<String>) {
        if let Some(wrong) = wrong {
            self.report_violation(invariant, format!("{node} {wrong}"));
        }
    }

    /// A node sends a heartbeat.
    pub(super) fn watch_send(&mut self, by: &NodeName, heartbeat: &Heartbeat) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(by) else {
            return;
        };
        let local = machine.clock.local(now);
        let watched = &mut machine.watched;
        let numbers = watched.numbers.check_heartbeat(heartbeat);
        let node = machine.clone_of.clone().unwrap_or_else(|| by.clone());
        // A node that is not in its file is none of its peers.
        let own = machine.engine.as_ref().map(|e| &e.cluster().nodes);
        let peers = own.unwrap_or(&self.cluster.nodes).iter();
        let peers = peers.filter(|n| **n != node);
        let past = watched.past.check_heartbeat(local, heartbeat, peers);
        let keepalive = self.cluster.timing.keepalive;
        let flood = watched
            .bounds
            .count_heartbeat(now, keepalive, self.cluster.groups.len());
        let stop = failed_stop::check_heartbeat(machine, heartbeat);
        self.report_if_wrong(Invariant::Numbers, by, numbers);
        self.report_if_wrong(Invariant::Past, by, past);
        self.report_if_wrong(Invariant::Bounds, by, flood);
        self.report_if_wrong(Invariant::FailedStop, by, stop);
    }

    /// A node begins to start a group. A restart in place is no start.
    fn watch_start(&mut self, by: &NodeName, group: &GroupName) {
        let now = self.now;
        let Some(machine) = self.machines.get(by) else {
            return;
        };
        let Some(own) = machine.engine.as_ref().map(Engine::cluster) else {
            return;
        };
        let timing = own.timing;
        let local = machine.clock.local(now);
        let node = machine.clone_of.as_ref().unwrap_or(by);
        let others = self.cluster.nodes.iter().filter(|n| *n != node).cloned();
        // A witness runs nothing that could be waited for, and a node that is not in its file is none of its peers.
        let others: Vec<NodeName> = others
            .filter(|n| !self.cluster.is_witness(n) && own.nodes.contains(n))
            .collect();
        let heard = &machine.watched.heard;
        let early = deadtime::check_start(heard, local, group, &others, &timing);
        let stops = stopped_first::check_start(heard, local, group, &others, &timing);
        self.report_if_wrong(Invariant::Deadtime, by, early);
        self.report_if_wrong(Invariant::StoppedFirst, by, stops);
    }

    /// A node records a decision.
    pub(super) fn watch_record(&mut self, by: &NodeName, decision: &Decision) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(by) else {
            return;
        };
        let flood = machine.watched.bounds.count_record(now);
        let dead = match (&decision.what, &decision.because) {
            (What::PeerDead(peer), Because::SilentFor(_)) => {
                let timing = machine.engine.as_ref().map(|e| e.cluster().timing);
                let local = machine.clock.local(now);
                timing.and_then(|t| past::check_peer_dead(&machine.watched.heard, local, peer, &t))
            }
            _ => None,
        };
        self.report_if_wrong(Invariant::Bounds, by, flood);
        self.report_if_wrong(Invariant::Past, by, dead);
        if let (What::Start, Some(group)) = (&decision.what, &decision.group) {
            self.watch_start(by, group);
        }
    }

    /// A node saves its state.
    pub(super) fn watch_save(&mut self, by: &NodeName, kept: &PersistentState) {
        if let Some(machine) = self.machines.get_mut(by) {
            let wrong = machine.watched.numbers.check_saved(kept);
            self.report_if_wrong(Invariant::Numbers, by, wrong);
        }
    }

    /// A daemon has woken.
    pub(super) fn watch_wake(&mut self, name: &NodeName, did_something: bool) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let spins = machine.watched.bounds.count_wakeup(now, did_something);
        let burden = machine.engine.as_ref().map(Engine::burden);
        let check_memory = burden.and_then(|b| bounds::check_memory(b, machine.inbox.len()));
        self.report_if_wrong(Invariant::Bounds, name, spins.or(check_memory));
    }
}

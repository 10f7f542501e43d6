//! What must never be seen, watched from outside of every engine: two owners, a generation or a term that falls, a
//! start before its time, a node that spins.

use std::collections::BTreeMap;
use std::time::Duration;

use super::machine::Machine;
use super::world::World;
use crate::model::heartbeat::{GroupState, Heartbeat, Phase};
use crate::model::{Generation, GroupName, NodeName, Sequence, Term, Time};

/// So many wakings in a row that did nothing, each hard on the heels of the last, are a busy loop.
const SPIN: u32 = 25;
/// A node that says more in one second floods its log.
const FLOOD: u32 = 300;

/// A moment in which a group ran on more than one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Double {
    /// When it began.
    pub from: Time,
    /// How long it lasted.
    pub lasted: Duration,
    /// Which group.
    pub group: GroupName,
    /// Where.
    pub on: Vec<NodeName>,
}

/// What one machine has said and heard, as the witness remembers it.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    began: Time,
    said: (Generation, Sequence),
    claimed: BTreeMap<GroupName, Term>,
    states: BTreeMap<GroupName, GroupState>,
    heard: BTreeMap<NodeName, Hearsay>,
    woke: Time,
    idle: u32,
    second: Time,
    records: u32,
}

/// The newest that a machine heard from another.
#[derive(Clone, Debug, Default)]
struct Hearsay {
    at: Time,
    number: (Generation, Sequence),
    left: bool,
    states: BTreeMap<GroupName, GroupState>,
}

impl Memory {
    /// A new life of the daemon begins.
    pub fn begin(&mut self, now: Time) {
        self.began = now;
        self.heard.clear();
        self.states.clear();
        (self.idle, self.records, self.woke, self.second) = (0, 0, now, now);
    }

    /// Its store is lost: what it said before does not bind it.
    pub fn forgive(&mut self) {
        self.said = (Generation(0), Sequence(0));
        self.claimed.clear();
    }

    pub fn hear(&mut self, now: Time, heartbeat: &Heartbeat) {
        let number = (heartbeat.generation, heartbeat.sequence);
        let of = self.heard.entry(heartbeat.src.clone()).or_default();
        if number <= of.number {
            return;
        }
        if number.0 > of.number.0 {
            of.states.clear();
        }
        (of.at, of.number) = (now, number);
        of.left = heartbeat.phase == Phase::Left;
        for report in &heartbeat.groups {
            of.states.insert(report.group.clone(), report.state);
        }
    }

    /// What is wrong with a heartbeat that this machine sends.
    pub fn say(&mut self, heartbeat: &Heartbeat) -> Option<String> {
        let number = (heartbeat.generation, heartbeat.sequence);
        let mut wrong =
            (number <= self.said).then(|| format!("said {number:?} after {:?}", self.said));
        self.said = number;
        for report in &heartbeat.groups {
            let before = self.states.insert(report.group.clone(), report.state);
            if report.state == GroupState::Claiming && before != Some(GroupState::Claiming) {
                let last = self.claimed.insert(report.group.clone(), report.term);
                if last.is_some_and(|t| report.term <= t) {
                    wrong = Some(format!(
                        "claims {} with {:?} after {last:?}",
                        report.group, report.term
                    ));
                }
            }
        }
        wrong
    }

    /// What forbids a start now: a peer that was heard lately and did not show the group down, or one that was never
    /// heard and whose initdead is not over.
    pub fn start(
        &self,
        now: Time,
        group: &GroupName,
        peers: &[NodeName],
        world: &World,
    ) -> Option<String> {
        let timing = &world.cluster.timing;
        peers.iter().find_map(|peer| {
            let Some(heard) = self.heard.get(peer) else {
                let early = now < self.began + timing.initdead;
                return early.then(|| {
                    format!("starts {group} before {peer} was heard or initdead is over")
                });
            };
            let state = heard
                .states
                .get(group)
                .copied()
                .unwrap_or(GroupState::Unknown);
            let down = matches!(state, GroupState::Offline | GroupState::Failed) || heard.left;
            let early = !down && now < heard.at + timing.deadtime;
            early.then(|| {
                let silent = now.since(heard.at);
                format!("starts {group} although {peer} showed it {state:?} {silent:?} ago")
            })
        })
    }

    /// Counts a waking; true when they have become a busy loop.
    pub fn wake(&mut self, now: Time, did_something: bool) -> bool {
        let soon = now.since(self.woke) <= Duration::from_millis(3);
        self.idle = if soon && !did_something {
            self.idle + 1
        } else {
            0
        };
        self.woke = now;
        self.idle == SPIN
    }

    /// Counts a record; true when they have become a flood.
    pub fn record(&mut self, now: Time) -> bool {
        if now.since(self.second) > Duration::from_secs(1) {
            (self.second, self.records) = (now, 0);
        }
        self.records += 1;
        self.records == FLOOD
    }
}

impl World {
    /// Every moment in which a group ran on more than one machine, those that last still included.
    pub fn doubles(&self) -> Vec<Double> {
        let lasting = self.doubled.iter().map(|(group, (from, on))| Double {
            from: *from,
            lasted: self.now.since(*from),
            group: group.clone(),
            on: on.clone(),
        });
        self.doubles.iter().cloned().chain(lasting).collect()
    }

    /// Whether any group ever ran on two machines.
    pub fn was_double(&self) -> bool {
        !self.doubles.is_empty() || !self.doubled.is_empty()
    }

    /// What was seen that must never be, whatever the faults: a number that fell, a start before its time, a busy loop.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    pub(super) fn accuse(&mut self, node: &NodeName, wrong: &str) {
        self.broken.push(format!("{node} {wrong}"));
    }

    /// Notes where groups run on more than one machine.
    pub(super) fn sample(&mut self) {
        for group in &self.cluster.groups {
            let name = &group.name;
            let runs = |m: &&Machine| m.runs(name);
            if self.machines.values().filter(runs).count() > 1 {
                let on = self.machines.iter().filter(|(_, m)| m.runs(name));
                let on = || on.map(|(n, _)| n.clone()).collect();
                self.doubled
                    .entry(name.clone())
                    .or_insert_with(|| (self.now, on()));
            } else if let Some((from, on)) = self.doubled.remove(name) {
                self.doubles.push(Double {
                    from,
                    lasted: self.now.since(from),
                    group: name.clone(),
                    on,
                });
            }
        }
    }
}

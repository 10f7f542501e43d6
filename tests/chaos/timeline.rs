//! What was done and when, and which nodes were impaired: two holders of an address are excused only where had(7) says
//! that nobody can prevent them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use had::lab::DuplicateAddress;
use had::model::Time;

use crate::step::{ChaosStep, Node};

/// How long a daemon may take after a thaw or a start to stop what it must not run.
pub const GRACE: Duration = Duration::from_secs(4);

/// How a node is impaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTrouble {
    /// Its daemon does not run or is frozen: nobody there can remove an address.
    Helpless,
    /// Frames to or from it are lost: a probe for its addresses may get no answer.
    Astray,
}

#[derive(Clone, Debug)]
pub struct TroubleSpell {
    pub node: Node,
    pub trouble: NodeTrouble,
    pub from: Time,
    /// `NEVER` while it lasts.
    pub to: Time,
}

#[derive(Default)]
pub struct FaultTimeline {
    pub lines: Vec<(Time, String)>,
    pub spells: Vec<TroubleSpell>,
    /// What was done since the cluster last settled, and whether it hit a node that ran something.
    pub faults: Vec<(Time, ChaosStep, bool)>,
    /// The nodes that ran something when the cluster last settled.
    pub owners: BTreeSet<Node>,
    started: BTreeMap<Node, Time>,
    /// Nodes whose saved state was lost since the last query.
    pub lost: BTreeSet<Node>,
}

impl FaultTimeline {
    pub fn note(&mut self, text: &str) {
        self.lines.push((now(), text.to_owned()));
    }

    pub fn step(&mut self, step: &ChaosStep) {
        self.note(&step.to_string());
        if step.kind().is_some() {
            let owner = step.strikes().is_some_and(|n| self.owners.contains(n));
            self.faults.push((now(), step.clone(), owner));
        }
    }

    /// Forgets old impairments; the latest still count.
    pub fn round_ends(&mut self) {
        let old = now() - GRACE * 3;
        self.spells.retain(|s| s.to >= old);
    }

    pub fn lost_store(&mut self, node: Node) {
        self.lost.insert(node);
    }

    pub fn helpless(&mut self, node: Node) {
        self.spell_begins(node, NodeTrouble::Helpless);
    }

    /// The daemon runs again, or nothing of the node does.
    pub fn helped(&mut self, node: Node) {
        self.started.insert(node, now());
        self.end(|s| s.node == node && s.trouble == NodeTrouble::Helpless);
    }

    pub fn astray(&mut self, node: Node) {
        self.spell_begins(node, NodeTrouble::Astray);
    }

    pub fn not_astray(&mut self, who: impl Fn(Node) -> bool) {
        self.end(|s| who(s.node) && s.trouble == NodeTrouble::Astray);
    }

    /// Whether the daemon was started so recently that it may not listen yet.
    pub fn is_fresh(&self, node: Node) -> bool {
        let started = self.started.get(node);
        started.is_some_and(|at| now().since(*at) < Duration::from_secs(15))
    }

    fn spell_begins(&mut self, node: Node, trouble: NodeTrouble) {
        let open = |s: &TroubleSpell| s.node == node && s.trouble == trouble && s.to == Time::NEVER;
        if !self.spells.iter().any(open) {
            self.spells.push(TroubleSpell {
                node,
                trouble,
                from: now(),
                to: Time::NEVER,
            });
        }
    }

    fn end(&mut self, which: impl Fn(&TroubleSpell) -> bool) {
        for spell in &mut self.spells {
            if spell.to == Time::NEVER && which(spell) {
                spell.to = now();
            }
        }
    }

    /// The time in which a node could do nothing, if `at` is in it or shortly after.
    pub fn helpless_at(&self, node: &str, at: Time) -> Option<&TroubleSpell> {
        self.spells.iter().find(|s| {
            s.node == node
                && s.trouble == NodeTrouble::Helpless
                && s.from <= at
                && at <= later(s.to, GRACE)
        })
    }

    /// Whether frames of a node were lost in this time or shortly before.
    pub fn astray_in(&self, node: &str, from: Time, to: Time) -> bool {
        self.spells.iter().any(|s| {
            s.node == node
                && s.trouble == NodeTrouble::Astray
                && s.from <= to
                && later(s.to, GRACE) >= from
        })
    }

    /// Whether two holders of an address are excused: one of them could do nothing, and nobody could see that it still had
    /// the address, because the network between them was disturbed too.
    pub fn excuses(&self, double: &DuplicateAddress) -> bool {
        let end = double.from + double.lasted;
        double.nodes.iter().any(|n| {
            self.helpless_at(n, double.from).is_some_and(|spell| {
                end <= later(spell.to, GRACE) && self.astray_in(n, spell.from, end)
            })
        })
    }
}

fn later(time: Time, by: Duration) -> Time {
    if time == Time::NEVER { time } else { time + by }
}

/// Now, on the clock of the sampler, the probes and the scripts.
pub fn now() -> Time {
    let read = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    Time::ZERO + Duration::from(read)
}

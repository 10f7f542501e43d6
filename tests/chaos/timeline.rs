//! What was done and when, and which nodes were in what trouble: two holders are forgiven only where the README says
//! that nobody can prevent them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use had::lab::DuplicateAddress;
use had::model::Time;

use crate::step::{ChaosStep, Node};

/// How long a daemon may need after a thaw or a start until it has given up what it must not have.
pub const GRACE: Duration = Duration::from_secs(4);

/// What is wrong with a node, while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTrouble {
    /// Its daemon does not run or is frozen: nobody there can take an address away.
    Helpless,
    /// Frames to or from it are lost: a probe for its addresses may stay without an answer.
    Astray,
}

#[derive(Clone, Debug)]
pub struct TroubleSpell {
    pub node: Node,
    pub trouble: NodeTrouble,
    pub from: Time,
    /// Not over yet: never.
    pub to: Time,
}

#[derive(Default)]
pub struct FaultTimeline {
    pub lines: Vec<(Time, String)>,
    pub spells: Vec<TroubleSpell>,
    /// What was done since all was whole, and whether it struck a node that ran something.
    pub faults: Vec<(Time, ChaosStep, bool)>,
    /// Who ran something when all was whole.
    pub owners: BTreeSet<Node>,
    started: BTreeMap<Node, Time>,
    /// Nodes whose store was lost since somebody asked.
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

    /// Old troubles excuse nothing any more. Those of the last moments still do.
    pub fn round_ends(&mut self) {
        let old = now() - GRACE * 3;
        self.spells.retain(|s| s.to >= old);
    }

    pub fn lost_store(&mut self, node: Node) {
        self.lost.insert(node);
    }

    pub fn helpless(&mut self, node: Node) {
        self.begin(node, NodeTrouble::Helpless);
    }

    /// Its daemon runs again, or nothing of it does.
    pub fn helped(&mut self, node: Node) {
        self.started.insert(node, now());
        self.end(|s| s.node == node && s.trouble == NodeTrouble::Helpless);
    }

    pub fn astray(&mut self, node: Node) {
        self.begin(node, NodeTrouble::Astray);
    }

    pub fn not_astray(&mut self, who: impl Fn(Node) -> bool) {
        self.end(|s| who(s.node) && s.trouble == NodeTrouble::Astray);
    }

    /// Whether its daemon was started so recently that it may not listen yet.
    pub fn is_fresh(&self, node: Node) -> bool {
        let started = self.started.get(node);
        started.is_some_and(|at| now().since(*at) < Duration::from_secs(15))
    }

    fn begin(&mut self, node: Node, trouble: NodeTrouble) {
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

    /// The spell in which a node could do nothing at that time, or only just could again.
    pub fn helpless_at(&self, node: &str, at: Time) -> Option<&TroubleSpell> {
        self.spells.iter().find(|s| {
            s.node == node
                && s.trouble == NodeTrouble::Helpless
                && s.from <= at
                && at <= later(s.to, GRACE)
        })
    }

    /// Whether frames of a node were lost in this time, or shortly before.
    pub fn astray_in(&self, node: &str, from: Time, to: Time) -> bool {
        self.spells.iter().any(|s| {
            s.node == node
                && s.trouble == NodeTrouble::Astray
                && s.from <= to
                && later(s.to, GRACE) >= from
        })
    }

    /// Why two holders of an address were nobody's fault, if so: one of them could do nothing, and nobody could see that it
    /// still had the address, because the network between was disturbed too.
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

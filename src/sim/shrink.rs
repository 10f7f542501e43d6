//! Cuts a script that breaks a promise down to a short one that breaks the same: fewer steps, fewer nodes and groups,
//! plainer weather, rounder times.

mod smaller;

use super::invariant::{Invariant, Violation};
use super::run::run;
use super::script::FaultScript;

/// With chance in it, a smaller script is tried with so many seeds.
const SEEDS: u64 = 4;

/// What is left of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShrunkScript {
    /// The short script.
    pub script: FaultScript,
    /// What it breaks.
    pub violation: Violation,
    /// How many runs it took.
    pub runs: u32,
}

/// Shrinks a script within so many runs; nothing when it breaks no promise.
pub fn shrink(script: &FaultScript, most_runs: u32) -> Option<ShrunkScript> {
    let violation = run(script).first()?.clone();
    let mut search = ShrinkSearch {
        broken: violation.invariant,
        best: script.clone(),
        violation,
        runs: 1,
        most_runs,
    };
    loop {
        let before = search.best.clone();
        search.cut_the_end();
        search.drop_steps();
        for smaller in [
            smaller::fewer_nodes,
            smaller::fewer_groups,
            smaller::plainer_world,
            smaller::plainer_faults,
            smaller::rounder_times,
        ] {
            search.try_all(smaller);
        }
        if search.best == before || search.runs >= search.most_runs {
            break;
        }
    }
    Some(ShrunkScript {
        script: search.best,
        violation: search.violation,
        runs: search.runs,
    })
}

struct ShrinkSearch {
    broken: Invariant,
    best: FaultScript,
    violation: Violation,
    runs: u32,
    most_runs: u32,
}

impl ShrinkSearch {
    /// Takes a smaller script when it breaks the same promise.
    fn takes(&mut self, mut smaller: FaultScript) -> bool {
        let first = smaller.setup.seed;
        let seeds = if has_chance(&smaller) { SEEDS } else { 1 };
        for more in 0..seeds {
            if self.runs >= self.most_runs {
                return false;
            }
            self.runs += 1;
            smaller.setup.seed = first.wrapping_add(more);
            let report = run(&smaller);
            if let Some(violation) = report.first().filter(|v| v.invariant == self.broken) {
                self.violation = violation.clone();
                self.best = smaller;
                return true;
            }
        }
        false
    }

    /// Nothing that happens later than the violation matters; but what liveness says, it says of the end.
    fn cut_the_end(&mut self) {
        let at = self.violation.at;
        let mut smaller = self.best.clone();
        smaller.steps.retain(|(when, _)| *when <= at);
        if smaller != self.best {
            self.takes(smaller);
        }
    }

    /// Drops steps by halves, then by smaller parts, then singly.
    fn drop_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut smaller = self.best.clone();
                let to = (from + size).min(smaller.steps.len());
                smaller.steps.drain(from..to);
                if !self.takes(smaller) {
                    from += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Tries each of the smaller scripts that this makes of the best, until none of them is taken.
    fn try_all(&mut self, smaller: fn(&FaultScript) -> Vec<FaultScript>) {
        let mut at = 0;
        while let Some(candidate) = smaller(&self.best).into_iter().nth(at) {
            if candidate == self.best || !self.takes(candidate) {
                at += 1;
            }
        }
    }
}

fn has_chance(script: &FaultScript) -> bool {
    let weather =
        |f: &super::Fault| matches!(f, super::Fault::Weather(..) | super::Fault::Late(..));
    let late = script.setup.machines.values().any(|c| !c.late.is_zero());
    late || script.steps.iter().any(|(_, f)| weather(f))
}

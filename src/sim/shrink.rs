//! Reduces a script that breaks a promise to a short one that breaks the same promise: fewer faults, nodes and groups,
//! simpler weather, rounder times.

mod smaller;

use super::invariant::{Invariant, Violation};
use super::run::run;
use super::script::FaultScript;

/// A smaller script with random events is tried with this many seeds.
const SEEDS_TO_TRY: u64 = 4;

/// A reduced script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShrunkScript {
    /// The script.
    pub script: FaultScript,
    /// The promise that it breaks.
    pub violation: Violation,
    /// How many runs this took.
    pub runs: u32,
}

/// Reduces a script within `max_runs` runs; none if it breaks no promise.
pub fn shrink(script: &FaultScript, max_runs: u32) -> Option<ShrunkScript> {
    let violation = run(script).first()?.clone();
    let mut search = ShrinkSearch {
        broken: violation.invariant,
        best: script.clone(),
        violation,
        runs: 1,
        max_runs,
    };
    loop {
        let before = search.best.clone();
        search.cut_the_end();
        search.drop_steps();
        for smaller in [
            smaller::fewer_nodes,
            smaller::fewer_groups,
            smaller::simpler_cluster,
            smaller::simpler_faults,
            smaller::rounder_times,
        ] {
            search.try_all(smaller);
        }
        if search.best == before || search.runs >= search.max_runs {
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
    max_runs: u32,
}

impl ShrinkSearch {
    /// Continues with a smaller script if it breaks the same promise.
    fn accept_if_broken(&mut self, mut smaller: FaultScript) -> bool {
        let first = smaller.setup.seed;
        let seeds = if has_chance(&smaller) {
            SEEDS_TO_TRY
        } else {
            1
        };
        for more in 0..seeds {
            if self.runs >= self.max_runs {
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

    /// Drops the faults after the violation. For liveness they may matter, so this is only a try.
    fn cut_the_end(&mut self) {
        let at = self.violation.at;
        let mut smaller = self.best.clone();
        smaller.steps.retain(|(when, _)| *when <= at);
        if smaller != self.best {
            self.accept_if_broken(smaller);
        }
    }

    /// Drops faults: halves first, then smaller parts, then single ones.
    fn drop_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut smaller = self.best.clone();
                let to = (from + size).min(smaller.steps.len());
                smaller.steps.drain(from..to);
                if !self.accept_if_broken(smaller) {
                    from += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Tries all smaller variants of the best script, until none is accepted.
    fn try_all(&mut self, smaller: fn(&FaultScript) -> Vec<FaultScript>) {
        let mut at = 0;
        while let Some(candidate) = smaller(&self.best).into_iter().nth(at) {
            if candidate == self.best || !self.accept_if_broken(candidate) {
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

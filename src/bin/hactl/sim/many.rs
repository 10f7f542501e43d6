//! Many random runs: how long each group was down in the middle and at worst, and every run with two owners.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use had::model::GroupName;
use had::sim::{ClusterSetup, FaultProfile, FaultScript, RunReport, generate, run, shrink};
use serde::Serialize;

use super::{SHRINKING, indented, one};
use crate::args::Sim;
use crate::screen::{Screen, Tone};

/// So many seeds are named of each kind.
const NAMED: usize = 5;
/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// What came of many runs.
#[derive(Serialize)]
pub struct Outcome {
    first_seed: u64,
    runs: u64,
    steps: u64,
    simulated_s: f64,
    took_s: f64,
    groups: BTreeMap<GroupName, Distribution>,
    /// Runs in which a group ran on two nodes, where that is not ruled out.
    two_owners: Vec<u64>,
    /// Why it is not, in the first of them.
    not_promised: Option<String>,
    /// Runs that broke a promise.
    broken: Vec<(u64, String)>,
    /// Runs in which a group does not run at the end: nothing could run it.
    down_at_the_end: u64,
    #[serde(skip)]
    setting: String,
    #[serde(skip)]
    advice: &'static str,
    #[serde(skip)]
    worst: Option<FaultScript>,
}

/// The longest downtime in each run.
#[derive(Default, Serialize)]
struct Distribution {
    median_s: f64,
    p90_s: f64,
    worst_s: f64,
    worst_seed: u64,
    #[serde(skip)]
    all: Vec<(Duration, u64)>,
}

/// Runs them.
pub fn run_seeds(setup: &ClusterSetup, faults: &FaultProfile, seeds: Range<u64>) -> Outcome {
    let begun = Instant::now();
    let script = generate(setup.clone(), faults, seeds.start);
    let mut outcome = Outcome {
        first_seed: seeds.start,
        runs: 0,
        steps: 0,
        simulated_s: 0.0,
        took_s: 0.0,
        groups: BTreeMap::new(),
        two_owners: Vec::new(),
        not_promised: None,
        broken: Vec::new(),
        down_at_the_end: 0,
        setting: one::setting(&script, Some(faults)),
        advice: one::advice(&setup.cluster),
        worst: None,
    };
    for seed in seeds {
        let script = generate(setup.clone(), faults, seed);
        let report = run(&script);
        outcome.add(seed, &script, &report);
    }
    outcome.took_s = begun.elapsed().as_secs_f64();
    for times in outcome.groups.values_mut() {
        times.sum_up();
    }
    outcome
}

impl Outcome {
    fn add(&mut self, seed: u64, script: &FaultScript, report: &RunReport) {
        self.runs += 1;
        self.steps += report.steps;
        self.simulated_s += report.simulated.as_secs_f64();
        for (group, times) in &report.groups {
            let all = &mut self.groups.entry(group.clone()).or_default().all;
            all.push((times.longest, seed));
        }
        if let Some(violation) = report.first() {
            if self.broken.is_empty() {
                self.worst = shrink(script, SHRINKING).map(|s| s.script);
            }
            self.broken.push((seed, violation.to_string()));
        } else if !report.doubles.is_empty() {
            self.two_owners.push(seed);
            self.not_promised = self
                .not_promised
                .take()
                .or_else(|| report.unpromised.clone());
            self.worst = self.worst.take().or_else(|| Some(script.clone()));
        }
        self.down_at_the_end += u64::from(!report.unsettled.is_empty());
    }

    /// The run to look at, if any went wrong.
    pub fn worst(&self) -> Option<&FaultScript> {
        self.worst.as_ref()
    }

    /// Nothing ran twice, and no promise was broken.
    pub fn good(&self) -> bool {
        self.two_owners.is_empty() && self.broken.is_empty()
    }

    /// The page for an administrator.
    pub fn page(&self, args: &Sim, screen: Screen) -> String {
        let mut text = self.setting.clone();
        text += &format!(
            "{} runs: {:.1} simulated days in {:.1} s, {:.0} simulated days a minute\n",
            self.runs,
            self.simulated_s / DAY,
            self.took_s,
            self.simulated_s / DAY / self.took_s.max(0.001) * 60.0
        );
        for (group, times) in &self.groups {
            text += &format!(
                "{group}: the longest downtime of a run: median {:.2} s, of one in ten {:.2} s or more, worst {:.2} s (--seed {})\n",
                times.median_s, times.p90_s, times.worst_s, times.worst_seed
            );
        }
        if self.down_at_the_end > 0 {
            text += &format!(
                "in {} runs a group is down in the end because no node could run it\n",
                self.down_at_the_end
            );
        }
        text += &self.owners(screen);
        text += &self.promises(screen);
        text + &format!(
            "\nlook at one: hactl sim {} --faults {} --seed N\n",
            args.dir.display(),
            args.faults
        )
    }

    fn owners(&self, screen: Screen) -> String {
        if self.two_owners.is_empty() {
            let good = screen.paint(
                Tone::Good,
                "no group ran on two nodes where that is not ruled out",
            );
            return format!("{good}\n");
        }
        let seeds: Vec<String> = self
            .two_owners
            .iter()
            .take(NAMED)
            .map(u64::to_string)
            .collect();
        let line = format!(
            "TWO OWNERS in {} runs, such as --seed {}",
            self.two_owners.len(),
            seeds.join(", ")
        );
        let why = self
            .not_promised
            .as_deref()
            .unwrap_or("no probe could have seen it coming");
        format!(
            "{}\n    had cannot rule this out here: {why}\n    {}\n",
            screen.paint(Tone::Bad, &line),
            self.advice
        )
    }

    fn promises(&self, screen: Screen) -> String {
        if self.broken.is_empty() {
            return String::new();
        }
        let line = format!(
            "BROKEN PROMISES in {} runs, a fault of had: please report it",
            self.broken.len()
        );
        let mut text = format!("{}\n", screen.paint(Tone::Bad, &line));
        for (seed, words) in self.broken.iter().take(NAMED) {
            text += &format!("    --seed {seed}: {words}\n");
        }
        if let Some(script) = &self.worst {
            text += "    the first, cut down:\n";
            text += &indented(&script.to_string());
        }
        text
    }
}

impl Distribution {
    fn sum_up(&mut self) {
        self.all.sort_unstable();
        let at = |share: usize| {
            let index = (self.all.len() * share / 100).min(self.all.len().saturating_sub(1));
            self.all.get(index).copied().unwrap_or_default()
        };
        self.median_s = at(50).0.as_secs_f64();
        self.p90_s = at(90).0.as_secs_f64();
        let (worst, seed) = self.all.last().copied().unwrap_or_default();
        (self.worst_s, self.worst_seed) = (worst.as_secs_f64(), seed);
    }
}

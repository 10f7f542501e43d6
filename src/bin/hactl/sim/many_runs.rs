//! `hactl sim --runs N`: how long each group was down in the median and at worst, and every run with two owners.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use had::model::GroupName;
use had::sim::{ClusterSetup, FaultProfile, FaultScript, RunReport, generate, run, shrink};
use had::text::count;
use serde::Serialize;

use super::{MAX_SHRINK_RUNS, indented, one_run};
use crate::args::Sim;
use crate::screen::{Screen, Tone};

/// Seeds named for each kind of finding.
const MAX_SEEDS_NAMED: usize = 5;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// The results of many runs.
#[derive(Serialize)]
pub struct RunsSummary {
    first_seed: u64,
    runs: u64,
    steps: u64,
    simulated_s: f64,
    took_s: f64,
    groups: BTreeMap<GroupName, DowntimeDistribution>,
    /// Seeds of runs in which a group ran on two nodes, where no promise rules that out.
    two_owners: Vec<u64>,
    /// Why no promise rules it out, for the first of them.
    not_promised: Option<String>,
    /// Seeds of runs that broke a promise, and how.
    broken: Vec<(u64, String)>,
    /// Number of runs in which a group does not run at the end because no node could run it.
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
struct DowntimeDistribution {
    median_s: f64,
    p90_s: f64,
    worst_s: f64,
    worst_seed: u64,
    #[serde(skip)]
    all: Vec<(Duration, u64)>,
}

/// Runs one random script for each seed.
pub fn run_seeds(setup: &ClusterSetup, faults: &FaultProfile, seeds: Range<u64>) -> RunsSummary {
    let begun = Instant::now();
    let script = generate(setup.clone(), faults, seeds.start);
    let mut outcome = RunsSummary {
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
        setting: one_run::cluster_summary(&script, Some(faults)),
        advice: one_run::advice(&setup.cluster),
        worst: None,
    };
    for seed in seeds {
        let script = generate(setup.clone(), faults, seed);
        let report = run(&script);
        outcome.add(seed, &script, &report);
    }
    outcome.took_s = begun.elapsed().as_secs_f64();
    for times in outcome.groups.values_mut() {
        times.compute();
    }
    outcome
}

impl RunsSummary {
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
                self.worst = shrink(script, MAX_SHRINK_RUNS).map(|s| s.script);
            }
            self.broken.push((seed, violation.to_string()));
        } else if !report.doubles.is_empty() {
            self.two_owners.push(seed);
            self.not_promised = self
                .not_promised
                .take()
                .or_else(|| report.not_promised.map(|why| why.to_string()));
            self.worst = self.worst.take().or_else(|| Some(script.clone()));
        }
        self.down_at_the_end += u64::from(!report.unsettled.is_empty());
    }

    /// The script of the worst run, if any went wrong.
    pub fn worst(&self) -> Option<&FaultScript> {
        self.worst.as_ref()
    }

    /// Whether no group ran on two nodes and no promise was broken.
    pub fn good(&self) -> bool {
        self.two_owners.is_empty() && self.broken.is_empty()
    }

    /// The report for people.
    pub fn page(&self, args: &Sim, screen: Screen) -> String {
        let mut text = self.setting.clone();
        text += &format!(
            "{}: {:.1} simulated days in {:.1} s, {:.0} simulated days a minute\n",
            runs(self.runs),
            self.simulated_s / SECONDS_PER_DAY,
            self.took_s,
            self.simulated_s / SECONDS_PER_DAY / self.took_s.max(0.001) * 60.0
        );
        for (group, times) in &self.groups {
            text += &format!(
                "{group}: longest downtime of a run: median {:.2} s, 90th percentile {:.2} s, worst {:.2} s (--seed {})\n",
                times.median_s, times.p90_s, times.worst_s, times.worst_seed
            );
        }
        if self.down_at_the_end > 0 {
            text += &format!(
                "in {} not every group was running at the end; run one of them alone to see why\n",
                runs(self.down_at_the_end)
            );
        }
        text += &self.two_owners_report(screen);
        text += &self.broken_promises_report(screen);
        text + &format!(
            "\nto see one run: hactl sim {} --faults {} --seed N\n",
            args.dir.display(),
            args.faults
        )
    }

    fn two_owners_report(&self, screen: Screen) -> String {
        if self.two_owners.is_empty() {
            let good = screen.paint(Tone::Good, "no group ran on two nodes");
            return format!("{good}\n");
        }
        let seeds: Vec<String> = self
            .two_owners
            .iter()
            .take(MAX_SEEDS_NAMED)
            .map(u64::to_string)
            .collect();
        let line = format!(
            "TWO OWNERS in {}, for example --seed {}",
            count(self.two_owners.len(), "run"),
            seeds.join(", ")
        );
        let why = self
            .not_promised
            .as_deref()
            .unwrap_or("two nodes started the group within the same round of probes");
        let cause = match self.two_owners.as_slice() {
            [_] => "",
            _ => "; in one of them",
        };
        format!(
            "{}\n    this cannot be prevented with this configuration and these faults{cause}: {why}\n    {}\n",
            screen.paint(Tone::Bad, &line),
            self.advice
        )
    }

    fn broken_promises_report(&self, screen: Screen) -> String {
        if self.broken.is_empty() {
            return String::new();
        }
        let line = format!(
            "BROKEN PROMISES in {}: this is a bug in had; please report it",
            count(self.broken.len(), "run")
        );
        let mut text = format!("{}\n", screen.paint(Tone::Bad, &line));
        for (seed, words) in self.broken.iter().take(MAX_SEEDS_NAMED) {
            text += &format!("    --seed {seed}: {words}\n");
        }
        if let Some(script) = &self.worst {
            text += "    the first of them, reduced to the steps that break the promise:\n";
            text += &indented(&script.to_string());
        }
        text
    }
}

fn runs(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "run")
}

impl DowntimeDistribution {
    fn compute(&mut self) {
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

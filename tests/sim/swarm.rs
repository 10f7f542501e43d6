//! Random runs: faults for a while, checked at every step; then all faults end, and every group must run exactly once.
//!
//! `HAD_SWARM_RUNS` is the number of runs of each class and `HAD_SWARM_FIRST` the first seed (default: from the clock, so
//! that each time other seeds are tried; `tests/run` takes it from the sources). `HAD_SWARM_SEED` runs one seed and prints its timeline. With `HAD_SWARM_HUNT` the
//! first broken promise ends all. `HAD_SWARM_DIGESTS` names a file to which each run adds a line with a fingerprint of all
//! actions of its engines: two versions that decide alike write the same lines.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use had::sim::{ClusterSetup, FaultProfile, FaultScript, Random, RunReport, generate, run, shrink};

/// Runs that may be spent to reduce a failing script.
const MAX_SHRINK_RUNS: u32 = 3000;
/// Failing seeds that are shown; the first of them is reduced.
const MAX_SEEDS_SHOWN: usize = 20;

/// A kind of cluster, and the faults under which it keeps its promises.
pub struct SwarmClass {
    pub name: &'static str,
    pub setup: Box<dyn Fn(&mut Random) -> ClusterSetup>,
    pub faults: FaultProfile,
    /// Two owners are ruled out in every run, not only in those whose faults happen to allow a promise.
    pub one_owner: bool,
}

/// The results of all runs of a class.
#[derive(Default)]
struct ClassResults {
    runs: u64,
    steps: u64,
    simulated: Duration,
    not_promised: u64,
    unsettled: u64,
    wrong: Vec<(u64, String)>,
}

impl SwarmClass {
    pub fn script(&self, seed: u64) -> FaultScript {
        let setup = (self.setup)(&mut Random::new(seed));
        generate(setup, &self.faults, seed)
    }

    fn what_went_wrong(&self, seed: u64, report: &RunReport) -> Option<String> {
        if let Some(violation) = report.first() {
            return Some(violation.to_string());
        }
        let not_promised = report.not_promised.as_ref().filter(|_| self.one_owner)?;
        Some(format!(
            "seed {seed} is outside of its own class: {not_promised}"
        ))
    }
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// A seed that has not been tried before.
fn seed_from_clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.map_or(0, |n| n.as_secs());
    seconds * 100_000
}

/// Runs a class, and shows the seed of every run that went wrong, the first as a reduced script.
pub fn swarm(class: &SwarmClass, runs: u64) {
    if let Some(seed) = number_from_env("HAD_SWARM_SEED") {
        return print_run(class, seed);
    }
    let begun = Instant::now();
    let first = number_from_env("HAD_SWARM_FIRST").unwrap_or_else(seed_from_clock);
    let runs = number_from_env("HAD_SWARM_RUNS").unwrap_or(runs);
    if std::env::var_os("HAD_SWARM_HUNT").is_some() {
        return hunt(class, first, runs);
    }
    let mut tally = ClassResults::default();
    let mut digests = String::new();
    for seed in first..first + runs {
        let report = run(&class.script(seed));
        digests.push_str(&format!(
            "{} {seed} {} {:016x}\n",
            class.name, report.steps, report.ordered.0
        ));
        tally.runs += 1;
        tally.steps += report.steps;
        tally.simulated += report.simulated;
        tally.not_promised += u64::from(report.not_promised.is_some());
        tally.unsettled += u64::from(!report.unsettled.is_empty());
        tally
            .wrong
            .extend(class.what_went_wrong(seed, &report).map(|w| (seed, w)));
    }
    write_digests(&digests);
    println!(
        "{}: {} runs from seed {first}, {} steps, {:.1} simulated hours in {:.1?}; {} without a promise of one owner, \
         {} with a group that could not run; {} bad",
        class.name,
        tally.runs,
        tally.steps,
        tally.simulated.as_secs_f64() / 3600.0,
        begun.elapsed(),
        tally.not_promised,
        tally.unsettled,
        tally.wrong.len()
    );
    let Some((seed, _)) = tally.wrong.first() else {
        return;
    };
    let some = tally.wrong.iter().take(MAX_SEEDS_SHOWN);
    let some: String = some
        .map(|(s, wrong)| format!("  HAD_SWARM_SEED={s}: {wrong}\n"))
        .collect();
    let many = tally.wrong.len();
    panic!(
        "{many} runs of `{}` went wrong:\n{some}\n{}",
        class.name,
        cut_down(class, *seed)
    );
}

/// Appends to the file that `HAD_SWARM_DIGESTS` names, if it is set.
fn write_digests(lines: &str) {
    let Some(path) = std::env::var_os("HAD_SWARM_DIGESTS") else {
        return;
    };
    let file = File::options().append(true).create(true).open(path);
    file.and_then(|mut f| f.write_all(lines.as_bytes()))
        .unwrap();
}

/// Ends the process at the first broken promise: for `tests/mutations`.
fn hunt(class: &SwarmClass, first: u64, runs: u64) {
    for run_number in 1..=runs {
        let report = run(&class.script(first + run_number - 1));
        if let Some(violation) = report.first() {
            println!(
                "caught: {run_number} runs of `{}`: {}",
                class.name,
                violation.invariant.promise()
            );
            std::process::exit(101);
        }
    }
}

fn cut_down(class: &SwarmClass, seed: u64) -> String {
    let Some(short) = shrink(&class.script(seed), MAX_SHRINK_RUNS) else {
        return String::new();
    };
    format!(
        "seed {seed}, cut down in {} runs; save it in tests/sim/replays/NAME.sim, or tell its story with\n\
         HAD_REPLAY=FILE cargo test --test sim replays -- --nocapture\n\n# {}\n{}",
        short.runs, short.violation, short.script
    )
}

/// Prints one run with its timeline.
fn print_run(class: &SwarmClass, seed: u64) {
    let script = class.script(seed);
    let report = run(&script);
    println!("{script}\n{}", report.story());
    println!("{:?}", report.unsettled);
    let wrong = class.what_went_wrong(seed, &report);
    assert!(wrong.is_none(), "{wrong:?}\n{}", cut_down(class, seed));
}

//! One run of a class.

use std::time::{Duration, Instant};

use had::lab::{LabError, ProbeReport, RunningProbe, RunningSampler, SamplerReport};
use had::model::Time;

use crate::calls::ScriptCalls;
use crate::class::{ADDRESSES, ChaosClass};
use crate::cluster::ChaosCluster;
use crate::evidence;
use crate::outage::Outages;
use crate::plan::{Planner, is_extra};
use crate::random::PlanRandom;
use crate::settle::settle;
use crate::step::ChaosStep;
use crate::timeline::now;
use crate::watch::LogWatch;

const SAMPLE: Duration = Duration::from_millis(10);
const ASK: Duration = Duration::from_millis(10);
/// How often daemons are checked while faults go on.
const CHECK_EVERY: Duration = Duration::from_millis(700);
/// The seed of the short run.
const FIXED: u64 = 1;
/// How long the short run takes, without its begin and end.
const SHORT: u64 = 20;

/// The sampler and the probes since the cluster last settled.
pub struct Observers {
    sampler: RunningSampler,
    probes: Vec<(&'static str, RunningProbe)>,
}

/// What they saw.
#[derive(Default)]
pub struct Observed {
    pub sampled: SamplerReport,
    pub probed: Vec<(&'static str, ProbeReport)>,
}

impl Observers {
    fn open(stage: &ChaosCluster) -> Result<Observers, LabError> {
        let all: Vec<_> = ADDRESSES.iter().map(|a| a.parse().unwrap()).collect();
        let asked = ADDRESSES.iter().filter(|a| !is_extra(a));
        let probes = asked.map(|a| Ok((*a, stage.lab.probe(a.parse().unwrap(), ASK)?)));
        Ok(Observers {
            sampler: stage.lab.sampler(&all, SAMPLE)?,
            probes: probes.collect::<Result<_, LabError>>()?,
        })
    }

    fn close(self) -> Result<Observed, LabError> {
        let probed = self.probes.into_iter().map(|(a, p)| Ok((a, p.finish()?)));
        Ok(Observed {
            probed: probed.collect::<Result<_, LabError>>()?,
            sampled: self.sampler.finish()?,
        })
    }
}

/// A run.
pub struct ChaosRun {
    pub stage: ChaosCluster,
    pub watch: LogWatch,
    pub calls: ScriptCalls,
    pub seen: Observed,
    outages: Outages,
    rounds: u64,
    steps: u64,
    samples: u64,
    excused: Vec<Duration>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|t| !t.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

pub fn run(class: &'static ChaosClass) {
    let seed = number("HAD_CHAOS_SEED").unwrap_or(FIXED);
    let length = Duration::from_secs(number("HAD_CHAOS_SECONDS").unwrap_or(SHORT));
    let name = class.name;
    println!("{name}: HAD_CHAOS_SEED={seed} HAD_CHAOS_CLASS={name}, {length:?}");
    // Each class has a plan of its own.
    let mixed = name
        .bytes()
        .fold(seed, |s, b| s.wrapping_mul(257).wrapping_add(u64::from(b)));
    let mut planner = Planner::new(class, PlanRandom::new(mixed));
    let config = planner.config().clone();
    println!("{name}: {config:?}");
    let stage = ChaosCluster::up(class, &config, seed).unwrap();
    let mut run = ChaosRun {
        stage,
        watch: LogWatch::default(),
        calls: ScriptCalls::default(),
        seen: Observed::default(),
        outages: Outages::default(),
        rounds: 0,
        steps: 0,
        samples: 0,
        excused: Vec::new(),
    };
    let result = run.course(&mut planner, length);
    if let Err(error) = result {
        run.stage.failed.push(format!("the lab: {error}"));
    }
    run.verdict(seed);
}

impl ChaosRun {
    fn course(&mut self, planner: &mut Planner, length: Duration) -> Result<(), LabError> {
        let mut eyes = Observers::open(&self.stage)?;
        settle(&mut self.stage, &mut self.watch, &mut self.calls)?;
        let mut began = now();
        let end = Instant::now() + length;
        while self.stage.failed.is_empty() {
            let late = Instant::now() > end;
            let mut steps = if late {
                vec![ChaosStep::Settle]
            } else {
                planner.burst()
            };
            let settles = steps.last() == Some(&ChaosStep::Settle);
            for step in steps.drain(..) {
                self.step(&step)?;
                if !self.stage.failed.is_empty() {
                    break;
                }
            }
            if settles || !self.stage.failed.is_empty() {
                let next = Observers::open(&self.stage)?;
                let seen = std::mem::replace(&mut eyes, next).close()?;
                self.evaluate_round(seen, began);
                began = now();
            }
            if late {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &ChaosStep) -> Result<(), LabError> {
        println!("{}: {step}", self.stage.class.name);
        self.steps += 1;
        self.stage.perform(step)?;
        match step {
            ChaosStep::Wait(time) => self.wait(*time),
            ChaosStep::Settle => settle(&mut self.stage, &mut self.watch, &mut self.calls),
            _ => Ok(()),
        }
    }

    /// Waits, and checks the daemons meanwhile.
    fn wait(&mut self, time: Duration) -> Result<(), LabError> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::sleep(left.min(CHECK_EVERY));
            if left > CHECK_EVERY {
                self.watch.check_daemons(&mut self.stage)?;
            }
        }
        Ok(())
    }

    /// Evaluates what was seen since the cluster last settled.
    fn evaluate_round(&mut self, seen: Observed, began: Time) {
        self.rounds += 1;
        self.samples += seen.sampled.samples;
        for double in &seen.sampled.double {
            if self.stage.timeline.excuses(double) {
                self.excused.push(double.lasted);
            } else {
                self.stage.failed.push(format!("two owners: {double:?}"));
            }
        }
        let wrong = self.calls.read(&self.stage);
        self.stage.failed.extend(wrong);
        for node in self.stage.class.nodes {
            let log = self.stage.lab.log(node).unwrap_or_default();
            if log.contains("panicked") {
                self.stage
                    .failed
                    .push(format!("the daemon of {node} panicked"));
            }
        }
        if let Err(error) = self.watch.weigh(&mut self.stage) {
            self.stage.failed.push(format!("the lab: {error}"));
        }
        self.measure(&seen, began);
        self.seen = seen;
        if self.stage.failed.is_empty() {
            self.stage.timeline.round_ends();
        }
    }

    /// The longest outage is due to the fault, if there was only one.
    fn measure(&mut self, seen: &Observed, began: Time) {
        let faults = std::mem::take(&mut self.stage.timeline.faults);
        let kind = match faults.as_slice() {
            [] => return,
            [(_, step, owner)] => {
                let whose = if *owner { " of an owner" } else { "" };
                format!("{}{whose}", step.kind().unwrap())
            }
            _ => "several faults at once".to_owned(),
        };
        let gaps = seen.probed.iter().flat_map(|(_, p)| &p.gaps);
        let longest = gaps
            .filter(|(at, lasted)| *at + *lasted > began)
            .map(|g| g.1)
            .max();
        self.outages.add(kind, longest.unwrap_or_default());
    }

    fn verdict(mut self, seed: u64) {
        let name = self.stage.class.name;
        println!(
            "{name}: {} steps, {} times whole again, {} samples, {} looks, {} starts of the script; excused moments with two holders: {:?}",
            self.steps,
            self.rounds,
            self.samples,
            self.watch.looks,
            self.calls.starts,
            self.excused
        );
        println!(
            "{name}: a daemon at most: {:?} (share of a core, bytes, threads, files)",
            self.watch.most
        );
        print!("{}", self.outages.table());
        let failed = std::mem::take(&mut self.stage.failed);
        if failed.is_empty() {
            return;
        }
        let folder = evidence::gather(&self, seed, &failed);
        panic!(
            "{name}, HAD_CHAOS_SEED={seed}:\n{}\nall that is known is in {}",
            failed.join("\n"),
            folder.display()
        );
    }
}

//! Generates a script from a seed and a fault profile. It does not depend on what happens in the run: a fault that does
//! not apply there does nothing.

mod faults;
mod voters;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use faults::FaultKind;

use super::fault::Fault;
use super::random::Random;
use super::script::FaultScript;
use super::setup::ClusterSetup;
use crate::model::NodeName;
use crate::text::did_you_mean;

/// What may go wrong in random runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultProfile {
    /// The kinds of faults.
    pub kinds: BTreeSet<FaultKind>,
    /// Stops take up to this long.
    pub slow_stops: Option<Duration>,
    /// One fault at a time, with this much time before the next.
    pub quiet: Option<Duration>,
}

impl FaultProfile {
    /// Faults of these kinds, without slow stops or quiet times.
    pub fn from_kinds(kinds: &[FaultKind]) -> FaultProfile {
        FaultProfile {
            kinds: kinds.iter().copied().collect(),
            ..FaultProfile::default()
        }
    }

    fn has(&self, kind: FaultKind) -> bool {
        self.kinds.contains(&kind)
    }
}

impl FromStr for FaultProfile {
    type Err = String;

    /// Reads kinds separated by commas.
    fn from_str(text: &str) -> Result<FaultProfile, String> {
        let mut faults = FaultProfile::default();
        for word in text.split(',') {
            let known = || FaultKind::ALL.iter().map(|kind| kind.word());
            let Some(kind) = FaultKind::ALL.iter().find(|k| k.word() == word) else {
                let near = did_you_mean(word, known());
                let all = known().collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "unknown kind of fault `{word}`; {near} the kinds are {all}"
                ));
            };
            faults.kinds.insert(*kind);
        }
        Ok(faults)
    }
}

impl fmt::Display for FaultProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.kinds.iter().map(|k| k.word()).collect();
        f.write_str(&words.join(","))
    }
}

/// Generates faults for a while; then all of them end, and an administrator clears what failed.
pub fn generate(setup: ClusterSetup, faults: &FaultProfile, seed: u64) -> FaultScript {
    let mut generator = Generator {
        random: Random::new(seed ^ 0x5EED_0000_0000_0000),
        faults: faults.clone(),
        setup,
        at: Duration::ZERO,
        steps: Vec::new(),
        frozen: BTreeSet::new(),
        reconfigured: BTreeSet::new(),
        voters: Vec::new(),
    };
    generator.setup.seed = seed;
    generator.generate_faults();
    let mut steps = generator.steps;
    steps.sort_by_key(|(at, _)| *at);
    FaultScript {
        notes: Vec::new(),
        setup: generator.setup,
        steps,
    }
}

/// A script that is being generated.
struct Generator {
    random: Random,
    faults: FaultProfile,
    setup: ClusterSetup,
    at: Duration,
    steps: Vec<(Duration, Fault)>,
    /// Nodes that are frozen or suspended.
    frozen: BTreeSet<NodeName>,
    /// Nodes whose configuration differs from the others.
    reconfigured: BTreeSet<NodeName>,
    /// The newest list of voters that a node has read.
    voters: Vec<NodeName>,
}

impl Generator {
    fn generate_faults(&mut self) {
        let deadtime = self.setup.cluster.timing.deadtime;
        let all_start = self.random.chance(800);
        // A node that starts for the first time with another list than the rest is not covered.
        if all_start || self.faults.has(FaultKind::Voters) {
            for node in self.setup.cluster.nodes.clone() {
                self.push(Fault::Start(node));
            }
        }
        let kinds = self.fault_generators();
        let end = self.between(deadtime * 4, deadtime * 25 / 2);
        loop {
            let pause = self.time_to_next_fault(deadtime);
            self.at += pause;
            if self.at >= end || kinds.is_empty() {
                break;
            }
            if let Some(strike) = self.random.pick(&kinds).copied() {
                strike(self);
            }
            if let Some(quiet) = self.faults.quiet {
                // One fault at a time: it ends before the next.
                let lasts = self.between(Duration::ZERO, quiet * 2);
                self.at += lasts;
                self.end_all();
            }
        }
        let forgiven = self.random.chance(980);
        self.end_all();
        // What is under way ends before the administrator acts; in a few runs failures expire by themselves.
        let slow = self.slowest() * 4;
        self.at += if forgiven {
            slow
        } else {
            Duration::from_secs(1300)
        };
        self.push(Fault::MakeAmends);
    }

    /// The time to the next fault: often close together, sometimes far apart.
    fn time_to_next_fault(&mut self, deadtime: Duration) -> Duration {
        let ms = Duration::from_millis;
        match (self.faults.quiet, self.random.below(3)) {
            (Some(quiet), _) => self.between(quiet, quiet * 2),
            (None, 0) => self.between(ms(0), ms(30)),
            (None, 1) => self.between(ms(0), deadtime * 7 / 20),
            (None, _) => self.between(ms(0), deadtime * 2),
        }
    }

    fn end_all(&mut self) {
        for node in std::mem::take(&mut self.frozen) {
            if self.random.chance(300) {
                self.push(Fault::Thaw { node, deaf: true });
            }
        }
        for node in std::mem::take(&mut self.reconfigured) {
            self.push(Fault::Reconfigure(node, super::ScriptSetting::Whole));
        }
        self.push(Fault::EndAll);
    }

    /// The longest time that an agent call may take.
    fn slowest(&self) -> Duration {
        let slow = self.faults.slow_stops.unwrap_or_default();
        if !self.faults.has(FaultKind::Hangs) {
            return slow;
        }
        let steps = self.setup.cluster.groups.iter().flat_map(|g| &g.steps);
        steps
            .map(|s| s.start.max(s.stop).max(s.monitor))
            .fold(slow, Duration::max)
    }

    fn push(&mut self, fault: Fault) {
        self.steps.push((self.at, fault));
    }

    /// A time in whole milliseconds.
    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let time = self.random.between(least, most);
        Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

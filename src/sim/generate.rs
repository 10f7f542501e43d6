//! Draws a script from a seed and a class of faults. Nothing is decided by what happens in the run: a drawn fault that
//! does not apply there does nothing.

mod faults;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::fault::Fault;
use super::random::Random;
use super::script::FaultScript;
use super::setup::ClusterSetup;
use crate::model::NodeName;
use crate::text::did_you_mean;

/// What may go wrong in a class of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultProfile {
    /// Kinds that happen.
    pub kinds: BTreeSet<FaultKind>,
    /// Stops take up to so long.
    pub slow_stops: Option<Duration>,
    /// One fault at a time, each with this much quiet after it.
    pub quiet: Option<Duration>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Cables between nodes, both ways and one way; a probe on the wire does not pass them either.
    Cuts,
    /// Heartbeats alone are lost between two nodes, both ways and one way.
    Blocks,
    /// A node is cut from all others and from the ping nodes.
    Isolation,
    /// Ping nodes come and go for single nodes.
    Blindness,
    /// Machines lose their power, and boot.
    Crash,
    /// A machine that is off loses its store.
    LostStore,
    /// Daemons are killed: what they ran runs on.
    Kill,
    /// Daemons stand still, and go on with or without what was sent meanwhile.
    Freeze,
    /// Whole machines stand still with their clocks, and go on.
    Suspend,
    /// Loss, delay, reordering, duplicates; everywhere, on one path, on one link.
    Weather,
    /// Clocks drift, daemons wake late.
    Time,
    /// Standby, takeover, clear.
    Commands,
    /// `takeover --force` by an administrator who has looked.
    Force,
    /// Daemons end in order.
    Leave,
    /// Daemons announce a restart, and come back in time or not.
    Restart,
    /// Groups in maintenance.
    Maintenance,
    /// Starts that are slow or fail.
    FailingStarts,
    /// Stops that fail.
    FailingStops,
    /// Starts, stops and looks that hang, starts that fail and run all the same.
    Hangs,
    /// Looks that fail or do not tell the truth.
    Lies,
    /// What runs breaks down, and is noticed.
    Losses,
    /// What runs and is watched dies and nobody has noticed, or looks ill.
    Deaths,
    /// Checks of nodes fail and pass again.
    Checks,
    /// Configurations that differ between nodes.
    Reconfigure,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 24] = [
        FaultKind::Cuts,
        FaultKind::Blocks,
        FaultKind::Isolation,
        FaultKind::Blindness,
        FaultKind::Crash,
        FaultKind::LostStore,
        FaultKind::Kill,
        FaultKind::Freeze,
        FaultKind::Suspend,
        FaultKind::Weather,
        FaultKind::Time,
        FaultKind::Commands,
        FaultKind::Force,
        FaultKind::Leave,
        FaultKind::Restart,
        FaultKind::Maintenance,
        FaultKind::FailingStarts,
        FaultKind::FailingStops,
        FaultKind::Hangs,
        FaultKind::Lies,
        FaultKind::Losses,
        FaultKind::Deaths,
        FaultKind::Checks,
        FaultKind::Reconfigure,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Cuts => "cuts",
            FaultKind::Blocks => "blocks",
            FaultKind::Isolation => "isolation",
            FaultKind::Blindness => "blindness",
            FaultKind::Crash => "crash",
            FaultKind::LostStore => "lost-store",
            FaultKind::Kill => "kill",
            FaultKind::Freeze => "freeze",
            FaultKind::Suspend => "suspend",
            FaultKind::Weather => "weather",
            FaultKind::Time => "time",
            FaultKind::Commands => "commands",
            FaultKind::Force => "force",
            FaultKind::Leave => "leave",
            FaultKind::Restart => "restart",
            FaultKind::Maintenance => "maintenance",
            FaultKind::FailingStarts => "failing-starts",
            FaultKind::FailingStops => "failing-stops",
            FaultKind::Hangs => "hangs",
            FaultKind::Lies => "lies",
            FaultKind::Losses => "losses",
            FaultKind::Deaths => "deaths",
            FaultKind::Checks => "checks",
            FaultKind::Reconfigure => "reconfigure",
        }
    }
}

impl FaultProfile {
    /// These kinds, and nothing else about them.
    pub fn of(kinds: &[FaultKind]) -> FaultProfile {
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

    /// Kinds by their words, with commas between.
    fn from_str(text: &str) -> Result<FaultProfile, String> {
        let mut faults = FaultProfile::default();
        for word in text.split(',') {
            let kind = FaultKind::ALL.into_iter().find(|k| k.as_str() == word);
            let all = || FaultKind::ALL.map(FaultKind::as_str).join(", ");
            let Some(kind) = kind else {
                let near = did_you_mean(word, FaultKind::ALL.map(FaultKind::as_str));
                let all = all();
                return Err(format!(
                    "`{word}` is no kind of fault; {near} known are {all}"
                ));
            };
            faults.kinds.insert(kind);
        }
        Ok(faults)
    }
}

impl fmt::Display for FaultProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.kinds.iter().map(|k| k.as_str()).collect();
        f.write_str(&words.join(","))
    }
}

/// Draws what happens to this cluster: faults for a while, then all of them end, and an administrator makes amends.
pub fn generate(setup: ClusterSetup, faults: &FaultProfile, seed: u64) -> FaultScript {
    let mut drawer = Generator {
        random: Random::new(seed ^ 0x5EED_0000_0000_0000),
        faults: faults.clone(),
        setup,
        at: Duration::ZERO,
        steps: Vec::new(),
        frozen: BTreeSet::new(),
        strange: BTreeSet::new(),
    };
    drawer.setup.seed = seed;
    drawer.course();
    let mut steps = drawer.steps;
    steps.sort_by_key(|(at, _)| *at);
    FaultScript {
        notes: Vec::new(),
        setup: drawer.setup,
        steps,
    }
}

/// A script that is being drawn.
struct Generator {
    random: Random,
    faults: FaultProfile,
    setup: ClusterSetup,
    at: Duration,
    steps: Vec<(Duration, Fault)>,
    /// Nodes that stand still.
    frozen: BTreeSet<NodeName>,
    /// Nodes that have a configuration of their own.
    strange: BTreeSet<NodeName>,
}

impl Generator {
    fn course(&mut self) {
        let deadtime = self.setup.cluster.timing.deadtime;
        if self.random.chance(800) {
            for node in self.setup.cluster.nodes.clone() {
                self.push(Fault::Start(node));
            }
        }
        let kinds = self.fault_generators();
        let end = self.between(deadtime * 4, deadtime * 25 / 2);
        loop {
            let pause = self.pause(deadtime);
            self.at += pause;
            if self.at >= end || kinds.is_empty() {
                break;
            }
            if let Some(strike) = self.random.pick(&kinds).copied() {
                strike(self);
            }
            if let Some(quiet) = self.faults.quiet {
                // One fault at a time: it lasts, it ends, and all is calm again.
                let lasts = self.between(Duration::ZERO, quiet * 2);
                self.at += lasts;
                self.end_all();
            }
        }
        let forgiven = self.random.chance(980);
        self.end_all();
        // What is under way comes to its end before an administrator judges it; or failures expire by themselves.
        let slow = self.slowest() * 4;
        self.at += if forgiven {
            slow
        } else {
            Duration::from_secs(1300)
        };
        self.push(Fault::MakeAmends);
    }

    /// How long until the next strike: often together, sometimes far apart.
    fn pause(&mut self, deadtime: Duration) -> Duration {
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
        for node in std::mem::take(&mut self.strange) {
            self.push(Fault::Reconfigure(node, super::ScriptSetting::Whole));
        }
        self.push(Fault::EndAll);
    }

    /// The longest that something may be under way.
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

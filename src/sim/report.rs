//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::downtime::Downtime;
use super::fault::Fault;
use super::invariant::{DoubleOwnership, Violation};
use crate::engine::ActionDigest;
use crate::model::decision::Decision;
use crate::model::{GroupName, NodeName};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// Promises that were broken; the run ends with the first.
    pub violations: Vec<Violation>,
    /// Every moment in which a group ran on two nodes.
    pub doubles: Vec<DoubleOwnership>,
    /// Why two owners are not ruled out for such a cluster under such faults; nothing where they are.
    pub unpromised: Option<String>,
    /// Each group's downtime.
    pub groups: BTreeMap<GroupName, Downtime>,
    /// Everything that was done and decided, in order.
    pub timeline: Vec<TimelineEntry>,
    /// Groups that do not run at the end, each with what keeps it from running.
    pub unsettled: Vec<String>,
    /// A fingerprint of all that the engines ordered, in order.
    pub ordered: ActionDigest,
    /// How many things happened.
    pub steps: u64,
    /// How much time passed in the world.
    pub simulated: Duration,
}

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When, counted from the beginning.
    pub at: Duration,
    /// What.
    pub told: TimelineEvent,
}

/// What is told in a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimelineEvent {
    /// Something was done to the cluster.
    Fault(Fault),
    /// A node decided or noticed something.
    Decision(NodeName, Decision),
}

impl fmt::Display for TimelineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        match &self.told {
            TimelineEvent::Fault(fault) => write!(f, "{at:>10.4} **** {fault}"),
            TimelineEvent::Decision(node, decision) => write!(f, "{at:>10.4} {node}: {decision}"),
        }
    }
}

impl RunReport {
    /// The first broken promise.
    pub fn first(&self) -> Option<&Violation> {
        self.violations.first()
    }

    /// The timeline as text, a line each.
    pub fn story(&self) -> String {
        let lines: Vec<String> = self.timeline.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }
}

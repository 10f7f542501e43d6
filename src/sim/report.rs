//! The result of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::downtime::Downtime;
use super::fault::Fault;
use super::invariant::{DoubleOwnership, Violation};
use crate::engine::ActionDigest;
use crate::model::decision::Decision;
use crate::model::promise::NotPromised;
use crate::model::{GroupName, NodeName};

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// Broken promises; the run ends with the first.
    pub violations: Vec<Violation>,
    /// Every moment in which a group ran on two nodes.
    pub doubles: Vec<DoubleOwnership>,
    /// Why no promise rules out two owners for this cluster under these faults; none if one does.
    pub not_promised: Option<NotPromised>,
    /// Each group's downtime.
    pub groups: BTreeMap<GroupName, Downtime>,
    /// All faults and decisions, in order.
    pub timeline: Vec<TimelineEntry>,
    /// Groups that do not run at the end, each with the reason.
    pub unsettled: Vec<String>,
    /// A fingerprint of all actions of all engines, in order.
    pub ordered: ActionDigest,
    /// The number of simulated events.
    pub steps: u64,
    /// How much virtual time passed.
    pub simulated: Duration,
}

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When, counted from the beginning.
    pub at: Duration,
    /// What happened.
    pub event: TimelineEvent,
}

/// What happened at a point of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimelineEvent {
    /// A fault was applied.
    Fault(Fault),
    /// A node decided or noticed something.
    Decision(NodeName, Decision),
}

impl fmt::Display for TimelineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        match &self.event {
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

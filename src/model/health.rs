//! Monitors of resources, checks of the node, and what follows when they fail.

mod probe;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::probe::{
    DatabaseWishes, DiskProbe, DnsProbe, FreeSpace, HttpProbe, Probe, RedisProbe, RedisRole,
    Replica, TlsWishes,
};
use super::GroupName;

/// The name under which a node publishes the result of its `failback_when`. No check can have this name.
pub const FAILBACK_WHEN: &str = "failback_when";

/// The check of what a group needs of its node has this before the name of the group. No check of ha.cf begins like this.
const NEEDS: &str = "needs:";

/// The name of the check of what a group needs of its node: interfaces for its addresses, directories to mount on.
pub fn needs_check(group: &GroupName) -> String {
    format!("{NEEDS}{group}")
}

/// The group, if this is the name of such a check.
pub fn needs_of(check: &str) -> Option<&str> {
    check.strip_prefix(NEEDS)
}

/// What follows when the monitor of a running resource fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The number of failures in a row that count as failed.
    pub fall: u32,
    /// The number of successes in a row that clear earlier failures.
    pub rise: u32,
    /// How often it is restarted in place at most ...
    pub restart: u32,
    /// ... within this time. After it, a failure on this node is forgotten too.
    pub within: Duration,
}

/// What the engine needs to know of the health directives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The checks of this node.
    pub checks: Vec<CheckPolicy>,
    /// Whether there is a `failback_when`.
    pub failback_when: bool,
}

/// When a check of the node has failed, and when it has recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPolicy {
    /// Its name in ha.cf.
    pub name: String,
    /// The number of failures in a row that count as failed.
    pub fall: u32,
    /// The number of successes in a row that count as recovered.
    pub rise: u32,
    /// Whether a node that fails it keeps the groups it has and only takes no more.
    #[serde(default)]
    pub stays: bool,
    /// The only group that it concerns. `None` means all groups.
    #[serde(default)]
    pub group: Option<GroupName>,
}

/// A check that has not passed, as its node publishes it. Checks that are not published have passed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailedCheck {
    /// Its name, or [`FAILBACK_WHEN`].
    pub check: String,
    /// The only group that it concerns. `None` means all groups.
    #[serde(default)]
    pub group: Option<GroupName>,
    /// Whether it has no result yet.
    pub pending: bool,
    /// The text of the failure.
    pub text: String,
}

impl FailedCheck {
    /// Whether it keeps its node from being a candidate for a group.
    pub fn makes_ineligible(&self, group: &GroupName) -> bool {
        self.check != FAILBACK_WHEN && self.group.as_ref().is_none_or(|g| g == group)
    }
}

impl fmt::Display for FailedCheck {
    /// The rest of a sentence that begins with the name of the node.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let check = &self.check;
        if let Some(group) = needs_of(check) {
            return match (self.pending, self.text.as_str()) {
                (true, _) => write!(f, "does not know yet whether it has what {group} needs"),
                (false, text) => write!(f, "lacks what {group} needs ({text})"),
            };
        }
        match (self.pending, self.text.as_str()) {
            (true, _) => write!(f, "has no result of check {check} yet"),
            (false, "") => write!(f, "fails check {check}"),
            (false, text) => write!(f, "fails check {check} ({text})"),
        }
    }
}

/// How often a probe runs, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The interval.
    pub every: Duration,
    /// The deadline of one run.
    pub timeout: Duration,
}

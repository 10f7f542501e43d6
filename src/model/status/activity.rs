//! What a node's daemon did with a group since it started, as counts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Distribution;
use crate::model::{GroupName, maybe_milliseconds};

/// The reasons of claims, as counted: the owner is dead; this is the preferred node; it is the next choice; an administrator asked
/// for it; a peer offers it; any other.
pub const CLAIM_REASONS: [&str; 6] = [
    "owner-dead",
    "preferred",
    "next-choice",
    "administrator",
    "offered",
    "other",
];

/// Bounds for the length of starts, in milliseconds.
const START_BOUNDS: [u64; 11] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 120_000, 300_000,
];

/// What happened to one group on the viewing node since its daemon started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupActivity {
    /// Which group.
    pub group: GroupName,
    /// Time since it last came up, went down, failed, or was found running.
    #[serde(with = "maybe_milliseconds", default)]
    pub changed: Option<Duration>,
    /// How long the last start took, from the claim until everything ran.
    #[serde(with = "maybe_milliseconds", default)]
    pub last_start: Option<Duration>,
    /// How long all starts took.
    #[serde(default)]
    pub start_times: Distribution,
    /// Starts after which everything ran.
    pub starts: u64,
    /// Stops after which nothing ran.
    pub stops: u64,
    /// Failures: of a start, or of a running resource that could not be restarted.
    pub failures: u64,
    /// Stops that failed.
    pub stuck: u64,
    /// Restarts of a resource in place.
    pub restarts: u64,
    /// Claims by reason ([`CLAIM_REASONS`]): how often this node began to take the group, and why.
    pub claims: BTreeMap<String, u64>,
}

impl GroupActivity {
    /// Nothing has happened yet.
    pub fn new(group: GroupName) -> Self {
        GroupActivity {
            group,
            changed: None,
            last_start: None,
            start_times: Distribution::new(&START_BOUNDS),
            starts: 0,
            stops: 0,
            failures: 0,
            stuck: 0,
            restarts: 0,
            claims: BTreeMap::new(),
        }
    }
}

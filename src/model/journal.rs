//! An entry of the journal: a decision, when it was taken, and how it reads.

use serde::{Deserialize, Serialize};

use super::GroupName;
use super::decision::{Decision, Level};

/// One line of the node's diary. Text and level are kept beside the decision, so that an entry
/// still reads well where a later version words or weighs the decision in another way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Wall-clock time, in milliseconds since 1970 (UTC). For people; nothing is decided by it.
    pub at_ms: u64,
    /// How much an administrator must care.
    pub level: Level,
    /// The group, where it is about one.
    pub group: Option<GroupName>,
    /// The whole sentence.
    pub text: String,
    /// What it was made of.
    pub decision: Decision,
}

impl Entry {
    /// The entry of a decision that was taken at that wall-clock time.
    pub fn new(at_ms: u64, decision: Decision) -> Self {
        Entry {
            at_ms,
            level: decision.level(),
            group: decision.group.clone(),
            text: decision.to_string(),
            decision,
        }
    }
}

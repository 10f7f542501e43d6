//! An entry of the journal: a decision, its time and its text.

use serde::{Deserialize, Serialize};

use super::GroupName;
use super::decision::{Decision, Level};
use crate::text::{mask_secrets, printable};

/// One entry of the node's journal. Text and level are kept beside the decision, because a later version may word or rate the
/// decision differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Wall-clock time, in milliseconds since 1970 (UTC). For people: no decision depends on it.
    pub at_ms: u64,
    /// How important it is.
    pub level: Level,
    /// The group that it is about, if any.
    pub group: Option<GroupName>,
    /// The decision as a sentence.
    pub text: String,
    /// The decision.
    pub decision: Decision,
}

impl Entry {
    /// The entry for a decision taken at that wall-clock time.
    pub fn new(at_ms: u64, decision: Decision) -> Self {
        Entry {
            at_ms,
            level: decision.level(),
            group: decision.group.clone(),
            text: printable(&mask_secrets(&decision.to_string())),
            decision,
        }
    }
}

//! What fencing remembers of each node.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::OrderId;
use crate::model::fencing::FenceCall;
use crate::model::{Generation, NodeName, Time};

/// The pause after the first failed attempt. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What fencing knows of a peer.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct PeerFencing {
    /// Rule 38. Its machine was switched off, and it was not heard since.
    pub fenced: bool,
    /// Rule 36. It was heard in this life, and since our own time stood still.
    pub heard: bool,
    /// The life of it that had left before our start, as a peer says.
    pub left_before: Option<Generation>,
    /// A peer hears a later life of it than the one that left or was fenced, and we do not.
    #[serde(default)]
    pub back_unheard: bool,
    /// Rule 38. It was fenced and is heard without having been started anew: what was switched off is not its machine.
    pub survived: bool,
    /// Its life that was fenced last, and when.
    pub fenced_life: Option<(Generation, Time)>,
}

impl PeerFencing {
    /// A heartbeat of the member came in.
    pub fn take_heartbeat(&mut self, fresh: bool) {
        self.heard |= fresh;
        self.left_before = None;
        self.back_unheard = false;
    }

    /// It was started anew.
    pub fn begin_life(&mut self) {
        self.survived = false;
        self.fenced_life = None;
    }
}

/// The nodes that are dead and can be fenced, and those that are fenced by command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct FencingCases {
    pub(super) cases: BTreeMap<NodeName, Case>,
    /// The power switches that did not answer when they were asked last, and why.
    #[serde(default)]
    pub failing: BTreeMap<NodeName, String>,
}

/// The fencing of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Case {
    /// Since when it must be fenced; of one that is fenced by command only, since the command.
    pub since: Time,
    /// Whether it must be fenced.
    #[serde(default)]
    pub must: bool,
    /// Rule 36. In a pair: whether this node fires before that one. It is judged once, by what ran when that one died.
    #[serde(default)]
    pub first: bool,
    /// Whether a group waits for it, or this node must be the first to fire.
    pub wanted: bool,
    /// What its power switch is being told, and since when.
    pub runs: Option<(OrderId, FenceCall, Time)>,
    /// The life that was known when that began.
    #[serde(default)]
    pub life: Option<Generation>,
    /// The number of the command that ordered it.
    pub command: Option<u64>,
    /// Attempts that have failed in a row.
    pub failed: u32,
    /// What went wrong last.
    pub error: Option<String>,
    /// How often in a row its power switch has said "off".
    pub off_answers: u32,
    /// Not before that it is told or asked again.
    pub next: Time,
    /// How often it must still be told to switch on.
    pub on_attempts: u32,
    /// Whether it was recorded that it is not fenced from here.
    pub held_reported: bool,
}

impl Case {
    pub fn new(since: Time) -> Self {
        Case {
            since,
            must: false,
            first: false,
            wanted: false,
            runs: None,
            life: None,
            command: None,
            failed: 0,
            error: None,
            off_answers: 0,
            next: since,
            on_attempts: 0,
            held_reported: false,
        }
    }

    /// Returns whether that is another failure than before.
    pub fn note_failure(&mut self, now: Time, text: String) -> bool {
        let is_new = self.error.as_ref() != Some(&text);
        let doublings = self.failed.min(8);
        self.failed = self.failed.saturating_add(1);
        self.off_answers = 0;
        self.error = Some(text);
        self.next = now + (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        is_new
    }
}

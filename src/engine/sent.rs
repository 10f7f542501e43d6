//! Rule 6: when each of our recent heartbeats was sent. A lease counts from our own sending, never from a receipt.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Sequence, Time};

/// Enough for a deadtime of 30 s at a keepalive of 10 ms, with as many extra heartbeats between.
const MAX_REMEMBERED: usize = 8192;

/// One of our heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentHeartbeat {
    /// When it was sent.
    pub at: Time,
    /// How long a right lasts that rests on it: by the deadtime that it published and the margin of that time.
    pub lease: Duration,
}

/// Our recent heartbeats, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SentLog(VecDeque<(Sequence, SentHeartbeat)>);

impl SentLog {
    /// Adds a heartbeat and forgets those that are older than `keep`.
    pub fn add(&mut self, sequence: Sequence, sent: SentHeartbeat, keep: Duration) {
        self.0.push_back((sequence, sent));
        while self.0.len() > MAX_REMEMBERED
            || self.0.front().is_some_and(|(_, s)| s.at + keep < sent.at)
        {
            self.0.pop_front();
        }
    }

    /// The heartbeat with this number, if it was recent.
    pub fn find(&self, sequence: Sequence) -> Option<SentHeartbeat> {
        let at = self.0.binary_search_by_key(&sequence, |(s, _)| *s).ok()?;
        self.0.get(at).map(|(_, sent)| *sent)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets all: a new generation numbers its heartbeats from the beginning.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

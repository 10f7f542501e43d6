//! Rule 6: when each of our recent heartbeats was sent. A lease counts from our own sending, never from a receipt.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Sequence, Time};

/// Enough for a deadtime of 30 s at a keepalive of 10 ms, with as many extra heartbeats between.
const MAX_REMEMBERED: usize = 8192;

/// Our recent heartbeats, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SentLog(VecDeque<(Sequence, Time)>);

impl SentLog {
    /// Adds a heartbeat and forgets those that are older than `keep`.
    pub fn add(&mut self, sequence: Sequence, now: Time, keep: Duration) {
        self.0.push_back((sequence, now));
        while self.0.len() > MAX_REMEMBERED
            || self.0.front().is_some_and(|(_, at)| *at + keep < now)
        {
            self.0.pop_front();
        }
    }

    /// When the heartbeat with this number was sent, if that was recent.
    pub fn sent_at(&self, sequence: Sequence) -> Option<Time> {
        let at = self.0.binary_search_by_key(&sequence, |(s, _)| *s).ok()?;
        self.0.get(at).map(|(_, time)| *time)
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

//! When each of our recent heartbeats was sent: a right is counted from our own sending, never from a receipt.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Sequence, Time};

/// Enough for a deadtime of 30 s at a keepalive of 10 ms, with as many again sent between.
const MOST: usize = 8192;

/// The heartbeats of the last while, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SentLog(VecDeque<(Sequence, Time)>);

impl SentLog {
    /// Notes a sending and forgets what is older than `keep`.
    pub fn note(&mut self, sequence: Sequence, now: Time, keep: Duration) {
        self.0.push_back((sequence, now));
        while self.0.len() > MOST || self.0.front().is_some_and(|(_, at)| *at + keep < now) {
            self.0.pop_front();
        }
    }

    /// When the heartbeat with this number was sent, if that is recent.
    pub fn when(&self, sequence: Sequence) -> Option<Time> {
        let at = self.0.binary_search_by_key(&sequence, |(s, _)| *s).ok()?;
        self.0.get(at).map(|(_, time)| *time)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A new generation counts anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

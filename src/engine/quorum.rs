//! Rules 6 and 15: votes, and the end of a lease. Each node and each ping node has a vote; a side with more than half of
//! them has quorum. A lease ends when so many confirmations are old that the rest no longer make a quorum.

use serde::{Deserialize, Serialize};

use crate::model::Time;
use crate::model::cluster::Timing;

/// Votes counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Votes {
    pub ours: u32,
    pub total: u32,
}

impl Votes {
    /// More than half.
    pub fn needed(total: u32) -> u32 {
        total / 2 + 1
    }

    pub fn are_enough(self) -> bool {
        self.ours >= Self::needed(self.total)
    }
}

/// One ping node as seen from here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ping {
    pub name: String,
    /// When the newest echo request that it answered was sent.
    pub answered: Option<Time>,
    pub up: bool,
}

/// When a lease ends that rests on these confirmations of peers and ping nodes. Each is the time at which we sent what was
/// confirmed. Our own vote needs no confirmation. `Time::NEVER` if our own vote is enough.
pub(super) fn lease_end(confirmed: &[Time], total: u32, timing: &Timing) -> Time {
    let Some(others_needed) = Votes::needed(total).checked_sub(1).filter(|n| *n > 0) else {
        return Time::NEVER;
    };
    let mut newest_first: Vec<Time> = confirmed.to_vec();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    let last_needed = usize::try_from(others_needed - 1).unwrap_or(usize::MAX);
    newest_first
        .get(last_needed)
        .filter(|at| **at > Time::ZERO)
        .map_or(Time::ZERO, |at| *at + timing.lease())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_right_ends_with_the_last_confirmation_that_quorum_needs() {
        let s = Duration::from_secs;
        let timing = Timing {
            keepalive: s(1),
            warntime: s(5),
            deadtime: s(10),
            initdead: s(20),
            deadping: s(10),
            margin: s(2),
        };
        let at = |n: u64| Time(n * 1_000_000_000);
        let table: [(&[u64], u32, Option<u64>); 7] = [
            (&[100], 3, Some(108)),
            (&[], 3, None),
            (&[100, 103], 3, Some(111)),
            (&[100, 103], 4, Some(108)),
            (&[100], 4, None),
            (&[100, 101, 102, 103], 5, Some(110)),
            (&[], 1, Some(0)),
        ];
        for (confirmed, total, expected) in table {
            let confirmed: Vec<Time> = confirmed.iter().map(|n| at(*n)).collect();
            let expected = match expected {
                Some(0) => Time::NEVER,
                Some(n) => at(n),
                None => Time::ZERO,
            };
            assert_eq!(
                lease_end(&confirmed, total, &timing),
                expected,
                "{confirmed:?} of {total}"
            );
        }
    }
}

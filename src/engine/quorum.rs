//! Rules 6 and 15: votes, and the end of a lease. `model::votes` says who has how many; a side with more than half of all
//! has quorum. A lease ends when so many confirmations are old that the rest no longer make a quorum.

use serde::{Deserialize, Serialize};

use crate::model::Time;
use crate::model::votes::VoteShares;

/// Votes counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Votes {
    pub ours: u32,
    pub total: u32,
    pub needed: u32,
}

impl Votes {
    /// More than half.
    pub fn are_enough(self) -> bool {
        self.ours >= self.needed
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

/// How long the arbiter has answered without a gap. Both are times of sending.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ArbiterReach {
    /// Of the first request that was answered after the last gap.
    pub since: Time,
    /// Of the newest request that was answered.
    pub newest: Time,
    /// Of the newest answered request from which a right may be counted: before it, answers came without a gap for longer than a
    /// gap may last. A shorter run may lie between two answers that the peer gets, and the peer then hears nothing of it.
    pub steady: Time,
}

/// When the arbiter confirmed a right: the newest time at or after which more than half of the ping nodes were asked and
/// answered. None without an arbiter, or when too few have ever answered.
pub(super) fn newest_arbiter_answer(pings: &[Ping], shares: VoteShares) -> Option<Time> {
    if !shares.has_arbiter() {
        return None;
    }
    let mut newest_first: Vec<Time> = pings.iter().filter_map(|p| p.answered).collect();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    newest_first.get(shares.pings_needed() - 1).copied()
}

/// When a lease ends that rests on these confirmations. Each has the time at which it ends, and the votes of who confirmed.
/// Our own votes need no confirmation. `Time::NEVER` if no other votes are needed.
pub(super) fn lease_end(confirmed: &[(Time, u32)], others_needed: u32) -> Time {
    if others_needed == 0 {
        return Time::NEVER;
    }
    let mut latest_first = confirmed.to_vec();
    latest_first.sort_unstable_by(|a, b| b.cmp(a));
    let mut votes = 0;
    let last_needed = latest_first.iter().find(|(_, share)| {
        votes += share;
        votes >= others_needed
    });
    last_needed.map_or(Time::ZERO, |(end, _)| *end)
}

#[cfg(test)]
mod tests {
    use super::*;
    /// When each confirmation ends and its votes, how many are needed, when the right ends.
    type LeaseRow = (&'static [(u64, u32)], u32, Time);
    /// The nodes, when each ping node answered, when the arbiter confirmed.
    type ArbiterRow = (usize, &'static [Option<u64>], Option<Time>);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    #[test]
    fn a_right_ends_with_the_last_confirmation_that_quorum_needs() {
        let table: [LeaseRow; 9] = [
            (&[(100, 1)], 1, at(100)),
            (&[], 1, Time::ZERO),
            (&[(100, 1), (103, 1)], 1, at(103)),
            (&[(100, 1), (103, 1)], 2, at(100)),
            (&[(100, 1)], 2, Time::ZERO),
            (&[(100, 1), (101, 1), (102, 1), (103, 1)], 2, at(102)),
            (&[], 0, Time::NEVER),
            (&[(100, 2)], 2, at(100)),
            (&[(100, 2), (103, 1)], 2, at(100)),
        ];
        for (confirmed, needed, expected) in table {
            let confirmed: Vec<(Time, u32)> = confirmed.iter().map(|(s, v)| (at(*s), *v)).collect();
            assert_eq!(
                lease_end(&confirmed, needed),
                expected,
                "{confirmed:?}, {needed} needed"
            );
        }
    }

    #[test]
    fn the_arbiter_confirms_with_more_than_half_of_the_ping_nodes() {
        let ping = |answered: &Option<u64>| Ping {
            name: "gateway".to_owned(),
            answered: answered.map(at),
            up: answered.is_some(),
        };
        let table: [ArbiterRow; 5] = [
            (2, &[Some(5)], Some(at(5))),
            (2, &[Some(5), None], None),
            (2, &[Some(5), Some(7)], Some(at(5))),
            (2, &[Some(5), Some(7), Some(9)], Some(at(7))),
            (3, &[Some(5)], None),
        ];
        for (nodes, answered, expected) in table {
            let pings: Vec<Ping> = answered.iter().map(ping).collect();
            let shares = VoteShares::new(nodes, pings.len());
            let told = format!("{nodes} nodes, {answered:?}");
            assert_eq!(newest_arbiter_answer(&pings, shares), expected, "{told}");
        }
    }
}

//! Rule 26: how many heartbeats the network loses, and how much more often they are sent because of that.
//!
//! Heartbeats have numbers. So the receiver knows how many it missed, and publishes that in its own heartbeats. The
//! sender then sends so often that within the length of a lease at least one heartbeat gets through, except once in a
//! billion leases. Where a lease is many keepalives long, nothing changes. At `keepalive 10ms deadtime 50ms` it is only
//! two or three long, and with a fifth of the heartbeats lost the group would stop several times a minute.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::cluster::Timing;

/// The newest heartbeat has one part in this many of the average; all before it have the rest.
const SMOOTHING: u32 = 32;
/// Of heartbeats that were missed in a row this many count: after a cut nothing is learned from more.
const MAX_COUNTED_MISSES: u64 = 64;
/// No network needs heartbeats more often than this.
const MIN_INTERVAL: Duration = Duration::from_millis(2);
/// Heartbeats are sent at most this many times as often as keepalive says.
const MAX_SPEEDUP: u32 = 8;
/// (permille lost at most, tries until one gets through for sure). The tries are log(10^-9) / log(loss).
const TRIES: [(u16, u32); 6] = [
    (50, 7),
    (100, 9),
    (200, 13),
    (300, 17),
    (500, 30),
    (1000, 48),
];
/// Losing fewer than this of a thousand changes nothing.
const NEGLIGIBLE_PERMILLE: u16 = 20;

/// The share of a peer's heartbeats that did not arrive lately, in millionths.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct HeartbeatLoss(u32);

impl HeartbeatLoss {
    /// A heartbeat came in, and this many before it did not.
    pub fn count(&mut self, missed: u64) {
        for _ in 0..missed.min(MAX_COUNTED_MISSES) {
            self.0 = self
                .0
                .saturating_add((1_000_000 - self.0.min(1_000_000)) / SMOOTHING);
        }
        self.0 -= self.0 / SMOOTHING;
    }

    /// How many of a thousand.
    pub fn permille(self) -> u16 {
        u16::try_from(self.0 / 1000).unwrap_or(1000)
    }
}

/// The time from heartbeat to heartbeat when the peer that hears us worst misses this many of a thousand.
pub(super) fn heartbeat_interval(permille: u16, timing: &Timing) -> Duration {
    let tries = TRIES.iter().find(|(up_to, _)| permille <= *up_to);
    let tries = tries.or(TRIES.last()).map_or(1, |(_, tries)| *tries);
    if permille < NEGLIGIBLE_PERMILLE {
        return timing.keepalive;
    }
    let least = MIN_INTERVAL.max(timing.keepalive / MAX_SPEEDUP);
    (timing.lease() / tries).max(least).min(timing.keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn timing(keepalive: u32, deadtime: u32) -> Timing {
        let (keepalive, deadtime) = (MS * keepalive, MS * deadtime);
        Timing {
            keepalive,
            deadtime,
            warntime: deadtime / 2,
            initdead: deadtime,
            deadping: deadtime,
            margin: Timing::usual_margin(keepalive, deadtime),
        }
    }

    #[test]
    fn what_is_missed_is_seen_soon_and_forgotten() {
        let mut loss = HeartbeatLoss::default();
        for _ in 0..1000 {
            loss.count(0);
        }
        assert_eq!(loss.permille(), 0);
        for _ in 0..100 {
            for missed in [0, 0, 0, 1] {
                loss.count(missed);
            }
        }
        let steady = loss.permille();
        assert!((170..240).contains(&steady), "one of five: {steady}");
        loss.count(u64::MAX);
        assert!(loss.permille() > 700 && loss.permille() <= 1000);
        for _ in 0..200 {
            loss.count(0);
        }
        assert_eq!(
            heartbeat_interval(loss.permille(), &timing(10, 50)),
            MS * 10
        );
    }

    #[test]
    fn heartbeats_are_sent_more_often_only_where_that_matters() {
        // (keepalive, deadtime, loss, expected)
        let table = [
            (10, 50, 0, MS * 10),
            (10, 50, 19, MS * 10),
            (10, 50, 200, MIN_INTERVAL),
            (20, 100, 100, MS * 50 / 9),
            (20, 100, 1000, MS * 5 / 2),
            (200, 3000, 200, MS * 2400 / 13),
            (1000, 30_000, 300, MS * 1000),
            (1000, 30_000, 1000, MS * 500),
        ];
        for (keepalive, deadtime, permille, expected) in table {
            let t = timing(keepalive, deadtime);
            assert_eq!(
                heartbeat_interval(permille, &t),
                expected,
                "{keepalive} {deadtime} {permille}"
            );
        }
    }
}

//! How many heartbeats the network loses, and how much more often they are then sent.
//!
//! Heartbeats have numbers, so the hearer knows what it missed, and says so in its own heartbeats. The sender then sends
//! so often that within the time that a right lasts one gets through, but for once in a thousand million times. Where
//! that time holds many keepalives, nothing changes; at `keepalive 10ms deadtime 50ms` it holds two or three, and a fifth
//! lost would cost the group several times a minute.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::cluster::Timing;

/// So much weighs the newest heartbeat against all before it: one part of this.
const WEIGHT: u32 = 32;
/// Numbers missed in a row that count: after a cut nothing is learned from more.
const MOST: u64 = 64;
/// No network needs heartbeats more often than this.
const LEAST: Duration = Duration::from_millis(2);
/// At most so many times as often as keepalive says.
const DENSEST: u32 = 8;
/// Up to so many of a thousand lost, so many tries until one gets through for sure: the logarithm of 10^-9 by that of the
/// loss. Less than the first is nobody's trouble.
const TRIES: [(u16, u32); 6] = [
    (50, 7),
    (100, 9),
    (200, 13),
    (300, 17),
    (500, 30),
    (1000, 48),
];
const UNTROUBLED: u16 = 20;

/// The share of a peer's heartbeats that did not arrive lately, in millionths.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Loss(u32);

impl Loss {
    /// A heartbeat came in, and so many numbers before it did not.
    pub fn heard(&mut self, missed: u64) {
        for _ in 0..missed.min(MOST) {
            self.0 = self
                .0
                .saturating_add((1_000_000 - self.0.min(1_000_000)) / WEIGHT);
        }
        self.0 -= self.0 / WEIGHT;
    }

    /// Of a thousand.
    pub fn permille(self) -> u16 {
        u16::try_from(self.0 / 1000).unwrap_or(1000)
    }
}

/// From heartbeat to heartbeat, when the peer that hears least misses so many of a thousand.
pub(super) fn interval(permille: u16, timing: &Timing) -> Duration {
    let tries = TRIES.iter().find(|(up_to, _)| permille <= *up_to);
    let tries = tries.or(TRIES.last()).map_or(1, |(_, tries)| *tries);
    if permille < UNTROUBLED {
        return timing.keepalive;
    }
    let least = LEAST.max(timing.keepalive / DENSEST);
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
        let mut loss = Loss::default();
        for _ in 0..1000 {
            loss.heard(0);
        }
        assert_eq!(loss.permille(), 0);
        for _ in 0..100 {
            for missed in [0, 0, 0, 1] {
                loss.heard(missed);
            }
        }
        let steady = loss.permille();
        assert!((170..240).contains(&steady), "one of five: {steady}");
        loss.heard(u64::MAX);
        assert!(loss.permille() > 700 && loss.permille() <= 1000);
        for _ in 0..200 {
            loss.heard(0);
        }
        assert_eq!(interval(loss.permille(), &timing(10, 50)), MS * 10);
    }

    #[test]
    fn heartbeats_are_sent_more_often_only_where_that_matters() {
        // (keepalive, deadtime, loss, expected)
        let table = [
            (10, 50, 0, MS * 10),
            (10, 50, 19, MS * 10),
            (10, 50, 200, LEAST),
            (20, 100, 100, MS * 50 / 9),
            (20, 100, 1000, MS * 5 / 2),
            (200, 3000, 200, MS * 2400 / 13),
            (1000, 30_000, 300, MS * 1000),
            (1000, 30_000, 1000, MS * 500),
        ];
        for (keepalive, deadtime, permille, expected) in table {
            let t = timing(keepalive, deadtime);
            assert_eq!(
                interval(permille, &t),
                expected,
                "{keepalive} {deadtime} {permille}"
            );
        }
    }
}

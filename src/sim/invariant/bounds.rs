//! 7. No busy loop, no flood, no growth without end.
//!
//! Promised under every fault. (That no datagram, file or client makes the daemon panic or hang is the part of other
//! tests; here it would end the run.) A daemon that wakes again and again for nothing spins; one that says or sends
//! more than a healthy one can is a flood; and what an engine remembers has a bound that does not depend on how long
//! it runs.

use std::time::Duration;

use crate::engine::Burden;
use crate::model::Time;

/// So many wakings in a row that did nothing, each hard on the heels of the last, are a busy loop.
const SPIN: u32 = 25;
/// A node that records more in one second floods its log.
const RECORDS: u32 = 300;
/// Heartbeats in a second beside those of the keepalive: an extra one each 10 ms, a burst of eight, a repetition each
/// 50 ms, goodbyes.
const EXTRA: u32 = 150;
/// Groups in one heartbeat; more make several.
const GROUPS_EACH: usize = 12;
/// Commands that wait for their end; each ends within minutes.
const PENDING: usize = 1000;
/// Orders to save that are not answered yet.
const SAVING: usize = 100;
/// Heartbeats of which the time of sending is remembered.
const SENT: usize = 8192;
/// Events that wait for a daemon that stands still.
const INBOX: usize = 2000;

/// What is counted of one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct ActivityWatch {
    woke: Time,
    idle: u32,
    records: EventRate,
    sends: EventRate,
}

/// How often within the present second.
#[derive(Clone, Copy, Debug, Default)]
struct EventRate {
    second: Time,
    count: u32,
}

impl EventRate {
    fn count(&mut self, now: Time) -> u32 {
        if now.since(self.second) > Duration::from_secs(1) {
            *self = EventRate {
                second: now,
                count: 0,
            };
        }
        self.count += 1;
        self.count
    }
}

impl ActivityWatch {
    pub fn begin(&mut self, now: Time) {
        *self = ActivityWatch {
            woke: now,
            ..ActivityWatch::default()
        };
    }

    /// Counts a waking.
    pub fn wake(&mut self, now: Time, did_something: bool) -> Option<String> {
        let soon = now.since(self.woke) <= Duration::from_millis(3);
        self.idle = if soon && !did_something {
            self.idle + 1
        } else {
            0
        };
        self.woke = now;
        (self.idle == SPIN).then(|| "spins".to_owned())
    }

    /// Counts a record.
    pub fn record(&mut self, now: Time) -> Option<String> {
        (self.records.count(now) == RECORDS).then(|| "floods its log".to_owned())
    }

    /// Counts a heartbeat.
    pub fn send(&mut self, now: Time, keepalive: Duration, groups: usize) -> Option<String> {
        let regular = Duration::from_secs(1).as_millis() / keepalive.as_millis().max(1);
        let regular = u32::try_from(regular).unwrap_or(u32::MAX);
        let parts = u32::try_from(groups.div_ceil(GROUPS_EACH).max(1)).unwrap_or(u32::MAX);
        let most = EXTRA.saturating_add(regular).saturating_mul(parts);
        (self.sends.count(now) == most).then(|| format!("sends {most} heartbeats in a second"))
    }
}

/// What is wrong with how much an engine remembers, and how much waits for it.
pub(super) fn grows(burden: Burden, inbox: usize) -> Option<String> {
    let parts = [
        ("commands", burden.pending, PENDING),
        ("unanswered orders to save", burden.saving, SAVING),
        ("sent heartbeats", burden.sent, SENT),
        ("unread events", inbox, INBOX),
    ];
    let (what, is, _) = parts.into_iter().find(|(_, is, most)| is > most)?;
    Some(format!("remembers {is} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_loop_and_floods_are_seen() {
        let mut bounds = ActivityWatch::default();
        let ms = |n: u64| Time(n * 1_000_000);
        assert!((0..24).all(|i| bounds.wake(ms(i), false).is_none()));
        assert!((24..30).any(|i| bounds.wake(ms(i), false).is_some()));
        assert!((0..100).all(|i| bounds.wake(ms(30 + i), true).is_none()));
        assert!((0..500).any(|i| bounds.record(ms(i)).is_some()));
        let keepalive = Duration::from_millis(200);
        assert!((0..500).any(|i| bounds.send(ms(i), keepalive, 1).is_some()));
        let mut calm = ActivityWatch::default();
        assert!((0..5000).all(|i| calm.record(ms(i * 10)).is_none()));
    }

    #[test]
    fn growth_is_seen() {
        let burden = Burden::default();
        assert_eq!(grows(burden, 0), None);
        assert!(grows(burden, INBOX + 1).is_some());
        let saving = Burden {
            saving: SAVING + 1,
            ..burden
        };
        assert!(grows(saving, 0).is_some());
    }
}

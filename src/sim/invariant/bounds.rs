//! 7. No busy loop, no flood, no unlimited growth.
//!
//! Promised under every fault. A daemon that wakes again and again without doing anything is in a busy loop; one that
//! logs or sends more than a healthy one can is flooding; and what an engine remembers has a limit that does not depend
//! on how long it runs.

use std::time::Duration;

use crate::engine::Burden;
use crate::model::Time;

/// This many wakeups in a row that do nothing, each within 3 ms of the last, are a busy loop.
const MAX_IDLE_WAKEUPS: u32 = 25;
/// More decisions than this in one second are a flood.
const MAX_RECORDS_PER_SECOND: u32 = 300;
/// Heartbeats in a second in addition to those of the keepalive: an extra one each 10 ms, a burst of eight, a repetition
/// each 50 ms, goodbyes.
const EXTRA_HEARTBEATS_PER_SECOND: u32 = 150;
/// One heartbeat has room for this many groups.
const GROUPS_PER_HEARTBEAT: usize = 12;
/// Commands that have not ended; each ends within minutes.
const MAX_PENDING_COMMANDS: usize = 1000;
/// Saves that have not ended.
const MAX_PENDING_SAVES: usize = 100;
/// Sent heartbeats that are remembered.
const MAX_SENT_HEARTBEATS: usize = 8192;
/// Events that wait for a frozen daemon.
const MAX_INBOX_EVENTS: usize = 2000;

/// What is counted about one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct ActivityWatch {
    woke: Time,
    idle: u32,
    records: EventRate,
    sends: EventRate,
}

/// How often something happened within the current second.
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
    pub fn start_life(&mut self, now: Time) {
        *self = ActivityWatch {
            woke: now,
            ..ActivityWatch::default()
        };
    }

    /// Counts a wakeup.
    pub fn count_wakeup(&mut self, now: Time, did_something: bool) -> Option<String> {
        let soon = now.since(self.woke) <= Duration::from_millis(3);
        self.idle = if soon && !did_something {
            self.idle + 1
        } else {
            0
        };
        self.woke = now;
        (self.idle == MAX_IDLE_WAKEUPS).then(|| "is in a busy loop".to_owned())
    }

    /// Counts a recorded decision.
    pub fn count_record(&mut self, now: Time) -> Option<String> {
        (self.records.count(now) == MAX_RECORDS_PER_SECOND).then(|| "floods its log".to_owned())
    }

    /// Counts a heartbeat.
    pub fn count_heartbeat(
        &mut self,
        now: Time,
        keepalive: Duration,
        groups: usize,
    ) -> Option<String> {
        let regular = Duration::from_secs(1).as_millis() / keepalive.as_millis().max(1);
        let regular = u32::try_from(regular).unwrap_or(u32::MAX);
        let parts = u32::try_from(groups.div_ceil(GROUPS_PER_HEARTBEAT).max(1)).unwrap_or(u32::MAX);
        let most = EXTRA_HEARTBEATS_PER_SECOND
            .saturating_add(regular)
            .saturating_mul(parts);
        (self.sends.count(now) == most).then(|| format!("sends {most} heartbeats in a second"))
    }
}

/// Whether an engine remembers too much, or too much waits for it.
pub(super) fn check_memory(burden: Burden, inbox: usize) -> Option<String> {
    let parts = [
        ("commands", burden.pending, MAX_PENDING_COMMANDS),
        ("unfinished saves", burden.saving, MAX_PENDING_SAVES),
        ("sent heartbeats", burden.sent, MAX_SENT_HEARTBEATS),
        ("unread events", inbox, MAX_INBOX_EVENTS),
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
        assert!((0..24).all(|i| bounds.count_wakeup(ms(i), false).is_none()));
        assert!((24..30).any(|i| bounds.count_wakeup(ms(i), false).is_some()));
        assert!((0..100).all(|i| bounds.count_wakeup(ms(30 + i), true).is_none()));
        assert!((0..500).any(|i| bounds.count_record(ms(i)).is_some()));
        let keepalive = Duration::from_millis(200);
        assert!((0..500).any(|i| bounds.count_heartbeat(ms(i), keepalive, 1).is_some()));
        let mut calm = ActivityWatch::default();
        assert!((0..5000).all(|i| calm.count_record(ms(i * 10)).is_none()));
    }

    #[test]
    fn growth_is_seen() {
        let burden = Burden::default();
        assert_eq!(check_memory(burden, 0), None);
        assert!(check_memory(burden, MAX_INBOX_EVENTS + 1).is_some());
        let saving = Burden {
            saving: MAX_PENDING_SAVES + 1,
            ..burden
        };
        assert!(check_memory(saving, 0).is_some());
    }
}

//! Measures how late the heartbeat loop acts after its own deadlines, shows that in status, and warns before it costs a
//! group.
//!
//! The times of ha.cf tolerate the smaller of two delays. An owner that is cut off gives up `margin` before the others take
//! over, so the margin must cover its delay. And a heartbeat that is sent late must still arrive before `deadtime`, even
//! after a lost one. A warning is logged at half of that, because the next delay may well be twice as long.
//!
//! At the start, while the daemon waits for its peers, it wakes more often than it must. So times that are too short for
//! this machine are reported before anything relies on them.

use std::time::Duration;

use crate::model::Time;
use crate::model::cluster::Timing;
use crate::model::decision::Level;
use crate::model::status::{Distribution, LatenessStatus, Spread};
use crate::text::{duration_for_people, duration_in_files};

/// The last minute is kept in slices of this length.
const SLICE: Duration = Duration::from_secs(10);
const SLICES: usize = 6;
/// Time between two measurements at the start.
const START_MEASURE_EVERY: Duration = Duration::from_millis(10);
/// The measurements at the start end after this time: long enough to meet what runs every second or so.
const MAX_START_MEASURING: Duration = Duration::from_secs(30);
/// Time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(600);
/// A deadtime that is too short is raised in steps of 11/10 to find one that is long enough.
const STEP: u32 = 11;
/// Bounds for status, in milliseconds.
const DELAY_BOUNDS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// The delays of the heartbeat loop.
pub struct Lateness {
    timing: Timing,
    realtime: bool,
    life: Histogram,
    /// The same, by bounds that monitoring knows.
    delays: Distribution,
    /// The newest first.
    slices: [Histogram; SLICES],
    slice_ends: Time,
    /// When the measurements at the start end; none once that was logged.
    start_ends: Option<Time>,
    warned_at: Option<Time>,
}

impl Lateness {
    /// Starts to measure. `realtime` says whether real-time priority is configured.
    pub fn new(now: Time, timing: Timing, realtime: bool) -> Lateness {
        Lateness {
            timing,
            realtime,
            life: Histogram::default(),
            delays: Distribution::new(&DELAY_BOUNDS),
            slices: Default::default(),
            slice_ends: now + SLICE,
            start_ends: Some(now + timing.initdead.min(MAX_START_MEASURING)),
            warned_at: None,
        }
    }

    /// Judges by the times of a new configuration from now on.
    pub fn reconfigure(&mut self, timing: Timing) {
        self.timing = timing;
        self.warned_at = None;
    }

    /// When the loop must wake for a measurement only.
    pub fn next_measurement(&self, now: Time) -> Time {
        self.start_ends
            .map_or(Time::NEVER, |_| now + START_MEASURE_EVERY)
    }

    /// Records that something which was due at `due` is done at `now`.
    pub fn record_action(&mut self, now: Time, due: Time) {
        self.start_new_slices(now);
        let late = now.since(due);
        self.life.add(late);
        self.delays.add(late);
        if let Some(newest) = self.slices.first_mut() {
            newest.add(late);
        }
    }

    /// A line for the log, when there is something to report.
    pub fn log_line(&mut self, now: Time) -> Option<(Level, String)> {
        let start_is_over = self.start_ends.is_some_and(|end| now >= end);
        if start_is_over {
            self.start_ends = None;
        }
        let quiet = self.warned_at.is_some_and(|at| now < at + WARN_EVERY);
        let worst = self.slices.iter().map(|s| s.max).max().unwrap_or_default();
        if worst * 2 >= self.tolerated() && !quiet {
            self.warned_at = Some(now);
            return Some((Level::Warning, self.warning(worst)));
        }
        (start_is_over && self.warned_at.is_none()).then(|| {
            let text = format!(
                "since the start the heartbeat loop has been at most {} late; the times in ha.cf tolerate {}",
                duration_for_people(worst),
                duration_for_people(self.tolerated())
            );
            (Level::Info, text)
        })
    }

    /// The measurements for status.
    pub fn status(&mut self, now: Time) -> LatenessStatus {
        self.start_new_slices(now);
        LatenessStatus {
            carries: self.tolerated(),
            recent: self.recent().spread(),
            life: self.life.spread(),
            delays: self.delays.clone(),
        }
    }

    fn tolerated(&self) -> Duration {
        tolerated(&self.timing)
    }

    fn recent(&self) -> Histogram {
        let mut all = Histogram::default();
        for slice in &self.slices {
            all.join(slice);
        }
        all
    }

    fn warning(&self, worst: Duration) -> String {
        let spread = self.recent().spread();
        let t = &self.timing;
        let realtime = if self.realtime {
            ""
        } else {
            "set realtime on, "
        };
        format!(
            "the heartbeat loop of this node was up to {} late in the last minute (p99.9 {}); keepalive {}, deadtime {} and \
             margin {} tolerate {}. If it gets worse, this node loses its groups or is taken for dead. Find what keeps this \
             machine busy or pauses it (a VM?), {realtime}or set deadtime {} or more on all nodes",
            duration_for_people(worst),
            duration_for_people(spread.p999),
            duration_for_people(t.keepalive),
            duration_for_people(t.deadtime),
            duration_for_people(t.margin),
            duration_for_people(self.tolerated()),
            duration_in_files(sufficient_deadtime(t, worst * 3)),
        )
    }

    /// Starts a new slice when the newest one is full.
    fn start_new_slices(&mut self, now: Time) {
        let mut turns = 0;
        while now >= self.slice_ends && turns < SLICES {
            self.slices.rotate_right(1);
            if let Some(newest) = self.slices.first_mut() {
                *newest = Histogram::default();
            }
            self.slice_ends = self.slice_ends + SLICE;
            turns += 1;
        }
        if now >= self.slice_ends {
            self.slice_ends = now + SLICE;
        }
    }
}

/// The delay of the loop that these times tolerate.
fn tolerated(timing: &Timing) -> Duration {
    let heard = timing.deadtime.saturating_sub(timing.keepalive * 2);
    timing.margin.min(heard)
}

/// The shortest deadtime, found in steps of a tenth, that tolerates this delay with the usual margin.
fn sufficient_deadtime(timing: &Timing, late: Duration) -> Duration {
    let mut deadtime = timing.deadtime;
    let tolerated_with = |deadtime| {
        tolerated(&Timing {
            deadtime,
            margin: Timing::usual_margin(timing.keepalive, deadtime),
            ..*timing
        })
    };
    while tolerated_with(deadtime) < late && deadtime < Duration::from_secs(24 * 3600) {
        deadtime = deadtime * STEP / 10;
    }
    // Rounded up to what a person would write.
    let unit = if deadtime < Duration::from_secs(2) {
        100
    } else {
        1000
    };
    let millis = u64::try_from(deadtime.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis.div_ceil(unit).saturating_mul(unit))
}

/// Four buckets for each doubling, from a microsecond to more than an hour: within a fifth of the truth.
const BUCKETS: usize = 128;

/// How often each delay occurred.
struct Histogram {
    counts: [u64; BUCKETS],
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: [0; BUCKETS],
            max: Duration::ZERO,
        }
    }
}

impl Histogram {
    fn add(&mut self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros).min(BUCKETS - 1)) {
            *count = count.saturating_add(1);
        }
        self.max = self.max.max(late);
    }

    fn join(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.max = self.max.max(other.max);
    }

    fn spread(&self) -> Spread {
        Spread {
            count: self.counts.iter().sum(),
            p50: self.quantile(500),
            p999: self.quantile(999),
            max: self.max,
        }
    }

    /// The delay that `permille` of a thousand measurements did not exceed.
    fn quantile(&self, permille: u64) -> Duration {
        let total: u64 = self.counts.iter().sum();
        let wanted = total.saturating_mul(permille).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Duration::from_micros(highest(index)).min(self.max);
            }
        }
        self.max
    }
}

/// The bucket of a number of microseconds.
fn bucket(micros: u64) -> usize {
    let Some(log) = micros.checked_ilog2().filter(|log| *log >= 2) else {
        return usize::try_from(micros).unwrap_or_default();
    };
    let quarter = (micros >> (log - 2)) & 3;
    usize::try_from(u64::from(log - 1) * 4 + quarter).unwrap_or(BUCKETS)
}

/// The greatest number of microseconds in a bucket.
fn highest(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or_default();
    if index < 4 {
        return index;
    }
    let (log, quarter) = (index / 4 + 1, index % 4);
    let step = 1_u64.checked_shl(u32::try_from(log - 2).unwrap_or(64));
    let above = step.unwrap_or(u64::MAX).saturating_mul(4 + quarter + 1);
    above.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Time = Time(1_000_000_000_000);

    fn timing(keepalive: u32, deadtime: u32) -> Timing {
        let (keepalive, deadtime) = (MS * keepalive, MS * deadtime);
        Timing {
            keepalive,
            deadtime,
            warntime: deadtime / 2,
            initdead: Duration::from_secs(12),
            deadping: deadtime,
            margin: Timing::usual_margin(keepalive, deadtime),
        }
    }

    #[test]
    fn buckets_follow_each_other_and_hold_what_they_say() {
        let mut last = 0;
        for micros in (0..5000).chain([100_000, 1 << 31, u64::from(u32::MAX)]) {
            let at = bucket(micros);
            assert!(at >= last && at < BUCKETS, "{micros}");
            assert!(micros <= highest(at), "{micros} is above {}", highest(at));
            assert!(at == 0 || micros > highest(at - 1), "{micros}");
            assert!(highest(at) <= micros + micros / 4, "{micros}");
            last = at;
        }
    }

    #[test]
    fn the_spread_is_that_of_what_was_measured() {
        let mut all = Histogram::default();
        assert_eq!(all.spread(), Spread::default());
        for n in 1..=10_000_u32 {
            all.add(Duration::from_micros(10) * n);
        }
        let spread = all.spread();
        let near = |d: Duration, wanted: u32| d >= MS * wanted && d <= MS * wanted * 5 / 4;
        assert_eq!((spread.count, spread.max), (10_000, MS * 100));
        assert!(near(spread.p50, 50) && near(spread.p999, 99), "{spread:?}");
        assert!(spread.p999 <= spread.max);
    }

    #[test]
    fn the_last_minute_forgets_and_the_life_does_not() {
        let mut lateness = Lateness::new(START, timing(200, 3000), true);
        lateness.record_action(START + MS * 5, START);
        for seconds in 1..70 {
            let now = START + Duration::from_secs(seconds);
            lateness.record_action(now + MS, now);
        }
        let shown = lateness.status(START + Duration::from_secs(70));
        assert_eq!((shown.recent.max, shown.life.max), (MS, MS * 5));
        assert!(shown.recent.count >= 50, "{shown:?}");
        // After a long pause, old measurements are no longer shown.
        let shown = lateness.status(START + Duration::from_secs(7000));
        assert_eq!((shown.recent.count, shown.life.count), (0, 70));
    }

    #[test]
    fn half_of_the_tolerated_delay_is_warned_of_once() {
        let t = timing(20, 100);
        assert_eq!(tolerated(&t), MS * 50);
        let mut lateness = Lateness::new(START, t, false);
        let mut now = START;
        lateness.record_action(now + MS * 24, now);
        assert_eq!(lateness.log_line(now), None);
        lateness.record_action(now + MS * 25, now);
        let (level, text) = lateness.log_line(now).unwrap();
        assert_eq!(level, Level::Warning);
        for part in [
            "up to 25 ms late",
            "tolerate 50 ms",
            "realtime on",
            "deadtime 200ms",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let mut lines = 0;
        for _ in 0..2000 {
            now = now + Duration::from_secs(1);
            lateness.record_action(now + MS * 60, now);
            lines += usize::from(lateness.log_line(now).is_some());
        }
        assert_eq!(lines, 3);
    }

    #[test]
    fn the_measurements_at_the_start_end_with_a_log_line() {
        let mut lateness = Lateness::new(START, timing(1000, 30_000), true);
        let end = START + Duration::from_secs(12);
        assert_eq!(
            lateness.next_measurement(START),
            START + START_MEASURE_EVERY
        );
        lateness.record_action(START + MS, START);
        assert_eq!(lateness.log_line(START + MS), None);
        let (level, text) = lateness.log_line(end).unwrap();
        assert_eq!(level, Level::Info);
        assert!(text.contains("at most 1.00 ms late"), "{text}");
        assert_eq!(lateness.next_measurement(end), Time::NEVER);
        assert_eq!(lateness.log_line(end + MS), None);
    }

    #[test]
    fn the_deadtime_that_is_named_would_do() {
        for (t, late) in [
            (timing(20, 100), MS * 50),
            (timing(20, 100), MS * 200),
            (timing(200, 3000), MS * 1300),
            (timing(1000, 2500), MS * 1500),
        ] {
            let deadtime = sufficient_deadtime(&t, late);
            let margin = Timing::usual_margin(t.keepalive, deadtime);
            assert!(
                tolerated(&Timing {
                    deadtime,
                    margin,
                    ..t
                }) >= late,
                "{deadtime:?}"
            );
        }
    }
}

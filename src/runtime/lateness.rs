//! How late the heartbeat loop acts after its own deadlines: measured always, shown in status, and warned of before it
//! costs a group.
//!
//! What the times of ha.cf can carry is the smaller of two. An owner that is cut off gives up `margin` before the others
//! take over, so the margin must cover how late it acts. And a heartbeat that goes out late must still come before
//! `deadtime`, one lost heartbeat included. Whoever was half as late as that lately is warned: to act twice as late takes
//! no other machine, only a worse moment.
//!
//! While the daemon waits for its peers at the start it wakes more often than it must, so that a setting which this
//! machine cannot carry is told before it is relied upon.

use std::time::Duration;

use crate::model::Time;
use crate::model::cluster::Timing;
use crate::model::decision::Level;
use crate::model::status::{LatenessStatus, Spread};

/// Lateness of the last minute is kept in slices of it.
const SLICE: Duration = Duration::from_secs(10);
const SLICES: usize = 6;
/// From look to look at the start.
const LOOK: Duration = Duration::from_millis(10);
/// The measuring at the start is long enough to meet what runs each second or so, and ends before anybody waits for it.
const LONGEST_START: Duration = Duration::from_secs(30);
/// The same trouble is not told again sooner.
const QUIET: Duration = Duration::from_secs(600);
/// A look that comes later than that is told as what it is by the engine: a gap in our own time.
const STEP: u32 = 11;

/// The measurement.
pub struct Lateness {
    timing: Timing,
    realtime: bool,
    life: Histogram,
    /// The newest first.
    slices: [Histogram; SLICES],
    slice_ends: Time,
    /// The first measuring, until its end was told.
    start_ends: Option<Time>,
    told: Option<Time>,
}

impl Lateness {
    /// Begins now. `realtime`: whether real-time priority was asked for.
    pub fn new(now: Time, timing: Timing, realtime: bool) -> Lateness {
        Lateness {
            timing,
            realtime,
            life: Histogram::default(),
            slices: Default::default(),
            slice_ends: now + SLICE,
            start_ends: Some(now + timing.initdead.min(LONGEST_START)),
            told: None,
        }
    }

    /// Other times count from now on.
    pub fn change(&mut self, timing: Timing) {
        self.timing = timing;
        self.told = None;
    }

    /// When the loop shall wake only to be measured.
    pub fn next_look(&self, now: Time) -> Time {
        self.start_ends.map_or(Time::NEVER, |_| now + LOOK)
    }

    /// What was due then is done now.
    pub fn acted(&mut self, now: Time, due: Time) {
        self.turn(now);
        let late = now.since(due);
        self.life.add(late);
        if let Some(newest) = self.slices.first_mut() {
            newest.add(late);
        }
    }

    /// What the log shall know now; seldom anything.
    pub fn tell(&mut self, now: Time) -> Option<(Level, String)> {
        let start_is_over = self.start_ends.is_some_and(|end| now >= end);
        if start_is_over {
            self.start_ends = None;
        }
        let quiet = self.told.is_some_and(|at| now < at + QUIET);
        let worst = self.slices.iter().map(|s| s.max).max().unwrap_or_default();
        if worst * 2 >= self.carries() && !quiet {
            self.told = Some(now);
            return Some((Level::Warning, self.warning(worst)));
        }
        (start_is_over && self.told.is_none()).then(|| {
            let text = format!(
                "the heartbeat loop acted at most {worst:.1?} late since the start; the times of ha.cf carry {:.1?}",
                self.carries()
            );
            (Level::Info, text)
        })
    }

    /// For status.
    pub fn shown(&mut self, now: Time) -> LatenessStatus {
        self.turn(now);
        LatenessStatus {
            carries: self.carries(),
            recent: self.recent().spread(),
            life: self.life.spread(),
        }
    }

    fn carries(&self) -> Duration {
        carries(&self.timing)
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
            "the heartbeat loop of this node acted up to {worst:.1?} late within the last minute (p99.9 {:.1?}), and keepalive \
             {:.0?}, deadtime {:.0?}, margin {:.0?} carry {:.1?}: if it gets worse this node loses its groups, or is taken \
             for dead. Find what keeps this machine busy or stops it (a paused VM?), {realtime}or set deadtime {:.0?} or more \
             on all nodes",
            spread.p999,
            t.keepalive,
            t.deadtime,
            t.margin,
            self.carries(),
            enough(t, worst * 3),
        )
    }

    /// Begins a new slice when its time has come.
    fn turn(&mut self, now: Time) {
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

/// How late the loop may act under these times.
fn carries(timing: &Timing) -> Duration {
    let heard = timing.deadtime.saturating_sub(timing.keepalive * 2);
    timing.margin.min(heard)
}

/// The least deadtime, in steps of a tenth, that carries so much with the usual margin.
fn enough(timing: &Timing, late: Duration) -> Duration {
    let mut deadtime = timing.deadtime;
    let carried = |deadtime| {
        carries(&Timing {
            deadtime,
            margin: Timing::usual_margin(timing.keepalive, deadtime),
            ..*timing
        })
    };
    while carried(deadtime) < late && deadtime < Duration::from_secs(24 * 3600) {
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

/// How often how late.
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

    /// At most so late were that many of a thousand.
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
        lateness.acted(START + MS * 5, START);
        for seconds in 1..70 {
            let now = START + Duration::from_secs(seconds);
            lateness.acted(now + MS, now);
        }
        let shown = lateness.shown(START + Duration::from_secs(70));
        assert_eq!((shown.recent.max, shown.life.max), (MS, MS * 5));
        assert!(shown.recent.count >= 50, "{shown:?}");
        // Long silence is no reason to show what is old.
        let shown = lateness.shown(START + Duration::from_secs(7000));
        assert_eq!((shown.recent.count, shown.life.count), (0, 70));
    }

    #[test]
    fn half_of_what_the_times_carry_is_warned_of_and_not_again_and_again() {
        let t = timing(20, 100);
        assert_eq!(carries(&t), MS * 50);
        let mut lateness = Lateness::new(START, t, false);
        let mut now = START;
        lateness.acted(now + MS * 24, now);
        assert_eq!(lateness.tell(now), None);
        lateness.acted(now + MS * 25, now);
        let (level, text) = lateness.tell(now).unwrap();
        assert_eq!(level, Level::Warning);
        for part in [
            "up to 25.0ms late",
            "carry 50.0ms",
            "realtime on",
            "deadtime 200ms",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let mut told = 0;
        for _ in 0..2000 {
            now = now + Duration::from_secs(1);
            lateness.acted(now + MS * 60, now);
            told += usize::from(lateness.tell(now).is_some());
        }
        assert_eq!(told, 3);
    }

    #[test]
    fn the_start_ends_with_a_word_and_measuring_with_it() {
        let mut lateness = Lateness::new(START, timing(1000, 30_000), true);
        let end = START + Duration::from_secs(12);
        assert_eq!(lateness.next_look(START), START + LOOK);
        lateness.acted(START + MS, START);
        assert_eq!(lateness.tell(START + MS), None);
        let (level, text) = lateness.tell(end).unwrap();
        assert_eq!(level, Level::Info);
        assert!(text.contains("at most 1.0ms late"), "{text}");
        assert_eq!(lateness.next_look(end), Time::NEVER);
        assert_eq!(lateness.tell(end + MS), None);
    }

    #[test]
    fn the_deadtime_that_is_named_would_do() {
        for (t, late) in [
            (timing(20, 100), MS * 50),
            (timing(20, 100), MS * 200),
            (timing(200, 3000), MS * 1300),
            (timing(1000, 2500), MS * 1500),
        ] {
            let deadtime = enough(&t, late);
            let margin = Timing::usual_margin(t.keepalive, deadtime);
            assert!(
                carries(&Timing {
                    deadtime,
                    margin,
                    ..t
                }) >= late,
                "{deadtime:?}"
            );
        }
    }
}

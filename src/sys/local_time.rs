//! Local wall-clock time.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A date and time of the local calendar, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Such as 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
}

impl LocalTime {
    /// The local time of a Unix time. All fields are zero if the calendar does not reach that far.
    pub fn from_unix(seconds: u64) -> LocalTime {
        let seconds = libc::time_t::try_from(seconds).unwrap_or_default();
        // SAFETY: `tm` is plain numbers and one pointer, for which all zero is valid.
        #[allow(unsafe_code)]
        let mut tm: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live values; the `_r` form keeps nothing. The time zone is read
        // from the environment, which this project never changes.
        #[allow(unsafe_code)]
        let answer = unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
        let (year, month) = if answer.is_null() {
            (0, 0)
        } else {
            (tm.tm_year.saturating_add(1900), tm.tm_mon + 1)
        };
        LocalTime {
            year,
            month,
            day: tm.tm_mday,
            hour: tm.tm_hour,
            minute: tm.tm_min,
            second: tm.tm_sec,
        }
    }

    /// The current local time.
    pub fn now() -> LocalTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        LocalTime::from_unix(since.unwrap_or_default().as_secs())
    }

    /// A timestamp for file names: `20261121-073712`.
    pub fn file_stamp(self) -> String {
        format!(
            "{:04}{:02}{:02}-{:02}{:02}{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = format!("{:04}-{:02}-{:02}", self.year, self.month, self.day);
        let time = format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second);
        write!(f, "{date} {time}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_later_reads_a_day_later() {
        // Not at the turn of a month, nor of daylight saving time, in any zone.
        let (a, b) = (1_768_500_000, 1_768_500_000 + 86_400);
        let (a, b) = (LocalTime::from_unix(a), LocalTime::from_unix(b));
        assert_eq!((a.year, a.month, a.day + 1), (2026, 1, b.day));
        assert_eq!((a.hour, a.minute, a.second), (b.hour, b.minute, b.second));
        assert_eq!(a.file_stamp().len(), 15);
        assert_eq!(a.to_string().len(), 19);
    }

    #[test]
    fn a_time_beyond_the_calendar_is_no_panic() {
        assert_eq!(LocalTime::from_unix(u64::MAX >> 1).year, 0);
    }
}

//! From when on decisions are wanted.

use std::time::{SystemTime, UNIX_EPOCH};

use had::sys::local_time::LocalTime;

use crate::args::{duration, moment};
use crate::journal::is_from;

/// A time that the user typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// A wall-clock time in milliseconds since 1970.
    Milliseconds(u64),
    /// A local date and time.
    Moment(String),
}

impl Since {
    /// Reads `30m`, `2026-11-21 10:03` or `10:03`, which is a time of today.
    pub fn parse(text: &str) -> Result<Since, String> {
        if let Ok(ago) = duration(text) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let then = now.unwrap_or_default().saturating_sub(ago);
            return Ok(Since::Milliseconds(
                u64::try_from(then.as_millis()).unwrap_or(u64::MAX),
            ));
        }
        let moment = moment(text).map_err(|error| format!("{error}, or as a time ago: 30m, 8h"))?;
        if moment.contains(' ') {
            return Ok(Since::Moment(moment));
        }
        let today = LocalTime::now().to_string();
        let date = today.split(' ').next().unwrap_or_default();
        Ok(Since::Moment(format!("{date} {moment}")))
    }

    /// Whether a decision of that wall-clock time is wanted.
    pub fn is_before(&self, at_ms: u64) -> bool {
        match self {
            Since::Milliseconds(since) => *since <= at_ms,
            Since::Moment(moment) => is_from(at_ms, moment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_ago_or_of_the_calendar() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_millis()).unwrap();
        let hour = Since::parse("1h").unwrap();
        assert!(hour.is_before(now) && hour.is_before(now - 3_500_000));
        assert!(!hour.is_before(now - 3_700_000));
        let today = Since::parse("00:00").unwrap();
        assert!(today.is_before(now) && !today.is_before(now - 25 * 3_600_000));
        assert!(!Since::parse("2999-01-01 00:00").unwrap().is_before(now));
        for bad in ["", "soon", "2026-13", "-1h"] {
            assert!(Since::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Reads times, booleans and numbers as heartbeat writes them, but strictly: `100zyx` is no number.

use std::time::Duration;

use crate::text::{DURATION_FORM, parse_duration};

/// The longest time in a configuration. It also keeps arithmetic on times far from overflow.
const MAX_TIME: Duration = Duration::from_secs(24 * 3600);

/// Reads a time of at least a millisecond, rounded to whole milliseconds as heartbeat does.
///
/// # Errors
/// What a time looks like, or which bound it breaks.
pub(super) fn time(word: &str) -> Result<Duration, String> {
    let time = delay(word)?;
    if time.is_zero() {
        return Err("a time must be at least 1ms".into());
    }
    Ok(time)
}

/// Reads a time or zero.
///
/// # Errors
/// As for [`time`].
pub(super) fn delay(word: &str) -> Result<Duration, String> {
    // heartbeat reads its units in any case.
    let time = parse_duration(&word.to_ascii_lowercase()).ok_or(DURATION_FORM)?;
    if time > MAX_TIME {
        return Err("no time may be longer than a day".into());
    }
    let millis = (time.as_nanos() + 500_000) / 1_000_000;
    Ok(Duration::from_millis(
        u64::try_from(millis).unwrap_or(u64::MAX),
    ))
}

/// Reads heartbeat's booleans, in any case.
pub(super) fn boolean(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a size on disk, such as `16M`, in bytes. `off` is zero.
pub(super) fn size(word: &str) -> Result<u32, String> {
    const MEGABYTE: u32 = 1024 * 1024;
    match boolean(word) {
        Some(false) => return Ok(0),
        Some(true) => return Err("write how much disk it may take, for example 16M".to_owned()),
        None => {}
    }
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match word.get(digits.len()..) {
        Some("M" | "m") => MEGABYTE,
        Some("G" | "g") => 1024 * MEGABYTE,
        _ => return Err("write a number with M or G, for example 16M".to_owned()),
    };
    let bytes = number(digits, 1, 1024).and_then(|n| n.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes <= 1024 * MEGABYTE)
        .ok_or_else(String::new)
}

/// Reads a whole number within bounds.
pub(super) fn number(word: &str, least: u32, most: u32) -> Option<u32> {
    let plain = word.len() <= 9 && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let n: u32 = if plain {
        word.parse().ok()?
    } else {
        return None;
    };
    (least..=most).contains(&n).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_milliseconds() {
        for (word, millis) in [
            ("2", 2000),
            ("500msec", 500),
            ("1500us", 2),
            ("0.0005", 1),
            ("1.5m", 90_000),
            ("10000MS", 10_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(time(word), Ok(Duration::from_millis(millis)), "{word}");
        }
        assert_eq!(delay("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_time() {
        for word in ["", "s", "-1", "100zyx", "0", "0.0001", "25h", "99999999999"] {
            assert!(time(word).is_err(), "{word}");
        }
    }

    #[test]
    fn booleans_in_any_case() {
        assert_eq!(boolean("Yes"), Some(true));
        assert_eq!(boolean("OFF"), Some(false));
        assert_eq!(boolean("2"), None);
        assert_eq!(boolean("enable"), None);
    }

    #[test]
    fn sizes_have_a_unit_and_bounds() {
        assert_eq!(size("off"), Ok(0));
        assert_eq!(size("1M"), Ok(1 << 20));
        assert_eq!(size("16m"), Ok(16 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
        assert_eq!(size("1024M"), Ok(1 << 30));
        for word in [
            "", "M", "16", "0M", "2G", "1025M", "16MB", "16K", "1.5G", "-1M", "1 M", "on", "٣M",
        ] {
            assert!(size(word).is_err(), "{word}");
        }
    }

    #[test]
    fn numbers_are_strict() {
        assert_eq!(number("694", 1, 65535), Some(694));
        assert_eq!(number("0694", 1, 65535), Some(694));
        for word in ["", "0", "65536", "694x", "-1", "+1", " 1", "99999999999999"] {
            assert_eq!(number(word, 1, 65535), None, "{word}");
        }
    }
}

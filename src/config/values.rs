//! Times, booleans and numbers as heartbeat writes them, read strictly: `100zyx` is no number.

use std::time::Duration;

/// No time in a configuration is longer; also keeps all arithmetic on times far from overflow.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A time, with whether heartbeat 3.0.6 would read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// In whole milliseconds, as heartbeat keeps times.
    pub time: Duration,
    /// Whether heartbeat 3.0.6 understands this way to write it.
    pub classic: bool,
}

/// Reads a time: a decimal number, then nothing (seconds), `ms`, `us`, or as our addition `s`, `m`, `h`.
pub(super) fn time(word: &str) -> Result<Span, String> {
    const WANTED: &str =
        "a time is a number with s, ms, us, m or h; without a unit it is in seconds";
    let split = word
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(word.len());
    let (number, unit) = word.split_at(split);
    let (nanos, classic) = match unit {
        "" => (1_000_000_000, true),
        "ms" | "msec" | "msecs" => (1_000_000, true),
        "us" | "usec" => (1_000, true),
        "s" => (1_000_000_000, false),
        "m" => (60_000_000_000, false),
        "h" => (3_600_000_000_000, false),
        _ => return Err(WANTED.into()),
    };
    let billionths = decimal(number).ok_or(WANTED)?;
    // Rounded to whole milliseconds, as heartbeat does.
    let millis = (billionths * nanos / 1_000_000_000 + 500_000) / 1_000_000;
    if millis > LONGEST.as_millis() {
        return Err("no time may be longer than a day".into());
    }
    let time = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
    if time.is_zero() {
        return Err("a time must be at least 1ms".into());
    }
    Ok(Span { time, classic })
}

/// `12`, `1.5` or `.5` in billionths.
fn decimal(number: &str) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole:0>1}{fraction:0<9}").parse().ok()
}

/// A time for a message, in the unit that needs the fewest digits.
pub(super) fn shown(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}

/// Reads heartbeat's booleans, in any case.
pub(super) fn boolean(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// Reads how many bytes of disk something may take: `16M`; `off` and its like are none.
pub(super) fn size(word: &str) -> Result<u32, String> {
    const MEGABYTE: u32 = 1024 * 1024;
    match boolean(word) {
        Some(false) => return Ok(0),
        Some(true) => return Err("say how much disk it may take, for example 16M".to_owned()),
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
    fn times_of_heartbeat_and_our_own() {
        for (word, millis, classic) in [
            ("2", 2000, true),
            ("500ms", 500, true),
            ("500msec", 500, true),
            ("1.5", 1500, true),
            (".5", 500, true),
            ("2.", 2000, true),
            ("1500us", 2, true),
            ("0.0005", 1, true),
            ("10s", 10_000, false),
            ("1m", 60_000, false),
            ("1.5m", 90_000, false),
            ("2h", 7_200_000, false),
            ("24h", 86_400_000, false),
        ] {
            let time = Duration::from_millis(millis);
            assert_eq!(super::time(word), Ok(Span { time, classic }), "{word}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for word in [
            "",
            "s",
            ".",
            "-1",
            "+1",
            "100zyx",
            "1.2.3",
            "1e3",
            "10 s",
            "2sec",
            "10S",
            "1ms2",
            "0",
            "0.0001",
            "25h",
            "99999999999",
            "٣",
            "0x10",
            "1_000",
        ] {
            assert!(time(word).is_err(), "{word}");
        }
    }

    #[test]
    fn times_are_shown_short() {
        assert_eq!(shown(Duration::from_millis(500)), "500ms");
        assert_eq!(shown(Duration::from_secs(2)), "2s");
        assert_eq!(shown(Duration::from_millis(1500)), "1500ms");
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

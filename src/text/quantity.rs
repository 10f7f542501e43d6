//! Durations and counts: read as people write them, and shown as people write them.

use std::time::Duration;

/// What a duration looks like, for a message about one that cannot be read.
pub const DURATION_FORM: &str =
    "a time is a number with a unit: 300ms, 1.5s, 10m, 2h or 1d; without a unit it is in seconds";

/// Reads a duration: a decimal number and a unit, seconds where there is none. `None` for anything else, also for what
/// is not a whole number of nanoseconds or longer than 500 years. Callers set their own limits.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let nanos: u128 = match unit.trim_start() {
        "ns" => 1,
        "us" | "usec" => 1_000,
        "ms" | "msec" | "msecs" => 1_000_000,
        "" | "s" | "sec" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" | "hr" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    let billionths = billionths(number)? * nanos;
    let whole = billionths.checked_rem(1_000_000_000) == Some(0);
    let nanos = u64::try_from(billionths / 1_000_000_000).ok();
    nanos.filter(|_| whole).map(Duration::from_nanos)
}

/// `12`, `1.5` or `.5` in billionths. Twelve digits keep the arithmetic far from overflow.
fn billionths(number: &str) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str, max| s.len() <= max && s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole, 12) || !digits(fraction, 9) {
        return None;
    }
    format!("{whole:0>1}{fraction:0<9}").parse().ok()
}

/// A duration for people: `0.12 ms`, `300 ms`, `1.5 s`, `40.7 s`, `3 min 20 s`, `10 min`, `4 h`, `9 days`.
///
/// It is rounded to what matters at its size; [`duration_in_files`] is exact.
pub fn duration_for_people(time: Duration) -> String {
    let seconds = time.as_secs();
    let trimmed = |number: String| {
        let short = number.trim_end_matches('0').trim_end_matches('.');
        short.to_owned()
    };
    if time.is_zero() {
        return "0 s".to_owned();
    }
    match seconds {
        0 if time.subsec_millis() < 10 => format!("{:.2} ms", time.as_secs_f64() * 1000.0),
        0 => format!("{} ms", time.subsec_millis()),
        1..10 => format!("{} s", trimmed(format!("{:.2}", time.as_secs_f64()))),
        10..180 => format!("{} s", trimmed(format!("{:.1}", time.as_secs_f64()))),
        180..600 if !seconds.is_multiple_of(60) => {
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        180..10_800 => format!("{} min", seconds / 60),
        10_800..259_200 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A duration as our files have it: exact, and [`parse_duration`] reads it back. `300ms`, `1.5s`, `600s`.
pub fn duration_in_files(time: Duration) -> String {
    let nanos = time.as_nanos();
    let (unit, name) = match nanos {
        0 | 1_000_000_000.. => (1_000_000_000, "s"),
        1_000_000.. => (1_000_000, "ms"),
        1_000.. => (1_000, "us"),
        _ => (1, "ns"),
    };
    let mut text = (nanos / unit).to_string();
    if !nanos.is_multiple_of(unit) {
        let digits = format!("{:09}", nanos % unit * (1_000_000_000 / unit));
        text = format!("{text}.{}", digits.trim_end_matches('0'));
    }
    text + name
}

/// A number with its noun in the right form: `1 link`, `2 links`, `2 replies`, `3 addresses`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{number} {noun}es"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_every_unit() {
        for (text, nanos) in [
            ("2", 2_000_000_000),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("2.", 2_000_000_000),
            ("7ns", 7),
            ("0.001us", 1),
            ("1500usec", 1_500_000),
            ("500ms", 500_000_000),
            ("500msecs", 500_000_000),
            ("1.000000001s", 1_000_000_001),
            ("20 s", 20_000_000_000),
            ("2sec", 2_000_000_000),
            ("1.5m", 90_000_000_000),
            ("1min", 60_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2hr", 7_200_000_000_000),
            ("1d", 86_400_000_000_000),
            ("0", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "s",
            ".",
            "-1",
            "+1",
            "100zyx",
            "1.2.3",
            "1e3",
            "10S",
            "1ms2",
            "0.1ns",
            "٣s",
            "0x10",
            "1_000",
            "10 fortnights",
            "9999999999999s",
            "999999999d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_for_people_have_the_unit_that_matters() {
        for (micros, shown) in [
            (0, "0 s"),
            (123, "0.12 ms"),
            (300_000, "300 ms"),
            (1_000_000, "1 s"),
            (1_500_000, "1.5 s"),
            (40_700_000, "40.7 s"),
            (61_000_000, "61 s"),
            (120_000_000, "120 s"),
            (180_000_000, "3 min"),
            (200_000_000, "3 min 20 s"),
            (600_000_000, "10 min"),
            (14_400_000_000, "4 h"),
            (800_000_000_000, "9 days"),
        ] {
            assert_eq!(duration_for_people(Duration::from_micros(micros)), shown);
        }
        assert!(duration_for_people(Duration::MAX).ends_with(" days"));
    }

    #[test]
    fn durations_in_files_are_read_back() {
        for text in [
            "0s",
            "12.5s",
            "300ms",
            "200us",
            "1us",
            "1ns",
            "1.000000001s",
            "1.5ms",
            "600s",
        ] {
            let read = parse_duration(text).map(duration_in_files);
            assert_eq!(read.as_deref(), Some(text));
        }
    }

    #[test]
    fn nouns_follow_their_number() {
        for (number, noun, shown) in [
            (1, "link", "1 link"),
            (0, "link", "0 links"),
            (2, "ping node", "2 ping nodes"),
            (2, "reply", "2 replies"),
            (2, "day", "2 days"),
            (3, "address", "3 addresses"),
        ] {
            assert_eq!(count(number, noun), shown);
        }
    }
}

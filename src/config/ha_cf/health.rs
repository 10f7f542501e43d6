//! Reads `monitor`, `check` and `failback_when`. All three have the same form: a probe, then options.
//!
//!
//! ```text
//! monitor RESOURCE [PROBE] [every T] [timeout T] [fall N] [rise N] [restart N] [within T]
//! check   NAME      PROBE  [every T] [timeout T] [fall N] [rise N] [owner stays|goes]
//! failback_when     PROBE  [every T] [timeout T]
//! ```

use std::time::Duration;

use super::{Directive, HaCfReader, probe};
use crate::config::values::{number, time};
use crate::config::{CheckRule, MonitorRule};
use crate::model::health::{CheckPolicy, FAILBACK_WHEN, Pace, Policy, Probe};
use crate::text::{
    Place, SourceWord, did_you_mean, duration_for_people, duration_in_files, nearest,
};

/// The options. The first of them ends the words of the probe.
pub(super) const OPTIONS: [&str; 7] = [
    "every", "timeout", "fall", "rise", "restart", "within", "owner",
];
const MONITOR_OPTIONS: &[&str] = &["every", "timeout", "fall", "rise", "restart", "within"];
const CHECK_OPTIONS: &[&str] = &["every", "timeout", "fall", "rise", "owner"];
const FAILBACK_OPTIONS: &[&str] = &["every", "timeout"];

const SECOND: Duration = Duration::from_secs(1);
/// The shortest interval: each probe costs time on the node.
const MIN_EVERY: Duration = Duration::from_millis(100);
const MAX_COUNT: u32 = 1000;
const DEFAULT_EVERY: Duration = Duration::from_secs(10);
/// The deadline of a check, unless its interval is shorter.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// A restart is cheap and the status of a resource is reliable, so one failure is enough for a monitor. A move is expensive,
/// so a check must fail twice.
const DEFAULT_POLICY: Policy = Policy {
    fall: 1,
    rise: 1,
    restart: 1,
    within: Duration::from_secs(600),
};
const DEFAULT_CHECK_FALL: u32 = 2;

/// The options of one line, as far as they are given.
#[derive(Default)]
struct WatchOptions {
    every: Option<Duration>,
    timeout: Option<Duration>,
    fall: Option<u32>,
    rise: Option<u32>,
    restart: Option<u32>,
    within: Option<(Duration, Place)>,
    stays: Option<bool>,
}

pub(super) fn read_monitor(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let words = directive.plain_values();
    let Some((name, rest)) = words.split_first() else {
        let message = "`monitor` needs a resource, or * for all";
        let help = "for example: monitor nginx every 2s fall 2 restart 3 within 10m";
        return reader.report.error(&directive.name.place, message, help);
    };
    if !reader.claim_name("monitor", &name.text, &name.place) {
        return;
    }
    let (probe, options) = split_options(rest);
    let probe = if probe.is_empty() {
        None
    } else {
        let Some(probe) = read_probe(reader, probe) else {
            return;
        };
        Some(probe)
    };
    if let Some(probe) = probe.as_ref().filter(|_| name.text == "*") {
        let message = format!("`{probe}` cannot check every resource");
        let help =
            "name one resource, or leave out the probe: each resource is then asked for its status";
        return reader.report.error(&name.place, message, help);
    }
    let Some(numbers) = read_options(reader, options, MONITOR_OPTIONS) else {
        return;
    };
    let policy = Policy {
        fall: numbers.fall.unwrap_or(DEFAULT_POLICY.fall),
        rise: numbers.rise.unwrap_or(DEFAULT_POLICY.rise),
        restart: numbers.restart.unwrap_or(DEFAULT_POLICY.restart),
        within: match &numbers.within {
            Some((within, _)) => *within,
            None => DEFAULT_POLICY.within,
        },
    };
    let rule = MonitorRule {
        name: name.text.clone(),
        probe,
        every: numbers.every.unwrap_or(DEFAULT_EVERY),
        timeout: numbers.timeout,
        policy,
        place: name.place.clone(),
    };
    judge_budget(reader, &rule, numbers.within.map(|(_, place)| place));
    reader.lists.health.monitors.push(rule);
}

/// Refuses a number of restarts that can never be reached: the first is no longer counted when the last one fails.
fn judge_budget(reader: &mut HaCfReader<'_>, rule: &MonitorRule, within: Option<Place>) {
    let Policy {
        fall,
        restart,
        within: window,
        ..
    } = rule.policy;
    let shortest = rule.every * fall * restart;
    // The end of a process is noticed at once, whatever the interval.
    if shortest < window || matches!(rule.probe, Some(Probe::Process(_))) {
        return;
    }
    let message = format!(
        "{restart} restarts take at least {} (every {}, fall {fall}), but restarts older than {} are not counted: the group would never move",
        duration_for_people(shortest),
        duration_for_people(rule.every),
        duration_for_people(window)
    );
    let help = format!(
        "write within {} or more, or a smaller number of restarts",
        duration_in_files(shortest * 2)
    );
    let place = within.unwrap_or_else(|| rule.place.clone());
    reader.report.error(&place, message, help);
}

pub(super) fn read_check(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    const EXAMPLE: &str =
        "for example: check web http http://127.0.0.1/ every 2s timeout 2s fall 2 rise 1";
    let words = directive.plain_values();
    let Some((name, rest)) = words.split_first() else {
        let message = "`check` needs a name and a probe";
        return reader.report.error(&directive.name.place, message, EXAMPLE);
    };
    // `check mysql mysql` has a name, `check mysql lag 5s` has none.
    let kind = |word: &SourceWord| probe::KINDS.contains(&word.text.as_str());
    let taken = (kind(name) && !rest.first().is_some_and(kind))
        || OPTIONS.contains(&name.text.as_str())
        || name.text == FAILBACK_WHEN;
    if taken {
        let message = format!("a check needs a name, and {} cannot be one", name.quoted());
        return reader.report.error(&name.place, message, EXAMPLE);
    }
    if !reader.claim_name("check", &name.text, &name.place) {
        return;
    }
    let usual = (name.text.as_str(), DEFAULT_CHECK_FALL);
    if let Some(rule) = read_check_rule(reader, name, rest, usual, CHECK_OPTIONS) {
        reader.lists.health.checks.push(rule);
    }
}

pub(super) fn read_failback_when(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    if !reader.claim_name("directive", FAILBACK_WHEN, &directive.name.place) {
        return;
    }
    let words = directive.plain_values();
    let usual = (FAILBACK_WHEN, 1);
    reader.lists.health.failback_when =
        read_check_rule(reader, &directive.name, &words, usual, FAILBACK_OPTIONS);
}

/// Reads a check; `rest` follows the word that names it.
fn read_check_rule(
    reader: &mut HaCfReader<'_>,
    named: &SourceWord,
    rest: &[SourceWord],
    (name, fall): (&str, u32),
    known: &[&'static str],
) -> Option<CheckRule> {
    let (words, options) = split_options(rest);
    if words.is_empty() {
        let message = format!("{} needs a probe", named.quoted());
        let help = format!("the probes are {}", probe::KINDS.join(", "));
        reader.report.error(&named.place, message, help);
        return None;
    }
    let probe = read_probe(reader, words)?;
    let numbers = read_options(reader, options, known)?;
    let every = numbers.every.unwrap_or(DEFAULT_EVERY);
    Some(CheckRule {
        policy: CheckPolicy {
            name: name.to_owned(),
            fall: numbers.fall.unwrap_or(fall),
            rise: numbers.rise.unwrap_or(1),
            stays: numbers.stays.unwrap_or(false),
            group: None,
        },
        probe,
        pace: Pace {
            every,
            timeout: numbers
                .timeout
                .unwrap_or_else(|| every.clamp(SECOND, DEFAULT_TIMEOUT)),
        },
        place: named.place.clone(),
    })
}

/// The words before the first option, and the options.
fn split_options(words: &[SourceWord]) -> (&[SourceWord], &[SourceWord]) {
    let option = |w: &SourceWord| OPTIONS.contains(&w.text.as_str());
    let at = words.iter().position(option).unwrap_or(words.len());
    words.split_at(at)
}

/// Reads a probe, which begins with its kind.
fn read_probe(reader: &mut HaCfReader<'_>, words: &[SourceWord]) -> Option<Probe> {
    let kind = words.first()?;
    if probe::KINDS.contains(&kind.text.as_str()) {
        return probe::read_probe_words(reader, words);
    }
    let all = probe::KINDS.into_iter().chain(OPTIONS);
    let help = match nearest(&kind.text, all) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the probes are {}", probe::KINDS.join(", ")),
    };
    let message = format!("{} is not a kind of probe", kind.quoted());
    reader.report.error(&kind.place, message, help);
    None
}

fn read_options(
    reader: &mut HaCfReader<'_>,
    options: &[SourceWord],
    known: &[&'static str],
) -> Option<WatchOptions> {
    let mut numbers = WatchOptions::default();
    for pair in options.chunks(2) {
        read_option(reader, &mut numbers, pair, known)?;
    }
    Some(numbers)
}

fn read_option(
    reader: &mut HaCfReader<'_>,
    numbers: &mut WatchOptions,
    pair: &[SourceWord],
    known: &[&'static str],
) -> Option<()> {
    let name = pair.first()?;
    if !known.contains(&name.text.as_str()) {
        let (message, help) = if OPTIONS.contains(&name.text.as_str()) {
            let message = format!("{} is not an option of this directive", name.quoted());
            (message, format!("its options are {}", known.join(", ")))
        } else {
            let message = format!("{} is not one of {}", name.quoted(), known.join(", "));
            (message, did_you_mean(&name.text, known.iter().copied()))
        };
        reader.report.error(&name.place, message, help);
        return None;
    }
    let value = reader.option_value(pair, "a value")?;
    let twice = match name.text.as_str() {
        "every" => {
            let every = read_duration(reader, value)?;
            if every < MIN_EVERY {
                let message = format!("{} is too short an interval", value.quoted());
                reader
                    .report
                    .error(&value.place, message, "write 100ms or more");
                return None;
            }
            numbers.every.replace(every).is_some()
        }
        "timeout" => numbers
            .timeout
            .replace(read_duration(reader, value)?)
            .is_some(),
        "within" => {
            let within = (read_duration(reader, value)?, value.place.clone());
            numbers.within.replace(within).is_some()
        }
        "fall" => numbers
            .fall
            .replace(read_count(reader, value, 1)?)
            .is_some(),
        "rise" => numbers
            .rise
            .replace(read_count(reader, value, 1)?)
            .is_some(),
        "owner" => numbers
            .stays
            .replace(read_owner_option(reader, value)?)
            .is_some(),
        _ => numbers
            .restart
            .replace(read_count(reader, value, 0)?)
            .is_some(),
    };
    reader.refuse_second(name, twice)
}

fn read_owner_option(reader: &mut HaCfReader<'_>, word: &SourceWord) -> Option<bool> {
    match word.text.as_str() {
        "stays" => Some(true),
        "goes" => Some(false),
        other => {
            let message = format!("{} is neither `stays` nor `goes`", word.quoted());
            let help = did_you_mean(other, ["stays", "goes"]);
            reader.report.error(&word.place, message, help);
            None
        }
    }
}

pub(super) fn read_duration(reader: &mut HaCfReader<'_>, word: &SourceWord) -> Option<Duration> {
    match time(&word.text) {
        Ok(time) => Some(time),
        Err(help) => {
            let message = format!("{} is not a time", word.quoted());
            reader.report.error(&word.place, message, help);
            None
        }
    }
}

fn read_count(reader: &mut HaCfReader<'_>, word: &SourceWord, least: u32) -> Option<u32> {
    let n = number(&word.text, least, MAX_COUNT);
    if n.is_none() {
        let message = format!(
            "{} is not a number from {least} to {MAX_COUNT}",
            word.quoted()
        );
        reader.report.error(&word.place, message, "");
    }
    n
}

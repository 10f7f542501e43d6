//! What is watched: `monitor`, `check`, `failback_when`. All three have one form, words before numbers:
//!
//! ```text
//! monitor RESOURCE [PROBE] [every T] [timeout T] [fall N] [rise N] [restart N] [within T]
//! check   NAME      PROBE  [every T] [timeout T] [fall N] [rise N] [owner stays|goes]
//! failback_when     PROBE  [every T] [timeout T]
//! ```

use std::time::Duration;

use super::{Reader, Statement, probe};
use crate::config::values::{number, time};
use crate::config::{CheckRule, MonitorRule};
use crate::model::health::{CheckPolicy, FAILBACK_WHEN, Pace, Policy, Probe};
use crate::text::{Place, SourceWord, did_you_mean, duration_in_files, nearest};

/// The words that end a probe.
pub(super) const OPTIONS: [&str; 7] = [
    "every", "timeout", "fall", "rise", "restart", "within", "owner",
];
const OF_MONITORS: &[&str] = &["every", "timeout", "fall", "rise", "restart", "within"];
const OF_CHECKS: &[&str] = &["every", "timeout", "fall", "rise", "owner"];
const OF_FAILBACK: &[&str] = &["every", "timeout"];

const SECOND: Duration = Duration::from_secs(1);
/// More often than this nothing is looked at: a look has its price.
const LEAST_EVERY: Duration = Duration::from_millis(100);
const MOST: u32 = 1000;
const USUAL_EVERY: Duration = Duration::from_secs(10);
/// How long a check may take where that is not said, unless it is asked more often.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A restart is cheap and the status of a resource is certain; a move is dear, so a check must fail twice.
const USUAL_POLICY: Policy = Policy {
    fall: 1,
    rise: 1,
    restart: 1,
    within: Duration::from_secs(600),
};
const USUAL_CHECK_FALL: u32 = 2;

/// The numbers of one line, as far as they are said.
#[derive(Default)]
struct Numbers {
    every: Option<Duration>,
    timeout: Option<Duration>,
    fall: Option<u32>,
    rise: Option<u32>,
    restart: Option<u32>,
    within: Option<(Duration, Place)>,
    stays: Option<bool>,
}

pub(super) fn monitor(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    let words = statement.plain_values();
    let Some((name, rest)) = words.split_first() else {
        let message = "`monitor` needs a resource, or * for all";
        let help = "for example: monitor nginx every 2s fall 2 restart 3 within 10m";
        return reader.report.error(&statement.name.place, message, help);
    };
    if !reader.first("monitor", &name.text, &name.place) {
        return;
    }
    let (probe, options) = divide(rest);
    let probe = if probe.is_empty() {
        None
    } else {
        let Some(probe) = way(reader, probe) else {
            return;
        };
        Some(probe)
    };
    if let Some(probe) = probe.as_ref().filter(|_| name.text == "*") {
        let message = format!("`{probe}` cannot tell how every resource is");
        let help =
            "name one resource, or leave the way to look out: each is then asked for its status";
        return reader.report.error(&name.place, message, help);
    }
    let Some(numbers) = numbers(reader, options, OF_MONITORS) else {
        return;
    };
    let policy = Policy {
        fall: numbers.fall.unwrap_or(USUAL_POLICY.fall),
        rise: numbers.rise.unwrap_or(USUAL_POLICY.rise),
        restart: numbers.restart.unwrap_or(USUAL_POLICY.restart),
        within: match &numbers.within {
            Some((within, _)) => *within,
            None => USUAL_POLICY.within,
        },
    };
    let rule = MonitorRule {
        name: name.text.clone(),
        probe,
        every: numbers.every.unwrap_or(USUAL_EVERY),
        timeout: numbers.timeout,
        policy,
        place: name.place.clone(),
    };
    judge_budget(reader, &rule, numbers.within.map(|(_, place)| place));
    reader.lists.health.monitors.push(rule);
}

/// A budget that can never be spent: its first restart is forgotten before the last one is followed by a failure.
fn judge_budget(reader: &mut Reader<'_>, rule: &MonitorRule, within: Option<Place>) {
    let Policy {
        fall,
        restart,
        within: window,
        ..
    } = rule.policy;
    let shortest = rule.every * fall * restart;
    // The end of a process is noticed at once, however seldom it is asked.
    if shortest < window || matches!(rule.probe, Some(Probe::Process(_))) {
        return;
    }
    let message = format!(
        "{restart} restarts take {} at least (every {}, fall {fall}), but are forgotten within {}: this could never move the group",
        duration_in_files(shortest),
        duration_in_files(rule.every),
        duration_in_files(window)
    );
    let help = format!(
        "write within {} or more, or restart less often",
        duration_in_files(shortest * 2)
    );
    let place = within.unwrap_or_else(|| rule.place.clone());
    reader.report.error(&place, message, help);
}

pub(super) fn check(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    const EXAMPLE: &str =
        "for example: check web http http://127.0.0.1/ every 2s timeout 2s fall 2 rise 1";
    let words = statement.plain_values();
    let Some((name, rest)) = words.split_first() else {
        let message = "`check` needs a name and a way to look";
        return reader.report.error(&statement.name.place, message, EXAMPLE);
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
    if !reader.first("check", &name.text, &name.place) {
        return;
    }
    let usual = (name.text.as_str(), USUAL_CHECK_FALL);
    if let Some(rule) = rule(reader, name, rest, usual, OF_CHECKS) {
        reader.lists.health.checks.push(rule);
    }
}

pub(super) fn failback_when(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    if !reader.first("directive", FAILBACK_WHEN, &statement.name.place) {
        return;
    }
    let words = statement.plain_values();
    let usual = (FAILBACK_WHEN, 1);
    reader.lists.health.failback_when = rule(reader, &statement.name, &words, usual, OF_FAILBACK);
}

/// A check: `rest` is what comes after the word that it is named by.
fn rule(
    reader: &mut Reader<'_>,
    named: &SourceWord,
    rest: &[SourceWord],
    (name, fall): (&str, u32),
    known: &[&'static str],
) -> Option<CheckRule> {
    let (words, options) = divide(rest);
    if words.is_empty() {
        let message = format!("{} needs a way to look", named.quoted());
        let help = format!("one of {} and what it takes", probe::KINDS.join(", "));
        reader.report.error(&named.place, message, help);
        return None;
    }
    let probe = way(reader, words)?;
    let numbers = numbers(reader, options, known)?;
    let every = numbers.every.unwrap_or(USUAL_EVERY);
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
                .unwrap_or_else(|| every.clamp(SECOND, USUAL_TIMEOUT)),
        },
        place: named.place.clone(),
    })
}

/// What comes before the first option, and the options.
fn divide(words: &[SourceWord]) -> (&[SourceWord], &[SourceWord]) {
    let option = |w: &SourceWord| OPTIONS.contains(&w.text.as_str());
    let at = words.iter().position(option).unwrap_or(words.len());
    words.split_at(at)
}

/// Reads a way to look that begins with its kind.
fn way(reader: &mut Reader<'_>, words: &[SourceWord]) -> Option<Probe> {
    let kind = words.first()?;
    if probe::KINDS.contains(&kind.text.as_str()) {
        return probe::read(reader, words);
    }
    let all = probe::KINDS.into_iter().chain(OPTIONS);
    let help = match nearest(&kind.text, all) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", probe::KINDS.join(", ")),
    };
    let message = format!("{} is not a way to look", kind.quoted());
    reader.report.error(&kind.place, message, help);
    None
}

fn numbers(
    reader: &mut Reader<'_>,
    options: &[SourceWord],
    known: &[&'static str],
) -> Option<Numbers> {
    let mut numbers = Numbers::default();
    for pair in options.chunks(2) {
        option(reader, &mut numbers, pair, known)?;
    }
    Some(numbers)
}

fn option(
    reader: &mut Reader<'_>,
    numbers: &mut Numbers,
    pair: &[SourceWord],
    known: &[&'static str],
) -> Option<()> {
    let name = pair.first()?;
    if !known.contains(&name.text.as_str()) {
        let (message, help) = if OPTIONS.contains(&name.text.as_str()) {
            let message = format!("{} does not belong here", name.quoted());
            (
                message,
                format!("this directive knows {}", known.join(", ")),
            )
        } else {
            let message = format!("{} is not one of {}", name.quoted(), known.join(", "));
            (message, did_you_mean(&name.text, known.iter().copied()))
        };
        reader.report.error(&name.place, message, help);
        return None;
    }
    let Some(value) = pair.get(1) else {
        let message = format!("{} needs a value", name.quoted());
        reader.report.error(&name.place, message, "");
        return None;
    };
    let twice = match name.text.as_str() {
        "every" => {
            let every = duration(reader, value)?;
            if every < LEAST_EVERY {
                let message = format!("{} is too often", value.quoted());
                reader.report.error(&value.place, message, "100ms or more");
                return None;
            }
            numbers.every.replace(every).is_some()
        }
        "timeout" => numbers.timeout.replace(duration(reader, value)?).is_some(),
        "within" => {
            let within = (duration(reader, value)?, value.place.clone());
            numbers.within.replace(within).is_some()
        }
        "fall" => numbers.fall.replace(count(reader, value, 1)?).is_some(),
        "rise" => numbers.rise.replace(count(reader, value, 1)?).is_some(),
        "owner" => numbers.stays.replace(stays(reader, value)?).is_some(),
        _ => numbers.restart.replace(count(reader, value, 0)?).is_some(),
    };
    if twice {
        let message = format!("{} is set twice", name.quoted());
        let help = "remove one of the two";
        reader.report.error(&name.place, message, help);
        return None;
    }
    Some(())
}

fn stays(reader: &mut Reader<'_>, word: &SourceWord) -> Option<bool> {
    match word.text.as_str() {
        "stays" => Some(true),
        "goes" => Some(false),
        other => {
            let message = format!("{} is not stays or goes", word.quoted());
            let help = did_you_mean(other, ["stays", "goes"]);
            reader.report.error(&word.place, message, help);
            None
        }
    }
}

pub(super) fn duration(reader: &mut Reader<'_>, word: &SourceWord) -> Option<Duration> {
    match time(&word.text) {
        Ok(span) => Some(span.time),
        Err(help) => {
            let message = format!("{} is not a time", word.quoted());
            reader.report.error(&word.place, message, help);
            None
        }
    }
}

fn count(reader: &mut Reader<'_>, word: &SourceWord, least: u32) -> Option<u32> {
    let n = number(&word.text, least, MOST);
    if n.is_none() {
        let message = format!("{} is not a number from {least} to {MOST}", word.quoted());
        reader.report.error(&word.place, message, "");
    }
    n
}

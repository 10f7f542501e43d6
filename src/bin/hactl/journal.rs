//! Journal entries as text, and as JSON for programs.

use had::control::api::HISTORY_MAX;
use had::model::decision::Level;
use had::model::journal::Entry;
use had::model::{GroupName, JSON_VERSION, NodeName};
use had::sys::local_time::LocalTime;
use serde::Serialize;

use crate::Failure;
use crate::screen::{Screen, Tone};

/// One decision for programs. The schema has the same fields.
#[derive(Serialize)]
struct EventLine<'a> {
    schema: u32,
    at_ms: u64,
    node: &'a NodeName,
    level: Level,
    group: Option<&'a GroupName>,
    event: &'static str,
    about: Option<&'a NodeName>,
    reason: Option<String>,
    text: &'a str,
}

/// The entries of that node as JSON, one on each line, oldest first.
pub fn json_lines(entries: &[Entry], node: &NodeName) -> Result<String, Failure> {
    let mut text = String::new();
    for entry in entries {
        let line = EventLine {
            schema: JSON_VERSION,
            at_ms: entry.at_ms,
            node,
            level: entry.level,
            group: entry.group.as_ref(),
            event: entry.decision.what.word(),
            about: entry.decision.what.about(),
            reason: entry.decision.reason(),
            text: &entry.text,
        };
        text += &serde_json::to_string(&line).map_err(Failure::failed)?;
        text.push('\n');
    }
    Ok(text)
}

/// The entries as lines, oldest first.
pub fn render_entries(entries: &[Entry], screen: Screen) -> String {
    entries
        .iter()
        .map(|entry| format_entry(entry, screen))
        .collect()
}

/// The number of entries to ask for, at most what the daemon gives.
pub fn limit_entries(wanted: usize) -> usize {
    wanted.min(HISTORY_MAX)
}

fn format_entry(entry: &Entry, screen: Screen) -> String {
    let time = LocalTime::from_unix(entry.at_ms / 1000);
    let time = format!("{time}.{:03}", entry.at_ms % 1000);
    format_line(&time, entry.level, &entry.text, screen)
}

/// Whether a wall-clock time is not before a moment that has the form of [`crate::args`]; without a date that is one of any day.
pub fn is_from(at_ms: u64, moment: &str) -> bool {
    let stamp = LocalTime::from_unix(at_ms / 1000).to_string();
    let skip = if moment.contains(' ') { 0 } else { 11 };
    stamp.get(skip..).unwrap_or_default() >= moment
}

/// A sentence with its time and its level.
pub fn format_line(time: &str, level: Level, text: &str, screen: Screen) -> String {
    let (word, tone) = match level {
        Level::Info => ("info   ", Tone::Plain),
        Level::Warning => ("warning", Tone::Plain),
        Level::Error => ("error  ", Tone::Bad),
    };
    screen.wrap(tone, &format!("{time}  {word}  "), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use had::model::decision::{Because, Decision, What};
    use std::time::Duration;

    #[test]
    fn an_entry_is_an_object_on_one_line() {
        let dead = What::PeerDead(NodeName::new("bob"));
        let entry = Entry::new(
            5,
            Decision::node(dead, Because::SilentFor(Duration::from_secs(3))),
        );
        let lines = json_lines(&[entry], &NodeName::new("alice")).ok().unwrap();
        assert_eq!(
            lines,
            concat!(
                r#"{"schema":1,"at_ms":5,"node":"alice","level":"error","group":null,"event":"node-dead","about":"bob","#,
                r#""reason":"nothing heard for 3 s","text":"node bob is dead: nothing heard for 3 s"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn an_entry_is_a_line_with_time_level_and_sentence() {
        let group = GroupName::new("web");
        let stuck = Decision::group(&group, What::Stuck, Because::Agent("busy".into()));
        let entry = Entry::new(1_768_500_000_123, stuck);
        let screen = Screen {
            width: 60,
            colour: false,
            rows: None,
        };
        let text = render_entries(&[entry], screen);
        let (time, rest) = text.split_at(23);
        assert!(
            time.starts_with("2026-01-1") && time.ends_with(".123"),
            "{time}"
        );
        assert_eq!(
            rest,
            "  error    web: stuck: its stop\n                                  failed, so it may still\n                                  run here: busy; stop it by\n                                  hand, then run hactl clear\n                                  web\n"
        );
    }
}
